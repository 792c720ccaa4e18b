"""A launcher killed, or asked to stop, goes on to the same results."""

import signal
import subprocess
import time

import pytest
from kill_campaign import campaign, outcome, start
from launching import launch

# As small as the digits experiment gets: two epochs, one draw, of models that compile in seconds
# (every start waits for what is not compiled yet; the campaign kills runs of ResNets).
SMALL = (
    *("--preset=digits", "--epochs=2", "--transfer_repeats=1", "--transfer_epochs=2"),
    *("--set=target_model=lenet", "--set=sources.*.model=lenet"),
    *("--width=0.25", "--num_examples=60"),
)


@pytest.mark.slow
def test_killed_at_random_moments_the_results_are_identical(tmp_path):
    told = []
    flags = (*SMALL, "--save_interval=0.2")
    assert campaign("know2adv", tmp_path, kills=2, seed=3, flags=flags, tell=told.append) == 2
    assert told[-1].endswith("identical but for times")


@pytest.mark.slow
def test_asked_to_stop_it_saves_and_says_how_to_go_on(tmp_path):
    flags = ["--model=lenet", "--dataset=digits", "--epochs=40", "--width=0.5", "--noaugment"]
    launch("train", *flags, "--workdir=whole", "--quiet", cwd=tmp_path)
    process = start("train", tmp_path / "stopped", flags)
    journal = tmp_path / "stopped" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "stopping: saving what is done" in errors
    assert "this goes on: python -m launch.train --workdir=" in errors
    assert (tmp_path / "stopped" / "unfinished").exists()
    assert not (tmp_path / "stopped" / "metadata.json").exists()
    launch("train", *flags, "--workdir=stopped", "--quiet", cwd=tmp_path)
    from advknow.runs import checkpoints

    arrays = [checkpoints.load(tmp_path / name)[0] for name in ("whole", "stopped")]
    assert str(arrays[0]) == str(arrays[1])
    assert not (tmp_path / "stopped" / "unfinished").exists()
    # A finished training is only read.
    begin = time.monotonic()
    again = launch("train", *flags, "--workdir=stopped", "--quiet", cwd=tmp_path)
    assert "test_accuracy" in again.stdout
    assert time.monotonic() - begin < 60
    other = launch("train", *flags, "--seed=9", "--workdir=stopped", cwd=tmp_path, check=False)
    assert other.returncode == 2
    assert "other settings: seed: 0 -> 9" in other.stderr


def test_a_second_signal_stops_at_once(tmp_path):
    code = (
        "import signal, os, time\n"
        "from launch import app\n"
        "def main():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    assert app.stop_requested()\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
        "app.run(main, usage='u', resumes=lambda: True)\n"
    )
    import sys

    from launching import ROOT

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr


def test_the_comparison_of_the_campaign_can_fail(tmp_path):
    for name, alpha1 in (("a", 0.5), ("b", 0.25)):
        folder = tmp_path / name
        folder.mkdir()
        text = f'{{"rows": [{alpha1}], "seconds": 1, "command": "x"}}'
        (folder / "results.json").write_text(text)
        (folder / "results.csv").write_text("")
    assert outcome(tmp_path / "a") != outcome(tmp_path / "b")
