"""Theorems 2 and 3 as inequalities with their slack (theory.md section 4)."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advknow import gram, losses, validate
from advknow.inner_product import Loss
from advknow.passes import batching, devices
from advknow.passes.apply_fn import as_pytree
from advknow.passes.batching import Sample
from advknow.typing import ApplyFn, ArrayLike, Progress, Sharding

# What rounding may take from an inequality between numbers of the size of its sides.
ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Inequality:
    """left <= right, evaluated.

    Attributes:
      name: which theorem. statement: the two sides as text.
      left, right: the two sides, in units of |.|_H.
      guaranteed: whether the theorem's conditions are met, so that it must hold.
      scale: size of the functions whose difference the sides measure: what rounding is relative to.
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


@functools.partial(jax.jit, static_argnames=("loss",))
def _values(f_source, f_target, x, *, loss):
    y = f_target(x)
    return f_source(x), y, gram.roots(loss, y)


@jax.jit
def _along(f_source, f_target, x, x0, t):
    step = x - x0
    at = x0 + t * step
    return jax.jvp(f_source, (at,), (step,))[1], jax.jvp(f_target, (at,), (step,))[1]


def _host(values: Any, count: int) -> Any:
    return jax.tree.map(lambda a: np.asarray(a[:count], np.float64), devices.fetch(values))


def path_bound(
    f_target: ApplyFn,
    f_source: ApplyFn,
    x: Sample,
    A: np.ndarray,
    x0: ArrayLike,
    *,
    loss: Loss = "l2",
    num_nodes: int = 16,
    batch_size: int = 64,
    sharding: Sharding = None,
    progress: Progress | None = None,
    done: PathSums | None = None,
    on_batch: Callable[[PathSums], None] | None = None,
) -> tuple[float, float]:
    """Both sides of Theorem 2 (theory.md section 4), their square roots.

    Args:
      f_target, f_source, x, loss, batch_size, sharding: as in `advknow.matching.gradient_matching`.
      A: (d, m), the linear part of g; its offset makes h(x0) = 0.
      x0: where the paths start, of one example's shape.
      num_nodes: Gauss-Legendre nodes in t on [0, 1].
      progress: called with ("paths", examples done, N or None) after each batch.
      done: sums that `on_batch` saw, to go on from. on_batch: called with them after each batch.

    Returns:
      |h|_{D,H} and sqrt(E_{x,t} |J_h(x0 + t (x - x0)) (x - x0)|_H^2), H at x.
    """
    validate.integer("num_nodes", num_nodes, minimum=1)
    resolved = losses.get(loss)
    f_source = devices.replicate(as_pytree(f_source, name="f_source"), sharding)
    f_target = devices.replicate(as_pytree(f_target, name="f_target"), sharding)
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    sums = PathSums(0, 0.0, 0.0) if done is None else done
    start = origin = None
    skip = int(sums.count)
    for batch, count, _ in batching.batches(x, batch_size, skip=skip, sharding=sharding):
        if start is None:
            start = jnp.asarray(x0, batch.dtype)
            if start.shape != batch.shape[1:]:
                raise ValueError(
                    f"x0 has shape {start.shape}; that of an example, {batch.shape[1:]}, is needed."
                )
            y_source, y_target, _ = _host(
                _values(f_source, f_target, start[None], loss=resolved), 1
            )
            origin = y_target - y_source @ A.T
        y_source, y_target, root = _host(_values(f_source, f_target, batch, loss=resolved), count)
        root = gram.host_root(resolved, root)
        h = y_target - y_source @ A.T - origin
        left, right = float(np.sum(gram.norms(root, h[:, None]) ** 2)), 0.0
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            of_source, of_target = _host(
                _along(f_source, f_target, batch, start, jnp.asarray(node, batch.dtype)), count
            )
            moved = of_target - of_source @ A.T
            right += float(weight * np.sum(gram.norms(root, moved[:, None]) ** 2))
        sums = PathSums(int(sums.count) + count, sums.left + left, sums.right + right)
        if progress is not None:
            progress("paths", sums.count, batching.total(x))
        if on_batch is not None:
            on_batch(sums)
    return float(sums.left / sums.count) ** 0.5, float(sums.right / sums.count) ** 0.5


def label_gap_square(y: np.ndarray, output: np.ndarray, root: np.ndarray) -> float:
    """The sum over a batch of |y - f_T|_{H_T}^2, of y and f_T (B, d) and R' (B or 1, k, d)."""
    gap = np.asarray(y, np.float64) - output
    return float(np.sum(gram.norms(root, gap[:, None]) ** 2))


def label_gap(
    y: Sample,
    f_target: ApplyFn,
    x: Sample,
    *,
    loss: Loss = "l2",
    batch_size: int = 64,
    sharding: Sharding = None,
) -> float:
    """|y - f_T|_{D,H_T}, the middle of Theorem 3 (theory.md section 4); y as in KTD, (N, d)."""
    resolved = losses.get(loss)
    f_target = devices.replicate(as_pytree(f_target), sharding)
    square, done = 0.0, 0
    for batch, count, rows in batching.batches(x, batch_size, y, sharding=sharding):
        assert rows is not None
        _, outputs, root = _host(_values(f_target, f_target, batch, loss=resolved), count)
        square += label_gap_square(rows, outputs, gram.host_root(resolved, root))
        done += count
    return (square / done) ** 0.5
