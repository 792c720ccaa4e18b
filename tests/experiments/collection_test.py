"""Anybody's models on anybody's images: `experiments.rank` and `experiments.matrix`."""

import csv
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from advknow import ranking
from advknow.attacks import Named
from advknow.experiments import collection
from advknow.experiments.collection import Images
from advknow.experiments.matrix import matrix
from advknow.experiments.rank import rank
from advknow.report import matrix as matrix_report
from advknow.report import ranking as ranking_report
from advknow.runs import unfinished

ATTACK = Named(num_steps=2)
FAST = ("logme", "leep", "cka", "fmd", "rho2", "alpha1_source_to_target")
MODULE = """
    import jax, jax.numpy as jnp
    from jax.tree_util import Partial

    def _model(seed, outputs):
        w = jax.random.normal(jax.random.key(seed), (64, outputs)) / 8

        def f(x):
            return jnp.tanh(x.reshape(len(x), -1) @ w)

        f.features = lambda x: jnp.tanh(x.reshape(len(x), -1) @ w) ** 2
        return f

    def first(): return _model(1, 4)
    def second(): return _model(2, 3)
    def third():
        from advknow import Source
        f = _model(3, 3)
        return Source(logits=f, features=f.features)
    def bare():
        f = _model(4, 3)
        del f.features
        return f
    def numbered():
        f = _model(4, 3)
        f.features = 3
        return f
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a module of models and one of 60 images of three classes."""
    (tmp_path / "my_nets.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_nets", raising=False)
    generator = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog", "owl")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(20):
            pixels = generator.integers(0, 80, (8, 8)) + 80 * label
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path


def _images(**changed):
    settings = {"dataset": "folder:photos", "part": "all", "image_size": 8}
    return Images(**{**settings, **changed})


def _export(path):
    images, _ = _images().read()
    collection.write_examples(images, path)
    with np.load(path) as archive:
        return dict(archive)


def _write_outputs(path, **changed):
    given = _export("examples.npz")
    x = given["x"].reshape(60, -1) / 255.0
    found = {"features": x[:, :20], "logits": x[:, 20:25], "labels": given["labels"]}
    np.savez(path, **{**found, **changed})


def test_models_and_files_are_ranked_together(here):
    _write_outputs("other.npz", ids=_export("examples.npz")["ids"])
    sources = ["my_nets:first", "mine=my_nets:second", "other.npz"]
    how = {"target": "my_nets:third", "attack": ATTACK, "scores": FAST, "draws": 20}
    found = rank(sources, _images(), here / "out", **how)
    assert found["sources"] == ["my_nets:first", "mine", "other"]
    assert found["n"] == 60
    assert found["classes"] == ["cat", "dog", "owl"]
    missing = {(row["source"], row["score"]) for row in found["left_out"]}
    assert missing == {("other", "rho2"), ("other", "alpha1_source_to_target")}
    with open(here / "out" / "ranking.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "target",
        "source",
        "score",
        "value",
        "se",
        "rank",
        "rank_low",
        "rank_high",
    ]
    assert len(rows) == len(found["rows"]) == 3 * 4 + 2 * 2
    assert set(found["audit"]) == {"target", "my_nets:first", "mine"}
    said = ranking_report.text(found)
    assert said.startswith(found["sentence"])
    assert "left out of other: rho2 (needs gradients of the source and" in said
    assert ranking_report.figure(found).axes
    # Finished: read, not computed again.
    assert rank(sources, _images(), here / "out", **how) == found
    with pytest.raises(ValueError, match="draws"):
        rank(sources, _images(), here / "out", **{**how, "draws": 21})
    # The same numbers as by the call.
    images, _ = _images().read()
    import my_nets

    direct = ranking.rank(
        {"first": ranking.Source(my_nets.first(), my_nets.first().features)},
        images.labels,
        images.pixels(),
        scores=("logme", "leep"),
        draws=20,
    )
    of_first = {r["score"]: r for r in found["rows"] if r["source"] == "my_nets:first"}
    for score in ("logme", "leep"):
        assert of_first[score]["value"] == pytest.approx(direct[score].values[0], rel=1e-6)


def test_a_stopped_ranking_goes_on_to_the_same_numbers(here):
    def ranked(folder, **how):
        return rank(
            ["my_nets:first", "my_nets:second"],
            _images(),
            folder,
            target="my_nets:third",
            attack=ATTACK,
            scores=FAST,
            draws=20,
            batch_size=16,
            **how,
        )

    expected = ranked(here / "whole")
    asked = []

    def stop():
        asked.append(1)
        return len(asked) % 3 == 0

    for _ in range(20):
        try:
            found = ranked(here / "stopped", stop=stop, save_interval=0.0)
            break
        except unfinished.StoppedError:
            continue
    assert found["rows"] == expected["rows"]
    assert len(asked) > 3


def test_a_reference_model_is_fitted_only_if_asked_and_is_said_to_know_little(here):
    found = rank(
        ["my_nets:first"],
        _images(),
        here / "out",
        fit_target="mlp",
        attack=None,
        scores=("cka", "rho2"),
        draws=20,
    )
    assert {row["score"] for row in found["rows"]} == {"cka", "rho2"}
    assert "saw 48 of these labels" in found["trust"]
    without = rank(["my_nets:first"], _images(), attack=None, scores=("leep", "cka"), draws=20)
    assert "left out" in without["trust"]
    assert [row["score"] for row in without["left_out"]] == ["cka"]


def test_a_source_without_features_is_ranked_by_what_it_has(here):
    found = rank(["my_nets:bare"], _images(), scores=("logme", "leep"), draws=20)
    assert found["by"] == "leep"
    assert found["left_out"] == [
        {"source": "my_nets:bare", "score": "logme", "why": "needs features"}
    ]


def test_the_matrix_of_models(here):
    models = ["my_nets:first", "b=my_nets:second", "my_nets:third"]
    found = matrix(models, _images(), here / "out", attack=ATTACK)
    assert found["models"] == ["my_nets:first", "b", "my_nets:third"]
    assert np.diag(found["values"]["rho2"]) == pytest.approx(1.0, abs=1e-6)
    with open(here / "out" / "matrix.csv") as file:
        rows = list(csv.DictReader(file))
    alpha1 = {(r["source"], r["target"]): float(r["value"]) for r in rows if r["score"] == "alpha1"}
    assert alpha1["b", "my_nets:third"] == found["values"]["alpha1"][1][2]
    assert " ".join(matrix_report.text(found).split()).startswith(found["sentence"])
    assert matrix_report.figure(found).axes
    assert matrix(models, _images(), here / "out", attack=ATTACK) == found


def test_a_damaged_image_is_named_and_skipped_only_if_asked(here):
    photo = here / "photos" / "cat" / "half.jpg"
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(photo)
    photo.write_bytes(photo.read_bytes()[:200])
    how = {"scores": ("leep",), "draws": 20}
    with pytest.raises(ValueError, match="half.jpg"):
        rank(["my_nets:first"], _images(), **how)
    found = rank(["my_nets:first"], _images(skip_damaged=True), **how)
    assert found["n"] == 60


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": np.zeros(60, int)}, "has label 0, here 1 .dog."),
        ({"labels": np.zeros(60)}, "dtype float64"),
        ({"logits": np.zeros((5, 3))}, "logits has shape"),
        ({"ids": np.array(["x"] * 60)}, "example 0 is x"),
        ({"features": np.array([None] * 60)}, "cannot be read"),
    ],
)
def test_outputs_of_other_examples_are_refused(here, changed, message):
    _write_outputs("bad.npz", **changed)
    with pytest.raises(ValueError, match=message):
        rank(["bad.npz"], _images(), scores=("leep",), draws=20)


def test_a_flipped_bit_of_compressed_outputs_is_said(here):
    given = _export("examples.npz")
    features = np.random.default_rng(0).normal(size=(60, 20))
    np.savez_compressed("bad.npz", features=features, labels=given["labels"])
    content = bytearray((here / "bad.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (here / "bad.npz").write_bytes(content)
    with pytest.raises(ValueError, match="bad.npz cannot be read.*damaged"):
        rank(["bad.npz"], _images(), scores=("logme",), draws=20)


@pytest.mark.parametrize(
    ("sources", "settings", "error", "message"),
    [
        ([], {}, ValueError, "no model is named"),
        (["my_nets:first", ""], {}, ValueError, "nothing between two commas"),
        (["a=my_nets:first", "a=my_nets:second"], {}, ValueError, "two models are named 'a'"),
        (["nowhere.npz"], {}, FileNotFoundError, "nowhere.npz is not there"),
        (["my_nets:absent"], {}, ValueError, "has no 'absent'"),
        (["my_nets:numbered"], {}, ValueError, "features of type int"),
        (["my_nets:first"], {"scores": ("best",)}, ValueError, "score='best' is not known"),
        (["my_nets:first"], {"fit_target": "lenet", "target": "x"}, ValueError, "both given"),
        (["my_nets:first"], {"fit_target": "net"}, ValueError, "'net'"),
    ],
)
def test_hostile_input(here, sources, settings, error, message):
    with pytest.raises(error, match=message):
        rank(sources, _images(), **{"draws": 20, **settings})


def test_images_are_chosen_evenly_and_in_the_order_of_their_names(here):
    images, _ = _images(num_examples=10).read()
    assert sorted(np.bincount(images.labels)) == [3, 3, 4]
    assert list(images.ids) == sorted(images.ids)
    again, _ = _images(num_examples=10).read()
    assert list(again.ids) == list(images.ids)
    other, _ = _images(num_examples=10, seed=1).read()
    assert list(other.ids) != list(images.ids)
    with pytest.raises(ValueError, match="part='half'"):
        _images(part="half")
