"""A program that could hang, many times, each in a new process on two cores.

    PYTHONPATH=tests python tests/processes/deadlock_campaign.py --runs=50
    PYTHONPATH=tests python tests/processes/deadlock_campaign.py --runs=50 --program=torch

lapack: all attacks of two models of ten outputs; jaxlib 0.10.0 to 0.10.2 hang where one program
holds two batched LAPACK calls. torch: PGD, alphas and the gradient matching distance of two PyTorch
modules, whose callbacks share XLA's threads. ahead: a small experiment with `compile_ahead`,
without a cache of programs. A run that has not finished after `--limit` seconds is counted as a
hang. Prints each run's seconds, and how many hung.
"""

import os
import subprocess
import sys
import time

import jaxlib
from absl import app, flags
from deadlock_test import IMPORT_FROM, PROGRAMS

RUNS = flags.DEFINE_integer("runs", 50, "How many processes, one after the other.")
NAME = flags.DEFINE_enum("program", "lapack", sorted(PROGRAMS), "Which program.")
CORES = flags.DEFINE_integer("cores", 2, "On how many cores.")
LIMIT = flags.DEFINE_float("limit", 120.0, "Seconds after which a process counts as hung.")


def main(argv):
    """Runs the processes; the exit status is 1 if any hung or failed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*IMPORT_FROM, *sys.path])}
    # Two cores, as where the hang was found, on a larger machine too.
    cores = sorted(os.sched_getaffinity(0))[: CORES.value]
    seconds, hung, failed = [], 0, 0
    for i in range(RUNS.value):
        begin = time.monotonic()
        try:
            done = subprocess.run(
                [sys.executable, "-c", PROGRAMS[NAME.value]],
                capture_output=True,
                text=True,
                timeout=LIMIT.value,
                env=environment,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
            failed += done.returncode != 0 or "finished" not in done.stdout
        except subprocess.TimeoutExpired:
            hung += 1
        seconds.append(time.monotonic() - begin)
        print(f"run {i + 1} of {RUNS.value}: {seconds[-1]:.1f} s", flush=True)
    print(
        f"{hung} of {len(seconds)} hung, {failed} failed; {min(seconds):.1f} to {max(seconds):.1f} "
        f"s each; jaxlib {jaxlib.__version__}, {len(cores)} cores"
    )
    sys.exit(bool(hung or failed))


if __name__ == "__main__":
    app.run(main)
