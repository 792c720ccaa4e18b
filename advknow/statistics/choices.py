"""What is lost by taking the sources that a score puts first."""

import numpy as np
from scipy import special

from advknow import validate
from advknow.statistics.matrices import checked
from advknow.typing import ArrayLike


def _expected_best(scores: np.ndarray, truth: np.ndarray, first: int) -> float:
    """The expected best truth of the `first` highest scores, ties in random order."""
    last = np.sort(scores)[-first]  # The score of the last one taken.
    sure = truth[scores > last]
    tied = np.sort(truth[scores == last])
    drawn = first - len(sure)
    # The best of `drawn` of the tied is the i-th or a worse one in comb(i, drawn) of the draws.
    up_to = special.comb(np.arange(len(tied) + 1), drawn) / special.comb(len(tied), drawn)
    return float(np.diff(up_to) @ np.maximum(tied, sure.max(initial=-np.inf)))


def regret(
    scores: ArrayLike, truth: ArrayLike, *, present: ArrayLike | None = None, first: int = 1
) -> np.ndarray:
    """Best truth of each target less the best among the sources that a score puts first, (T,).

    In the units of truth: points of accuracy. Sources that tie are taken in random order, and the
    regret is the expectation over it; so a constant score has the regret of chance.

    Args:
      scores, truth: (T, S), higher is better. present: (T, S) booleans, the ranked pairs.
      first: how many are tried, of which the best is then known; 1 is the score's own choice.

    Raises:
      TypeError, ValueError: as `advknow.statistics.matrices.checked`; a target with fewer sources
        than `first`.
    """
    first = validate.integer("first", first, minimum=1)
    s, y, p = checked(scores, truth, present, least=max(2, first))
    return np.array(
        [
            b[there].max() - _expected_best(a[there], b[there], first)
            for a, b, there in zip(s, y, p, strict=True)
        ]
    )
