"""Files that are not what they should be, full disks, and runs that write only where they may."""

import ast
import errno
import gzip
import json
import os
import pathlib
import pickle
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from launching import ROOT, launch

from advknow import data, models
from advknow.experiments import results
from advknow.runs import adversarial_examples, checkpoints, files, snapshots
from advknow.runs.adversarial_examples import AdversarialExamples
from advknow.runs.session import finished, session
from advknow.runs.unfinished import Unfinished
from advknow.synthetic import files as synthetic_files

X = np.random.default_rng(0).uniform(0.1, 0.9, (3, 4)).astype(np.float32)
MODEL = models.create("mlp", num_classes=2, input_shape=(4, 4, 1), width=0.01)


class Exploit:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def checkpoint(folder):
    variables = MODEL.init(jax.random.key(0))
    checkpoints.save(folder / "c", variables, checkpoints.model_metadata(MODEL))
    return folder / "c"


def idx(folder, content=None):
    images = b"\0\0\x08\x03" + struct.pack(">III", 4, 28, 28)
    labels = b"\0\0\x08\x01" + struct.pack(">I", 4) + bytes(4)
    content = images + bytes(4 * 784) if content is None else content
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(content)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)


def read_idx(content):
    def read(folder):
        idx(folder, content)
        data.load("fashion_mnist", data_dir=str(folder))

    return read


def zipped_and_cut(folder):
    idx(folder)
    file = folder / "train-images-idx3-ubyte"
    whole = gzip.compress(file.read_bytes())
    file.unlink()
    (folder / f"{file.name}.gz").write_bytes(whole[: len(whole) // 2])
    data.load("fashion_mnist", data_dir=str(folder))


def of_file(write, read):
    """Writes a file of that content, then reads it."""

    def run(folder):
        content = write(folder) if callable(write) else write
        path = folder / "file.npz"
        if content is not None:
            path.write_bytes(content)
        read(path)

    return run


def archive(**arrays):
    def write(folder):
        np.savez(folder / "file.npz", **arrays)

    return write


def pickled(folder):
    """An archive whose array is a pickle that would write a file."""
    with open(folder / "file.npz", "wb") as file:
        np.savez(file, X=np.array([Exploit(folder / "exploited")], object), Y=np.ones(1))


def plain_pickle(folder):
    return pickle.dumps(Exploit(folder / "exploited"))


def truncated_snapshot(folder):
    snapshots.save(folder / "file.npz", {"delta": X}, {"done": 3})
    return (folder / "file.npz").read_bytes()[:-40]


def changed_examples(folder):
    adversarial_examples.save(folder / "file.npz", AdversarialExamples(X, X * 0, {"eps": 0.1}))
    arrays, values = snapshots.load(folder / "file.npz")
    snapshots.save(folder / "file.npz", {**arrays, "delta": arrays["delta"] + 1e-3}, values)


def damaged_checkpoint(change):
    def run(folder):
        found = checkpoint(folder)
        change(found)
        checkpoints.restore_model(found)

    return run


def largest(folder):
    stored = (p for p in folder.glob("arrays-*/**/*") if p.is_file())
    return max(stored, key=lambda p: p.stat().st_size)


def claimed(content):
    def run(folder):
        (folder / "config.json").write_bytes(content)
        files.claim(folder, {"seed": 0})

    return run


def read_results(content):
    def run(folder):
        (folder / "results.json").write_bytes(content)
        results.read(folder)

    return run


def read_finished(content):
    def run(folder):
        (folder / "chain.json").write_bytes(content)
        finished(session(folder, ends_with="chain.json"), "chain", "audit")

    return run


def of_another_model(folder):
    other = models.create("mlp", num_classes=3, input_shape=(4, 4, 1), width=0.01)
    metadata = checkpoints.model_metadata(MODEL)
    checkpoints.save(folder / "c", other.init(jax.random.key(0)), metadata)
    checkpoints.restore_model(folder / "c")


def another_state(folder):
    from advknow.training.config import TrainConfig
    from advknow.training.state import create_state

    unfinished = Unfinished(folder, interval=0.0)
    config = TrainConfig(epochs=1)
    first = create_state({"w": jnp.ones(2)}, {}, config, jax.random.key(0))
    unfinished.save_training("train")(first)
    unfinished.wait()
    other = create_state({"w": jnp.ones(2), "b": jnp.ones(1)}, {}, config, jax.random.key(0))
    unfinished.restore_training("train")(other)


READ_DATA, READ_SNAPSHOT = synthetic_files.read_data, snapshots.load
TABLE = [
    ("IDX of another magic number", read_idx(b"\0\0\x0d\x03" + bytes(12)), ValueError,
     "is no IDX file of bytes with 3 axes"),
    ("IDX of labels as images", read_idx(b"\0\0\x08\x01" + bytes(8)), ValueError, "3 axes"),
    ("IDX cut", read_idx(b"\0\0\x08\x03" + struct.pack(">III", 4, 28, 28) + bytes(99)), ValueError,
     "is truncated or damaged: 115 bytes"),
    ("IDX too long", read_idx(b"\0\0\x08\x03" + struct.pack(">III", 1, 28, 28) + bytes(785)),
     ValueError, "is truncated or damaged"),
    ("IDX of no bytes", read_idx(b""), ValueError, "train-images-idx3-ubyte is no IDX file"),
    ("IDX of a huge header", read_idx(b"\0\0\x08\x03" + b"\xff" * 12), ValueError, "truncated"),
    ("IDX with fewer labels", read_idx(
        b"\0\0\x08\x03" + struct.pack(">III", 5, 28, 28) + bytes(5 * 784)), ValueError, "5"),
    ("gzip cut", zipped_and_cut, ValueError, "train-images-idx3-ubyte.gz is truncated or damaged"),
    ("no files", lambda folder: data.load("fashion_mnist", data_dir=str(folder)),
     FileNotFoundError, "dataset-fashion-mnist"),
    ("npz of text", of_file(b"X,Y\n1,2\n", READ_DATA), ValueError, "file.npz is not an .npz file"),
    ("npz of no bytes", of_file(b"", READ_DATA), ValueError, "file.npz is not an .npz file"),
    ("npz of a pickle", of_file(pickled, READ_DATA), ValueError, "plain numbers are needed"),
    ("a pickle", of_file(plain_pickle, READ_DATA), ValueError, "file.npz is not an .npz file"),
    ("npz without Y", of_file(archive(X=X), READ_DATA), ValueError, "lacks the array Y"),
    ("npz of other shapes", of_file(archive(X=X, Y=X[:, :2]), READ_DATA), ValueError, "(d, 4)"),
    ("npz with NaN", of_file(archive(X=X, Y=X * np.nan), READ_DATA), ValueError, "Y holds NaN"),
    ("npz of words", of_file(archive(X=np.array([["a"]]), Y=X), READ_DATA), ValueError, "dtype"),
    ("no npz", of_file(None, READ_DATA), FileNotFoundError, "file.npz: there is no such file"),
    ("snapshot cut", of_file(truncated_snapshot, READ_SNAPSHOT), ValueError,
     "file.npz is truncated, damaged or no snapshot of advknow"),
    ("snapshot of a pickle", of_file(pickled, READ_SNAPSHOT), ValueError, "no snapshot of advknow"),
    ("snapshot of others", of_file(archive(delta=X), READ_SNAPSHOT), ValueError, "no snapshot of"),
    ("examples of others", of_file(archive(x=X), adversarial_examples.load), ValueError, "file.npz"),
    ("examples changed", of_file(changed_examples, adversarial_examples.load), ValueError,
     "file.npz was changed since it was saved: its SHA-256 is another"),
    ("no checkpoint", lambda folder: checkpoints.load(folder / "c"), FileNotFoundError, "/c"),
    ("a file as checkpoint", of_file(b"x", checkpoints.load), ValueError, "is a file; a checkpoint"),
    ("another folder as checkpoint", checkpoints.load, ValueError, "is no advknow checkpoint"),
    ("checkpoint of a pickle", damaged_checkpoint(
        lambda c: (c / "metadata.json").write_bytes(pickle.dumps(Exploit(c.parent / "exploited")))),
     ValueError, "is truncated or damaged: metadata.json is not JSON"),
    ("checkpoint's record cut", damaged_checkpoint(
        lambda c: (c / "metadata.json").write_text((c / "metadata.json").read_text()[:-30])),
     ValueError, "metadata.json is not JSON"),
    ("checkpoint's record changed", damaged_checkpoint(
        lambda c: (c / "metadata.json").write_text(
            (c / "metadata.json").read_text().replace("0.01", "0.02"))),
     ValueError, "metadata.json is not the one that was saved"),
    ("checkpoint's arrays cut", damaged_checkpoint(
        lambda c: largest(c).write_bytes(largest(c).read_bytes()[:-7])), ValueError, "damaged"),
    ("checkpoint's arrays gone", damaged_checkpoint(lambda c: largest(c).unlink()), ValueError,
     "damaged"),
    ("arrays of another model", of_another_model, ValueError, "does not fit its own description"),
    ("state of another training", another_state, ValueError, "holds another training's state"),
    ("config.json cut", claimed(b'{"seed": '), ValueError, "; choose another workdir."),
    ("config.json of bytes", claimed(b"\xff\xfe\x00"), ValueError, "config.json is damaged, not valid JSON"),
    ("config.json of a list", claimed(b"[]"), ValueError, "config.json does not hold an object"),
    ("config.json of another seed", claimed(b'{"seed": 1}'), ValueError, "seed: 1 -> 0"),
    ("chain.json cut", read_finished(b'{"chain": {'), ValueError, "chain.json is damaged"),
    ("chain.json of bytes", read_finished(b"\xff\xfe"), ValueError, "chain.json is damaged"),
    ("chain.json of others", read_finished(b'{"chain": {}}'), ValueError, "chain.json does not hold audit"),
    ("results.json cut", read_results(b"{"), ValueError, "results.json is damaged, not valid JSON"),
    ("results.json of bytes", read_results(b"\xff\xfe"), ValueError, "results.json is damaged"),
    ("results.json of others", read_results(b"{}"), ValueError, "a results.json of advknow"),
]  # fmt: skip


@pytest.mark.parametrize(("run", "error", "words"), [row[1:] for row in TABLE],
                         ids=[row[0] for row in TABLE])  # fmt: skip
def test_a_file_that_is_not_what_it_should_be_is_refused_by_name(run, error, words, tmp_path):
    with pytest.raises(error) as caught:
        run(tmp_path)
    assert words in str(caught.value), str(caught.value)
    assert not (tmp_path / "exploited").exists()


def test_a_flipped_bit_of_a_checkpoint_never_passes(tmp_path):
    """Anywhere: in the record, in the arrays, in the array store's own files."""
    found = checkpoint(tmp_path)
    wanted, metadata = checkpoints.load(found)
    stored = sorted(p for p in found.rglob("*") if p.is_file())
    generator = np.random.default_rng(0)
    refused = tried = 0
    for path in stored:
        for _ in range(4):
            content = bytearray(path.read_bytes())
            if not content:
                continue
            tried += 1
            content[generator.integers(len(content))] ^= 1 << generator.integers(8)
            whole = path.read_bytes()
            path.write_bytes(content)
            try:
                variables, found_metadata = checkpoints.load(found)
            except ValueError as error:
                refused += str(found) in str(error)
            else:
                # A bit that nothing depends on: what is read is what was saved.
                tried -= 1
                jax.tree.map(np.testing.assert_array_equal, variables, wanted)
                assert found_metadata == metadata
            path.write_bytes(whole)
    assert refused == tried >= 4


@pytest.mark.parametrize("moment", ["mkstemp", "fsync", "replace"])
def test_a_full_disk_leaves_the_state_before(moment, tmp_path, monkeypatch):
    before = {"delta": X}, {"done": 3}
    snapshots.save(tmp_path / "s.npz", *before)
    found = checkpoint(tmp_path)
    wanted, _ = checkpoints.load(found)

    def full(*given, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files.tempfile if moment == "mkstemp" else os, moment, full)
        for save in (
            lambda: snapshots.save(tmp_path / "s.npz", {"delta": X + 1}, {"done": 4}),
            lambda: files.write_atomically(tmp_path / "new.json", "{}"),
        ):
            with pytest.raises(OSError, match="No space left on device"):
                save()
        if moment == "replace":
            with pytest.raises(OSError, match="No space left on device"):
                checkpoints.save(found, {"w": jnp.ones(2)}, {})
    arrays, values = snapshots.load(tmp_path / "s.npz")
    np.testing.assert_array_equal(arrays["delta"], X)
    assert values == {"done": 3}
    jax.tree.map(np.testing.assert_array_equal, checkpoints.load(found)[0], wanted)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "s.npz"]
    # With room again, the same save succeeds and leaves nothing of the failed one.
    checkpoints.save(found, {"w": jnp.ones(2)}, {})
    assert len(list(found.iterdir())) == 2


def test_nan_never_reaches_a_file(tmp_path):
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            snapshots.save(tmp_path / "s.npz", {}, {"alpha1": value})
        with pytest.raises(ValueError, match="JSON"):
            checkpoints.save(tmp_path / "c", {"w": jnp.ones(1)}, {"accuracy": value})
        with pytest.raises(ValueError, match="JSON"):
            files.claim(tmp_path, {"eps": value})
    assert list(tmp_path.iterdir()) == []


# Parsed here: Python 3.11 cannot parse on two threads, and orbax's print tracebacks, which do.
TREES = {
    path: ast.parse(path.read_text())
    for folder in ("advknow", "launch")
    for path in sorted((ROOT / folder).rglob("*.py"))
}


@pytest.mark.parametrize("path", TREES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_read_from_a_file_is_run(path):
    """By the syntax tree: no unpickling, and code is imported by name in one place only."""
    for node in ast.walk(TREES[path]):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        where = f"{path}:{node.lineno}"
        if called in ("np.load", "numpy.load"):
            given = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert given.get("allow_pickle") == "False", where
        if called.endswith("import_module") or called == "__import__":
            # By a name that a user gave, and advknow.adapters when it is first asked for.
            assert path.relative_to(ROOT).as_posix() in (
                "advknow/runs/by_name.py",
                "advknow/__init__.py",
            ), where
        assert called not in ("eval", "exec", "compile", "yaml.load", "jax.export.deserialize"), (
            where
        )


@pytest.mark.slow
def test_nothing_is_written_outside_the_workdir_and_the_cache(tmp_path, monkeypatch):
    places = {name: tmp_path / name for name in ("home", "temporary", "here")}
    for folder in places.values():
        folder.mkdir()
    monkeypatch.setenv("HOME", str(places["home"]))
    monkeypatch.setenv("TMPDIR", str(places["temporary"]))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    tiny = ("--model=mlp", "--width=0.05", "--epochs=1", "--noaugment")
    launch("train", *tiny, "--workdir=run/a", cwd=places["here"])
    pair = ("--source=run/a", "--target=run/a", "--num_examples=20", "--num_steps=2")
    launch("measure", *pair, "--workdir=run/m", cwd=places["here"])
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    allowed = ("here/run/a/", "here/run/m/", "home/.cache/advknow/")
    assert [path for path in written if not path.startswith(allowed)] == []
    assert any(path.startswith(allowed[-1]) for path in written)

    def refuse(constant):
        raise AssertionError(constant)

    read = [path for path in written if path.endswith(".json")]
    assert len(read) >= 4
    for path in read:
        json.loads((tmp_path / path).read_text(), parse_constant=refuse)
