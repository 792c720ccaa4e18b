"""How well a score orders the sources of each target: weighted tau and tau."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from advknow.statistics.matrices import checked
from advknow.typing import ArrayLike


def _per_target(
    coefficient: Callable[..., Any], scores: ArrayLike, truth: ArrayLike, present: ArrayLike | None
) -> np.ndarray:
    s, y, p = checked(scores, truth, present)
    return np.array(
        [
            coefficient(a[there], b[there]).statistic if np.ptp(a[there]) > 0 else 0.0
            for a, b, there in zip(s, y, p, strict=True)
        ]
    )


def weighted_tau(
    scores: ArrayLike, truth: ArrayLike, *, present: ArrayLike | None = None
) -> np.ndarray:
    """Vigna's weighted tau of each target, (T,), in [-1, 1]: as `scipy.stats.weightedtau`.

    Additive, hyperbolic: exchanging the sources of ranks r and s, from 0, counts
    1/(r + 1) + 1/(s + 1); the mean of ranks by the score and ranks by truth. Pairs that tie in one
    of the two count 0 above and shorten the norm of that one below, as in tau-b.

    A score that is the same for all sources of a target orders nothing and counts 0.

    Args:
      scores, truth: (T, S), higher is better. present: (T, S) booleans, the ranked pairs.

    Raises:
      TypeError, ValueError: as `advknow.statistics.matrices.checked`: NaN (which scipy would rank
        silently), constant truth, fewer than 2 sources.
    """
    return _per_target(stats.weightedtau, scores, truth, present)


def tau(scores: ArrayLike, truth: ArrayLike, *, present: ArrayLike | None = None) -> np.ndarray:
    """Kendall's tau-b of each target, (T,), in [-1, 1]; all else as `weighted_tau`."""

    def kendall(a: np.ndarray, b: np.ndarray) -> Any:
        return stats.kendalltau(a, b, method="asymptotic")  # The p-value, which is not used.

    return _per_target(kendall, scores, truth, present)
