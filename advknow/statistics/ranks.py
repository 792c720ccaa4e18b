"""Which source is best, and which cannot be told apart: ranks of one target, with intervals."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from advknow import validate
from advknow.typing import ArrayLike

# Differences of this share of the largest value are rounding: the scores are the same.
ROUNDING = 1e-12


class Ranks(NamedTuple):
    """Ranks of K sources, 1 is the best.

    Attributes:
      rank: (K,) ranks of the estimates; ties share the mean of theirs.
      low, high: (K,) integers. The intervals of all K sources hold the true ranks at once, those of
        sources that are truly tied included, with the probability `level`.
      best: (K,) share of the draws in which the source has the highest score; sources that tie for
        it share the draw equally. The sum is 1. It is no posterior probability.
      apart: (K, K) booleans: whether the interval of the difference of two scores leaves out 0.
    """

    rank: np.ndarray
    low: np.ndarray
    high: np.ndarray
    best: np.ndarray
    apart: np.ndarray


def from_draws(values: ArrayLike, draws: ArrayLike, *, level: float = 0.95) -> Ranks:
    """Ranks of sources by their scores, with intervals by a bootstrap of the scores.

    Two sources are apart where their difference is more than c times its root mean square deviation
    in the draws. One c serves all pairs: the largest deviation of any pair exceeds it in a share of
    1 - level of the draws. So all differences that are called so are real with the probability
    `level`, and a source's true rank lies between 1 + the number of sources that are apart from it
    and better, and K - the number that are apart and worse (Mogstad et al., Review of Economic
    Studies 2024). Percentiles of a source's rank in the draws would be shorter and miss true ranks
    where scores are close: a rank is no smooth function of the scores. With few examples any
    bootstrap is a little short: of equal sources, scored by means over 200 examples, some are told
    apart in 6 to 8 of 100 studies at 95 %, over 1,000 examples in 5.

    Deviations are from the estimate, not from the mean of the draws, so a bootstrap that is biased
    against the estimate widens the intervals of the pairs that it is biased for.

    Args:
      values: (K,) scores of the sources, higher is better.
      draws: (R, K) their bootstrap estimates; a draw is of the same examples for all sources.
      level: of all intervals together.

    Raises:
      TypeError, ValueError: no finite numbers of these shapes, no source, a level outside (0, 1),
        fewer draws than level / (1 - level).
    """
    v, d = np.asarray(values, np.float64), np.asarray(draws, np.float64)
    if v.ndim != 1 or not v.size or d.ndim != 2 or d.shape[1:] != v.shape:
        raise ValueError(
            f"values and draws have shapes {v.shape} and {d.shape}; (K,) and (R, K) are needed."
        )
    for name, array in (("values", v), ("draws", d)):
        if not np.isfinite(array).all():
            bad = np.flatnonzero(~np.isfinite(array).reshape(-1, v.size).all(axis=0)).tolist()
            raise ValueError(
                f"{name} holds NaN or infinity for sources {bad}; finite numbers are needed."
            )
    level = validate.number("level", level, above=0, maximum=1)
    position = math.ceil(round(level * (len(d) + 1), 9))
    if position > len(d):
        raise ValueError(
            f"draws has {len(d)} draws, too few for level={level:g}; more than level / (1 - level) "
            "are needed."
        )
    zero = ROUNDING * np.abs(v).max()
    difference = v[:, None] - v
    deviation = np.empty_like(difference)
    largest = np.zeros(len(d))  # Of any pair, in units of its root mean square.
    for k in range(len(v)):
        from_estimate = np.abs(d[:, k, None] - d - difference[k])
        deviation[k] = np.sqrt(np.mean(from_estimate**2, axis=0))
        varies = deviation[k] > zero
        if varies.any():
            ratio = from_estimate[:, varies] / deviation[k, varies]
            largest = np.maximum(largest, ratio.max(axis=1))
    critical = np.sort(largest)[position - 1]
    apart = np.abs(difference) > np.maximum(critical * deviation, zero)
    is_best = d == d.max(axis=1, keepdims=True)
    return Ranks(
        rank=stats.rankdata(-v),
        low=1 + np.sum(apart & (difference < 0), axis=1),
        high=len(v) - np.sum(apart & (difference > 0), axis=1),
        best=np.mean(is_best / is_best.sum(axis=1, keepdims=True), axis=0),
        apart=apart,
    )


def sentence(names: Sequence[str], ranks: Ranks, n: int) -> str:
    """The order in words: "A, then B or C (cannot be told apart at n = 200)".

    "Then" stands only where all sources before it are apart from all after it.

    Args:
      names: of the K sources. ranks: theirs. n: number of examples that the scores are of.

    Raises:
      ValueError: another number of names.
    """
    if len(names) != len(ranks.rank):
        raise ValueError(f"names has {len(names)} names for {len(ranks.rank)} sources.")
    order = np.argsort(ranks.rank, kind="stable")
    apart = ranks.apart[np.ix_(order, order)]
    cuts = [k for k in range(1, len(order)) if apart[:k, k:].all()]
    groups = []
    for first, last in zip([0, *cuts], [*cuts, len(order)], strict=True):
        *others, final = [str(names[k]) for k in order[first:last]]
        words = f"{', '.join(others)} or {final}" if others else final
        if others and not apart[first:last, first:last].any():
            words += f" (cannot be told apart at n = {n})"
        elif others:
            words += f" (not all can be told apart at n = {n})"
        groups.append(words)
    all_apart = len(groups) == len(order) > 1
    return ", then ".join(groups) + (f" (all can be told apart at n = {n})" if all_apart else "")
