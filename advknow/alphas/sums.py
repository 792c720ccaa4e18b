"""The mergeable sums behind alpha1, alpha2 and alpha1*alpha2 (theory.md section 5).

Everything the metrics report is a mean over examples, so it is computed from a pytree that is zero
at the start, is updated a batch at a time, merges by addition, and is finalized once:

    sums = zeros(m, d)
    for batch: sums = merge(sums, of_batch(...))      # any order, any split, any device
    advknow.alphas.finite finalizes them.

The leading axis of every sum is the jackknife group of the example (its index modulo
`NUM_GROUPS`), from which the standard errors come. A batch is summed in its own dtype on its own
device; `merge` adds in float64 on the host.
"""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from advknow.typing import Array

NUM_GROUPS = 10

# alpha1 of a maximiser is at most 1; what exceeds it by less is float32 rounding.
ALPHA1_ROUNDING = 1e-5


Sums = TypeVar("Sums")


class TransferSums(NamedTuple):
    """Sums over examples, by jackknife group g; f1 has m outputs, f2 has d.

    Attributes:
      outer: (G, m, d), of u(Delta_11) u(Delta_12)'.
      weighted_outer: (G, m, d), of alpha1 u(Delta_11) u(Delta_12)'.
      alpha1: (G,), of alpha1.
      alpha1_squared: (G,), of alpha1^2.
      used: (G,), examples with all directions defined.
      degenerate: (G,), examples without, left out of the other sums.
      above_one: (G,), examples with alpha1 > 1 beyond rounding.
      nonfinite: (G,), examples for which a model returned NaN or infinity.
    """

    outer: Any
    weighted_outer: Any
    alpha1: Any
    alpha1_squared: Any
    used: Any
    degenerate: Any
    above_one: Any
    nonfinite: Any


def zeros(m: int, d: int) -> TransferSums:
    """The sums over no examples: float64 arrays on the host."""
    matrix, scalar = np.zeros((NUM_GROUPS, m, d)), np.zeros(NUM_GROUPS)
    return TransferSums(matrix, matrix.copy(), *(scalar.copy() for _ in range(6)))


def merge(*sums: Sums) -> Sums:
    """The sums over the union of the examples, of any pytree of sums, in float64 on the host."""
    on_host = [jax.tree.map(lambda a: np.asarray(a, np.float64), s) for s in sums]
    return jax.tree.map(lambda *parts: np.sum(parts, axis=0), *on_host)


def _unit(v: Array, length: Array) -> Array:
    return jnp.where(length[:, None] > 0, v / jnp.where(length > 0, length, 1.0)[:, None], 0.0)


def of_batch(
    deviation_11: Array,
    deviation_12: Array,
    alpha1_numerator: Array,
    alpha1_denominator: Array,
    *,
    index: Array,
    mask: Array,
    noise_11: Array | float = 0.0,
    noise_12: Array | float = 0.0,
) -> tuple[TransferSums, Array, Array]:
    """The sums over one batch, and its alpha1 per example.

    Args:
      deviation_11: (B, m), Delta_{f1->f1}.
      deviation_12: (B, d), Delta_{f1->f2}.
      alpha1_numerator: (B,), l(f2(x), f2(x + delta_f1)).
      alpha1_denominator: (B,), l(f2(x), f2(x + delta_f2)).
      index: (B,) int, the example's index in the whole sample, for its group.
      mask: (B,) bool, False for padding.
      noise_11, noise_12: (B,) lengths up to which a deviation is rounding, hence no direction.

    Returns:
      the sums; alpha1 (B,), 0 where it is not defined; and (B,) bool, where it is defined.
    """
    length_11 = jnp.sqrt(jnp.sum(deviation_11**2, axis=-1))
    length_12 = jnp.sqrt(jnp.sum(deviation_12**2, axis=-1))
    finite = (
        jnp.isfinite(length_11)
        & jnp.isfinite(length_12)
        & jnp.isfinite(alpha1_numerator)
        & jnp.isfinite(alpha1_denominator)
    )
    defined = (length_11 > noise_11) & (length_12 > noise_12) & (alpha1_denominator > 0)
    used = mask & finite & defined
    alpha1 = jnp.where(used, alpha1_numerator, 0.0) / jnp.where(used, alpha1_denominator, 1.0)
    groups = (index[:, None] % NUM_GROUPS == jnp.arange(NUM_GROUPS)[None]) & mask[:, None]
    groups = groups.astype(alpha1.dtype)
    weights = groups * used[:, None]
    unit_11 = jnp.where(used[:, None], _unit(deviation_11, length_11), 0.0)
    unit_12 = jnp.where(used[:, None], _unit(deviation_12, length_12), 0.0)

    def outer(weights: Array) -> Array:
        return jnp.einsum("bg,bm,bd->gmd", weights, unit_11, unit_12, precision="highest")

    sums = TransferSums(
        outer=outer(weights),
        weighted_outer=outer(weights * alpha1[:, None]),
        alpha1=alpha1 @ weights,
        alpha1_squared=alpha1**2 @ weights,
        used=jnp.sum(weights, axis=0),
        degenerate=(finite & ~defined).astype(groups.dtype) @ groups,
        above_one=(alpha1 > 1 + ALPHA1_ROUNDING).astype(groups.dtype) @ weights,
        nonfinite=(~finite).astype(groups.dtype) @ groups,
    )
    return sums, alpha1, used
