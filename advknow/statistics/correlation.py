"""Correlation over a handful of models, with what it needs to be believed: n and an exact p-value.

Five points are weak evidence, and model size alone often ranks as well; so every correlation comes
with n and a permutation p-value, and the caller prints the size-only baseline beside it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

# Up to 8 points all n! <= 40,320 pairings are tried; beyond, this many drawn ones.
EXACT_UP_TO = 8
NUM_RESAMPLES = 9999


class Correlation(NamedTuple):
    """Pearson's and Spearman's coefficients of n pairs, and their two-sided permutation p-values.

    Attributes:
      pearson, spearman: in [-1, 1].
      pearson_p, spearman_p: share of the random pairings of the values whose coefficient is at
        least as far from 0; exact for n <= `EXACT_UP_TO`. The least it can be is 2 / n!.
      n: number of pairs.
    """

    pearson: float
    pearson_p: float
    spearman: float
    spearman_p: float
    n: int


def correlate(x: Sequence[float], y: Sequence[float]) -> Correlation | None:
    """The correlation of two lists; None where it is not defined (n < 3, or a constant list).

    Raises:
      ValueError: lists of different lengths, or a value that is not finite.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"x and y have shapes {a.shape} and {b.shape}; equal lengths are needed.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(f"x={a.tolist()} and y={b.tolist()} must be finite.")
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None

    def centred_unit(v: np.ndarray) -> np.ndarray:
        v = v - v.mean()
        return v / np.sqrt(np.sum(v**2))

    def test(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
        unit = centred_unit(b)
        found = stats.permutation_test(
            (centred_unit(a),),
            # Rounded, so that pairings that only reorder the sum tie with the one at hand.
            lambda a, axis=-1: np.abs(np.sum(a * unit, axis=axis)).round(12),
            alternative="greater",
            permutation_type="pairings",
            vectorized=True,
            n_resamples=np.inf if len(a) <= EXACT_UP_TO else NUM_RESAMPLES,
            rng=np.random.default_rng(0),
        )
        coefficient = float(np.clip(np.sum(centred_unit(a) * unit), -1.0, 1.0))
        return coefficient, float(found.pvalue)

    pearson, pearson_p = test(a, b)
    spearman, spearman_p = test(stats.rankdata(a), stats.rankdata(b))
    return Correlation(pearson, pearson_p, spearman, spearman_p, len(a))
