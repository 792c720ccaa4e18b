"""Data of one's own in runs: their size, their classes, and that they are the same again."""

import numpy as np
import pytest
from PIL import Image

from advknow import data
from advknow.attacks import Named
from advknow.experiments import tasks
from advknow.experiments.config import Task, Transfer, scaled
from advknow.experiments.finetune import finetune
from advknow.experiments.measure import measure
from advknow.experiments.presets import preset
from advknow.experiments.sample import Sample
from advknow.experiments.train import train
from advknow.training import TrainConfig

CLASSES = ("<script>", "fünf", "three")


def _photos(root, *, seed=0, count=12):
    for c, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            noise = np.random.default_rng([seed, c, i]).normal(60 + 60 * c, 5, (18, 22))
            Image.fromarray(noise.astype(np.uint8)).save(root / name / f"{i}.png")
    return root


def _train(workdir, root, **how):
    told = []
    found = train(
        workdir,
        model="mlp",
        width=0.05,
        task=Task(f"folder:{root}"),
        training=TrainConfig(epochs=2, batch_size=8, learning_rate=0.02),
        image_size=16,
        progress=lambda stage, done, total, note="": told.append((stage, total, note)),
        **how,
    )
    return found, told


@pytest.mark.slow
def test_a_run_on_a_folder_is_told_of_it_and_knows_it_again(tmp_path, monkeypatch):
    root = _photos(tmp_path / "photos")
    found, told = _train(tmp_path / "a", root)
    assert found["classes"] == list(CLASSES)
    name = f"folder:{root}"
    assert told[0] == (name, 0, "36 images, grey")
    assert (tmp_path / "a" / "metrics.jsonl").read_text().count('"kind": "data"') == 3
    # The same run from another folder, by another spelling of the path.
    monkeypatch.chdir(tmp_path)
    assert _train("a", "photos")[0]["test_accuracy"] == found["test_accuracy"]

    tuned = finetune(
        tmp_path / "a",
        tmp_path / "b",
        task=Task(name, ("three", "<script>")),
        transfer=Transfer("closed_form", TrainConfig(epochs=1)),
    )
    assert tuned["classes"] == ["three", "<script>"]
    attack = Named("fgsm", 0.1, 1, 0, "cross_entropy")
    both = Sample(source=tmp_path / "a", target=tmp_path / "a", correct_only=False)
    measured = measure(both, tmp_path / "m", attack=attack)
    assert measured["dataset"] == name
    # What measures took the size of the images from is the checkpoint.
    assert measured["source_to_target"]["n"] <= found["n_test"]

    # One pixel of one image, under the same name.
    path = root / "fünf" / "3.png"
    array = np.asarray(Image.open(path)).copy()
    array += 64
    Image.fromarray(array).save(path)
    with pytest.raises(ValueError, match=r"other settings: data_sha256.folder:.*photos: '"):
        _train(tmp_path / "a", root)
    with pytest.raises(ValueError, match="other settings: data_sha256"):
        measure(
            Sample(source=tmp_path / "a", target=tmp_path / "a", correct_only=False),
            tmp_path / "m",
            attack=attack,
        )


def test_registered_sets_whose_name_says_all_have_no_fingerprint():
    _, origin = tasks.read("digits", None)
    assert origin == tasks.Origin("digits", None, ())
    assert tasks.fingerprints([origin]) == {}
    # These depend on what is installed, and where.
    assert not any(data.info(name).fixed for name in ("mnist", "glyphs", "tfds:mnist", "npz:x"))


def test_tasks_of_an_experiment_on_folders(tmp_path):
    root = _photos(tmp_path / "photos")
    config = scaled(
        preset("know2adv", "digits"),
        settings=[
            f"sources.*.task.dataset=folder:{root}",
            "sources.*.task.classes=three,fünf",
            f"target.dataset=folder:{root}",
            "target.classes=",
        ],
        image_size=16,
    )
    target, sources = tasks.load(config)
    assert target.class_names == CLASSES
    assert target.train.images.shape[1:] == (16, 16, 1)
    for parts in sources.values():
        assert parts.class_names == ("three", "fünf")
        # Divided between both: the same classes of the same folder.
        assert not {i for part in parts for i in part.ids} & {i for p in target for i in p.ids}


def test_classes_of_a_folder_are_checked_when_it_is_read(tmp_path):
    root = _photos(tmp_path / "photos")
    with pytest.raises(ValueError, match="class='fnf' is not known.*Did you mean 'fünf'"):
        tasks.of_one(Task(f"folder:{root}", ("three", "fnf")), None)
    with pytest.raises(ValueError, match="names a class twice"):
        Task(f"folder:{root}", ("three", "three"))
    # A file that changed is read anew.
    first = tasks.of_one(Task(f"folder:{root}"), None)
    _photos(root, seed=1)
    assert tasks.of_one(Task(f"folder:{root}"), None).origin != first.origin
