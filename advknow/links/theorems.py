"""Theorems 2 and 3 as inequalities with their slack (theory.md section 4).

Theorem 2   |h|_{D,H}^2 <= E_{x,t} |J_h(x0 + t (x - x0)) (x - x0)|_H^2,  h = f_T - g∘f_S, h(x0) = 0
Theorem 3   |KTD - FMD| <= |y - f_T|_{D,H}

Theorem 2 integrates along paths; the authors' own bound needs a Wasserstein distance instead.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from advknow import gram, losses, passes, precision, validate
from advknow.gram import GramsOf
from advknow.inner_product import Loss
from advknow.matching.distances import check_columns
from advknow.matching.outputs import OutputsOf
from advknow.passes import Batch, Measure, Need, Run, Shapes, Totals, devices
from advknow.passes.batching import Sample
from advknow.typing import ApplyFn, Array, ArrayLike

# By how much rounding may violate an inequality, relative to the size of its sides.
ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Inequality:
    """left <= right, evaluated.

    Attributes:
      name: which theorem. statement: the two sides as text.
      left, right: the two sides, in units of |.|_H.
      guaranteed: whether the theorem's conditions are met, so that it must hold.
      scale: size of the functions that the sides compare, to which rounding is relative.
    """

    name: str
    statement: str
    left: float
    right: float
    guaranteed: bool = True
    scale: float = 0.0

    @property
    def slack(self) -> float:
        """right - left: how far from equality, in units of |.|_H; below 0 where it fails."""
        return self.right - self.left

    @property
    def holds(self) -> bool:
        """Whether left <= right up to rounding."""
        return self.slack >= -ROUNDING * max(abs(self.left), abs(self.right), self.scale)

    def summary(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**dataclasses.asdict(self), "slack": self.slack, "holds": self.holds}


class PathSums(NamedTuple):
    """Sums over examples behind Theorem 2; they merge by addition.

    Attributes:
      count: examples.
      left: of |h|_H^2. right: of the mean over the path of |J_h (x - x0)|_H^2.
    """

    count: Any
    left: Any
    right: Any


@precision.program
def _along(f_source: ApplyFn, f_target: ApplyFn, x: Array, x0: Array, t: Array):
    step = x - x0[None]
    at = x0[None] + t * step
    return jax.jvp(f_source, (at,), (step,))[1], jax.jvp(f_target, (at,), (step,))[1]


def _host(values: Any, count: int) -> Any:
    return jax.tree.map(lambda a: np.asarray(a[:count], np.float64), devices.fetch(values))


def path_integral(
    A: np.ndarray, x0: ArrayLike, *, loss: Loss = "l2", num_nodes: int = 16
) -> Measure:
    """The measure behind `path_bound`."""
    validate.integer("num_nodes", num_nodes, minimum=1)
    outputs = OutputsOf(losses.get(loss))
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)

    def zero(shapes: Shapes) -> Totals:
        if np.shape(x0) != shapes.inputs:
            raise ValueError(
                f"x0 has shape {np.shape(x0)}; that of an example, {shapes.inputs}, is needed."
            )
        nothing = np.zeros(())
        return Totals(PathSums(nothing, nothing, nothing), None)

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        start = jnp.asarray(x0, batch.x.dtype)
        at_x0 = outputs(batch._replace(x=start[None], count=1))

        def h(of: Any) -> np.ndarray:
            return np.asarray(of.output_target, np.float64) - (
                np.asarray(of.output_source, np.float64) @ A.T
            )

        def square(v: np.ndarray) -> float:
            return float(np.sum(gram.norms(found[outputs].root_target, v[:, None]) ** 2))

        models = (batch.models["f_source"], batch.models["f_target"])
        left, right = square(h(found[outputs]) - h(at_x0)), 0.0
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            t = jnp.asarray(node, batch.x.dtype)
            of_source, of_target = _host(_along(*models, batch.x, start, t), batch.count)
            right += float(weight * square(of_target - of_source @ A.T))
        return Totals(PathSums(batch.count, left, right), None)

    def record(totals: Totals, shapes: Shapes) -> tuple[float, float]:
        sums = totals.sums
        return float(sums.left / sums.count) ** 0.5, float(sums.right / sums.count) ** 0.5

    return Measure(needs=(outputs,), zero=zero, of_batch=of_batch, record=record)


def path_bound(
    *,
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: Sample,
    A: np.ndarray,
    x0: ArrayLike,
    loss: Loss = "l2",
    num_nodes: int = 16,
    **run: Unpack[Run],
) -> tuple[float, float]:
    """Both sides of Theorem 2 (theory.md section 4), their square roots.

    Args:
      f_source, f_target, x, loss: as in `advknow.matching.gradient_matching`.
      A: (d, m), the linear part of g; its offset makes h(x0) = 0.
      x0: where the paths start, of one example's shape.
      num_nodes: Gauss-Legendre nodes in t on [0, 1].
      **run: as there; progress is called with ("paths", examples done, N or None).

    Returns:
      |h|_{D,H} and sqrt(E_{x,t} |J_h(x0 + t (x - x0)) (x - x0)|_H^2), H at x.
    """
    return passes.run(
        path_integral(A, x0, loss=loss, num_nodes=num_nodes),
        {"f_source": f_source, "f_target": f_target},
        x,
        stage="paths",
        **passes.checked(run),
    )


def gap_to_labels(reads: OutputsOf | GramsOf) -> Measure:
    """The measure behind `label_gap`, of the pass's y; `reads` as in `function_distance`."""

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        gap = np.asarray(batch.y, np.float64) - found[reads].output_target
        square = float(np.sum(gram.norms(found[reads].root_target, gap[:, None]) ** 2))
        return Totals({"count": batch.count, "square": square}, None)

    def zero(shapes: Shapes) -> Totals:
        assert shapes.responses is not None, "y is needed"
        check_columns(shapes.responses, shapes.outputs[reads.target or "f_target"])
        return Totals({"count": np.zeros(()), "square": np.zeros(())}, None)

    return Measure(
        needs=(reads,),
        zero=zero,
        of_batch=of_batch,
        record=lambda totals, shapes: float(totals.sums["square"] / totals.sums["count"]) ** 0.5,
    )


def label_gap(
    *,
    f_target: ApplyFn,
    x: Sample,
    y: Sample,
    loss: Loss = "l2",
    **run: Unpack[Run],
) -> float:
    """|y - f_T|_{D,H_T}, the middle of Theorem 3 (theory.md section 4); y as in KTD, (N, d)."""
    return passes.run(
        gap_to_labels(OutputsOf(losses.get(loss), source=None)),
        {"f_target": f_target},
        x,
        y=y,
        stage="outputs",
        **passes.checked(run),
    )
