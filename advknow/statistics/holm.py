"""Which of several differences are real: Holm's correction (Scandinavian J. of Statistics 1979)."""

import numpy as np

from advknow.typing import ArrayLike


def holm(p_values: ArrayLike) -> np.ndarray:
    """Adjusted p-values, (M,): those up to q are rejected with a family-wise error of at most q.

    Whatever the dependence of the tests. p of rank i, from 0, times M - i, made monotone.

    Args:
      p_values: (M,) of the whole family that was fixed beforehand.

    Raises:
      ValueError: not (M,), or not in [0, 1].
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"p_values={p.tolist()} must be a list of numbers in [0, 1].")
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)
