"""The formulas of alpha1, alpha2 and alpha1*alpha2, and their sums (theory.md sections 2 and 5).

    Delta_{f1->f2}(x) = f2(x + delta_f1(x)) - f2(x)
    alpha1(x)     = l(f2(x), f2(x + delta_f1(x))) / l(f2(x), f2(x + delta_f2(x)))
    alpha2        = | E[ u(Delta_11) u(Delta_12)' ] |_F,   u(v) = v / |v|
    alpha1*alpha2 = | E[ alpha1 u(Delta_11) u(Delta_12)' ] |_F,   not the product of the two

Dimensionless; in [0, 1] where the attacks reach their maximum. The leading axis of every sum is the
jackknife group of the example (its index modulo `NUM_GROUPS`), from which the standard errors come.
A batch is summed in its own dtype on its own device; `advknow.passes.merge` adds in float64 on the
host.

Of models with thousands of outputs the (m, d) matrices would not fit. Then the unit vectors of each
example are kept in their place: N (m + d) numbers, and at the end, for any weights w,

    | sum_i w_i u_i v_i' |_F^2 = sum_ij w_i w_j (u_i' u_j) (v_i' v_j)
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from advknow.typing import Array

NUM_GROUPS = 10
# alpha1 of a maximiser is at most 1; an excess below this is float32 rounding.
ALPHA1_ROUNDING = 1e-5
# From so many bytes on, the matrices of all groups give way to vectors where these are fewer.
LARGE_MATRICES = 2**26
# So many rows of the products between examples at once.
ROWS_AT_ONCE = 1024


def alpha1(numerator: Array, denominator: Array, defined: Array) -> Array:
    """numerator / denominator, (B,); 0 where it is not defined.

    Args:
      numerator: (B,), l(f2(x), f2(x + delta_f1)).
      denominator: (B,), l(f2(x), f2(x + delta_f2)).
      defined: (B,) bool, where the denominator is above rounding.
    """
    return jnp.where(defined, numerator, 0.0) / jnp.where(defined, denominator, 1.0)


def length(v: Array) -> Array:
    """|v| of each row: (B, d) -> (B,)."""
    return jnp.sqrt(jnp.sum(v**2, axis=-1))


def unit(v: Array, length: Array) -> Array:
    """u(v) = v / |v|, (B, d) of lengths (B,); zeros where v is 0."""
    return jnp.where(length[:, None] > 0, v / jnp.where(length > 0, length, 1.0)[:, None], 0.0)


def wide(v: Array) -> Array:
    """v in float32 or wider: nothing is summed or counted in less."""
    return jnp.asarray(v).astype(jnp.promote_types(jnp.asarray(v).dtype, jnp.float32))


def rounding(y: Array) -> Array:
    """How long a deviation of outputs y (B, d) can be by their rounding alone: (B,)."""
    return 8 * float(jnp.finfo(y.dtype).eps) * length(wide(y))


class Terms(NamedTuple):
    """Of B examples, direction f1 -> f2: what is summed.

    Attributes:
      deviation_11: (B, m), Delta_{f1->f1}.
      deviation_12: (B, d), Delta_{f1->f2}.
      numerator, denominator: (B,), of alpha1.
      noise_11, noise_12: (B,) lengths up to which a deviation is rounding, hence no direction.
    """

    deviation_11: Any
    deviation_12: Any
    numerator: Any
    denominator: Any
    noise_11: Any = 0.0
    noise_12: Any = 0.0


class TransferSums(NamedTuple):
    """Sums over examples, by jackknife group g; f1 has m outputs, f2 has d.

    Attributes:
      outer: (G, m, d), of u(Delta_11) u(Delta_12)'; None where the vectors are kept.
      weighted_outer: (G, m, d), of alpha1 u(Delta_11) u(Delta_12)'; None likewise.
      alpha1: (G,), of alpha1.
      alpha1_squared: (G,), of alpha1^2 where Delta_12 has a direction.
      used: (G,), examples whose alpha1 is known.
      directed: (G,), those of them whose Delta_12 has a direction.
      degenerate: (G,), examples whose alpha1 or Delta_11 is rounding, left out of the other sums.
      above_one: (G,), examples with alpha1 > 1 beyond rounding.
      nonfinite: (G,), examples for which a model returned NaN or infinity.
      nonfinite_delta: (G,), examples for which an attack did: a gradient is NaN or infinite.
    """

    outer: Any
    weighted_outer: Any
    alpha1: Any
    alpha1_squared: Any
    used: Any
    directed: Any
    degenerate: Any
    above_one: Any
    nonfinite: Any
    nonfinite_delta: Any


class TransferValues(NamedTuple):
    """Of every example.

    Attributes:
      alpha1: (N,), 0 where not defined.
      valid: (N,) bool, where it is.
      unit_11: (N, m), u(Delta_11), zeros without a direction; None where matrices are summed.
      unit_12: (N, d), u(Delta_12); None likewise.
    """

    alpha1: Any
    valid: Any
    unit_11: Any = None
    unit_12: Any = None


def keeps_vectors(m: int, d: int, examples: int | None) -> bool:
    """Whether the vectors of each example are kept, not (m, d) matrices.

    Args:
      m, d: outputs of f1, f2. examples: N; None where unknown: then matrices are summed.
    """
    matrices = 2 * NUM_GROUPS * m * d * 8
    return examples is not None and LARGE_MATRICES < matrices > examples * (m + d) * 4


def zeros(m: int, d: int, *, vectors: bool = False) -> TransferSums:
    """The sums over no examples, float64 arrays on the host; without matrices of `vectors`."""
    matrix = None if vectors else np.zeros((NUM_GROUPS, m, d))
    return TransferSums(matrix, matrix, *(np.zeros(NUM_GROUPS) for _ in range(8)))


def no_values(m: int, d: int, *, vectors: bool = False) -> TransferValues:
    """The values of no examples; with unit vectors of `vectors`."""
    values = TransferValues(np.zeros(0), np.zeros(0, bool))
    if not vectors:
        return values
    return values._replace(
        unit_11=np.zeros((0, m), np.float32), unit_12=np.zeros((0, d), np.float32)
    )


def pair_sums(values: TransferValues, weights: np.ndarray) -> np.ndarray:
    """sum over i of group g, j of group h of w_i w_j (u_i' u_j) (v_i' v_j): (G, G), float64.

    Args:
      values: with vectors. weights: (N,), w.
    """
    member = np.arange(len(weights)) % NUM_GROUPS == np.arange(NUM_GROUPS)[:, None]
    weighted = member * np.asarray(weights, np.float64)
    found = np.zeros((NUM_GROUPS, NUM_GROUPS))
    u, v = values.unit_11, values.unit_12
    for start in range(0, len(u), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        products = np.ones((len(u[rows]), len(u)))
        for vectors in (u, v):
            products *= _between(vectors[rows], vectors)
        found += weighted[:, rows] @ products @ weighted.T
    return found


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a b' in float64, of float32 rows, a part of the columns at a time."""
    found = np.zeros((len(a), len(b)))
    for start in range(0, a.shape[1], ROWS_AT_ONCE):
        columns = slice(start, start + ROWS_AT_ONCE)
        found += a[:, columns].astype(np.float64) @ b[:, columns].astype(np.float64).T
    return found


def of_batch(
    deviation_11: Array,
    deviation_12: Array,
    alpha1_numerator: Array,
    alpha1_denominator: Array,
    noise_11: Array | float = 0.0,
    noise_12: Array | float = 0.0,
    *,
    index: Array,
    mask: Array,
    finite_delta: Array | bool = True,
    vectors: bool = False,
) -> tuple[TransferSums, TransferValues]:
    """The sums over one batch, and its alpha1 per example; in float32 or wider.

    Args:
      deviation_11, deviation_12, alpha1_numerator, alpha1_denominator, noise_11, noise_12: `Terms`.
      index: (B,) int, the example's index in the whole sample, for its group.
      mask: (B,) bool, False for padding.
      finite_delta: (B,) bool, whether the perturbations are finite.
      vectors: whether the values have the unit vectors, and the sums no matrices.
    """
    deviation_11, deviation_12, alpha1_numerator, alpha1_denominator = map(
        wide, (deviation_11, deviation_12, alpha1_numerator, alpha1_denominator)
    )
    length_11, length_12 = length(deviation_11), length(deviation_12)
    finite = (
        jnp.isfinite(length_11)
        & jnp.isfinite(length_12)
        & jnp.isfinite(alpha1_numerator)
        & jnp.isfinite(alpha1_denominator)
    )
    defined = (length_11 > noise_11) & (alpha1_denominator > 0)
    used = mask & finite & defined
    # Where Delta_12 is rounding, alpha1 is 0 to rounding, and its matrix is 0.
    directed = used & (length_12 > noise_12)
    ratio = alpha1(alpha1_numerator, alpha1_denominator, used)
    groups = (index[:, None] % NUM_GROUPS == jnp.arange(NUM_GROUPS)[None]) & mask[:, None]
    groups = groups.astype(ratio.dtype)
    weights = groups * used[:, None].astype(ratio.dtype)
    with_direction = groups * directed[:, None].astype(ratio.dtype)
    unit_11 = jnp.where(directed[:, None], unit(deviation_11, length_11), 0.0)
    unit_12 = jnp.where(directed[:, None], unit(deviation_12, length_12), 0.0)

    def outer(weights: Array) -> Array:
        return jnp.einsum("bg,bm,bd->gmd", weights, unit_11, unit_12, precision="highest")

    sums = TransferSums(
        outer=None if vectors else outer(with_direction),
        weighted_outer=None if vectors else outer(with_direction * ratio[:, None]),
        alpha1=ratio @ weights,
        alpha1_squared=ratio**2 @ with_direction,
        used=jnp.sum(weights, axis=0),
        directed=jnp.sum(with_direction, axis=0),
        degenerate=(finite & ~defined).astype(groups.dtype) @ groups,
        above_one=(ratio > 1 + ALPHA1_ROUNDING).astype(groups.dtype) @ weights,
        nonfinite=(~finite & finite_delta).astype(groups.dtype) @ groups,
        nonfinite_delta=(mask & ~jnp.asarray(finite_delta)).astype(groups.dtype) @ groups,
    )
    return sums, TransferValues(ratio, used, *((unit_11, unit_12) if vectors else ()))
