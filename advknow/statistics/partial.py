"""What a score adds to others: partial rank correlation, and the mean rank of several scores."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from advknow.statistics.matrices import checked
from advknow.typing import ArrayLike

# Residuals of this share of the ranks' own length are rounding: the covariates say it all.
ROUNDING = 1e-9
# Of mean ranks, so that sources that tie do not differ by the order of a sum.
DECIMALS = 12


def _beyond(ranks: np.ndarray, covariates: np.ndarray) -> np.ndarray:
    """Unit residuals of ranks (S,) by least squares on covariates (S, C); 0 where none are left."""
    residual = ranks - covariates @ np.linalg.lstsq(covariates, ranks, rcond=None)[0]
    length = np.linalg.norm(residual)
    if length <= ROUNDING * np.linalg.norm(ranks):
        return np.zeros_like(residual)
    return residual / length


def partial_rank_correlation(
    scores: ArrayLike,
    truth: ArrayLike,
    given: Sequence[ArrayLike],
    *,
    present: ArrayLike | None = None,
) -> np.ndarray:
    """Correlation of a score with truth beyond other scores, of each target, (T,), in [-1, 1].

    Score, truth and the given are replaced by their ranks among the target's sources, ties sharing
    the mean of theirs; score and truth by what is left of them after least squares on the given and
    a constant; and what is left is correlated. With nothing given it is Spearman's coefficient.

    A score of which nothing is left, because the given determine its ranks or because it is
    constant, adds nothing and counts 0.

    Args:
      scores, truth: (T, S). given: of (T, S) each. present: (T, S) booleans, the ranked pairs.

    Raises:
      TypeError, ValueError: as `advknow.statistics.matrices.checked`; fewer sources than the given
        and 3 more.
    """
    least = len(given) + 3
    s, y, p = checked(scores, truth, present, least=least)
    others = [checked(g, y, p, name=f"given[{i}]", least=least)[0] for i, g in enumerate(given)]
    found = []
    for t, there in enumerate(p):
        ranks = stats.rankdata([g[t, there] for g in (s, y, *others)], axis=1)
        covariates = np.stack([np.ones(there.sum()), *ranks[2:]], axis=1)
        found.append(_beyond(ranks[0], covariates) @ _beyond(ranks[1], covariates))
    return np.clip(found, -1.0, 1.0)


def scaled_ranks(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Ranks among each target's sources over their number, in (0, 1), best near 1; 0 elsewhere."""
    ranks = np.zeros(values.shape)
    for row, a, there in zip(ranks, values, present, strict=True):
        row[there] = (stats.rankdata(a[there]) - 0.5) / there.sum()
    return ranks


def mean_rank(scores: Sequence[ArrayLike], *, present: ArrayLike | None = None) -> np.ndarray:
    """A score that combines others: the mean of their ranks in each target, (T, S).

    Ties share the mean of their ranks. Where not present it is 0.

    Args:
      scores: of (T, S) each, higher is better. present: (T, S) booleans, the ranked pairs.

    Raises:
      TypeError, ValueError: no scores, other shapes, NaN or infinity where present.
    """
    if not len(scores):
        raise ValueError("scores is empty; at least one is needed.")
    s = np.asarray(scores, np.float64)
    p = np.ones(s.shape[1:], bool) if present is None else np.asarray(present, bool)
    if s.ndim != 3 or p.shape != s.shape[1:]:
        raise ValueError(
            f"scores and present have shapes {s.shape} and {p.shape}; (any, T, S) and (T, S) are "
            "needed."
        )
    bad = np.argwhere(p & ~np.isfinite(s))
    if len(bad):
        i, t, j = bad[0]
        raise ValueError(
            f"scores[{i}] of target {t} and source {j} is {s[i, t, j]}; finite numbers are needed."
        )
    return np.mean([scaled_ranks(score, p) for score in s], axis=0).round(DECIMALS)
