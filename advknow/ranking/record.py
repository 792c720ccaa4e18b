"""The record of a ranking: every score of every source, its standard error, rank and interval."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from advknow import validate
from advknow.ranking.catalogue import SCORES
from advknow.statistics import ranks
from advknow.statistics.ranks import Ranks


class Estimate(NamedTuple):
    """A score of a source.

    Attributes:
      value: on all examples. draws: (R,) on half-samples, or None where one of them has no score.
      without: why there are no draws, or "".
    """

    value: float
    draws: np.ndarray | None
    without: str = ""


class Ranked(NamedTuple):
    """The sources that have a score, and their ranks by it.

    Attributes:
      names: of the K sources. values, standard_errors: (K,), NaN without draws.
      ranks: with intervals, or None without draws of all.
      rank: (K,), 1 is best, ties share the mean.
    """

    names: tuple[str, ...]
    values: np.ndarray
    standard_errors: np.ndarray
    ranks: Ranks | None
    rank: np.ndarray


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Sources ranked for a target.

    Attributes:
      target: its name. names: of all sources. n: labelled examples. level: of the intervals.
      by: the score that `sentence` answers with.
      scores: by name of the score (`SCORES`).
      left_out: why a score has no value or no interval, by (source, score).
    """

    target: str
    names: tuple[str, ...]
    n: int
    level: float
    by: str
    scores: Mapping[str, Ranked]
    left_out: Mapping[tuple[str, str], str]

    def sentence(self, by: str | None = None) -> str:
        """The order by a score, as in "A, then B or C (cannot be told apart at n = 200)"."""
        found = self[by or self.by]
        if found.ranks is not None:
            return ranks.sentence(found.names, found.ranks, self.n)
        order = np.argsort(found.rank, kind="stable")
        return f"{', then '.join(found.names[k] for k in order)} (without intervals)"

    def __getitem__(self, score: str) -> Ranked:
        """The sources by a score. ValueError: no source has it."""
        validate.choice("score", score, self.scores)
        return self.scores[score]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each source and score, the best source of each score first.

        target, source, score, value, standard_error, n, rank, rank_low, rank_high, best; None for
        what is not known.
        """
        rows = []
        for score, found in self.scores.items():
            of = found.ranks
            for k in np.argsort(found.rank, kind="stable"):
                error = found.standard_errors[k]
                rows.append(
                    {
                        "target": self.target,
                        "source": found.names[k],
                        "score": score,
                        "value": float(found.values[k]),
                        "standard_error": None if np.isnan(error) else float(error),
                        "n": self.n,
                        "rank": float(found.rank[k]),
                        "rank_low": None if of is None else int(of.low[k]),
                        "rank_high": None if of is None else int(of.high[k]),
                        "best": None if of is None else float(of.best[k]),
                    }
                )
        return rows


def ranked(score: str, estimates: Mapping[str, Estimate], *, level: float) -> Ranked:
    """The sources by one score.

    Draws are centred on the value: half-samples have a bias of their own, the same direction for
    all sources, which says nothing of the examples that were drawn.

    Args:
      score: its name. estimates: by source. level: of the intervals.
    """
    sign = -1.0 if SCORES[score].lower_is_better else 1.0
    values = np.array([of.value for of in estimates.values()])
    draws = [of.draws for of in estimates.values()]
    errors = [np.nan if d is None else float(np.std(d, ddof=1)) for d in draws]
    with_draws = [d for d in draws if d is not None]
    found = None
    if len(with_draws) == len(draws):
        both = np.stack(with_draws, axis=1)
        centred = values + both - both.mean(axis=0)
        found = ranks.from_draws(sign * values, sign * centred, level=level)
    return Ranked(
        tuple(estimates),
        values,
        np.array(errors),
        found,
        stats.rankdata(-sign * values) if found is None else found.rank,
    )
