"""The study's machinery: what it is made of, its records, shards, stopping and going on."""

import dataclasses

import numpy as np
import pytest
from planted_evidence import planted

from advknow.data import Dataset, DatasetSplits
from advknow.evidence import design, hypotheses, images, records, run, studies, truth
from advknow.runs.unfinished import StoppedError


def test_the_study_is_as_large_as_the_protocol_says():
    full = studies.full()
    of = {zoo: [s for s in full.sources if s.zoo == zoo] for zoo in "AB"}
    assert len(of["A"]) == 48
    assert {(s.recipe.model, s.recipe.width) for s in of["A"]} == {("lenet", 1.0)}
    assert len({s.recipe for s in of["A"]}) == 24
    assert len(of["B"]) == 30
    assert len({s.recipe.model for s in of["B"]}) == 5
    assert len({s.recipe.dataset for s in of["B"]}) == 3
    assert len(full.targets) == 8
    assert len({target.family for target in full.targets}) == 4
    new = {target.name for target in full.targets} - studies.TRIED
    assert new == {"Fashion all ten", "letters A-M", "letters N-Z", "numerals"}


def test_hypotheses_are_as_fixed():
    assert hypotheses.PRIMARY == ("alpha1_alpha2_squared_source_to_target", "small_eps")
    assert [*hypotheses.POSTER.values()] == [
        ("alpha1_alpha2_squared_target_to_source", "fgsm"),
        ("alpha1_alpha2_squared_source_to_target", "pgd"),
    ]


def test_near_is_the_same_data_set():
    full = studies.full()
    sources = {s.name: s for s in full.sources}
    targets = {t.name: t for t in full.targets}

    def near(source):
        return [t.name for t in full.targets if t.relation(sources[source]) == "near"]

    assert near("A mnist-whole 0") == ["MNIST"]
    assert near("A letters 0") == ["letters A-M", "letters N-Z", "numerals"]
    assert near("A untrained 1") == []
    assert targets["digits"].relation(sources["A numerals 0"]) == "far"


def _made_up(name, count=60, num_classes=10):
    def part(which):
        labels = np.arange(count) % num_classes
        ids = np.array([f"{name}/{which}/{i}" for i in range(count)])
        pixels = np.zeros((count, 32, 32, 1), np.uint8)
        return Dataset(pixels, labels.astype(np.int32), _classes(name), ids)

    return DatasetSplits(*(part(which) for which in ("train", "validation", "test")))


def _classes(name):
    from advknow import data

    return data.info(name).class_names


def test_no_source_shares_an_image_with_a_target(monkeypatch):
    """The real glyphs and digits; MNIST and Fashion-MNIST made up, whose halves are by number."""
    real = images._loaded

    def loaded(name, data_dir):
        return _made_up(name) if name in images.HALVED else real(name, data_dir)

    monkeypatch.setattr(images, "_loaded", loaded)
    study = dataclasses.replace(studies.full(), source_per_font=2, target_per_font=4)
    images.check_disjoint(study)
    halves = [
        {i for part in splits for i in part.ids}
        for splits in (
            images.of_recipe(study.sources[0].recipe, study),
            images.of_target(study.targets[4], study),
        )
    ]
    assert study.targets[4].name == "Fashion all ten"
    assert len(halves[0]) == len(halves[1]) == 90
    monkeypatch.setattr(images, "_half", lambda splits, study, which: splits)
    with pytest.raises(ValueError, match="overlapping source and target images"):
        images.check_disjoint(study)


def test_the_labels_of_a_noisy_source_are_wrong_where_they_should_be():
    study = studies.tiny()
    (noisy,) = [s for s in study.sources if s.name == "A letters-noise-0.8 0"]
    clean = {i: label for part in images.of_recipe(noisy.recipe, study)
             for i, label in zip(part.ids, part.labels, strict=True)}  # fmt: skip
    found = images.of_source(noisy, study)
    wrong = [np.mean([clean[i] != label for i, label in zip(p.ids, p.labels, strict=True)])
             for p in found]  # fmt: skip
    # Rounded to whole images of each class, of which validation has seven.
    assert wrong == pytest.approx([0.8, 0.8, 0.0], abs=0.08)


def test_the_probe_is_that_of_separated_and_of_meaningless_features():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    apart = np.eye(4)[labels] * 100 + rng.normal(size=(200, 4))
    assert truth.probe(apart[:80], labels[:80], apart[80:], labels[80:]) == 100
    noise = rng.normal(size=(200, 4))
    # 120 images: chance is 25 %, with a standard error of 4.
    assert 9 < truth.probe(noise[:80], labels[:80], noise[80:], labels[80:]) < 41


@pytest.mark.parametrize("name", ["evidence.csv", "evidence.csv.gz"])
def test_records_come_back_from_their_file(name, tmp_path):
    written = records.ordered(planted({}))
    written[5]["value"] = ""
    records.write(written, tmp_path / name)
    assert records.read([tmp_path / name]) == written


def test_files_of_shards_are_put_together_and_must_agree(tmp_path):
    whole = records.ordered(planted({}))
    for i in (0, 1):
        records.write([r for k, r in enumerate(whole) if k % 2 == i], tmp_path / f"{i}.csv")
    assert records.read([tmp_path / "1.csv", tmp_path / "0.csv", tmp_path / "1.csv"]) == whole
    other = [{**whole[0], "value": 7.0}]
    records.write(other, tmp_path / "other.csv")
    with pytest.raises(ValueError, match=r"two records of .*: .* and 7\.0"):
        records.read([tmp_path / "0.csv", tmp_path / "other.csv"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_no_value(value, tmp_path):
    source, target = studies.tiny().sources[0], studies.tiny().targets[0]
    with pytest.raises(ValueError, match="logme of source A letters-whole 0 on target digits is"):
        records.record(source, target, "logme", value, n=1)
    written = [records.record(source, target, "logme", 1.0, n=1)]
    records.write([{**written[0], "value": value}], tmp_path / "bad.csv")
    with pytest.raises(ValueError, match="a finite value is needed"):
        records.read([tmp_path / "bad.csv"])


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("source,value\na,1\n")
    with pytest.raises(ValueError, match="has the columns"):
        records.read([tmp_path / "a.csv"])


def test_shards_divide_the_sources():
    of = studies.full().sources
    shards = [design.shard(of, f"{i}/4") for i in (1, 2, 3, 4)]
    assert sorted(s.name for part in shards for s in part) == sorted(s.name for s in of)
    for bad in ("0/4", "5/4", "1", "a/b", "1/0"):
        with pytest.raises(ValueError, match="must be I/N"):
            design.shard(of, bad)


def _smallest():
    """The tiny study with four sources."""
    study = studies.tiny()
    return dataclasses.replace(study, sources=study.sources[:4])


@pytest.mark.slow
def test_shards_and_a_stopped_run_give_the_records_of_a_whole_one(tmp_path):
    study, whole = _smallest(), tmp_path / "whole"
    said = run.run(study, whole)
    assert said["missing"] == []
    assert said["verdict"]["sources"] == {"A": 4}
    # In two workdirs, as on two machines.
    parts = []
    for i in (1, 2):
        parts.append(tmp_path / f"part{i}" / records.FILE)
        missing = run.run(study, parts[-1].parent, shard=f"{i}/2")["missing"]
        assert len(missing) == 2
    assert records.read(parts) == records.read([whole / records.FILE])
    # Stopped again and again, every time after more questions.
    stopped, asked = tmp_path / "stopped", []
    for patience in (40, 10**9):
        asked.clear()

        def stop(patience=patience):
            asked.append(None)
            return len(asked) > patience

        try:
            run.run(study, stopped, stop=stop, save_interval=0.0)
        except StoppedError:
            assert patience < 10**9
            assert not (stopped / records.FILE).exists()
    assert (stopped / records.FILE).read_bytes() == (whole / records.FILE).read_bytes()
    # Nothing is done again.
    trained = [p.stat().st_mtime_ns for p in sorted((whole / "sources").rglob("*"))]
    made = [p.stat().st_mtime_ns for p in sorted((whole / "records").rglob("*.json"))]
    run.run(study, whole, stop=lambda: True)
    assert trained == [p.stat().st_mtime_ns for p in sorted((whole / "sources").rglob("*"))]
    assert made == [p.stat().st_mtime_ns for p in sorted((whole / "records").rglob("*.json"))]
