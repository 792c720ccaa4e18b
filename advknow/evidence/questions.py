"""A score against the truth of one zoo, number of labels and scope, averaged over setups."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from advknow.evidence.hypotheses import LEVEL, TRUTH, TUNED, Ranker
from advknow.evidence.rankings import SCOPES, Rankings, Setup, View
from advknow.statistics import intervals
from advknow.statistics.intervals import Jackknife
from advknow.statistics.partial import partial_rank_correlation

Row = dict[str, Any]
# (setup) -> (T, S), larger is better, of the targets of a question.
Scored = Callable[[Setup], np.ndarray]


def _mean(found: Sequence[Jackknife]) -> Jackknife:
    return Jackknife(
        np.mean([one.per_target for one in found], axis=0),
        np.mean([one.influence for one in found], axis=0),
    )


def interval_of(found: Jackknife) -> Row:
    """The mean over targets and its interval."""
    of = intervals.interval(found, level=LEVEL)
    return {"mean": of.mean, "low": of.low, "high": of.high}


class Question:
    """One zoo, truth, number of labels and scope.

    Attributes:
      view: the pairs. setups: over which a ranker is averaged.
    """

    def __init__(self, of: Rankings, zoo: str, truth: str, labels: int, scope: str, view: View):
        self.of, self.zoo, self.truth, self.labels, self.scope = of, zoo, truth, labels, scope
        self.view = view
        self.setups = [Setup(labels, i) for i in range(of.draws(truth, zoo))]
        self._weighted: dict[Any, Jackknife] = {}

    def name(self) -> Row:
        """The columns of every row of it."""
        return {
            "zoo": self.zoo,
            "truth": self.truth,
            "labels": self.labels,
            "scope": self.scope,
            "targets": len(self.view.targets),
            "sources": int(self.view.present.any(axis=0).sum()),
        }

    def values(self, ranker: Ranker, setup: Setup) -> np.ndarray:
        """(T, S) of the view's targets."""
        return self.of.values(ranker, self.zoo, setup, self.truth)[self.view.rows]

    def having(self, ranker: Ranker, *, few: bool = False) -> list[Setup]:
        """The setups that have the ranker."""
        setups = [Setup(self.labels, 0, few=True)] if few else self.setups
        return [setup for setup in setups if self.of.has(ranker, self.zoo, setup)]

    def weighted(self, ranker: Ranker, *, few: bool = False) -> Jackknife:
        """The weighted tau of a ranker, averaged over the setups."""
        key = (ranker, few)
        if key not in self._weighted:
            setups = self.having(ranker, few=few)
            self._weighted[key] = self.averaged(lambda s: self.values(ranker, s), setups)
        return self._weighted[key]

    def averaged(self, scored: Scored, setups: Sequence[Setup]) -> Jackknife:
        """The weighted tau of any score of the view's targets, likewise."""
        view = self.view
        return _mean(
            [
                intervals.of_weighted_tau(scored(setup), view.truth, present=view.present)
                for setup in setups
            ]
        )

    def partial(self, ranker: Ranker, given: Sequence[Ranker]) -> Jackknife:
        """Partial rank correlation of a ranker with truth, given others, likewise."""
        found = []
        for setup in self.having(ranker):
            score = self.values(ranker, setup)
            others = [self.values(one, setup) for one in given]

            def statistic(
                present: np.ndarray,
                score: np.ndarray = score,
                others: Sequence[np.ndarray] = tuple(others),
            ) -> np.ndarray:
                return partial_rank_correlation(score, self.view.truth, others, present=present)

            found.append(intervals.jackknife(statistic, self.view.present))
        return _mean(found)


def questions(of: Rankings) -> Iterable[Question]:
    """All that can be asked of these records."""
    for zoo, truth in itertools.product(of.zoos(), (TRUTH, TUNED)):
        for labels, scope in itertools.product(of.labels(truth, zoo), SCOPES):
            view = of.view(truth, zoo, labels, scope)
            if view is not None:
                yield Question(of, zoo, truth, labels, scope, view)
