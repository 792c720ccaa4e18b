"""How long a first start takes, of two versions of advknow in turns; a script.

    git clone . /tmp/before; git -C /tmp/before checkout 8f28967
    python tests/processes/cold_start.py /tmp/before . --repeats=3

Both experiments on digits, each in a fresh process without a cache of programs, the seed counting
up from 0. Prints seconds, seconds of processors (a run that kept all cores busy would take these
over their number), peak memory, programs and the seconds of their compilation, and the medians. On
an otherwise idle machine; most of half an hour.
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

EXPERIMENTS = ("adv2know", "know2adv")
COMPILED = re.compile(r"compiled (\d+) programs?, 0 from the cache \(([\d.]+) s\)")


def run(version, experiment, seed):
    """Seconds, processors', peak MiB, programs, compilation's seconds of a run of a clone."""
    workdir = pathlib.Path(tempfile.mkdtemp()) / "run"
    command = [sys.executable, "-m", f"launch.{experiment}", "--preset=digits"]
    command += [f"--seed={seed}", f"--workdir={workdir}", "--compilation_cache="]
    environment = {**os.environ, "PYTHONPATH": str(version)}
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=version, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    text = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, text
    programs, compiling = COMPILED.search(text).groups()
    seconds = time.perf_counter() - start
    busy = usage.ru_utime + usage.ru_stime
    return seconds, busy, usage.ru_maxrss / 2**10, int(programs), float(compiling)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("before", type=pathlib.Path)
    parser.add_argument("after", type=pathlib.Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--experiments", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS)
    given = parser.parse_args()
    versions = {"before": given.before.resolve(), "after": given.after.resolve()}
    found = {(name, experiment): [] for name in versions for experiment in given.experiments}
    for seed in range(given.repeats):
        for name, version in versions.items():
            for experiment in given.experiments:
                numbers = run(version, experiment, seed)
                found[name, experiment].append(numbers)
                print(name, experiment, seed, *(f"{n:.6g}" for n in numbers), flush=True)
    total, all_busy = {}, {}
    for (name, experiment), rows in found.items():
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        total[name] = total.get(name, 0.0) + medians[0]
        seconds, busy, peak, programs, compiling = medians
        all_busy[name] = all_busy.get(name, 0.0) + busy
        print(
            f"{name:6} {experiment}: {seconds:.0f} s, {busy:.0f} s of processors, {peak:.0f} MiB "
            f"at most, {programs:.0f} programs compiled in {compiling:.0f} s"
        )
    print(f"after / before: {total['after'] / total['before']:.2f}")
    cores = len(os.sched_getaffinity(0))
    least = all_busy["after"] / cores / total["before"]
    print(f"after / before, were all {cores} cores busy all the time: {least:.2f}")


if __name__ == "__main__":
    main()
