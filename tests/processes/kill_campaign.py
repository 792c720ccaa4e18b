"""Kills runs with SIGKILL at random moments and lets them go on: a script, and what kill_test uses.

    python tests/processes/kill_campaign.py --kills=20 --preset=digits --seed=0

Each experiment is run once undisturbed; then again, killed at moments drawn evenly from that run's
duration, until it has been killed so often in all; then results.json and results.csv are compared.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]


def start(experiment, workdir, flags):
    return subprocess.Popen(
        [sys.executable, "-m", f"launch.{experiment}", f"--workdir={workdir}", "--quiet", *flags],
        cwd=workdir.parent,
        env={"JAX_PLATFORMS": "cpu", **os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process):
    _, errors = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the run failed with {process.returncode}: {errors}")


def last_stage(workdir):
    """What the run was at, as far as its folder tells."""
    journal = workdir / "metrics.jsonl"
    events = []
    if journal.exists():
        for line in journal.read_text().splitlines():
            try:
                events.append(json.loads(line))
            except json.JSONDecodeError:
                events.append({"kind": "half a line"})
    if not events:
        return "before the first event"
    last = events[-1]
    return f"after {last['kind']} {last.get('stage', last.get('source', ''))}".strip()


def outcome(workdir):
    """Everything of the results but the times."""
    content = json.loads((workdir / "results.json").read_text())
    content.pop("seconds")
    content.pop("command")  # it names the workdir
    return content, (workdir / "results.csv").read_bytes()


def campaign(experiment, folder, *, kills, seed, flags=(), tell=print):
    """Runs, kills and compares; returns how often it killed. Raises AssertionError."""
    folder = pathlib.Path(folder)
    begin = time.monotonic()
    finish(start(experiment, folder / "undisturbed", flags))
    duration = time.monotonic() - begin
    tell(f"{experiment}: undisturbed {duration:.1f} s")
    generator, done = random.Random(seed), 0
    workdir = folder / "killed"
    while done < kills:
        process = start(experiment, workdir, flags)
        after = generator.uniform(0.0, duration / 2)
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            done += 1
            tell(f"{experiment}: kill {done} after {after:.2f} s, {last_stage(workdir)}")
            continue
        finish(process)
        assert outcome(workdir) == outcome(folder / "undisturbed")
        tell(f"{experiment}: finished between kills, identical; begins again in a new folder")
        workdir = folder / f"killed-{done}"
    finish(start(experiment, workdir, flags))
    assert outcome(workdir) == outcome(folder / "undisturbed")
    assert not (workdir / "unfinished").exists()
    tell(f"{experiment}: {done} kills, results identical but for times")
    return done


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--preset", default="digits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save_interval", type=float, default=1.0)
    options = parser.parse_args()
    flags = [f"--preset={options.preset}", f"--save_interval={options.save_interval}"]
    with tempfile.TemporaryDirectory() as folder:
        for number, experiment in enumerate(("adv2know", "know2adv")):
            part = pathlib.Path(folder) / experiment
            part.mkdir()
            kills = (options.kills + 1 - number) // 2
            campaign(experiment, part, kills=kills, seed=options.seed + number, flags=flags)


if __name__ == "__main__":
    main()
