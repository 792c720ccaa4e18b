"""Records as matrices of targets by sources, larger is better, and which pairs are compared."""

import collections
import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from advknow.evidence.hypotheses import RANDOM, STATIC, TRUTH, Ranker
from advknow.evidence.records import Record
from advknow.evidence.studies import TARGETS, TRIED
from advknow.ranking.catalogue import SCORES
from advknow.statistics import matrices, static

SCOPES = ("all", "near", "far", "new")
# A target with fewer ranked sources is left out of a scope; so is a scope with fewer targets.
LEAST_SOURCES, LEAST_TARGETS = 4, 2
RANDOM_SEED = 0


class Setup(NamedTuple):
    """What a user has: one draw of so many labels a class, and one reference model.

    Attributes:
      labels: a class. draw: its number, and the seed of the reference model.
      few: the reference model is the one that saw the labelled images of the first draw alone.
    """

    labels: int
    draw: int
    few: bool = False


class View(NamedTuple):
    """What a score is compared with in one scope.

    Attributes:
      truth: (T, S) accuracies in percent, the mean over draws. present: (T, S) booleans.
      rows: (T,) which of the zoo's targets these are. targets, sources: names.
    """

    truth: np.ndarray
    present: np.ndarray
    rows: np.ndarray
    targets: tuple[str, ...]
    sources: tuple[str, ...]


def signed(quantity: str, value: float) -> float:
    """The value so that larger is better: distances with a minus."""
    lower = quantity in SCORES and SCORES[quantity].lower_is_better
    return -value if lower else value


def title(ranker: Ranker) -> str:
    """For tables and figures."""
    if ranker.attack == "small_eps":
        return SCORES[f"small_eps_{ranker.quantity}"].title
    if ranker.quantity in SCORES:
        found = SCORES[ranker.quantity].title.replace(" attack,", f" {ranker.attack.upper()},")
        return f"-{found}" if SCORES[ranker.quantity].lower_is_better else found
    words = {
        "num_params": "size",
        "source_accuracy": "source accuracy",
        "attack_success": f"attack success, {ranker.attack.upper()}",
        "static": "static order, other targets",
    }
    return words.get(ranker.quantity, ranker.quantity)


def _order_of(target: str) -> tuple[int, str]:
    known = [one.name for one in TARGETS]
    return (known.index(target) if target in known else len(known), target)


class Rankings:
    """The records of a study, ready to be asked.

    Args:
      records: `advknow.evidence.records`, of all shards.
    """

    def __init__(self, records: Iterable[Record]):
        groups: dict[tuple[Any, ...], list[Record]] = collections.defaultdict(list)
        self.relation: dict[tuple[str, str], str] = {}
        sources: dict[str, dict[str, None]] = collections.defaultdict(dict)
        self.undefined: collections.Counter[Ranker] = collections.Counter()
        for one in records:
            setup = (one["labels"], one["draw"], one["reference"])
            groups[(one["quantity"], one["attack"], one["zoo"], *setup)].append(one)
            sources[one["zoo"]][one["source"]] = None
            if one["target"]:
                self.relation[one["source"], one["target"]] = one["relation"]
            if one["value"] == "":
                self.undefined[Ranker(one["quantity"], one["attack"])] += 1
        self._groups = dict(groups)
        self.sources = {zoo: tuple(sorted(names)) for zoo, names in sources.items()}
        names = {target for _, target in self.relation}
        self.targets = tuple(sorted(names, key=_order_of))

    def zoos(self) -> tuple[str, ...]:
        """Those that are ranked, "control" is not."""
        return tuple(sorted(zoo for zoo in self.sources if zoo != "control"))

    def labels(self, quantity: str, zoo: str) -> tuple[int, ...]:
        """Numbers of labels a class of which there are records of that quantity, ascending."""
        found = {key[3] for key in self._groups if (key[0], key[2]) == (quantity, zoo)}
        return tuple(sorted(n for n in found if n != ""))

    def draws(self, quantity: str, zoo: str) -> int:
        """Number of draws of that quantity."""
        return len({key[4] for key in self._groups if (key[0], key[2]) == (quantity, zoo)} - {""})

    def rankers(self, zoo: str) -> tuple[Ranker, ...]:
        """Every quantity that sources can be ranked by, truths aside; `STATIC` and `RANDOM` too."""
        found = {Ranker(key[0], key[1]) for key in self._groups if key[2] == zoo}
        kept = sorted(r for r in found if not r.quantity.endswith("_accuracy"))
        return (*kept, Ranker("source_accuracy"), STATIC, RANDOM)

    def of_reference(self, ranker: Ranker, zoo: str) -> bool:
        """Whether the quantity needs a reference model."""
        return any(
            key[:3] == (ranker.quantity, ranker.attack, zoo) and key[5] != ""
            for key in self._groups
        )

    @functools.lru_cache(maxsize=4096)  # noqa: B019 (as long as the records)
    def values(self, ranker: Ranker, zoo: str, setup: Setup, truth: str = TRUTH) -> np.ndarray:
        """(T, S) of all targets and sources of a zoo, larger is better.

        A source for which the score is not defined is put last.

        Args:
          ranker, zoo, setup: which. truth: of the static order.

        Raises:
          ValueError: a pair without a record.
        """
        if ranker == STATIC:
            return static.leave_one_target_out(self.truth(truth, zoo, setup.labels))
        shape = len(self.targets), len(self.sources[zoo])
        if ranker == RANDOM:
            return np.random.default_rng([RANDOM_SEED, setup.draw]).random(shape)
        group = self._group(ranker, zoo, setup)
        if all(one["target"] == "" for one in group):
            group = [{**one, "target": t} for one in group for t in self.targets]
        lines = [{**one, "value": self._value(one, group)} for one in group]
        found = matrices.from_records(
            lines, ranker.quantity, targets=self.targets, sources=self.sources[zoo]
        )
        return found.values

    @staticmethod
    def _value(one: Record, group: Sequence[Record]) -> float:
        if one["value"] != "":
            return signed(one["quantity"], one["value"])
        there = [
            signed(o["quantity"], o["value"])
            for o in group
            if o["target"] == one["target"] and o["value"] != ""
        ]
        return min(there, default=0.0) - 1.0

    def _group(self, ranker: Ranker, zoo: str, setup: Setup) -> list[Record]:
        reference = "few" if setup.few else str(setup.draw)
        for labels, draw in ((setup.labels, setup.draw), ("", "")):
            for of in (reference, ""):
                key = (ranker.quantity, ranker.attack, zoo, labels, draw, of)
                if key in self._groups:
                    return self._groups[key]
        raise ValueError(f"no records of {title(ranker)} of zoo {zoo} in {setup}.")

    def has(self, ranker: Ranker, zoo: str, setup: Setup) -> bool:
        """Whether there are records of it."""
        if ranker in (STATIC, RANDOM):
            return True
        try:
            return bool(self._group(ranker, zoo, setup))
        except ValueError:
            return False

    def truths(self, truth: str, zoo: str, labels: int) -> np.ndarray:
        """(draws, T, S), accuracies in percent."""
        return np.stack(
            [
                self.values(Ranker(truth), zoo, Setup(labels, draw))
                for draw in range(self.draws(truth, zoo))
            ]
        )

    def truth(self, truth: str, zoo: str, labels: int) -> np.ndarray:
        """(T, S), the mean over draws."""
        return self.truths(truth, zoo, labels).mean(axis=0)

    def view(
        self, truth: str, zoo: str, labels: int, scope: str, *, least: int = LEAST_SOURCES
    ) -> View | None:
        """The pairs of a scope, None where there are fewer than two targets with `least` sources.

        A target whose truth is the same for all of its sources is left out.
        """
        sources = self.sources[zoo]
        y = self.truth(truth, zoo, labels)
        present = np.array(
            [[self._in(scope, source, target) for source in sources] for target in self.targets]
        )
        rows = np.array(
            [
                t
                for t in range(len(self.targets))
                if present[t].sum() >= least and np.ptp(y[t, present[t]]) > 0
            ],
            dtype=int,
        )
        if len(rows) < LEAST_TARGETS:
            return None
        names = tuple(self.targets[t] for t in rows)
        return View(y[rows], present[rows], rows, names, sources)

    def _in(self, scope: str, source: str, target: str) -> bool:
        if scope in ("near", "far"):
            return self.relation[source, target] == scope
        return scope == "all" or target not in TRIED
