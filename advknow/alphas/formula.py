"""The formulas of alpha1, alpha2 and alpha1*alpha2 (theory.md section 2), on arrays.

    Delta_{f1->f2}(x) = f2(x + delta_f1(x)) - f2(x)
    alpha1(x)     = l(f2(x), f2(x + delta_f1(x))) / l(f2(x), f2(x + delta_f2(x)))
    alpha2        = | E[ u(Delta_11) u(Delta_12)' ] |_F,   u(v) = v / |v|
    alpha1*alpha2 = | E[ alpha1 u(Delta_11) u(Delta_12)' ] |_F,   not the product of the two

Dimensionless; in [0, 1] where the attacks reach their maximum.
"""

import jax.numpy as jnp
import numpy as np

from advknow.typing import Array

# alpha1 of a maximiser is at most 1; an excess below this is float32 rounding.
ALPHA1_ROUNDING = 1e-5


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


def rounding(y: Array) -> Array:
    """How long a deviation of outputs y (B, d) can be by rounding alone: (B,)."""
    return 8 * jnp.finfo(y.dtype).eps * jnp.sqrt(jnp.sum(y**2, axis=-1))


def square_of_norm(mean: np.ndarray) -> float:
    """| mean of outer products |_F^2: alpha2^2, or (alpha1*alpha2)^2 where alpha1 weights them.

    The plug-in estimate: with n examples biased up, alpha2^2 by (1 - alpha2^2) / n.
    """
    return float(np.sum(mean**2))


def unbiased(square: float, mean_square: float, n: int) -> float | None:
    """The unbiased estimate (n |Mbar|_F^2 - mean_i |M_i|_F^2) / (n - 1); None for n = 1.

    Args:
      square: |Mbar|_F^2, the plug-in estimate.
      mean_square: mean_i |M_i|_F^2: 1 for alpha2, the mean of alpha1^2 for alpha1*alpha2.
      n: examples.
    """
    return (n * square - mean_square) / (n - 1) if n > 1 else None
