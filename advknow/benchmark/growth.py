"""How time and memory grow with the work: an axis at a time, a new process a point.

    axis      what grows                        what is done
    examples  N                                 all attacks, GMD and PGD's alphas of a pair
    inputs    n                                 all attacks of 512 examples, exactly (d = 10)
    outputs   d, through the Gram matrices      all attacks of 512 examples, exactly (n = 4096)
    many      d, without a Jacobian             the 5 strongest attacks and rho^2 of 512 examples
    models    K                                 `advknow.matrix`: all K^2 ordered pairs

`python -m launch.benchmark --growth --workdir=DIR` writes growth.json and growth.png.
"""

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advknow.typing import Progress

AXES: dict[str, tuple[int, ...]] = {
    "examples": (1_000, 10_000, 100_000),
    "inputs": (256, 1_024, 4_096, 16_384),
    "outputs": (10, 30, 100),
    "many": (10, 100, 1_000),
    "models": (2, 4, 8, 16, 32),
}
SMALL: dict[str, tuple[int, ...]] = {"examples": (20, 40), "models": (2, 3)}


def point(axis: str, size: int) -> dict[str, float]:
    """Seconds and memory of one size of an axis, measured in a new process.

    Returns:
      size; seconds, of a second run, without compilation; first_seconds, with it; peak_mib, the
      process's largest resident memory; start_mib, what it held before the work.

    Raises:
      RuntimeError: the process failed.
    """
    command = [sys.executable, "-m", "advknow.benchmark.growth_point", axis, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"growth of {axis} at {size} failed: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of log value by log size: 1 where the value grows as the size does."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def measure(
    axes: Mapping[str, Sequence[int]] = AXES, *, progress: Progress | None = None
) -> dict[str, dict[str, Any]]:
    """For every axis its points and the exponents of time and of memory beyond the start.

    The last exponents are those between the two largest sizes, where what is constant matters
    least.
    """
    found: dict[str, dict[str, Any]] = {}
    total, done = sum(map(len, axes.values())), 0
    for axis, sizes in axes.items():
        points = []
        for size in sizes:
            points.append(point(axis, size))
            done += 1
            if progress is not None:
                progress("growth", done, total, f"{axis} {size}")
        seconds = [p["seconds"] for p in points]
        memory = [max(p["peak_mib"] - p["start_mib"], 1.0) for p in points]
        found[axis] = {
            "points": points,
            "seconds_exponent": exponent(sizes, seconds),
            "seconds_last_exponent": exponent(sizes[-2:], seconds[-2:]),
            "memory_exponent": exponent(sizes, memory),
            "memory_last_exponent": exponent(sizes[-2:], memory[-2:]),
        }
    return found


def text(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The points and exponents as lines."""
    lines = ["axis      size     seconds  with compilation  memory MiB (of it before)"]
    for axis, of_axis in found.items():
        for p in of_axis["points"]:
            lines.append(
                f"{axis:<9} {p['size']:<8} {p['seconds']:<8.3g} {p['first_seconds']:<17.3g} "
                f"{p['peak_mib']:.0f} ({p['start_mib']:.0f})"
            )
        lines.append(
            f"{axis:<9} exponent {of_axis['seconds_exponent']:.2f} of time, "
            f"{of_axis['memory_exponent']:.2f} of memory beyond the start; between the last two "
            f"{of_axis['seconds_last_exponent']:.2f}, {of_axis['memory_last_exponent']:.2f}"
        )
    return "\n".join(lines)


def full_jacobian_mib(size: int, examples: int = 512, inputs: int = 4_096) -> float:
    """What one model's float32 Jacobians of the axis "many" would hold, in MiB."""
    return math.prod((size, examples, inputs, 4)) / 2**20
