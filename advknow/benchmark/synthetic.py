"""The synthetic table as whole processes: ours, and PyTorch's an example at a time."""

import csv
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

from advknow.benchmark.timing import Row, row
from advknow.synthetic import files as synthetic_files
from advknow.synthetic import rbf, sigmoid_network
from advknow.synthetic.files import Networks
from advknow.synthetic.rbf import RbfData
from advknow.typing import Progress

PEER = "one example at a time (PyTorch)"
# Of the largest value of a column: ours is float32, theirs float64. The worst is a gradient
# matching distance whose truth is 0, as a root of rounding.
TOLERANCE = 2e-5


class DisagreementError(ValueError):
    """The two tables differ: a comparison of their times would mean nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyntheticSizes:
    """How large the table is.

    Attributes:
      num_examples, num_steps: of the table.
      one_by_one: examples that PyTorch does; of its time, the part that grows with them is scaled.
      checked: examples on which both sides are compared.
      repeats: how often both are timed.
    """

    num_examples: int = 5000
    num_steps: int = 10
    one_by_one: int = 100
    checked: int = 300
    repeats: int = 3


def _write(folder: pathlib.Path, num_examples: int) -> None:
    data = rbf.generate(seed=0, num_examples=num_examples)
    keys = jax.random.split(jax.random.key(0), 3)
    sizes = {"num_inputs": data.x.shape[1], "hidden": 100, "num_outputs": data.y.shape[1]}
    target, source = (sigmoid_network.init(key, **sizes) for key in keys[:2])
    networks = Networks(target, source, sigmoid_network.deviations(keys[2], source))
    synthetic_files.write_data(folder / "data.npz", data)
    synthetic_files.write_weights(folder / "weights.npz", networks)


def _process(folder: pathlib.Path, command: list[str]) -> tuple[float, str]:
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
    return time.perf_counter() - begin, done.stdout


def _ours(folder: pathlib.Path, data: str, num_steps: int, workdir: str) -> float:
    """Seconds of the whole process: start-up, compilation, measurements, files and figure."""
    seconds, _ = _process(
        folder,
        [
            "launch.synthetic",
            f"--data={data}",
            "--weights=weights.npz",
            f"--num_steps={num_steps}",
            f"--workdir={workdir}",
            "--compilation_cache=",
            "--quiet",
        ],
    )
    return seconds


def _theirs(
    folder: pathlib.Path, num_examples: int, num_steps: int
) -> tuple[float, float, list[list[float]]]:
    """Seconds of the whole process, those of its loop over examples, and the table."""
    given = ["data.npz", "weights.npz", "0", str(num_steps), str(num_examples)]
    seconds, printed = _process(folder, ["advknow.benchmark.synthetic_peer", *given])
    found = json.loads(printed)
    return seconds, found["loop_seconds"], found["rows"]


def _check(folder: pathlib.Path, checked: int) -> float:
    """The largest difference of two steps' tables on a few examples."""
    data = synthetic_files.read_data(folder / "data.npz")
    few = RbfData(data.x[:checked], data.y[:checked])
    synthetic_files.write_data(folder / "few.npz", few)
    _ours(folder, "few.npz", 2, "check")
    _, *rows = csv.reader((folder / "check" / "results.csv").read_text().splitlines())
    own, other = np.asarray(rows, float), np.asarray(_theirs(folder, checked, 2)[2])
    worst = float((np.abs(own - other) / np.abs(other).max(axis=0).clip(min=1e-30)).max())
    if not worst <= TOLERANCE:
        raise DisagreementError(
            f"synthetic: a column differs from PyTorch's by {worst:.2g} of its size; at most "
            f"{TOLERANCE:g} is accepted, and nothing is timed."
        )
    return worst


def measure(sizes: SyntheticSizes, *, progress: Progress | None = None) -> list[Row]:
    """The row of the synthetic table, after both sides were found to compute the same.

    Raises:
      DisagreementError: they did not. RuntimeError: a process failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        _write(folder, sizes.num_examples)
        difference = _check(folder, sizes.checked)
        if progress is not None:
            progress("check synthetic", 1, 1, f"largest difference {difference:.1g}")
        pairs = []
        for i in range(sizes.repeats):
            own = _ours(folder, "data.npz", sizes.num_steps, f"run{i}")
            whole, loop, _ = _theirs(folder, sizes.one_by_one, sizes.num_steps)
            pairs.append((own, whole - loop + loop * sizes.num_examples / sizes.one_by_one))
            if progress is not None:
                progress("synthetic", i + 1, sizes.repeats)
    share = sizes.one_by_one / sizes.num_examples
    return [row("synthetic", "sigmoid network", PEER, pairs, share=share)]
