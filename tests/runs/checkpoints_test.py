import json
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from blobs import random_variables

from advknow import models
from advknow.runs import checkpoints


def tree(seed=0):
    rng = np.random.default_rng(seed)
    floats = jnp.asarray(rng.standard_normal((5, 3)), jnp.float32)
    return {
        "params": {
            "head": {"kernel": floats.at[0, 0].set(jnp.nan).at[0, 1].set(-0.0)},
            "scalar": jnp.float32(1 / 3),
            "half": jnp.asarray(rng.standard_normal(4), jnp.bfloat16),
        },
        "counts": jnp.arange(6, dtype=jnp.int32).reshape(2, 3),
        "batch_stats": {},
    }


def assert_identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert x.shape == y.shape
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_round_trip_is_bitwise(tmp_path):
    metadata = {"model": "x", "class_names": ("a", "b"), "nested": {"accuracy": 0.1}}
    checkpoints.save(tmp_path / "new" / "one", tree(), metadata)
    variables, found = checkpoints.load(tmp_path / "new" / "one")
    assert_identical(variables, tree())
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(variables))
    assert found == {"model": "x", "class_names": ["a", "b"], "nested": {"accuracy": 0.1}}


def test_a_save_replaces_and_leaves_nothing_behind(tmp_path):
    checkpoints.save(tmp_path, tree(0), {"run": 0})
    checkpoints.save(tmp_path, tree(1), {"run": 1})
    variables, metadata = checkpoints.load(str(tmp_path))
    assert_identical(variables, tree(1))
    assert metadata == {"run": 1}
    assert len(names(tmp_path)) == 2


def test_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoints.save("here", tree(), {})
    assert_identical(checkpoints.load("here")[0], tree())


@pytest.mark.parametrize("moment", ["arrays", "rename"])
def test_interrupted_save_leaves_the_old_one(tmp_path, monkeypatch, moment):
    checkpoints.save(tmp_path, tree(0), {"run": 0})

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "arrays":
            patch.setattr(ocp.PyTreeCheckpointHandler, "finalize", interrupt)
        else:
            patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(tmp_path, tree(1), {"run": 1})
    assert len(names(tmp_path)) > 2  # it was interrupted in the middle
    variables, metadata = checkpoints.load(tmp_path)
    assert_identical(variables, tree(0))
    assert metadata == {"run": 0}
    checkpoints.save(tmp_path, tree(2), {"run": 2})
    assert_identical(checkpoints.load(tmp_path)[0], tree(2))
    assert len(names(tmp_path)) == 2


def test_interrupted_first_save_is_no_checkpoint(tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(tmp_path, tree(), {})
    with pytest.raises(ValueError, match=r"no metadata\.json \(its first save was interrupted\)"):
        checkpoints.load(tmp_path)


def test_missing(tmp_path):
    path = tmp_path / "nothing"
    with pytest.raises(FileNotFoundError, match=f"no checkpoint at {re.escape(str(path))}"):
        checkpoints.load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no advknow checkpoint: it has no metadata\.json"),
        ("[]", "of another kind"),
        ('{"format": "other"}', "of another kind"),
        ('{"format": "advknow checkpoint", "version": 3}', "has version 3"),
        ('{"format": "advknow checkpoint", "version": 1, "arrays": "../x"}', "lacks entries"),
        ("not JSON", "truncated or damaged"),
    ],
)
def test_foreign(tmp_path, content, message):
    (tmp_path / "notes.txt").write_text("mine")
    if content is not None:
        (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        checkpoints.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_file_in_place_of_a_folder(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} is a file"):
        checkpoints.load(path)
    for bad in (path, path / "below"):
        with pytest.raises(ValueError, match=f"{re.escape(str(path))} is a file"):
            checkpoints.save(bad, tree(), {})


def test_save_does_not_touch_a_foreign_folder(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"holds other things than a checkpoint \(thesis\.tex\)"):
        checkpoints.save(tmp_path, tree(), {})
    assert names(tmp_path) == ["thesis.tex"]


# orbax closes its event loop before the reads that failed have reported to it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("lost", [False, True])
def test_truncated_or_lost_files_never_give_other_arrays(tmp_path, lost):
    large = jnp.asarray(np.random.default_rng(0).standard_normal((200, 50)), jnp.float32)
    saved = {**tree(), "large": large}
    checkpoints.save(tmp_path, saved, {})
    files = sorted((f for f in tmp_path.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    assert files[-1].stat().st_size > 30_000  # the large array's
    refused = set()
    for file in files:
        content = file.read_bytes()
        if lost:
            file.unlink()
        else:
            file.write_bytes(content[: len(content) // 2])
        try:
            variables, _ = checkpoints.load(tmp_path)
        except ValueError as error:
            if str(tmp_path) in str(error):
                refused.add(file)
        else:  # orbax keeps some things twice and can do without one
            assert_identical(variables, saved)
        file.write_bytes(content)
    assert {files[-1], tmp_path / "metadata.json"} < refused
    assert_identical(checkpoints.load(tmp_path)[0], saved)


def test_changed_array_is_refused(tmp_path):
    checkpoints.save(tmp_path, tree(), {})
    file = tmp_path / "metadata.json"
    record = json.loads(file.read_text())
    record["tree"]["counts"][2] += 1
    record["version"] = 1  # whose record has no CRC-32 of itself
    file.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="the array counts is not the one that was saved"):
        checkpoints.load(tmp_path)


@pytest.mark.parametrize(
    ("variables", "metadata", "error", "message"),
    [
        ([1], {}, TypeError, "variables is a list"),
        ({}, {}, TypeError, "variables is a dict"),
        ({"a": 1.0}, {}, TypeError, r"variables\['a'\] is a float"),
        ({"a": {3: jnp.ones(2)}}, {}, TypeError, "the key 3; strings are needed"),
        ({"a": jnp.zeros((0, 3))}, {}, ValueError, r"variables\['a'\] has shape \(0, 3\)"),
        ({"a": jax.random.key(0)}, {}, TypeError, r"variables\['a'\]"),
        (tree(), {"f": print}, TypeError, "metadata is not JSON"),
        (tree(), {"f": float("nan")}, ValueError, "metadata is not JSON"),
        (tree(), 3, TypeError, "metadata is a int"),
    ],
)
def test_hostile_arguments_write_nothing(tmp_path, variables, metadata, error, message):
    with pytest.raises(error, match=message):
        checkpoints.save(tmp_path / "new", variables, metadata)
    assert names(tmp_path) == []


def test_restore_model(tmp_path):
    model = models.create("resnet18", num_classes=4, input_shape=(8, 8, 1), width=0.05)
    variables = random_variables(model)
    checkpoints.save(
        tmp_path, variables, {**checkpoints.model_metadata(model), "class_names": list("abcd")}
    )
    again, restored, metadata = checkpoints.restore_model(tmp_path)
    assert again is model
    assert metadata["class_names"] == list("abcd")
    assert_identical(restored, variables)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "vgg"}, "describes no model of advknow: .*vgg"),
        ({"model": None}, "describes no model of advknow"),
        ({"width": 0.5}, "does not fit its own description"),
        ({"num_classes": 5}, "does not fit its own description"),
    ],
)
def test_restore_model_refuses_what_does_not_fit(tmp_path, change, message):
    model = models.create("mlp", num_classes=4, input_shape=(8, 8, 1), width=0.1)
    variables = random_variables(model)
    checkpoints.save(tmp_path, variables, {**checkpoints.model_metadata(model), **change})
    with pytest.raises(ValueError, match=message) as caught:
        checkpoints.restore_model(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_restore_model_says_what_the_metadata_lacks(tmp_path):
    checkpoints.save(tmp_path, tree(), {"model": "mlp"})
    with pytest.raises(ValueError, match="describes no model of advknow: no 'num_classes'"):
        checkpoints.restore_model(tmp_path)
