"""A run stopped anywhere goes on to the same results, bit for bit; damaged leftovers are refused."""

import json
import re

import numpy as np
import pytest
from tiny_run import tiny_run

from advknow.experiments import run
from advknow.runs import checkpoints, journal, snapshots, unfinished
from advknow.runs.unfinished import StoppedError


def without_times(workdir):
    content = json.loads((workdir / "results.json").read_text())
    return {name: value for name, value in content.items() if name != "seconds"}


class StopAfter:
    """Says stop once, after so many questions."""

    def __init__(self, questions):
        self.left, self.asked = questions, 0

    def __call__(self):
        self.asked += 1
        self.left -= 1
        return self.left < 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    asked = StopAfter(10**9)
    run.run(tiny_run(), workdir, command="c", stop=asked, save_interval=1e9)
    return workdir, asked.asked


def test_stopped_again_and_again_it_gives_the_same_bits(whole, tmp_path):
    """Every session is stopped after three more steps, batches or draws, whatever they are of."""
    workdir, questions = whole
    sessions, stages = 0, set()
    while True:
        sessions += 1
        stop = StopAfter(3)
        try:
            run.run(tiny_run(), tmp_path, command="c", stop=stop, save_interval=1e9)
            break
        except StoppedError:
            stages |= {path.name for path in (tmp_path / "unfinished").iterdir()}
        assert sessions < questions
    assert sessions >= 8
    assert without_times(tmp_path) == without_times(workdir)
    for name in ("results.csv", "gallery.npz"):
        assert (tmp_path / name).read_bytes() == (workdir / name).read_bytes()
    # It was stopped inside each kind of stage.
    kinds = {name.split("_")[0] for name in stages}
    assert {"train", "attack", "measure", "transfer"} <= kinds
    assert not (tmp_path / "unfinished").exists()


def test_snapshots_after_every_step_change_nothing(whole, tmp_path):
    run.run(tiny_run(), tmp_path, command="c", save_interval=0.0)
    assert without_times(tmp_path) == without_times(whole[0])


def test_finished_parts_are_not_done_again(tmp_path):
    """Epochs, and seconds, of the journal: each epoch of each training once in all."""
    for questions in (10, 14, 9):
        with pytest.raises(StoppedError):
            run.run(tiny_run(), tmp_path, stop=StopAfter(questions), save_interval=1e9)
    run.run(tiny_run(), tmp_path)
    events = journal.read(tmp_path / journal.FILE)
    epochs = [(e["stage"], e["epoch"]) for e in events if e["kind"] == "epoch"]
    assert sorted(epochs) == sorted(
        (f"train {name}", epoch) for name in ("target", "0%", "50%") for epoch in (1, 2)
    )
    assert [e["kind"] for e in events].count("start") == 4
    stored = json.loads((tmp_path / "results.json").read_text())["seconds"]
    assert stored == journal.Journal(tmp_path).seconds()
    assert set(stored) >= {"train target", "attack target", "measure 0%", "transfer 50%"}


def stopped_in(stage, workdir):
    """A run stopped while that stage is unfinished; the file or folder it left."""
    path = workdir / "unfinished" / unfinished.file_name(stage)
    for _ in range(200):
        with pytest.raises(StoppedError):
            run.run(tiny_run(), workdir, stop=StopAfter(1), save_interval=1e9)
        for found in (path, path.with_name(path.name + ".npz")):
            if found.exists():
                return found
    raise AssertionError(f"never stopped in {stage}")


def test_a_damaged_training_is_refused_by_name(tmp_path):
    folder = stopped_in("train target", tmp_path)
    (folder / checkpoints.METADATA_FILE).write_text("{")
    with pytest.raises(ValueError, match=re.escape(str(folder))):
        run.run(tiny_run(), tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign"])
def test_a_damaged_attack_is_refused_by_name(tmp_path, damage):
    file = stopped_in("attack target", tmp_path)
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 3] ^= 4
    else:
        content = b"not a snapshot"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(file)) + ".* remove it to begin this part"):
        run.run(tiny_run(), tmp_path)


def test_no_bit_of_a_snapshot_flips_unseen(tmp_path):
    path = tmp_path / "s.npz"
    snapshots.save(path, {"a": np.arange(3.0), "b": np.zeros(())}, {"x": 1})
    content = path.read_bytes()
    refused = 0
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(changed)
        try:
            arrays, values = snapshots.load(path)
        except ValueError:
            refused += 1
            continue
        # Dates and the like: nothing that is read.
        assert {name: array.tobytes() for name, array in arrays.items()} == {
            "a": np.arange(3.0).tobytes(),
            "b": np.zeros(()).tobytes(),
        }
        assert values == {"x": 1}
    assert refused > len(content)


def test_the_journal_survives_half_a_line(tmp_path):
    first = journal.Journal(tmp_path)
    first.write("row", a=1)
    with (tmp_path / journal.FILE).open("a") as file:
        file.write('{"time": 1, "kind": "ro')
    seen = []
    second = journal.Journal(tmp_path, seen.append)
    second.write("row", a=2)
    assert [e["a"] for e in journal.read(tmp_path / journal.FILE)] == [1, 2]
    assert [e["a"] for e in seen] == [2]
    with pytest.raises(ValueError, match="JSON compliant"):
        second.write("row", a=float("nan"))


def test_stage_names_become_different_files():
    names = ["train 0%", "train 0", "train_0_", "train a/b", "train a b", "../x"]
    files = [unfinished.file_name(name) for name in names]
    assert len(set(files)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", name) for name in files)


def test_the_synthetic_experiment_goes_on_after_its_last_step(tmp_path, monkeypatch):
    from advknow.synthetic import experiment as synthetic
    from advknow.synthetic.experiment import SyntheticConfig

    config = SyntheticConfig(
        num_inputs=4, num_outputs=2, num_examples=50, source_hidden=3, target_hidden=5, epochs=2
    )
    synthetic.run(config, tmp_path / "whole", command="c")
    stopped = tmp_path / "stopped"
    for steps in (0, 2, 3):
        with pytest.raises(StoppedError):
            synthetic.run(config, stopped, command="c", stop=StopAfter(steps))
    assert (stopped / "weights.npz").exists()
    trained = []
    genuine = synthetic.measure
    monkeypatch.setattr(synthetic, "prepare", lambda *given, **named: pytest.fail("trained again"))
    monkeypatch.setattr(
        synthetic,
        "measure",
        lambda *given, **named: (trained.append(1), genuine(*given, **named))[1],
    )
    synthetic.run(config, stopped, command="c")
    # One, three and four steps were done before.
    assert len(trained) == config.num_steps - 8
    assert without_times(stopped) == without_times(tmp_path / "whole")
    csv = "results.csv"
    assert (stopped / csv).read_bytes() == (tmp_path / "whole" / csv).read_bytes()
    assert not (stopped / "unfinished").exists()
    again = synthetic.run(config, stopped, command="another")
    assert again.command == "c"
    assert len(trained) == config.num_steps - 8
    (stopped / "results.json").write_text("{}")
    with pytest.raises(ValueError, match="results.json does not hold experiment, rows"):
        synthetic.run(config, stopped)
