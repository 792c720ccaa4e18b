"""A measure of Gram matrices by groups of examples: what a jackknife of its record needs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from advknow import passes
from advknow.alphas.record import jackknife_error
from advknow.alphas.sums import NUM_GROUPS
from advknow.gram import GramsOf
from advknow.passes import Batch, Measure, Need, Shapes, Totals


class Grouped(NamedTuple):
    """The record of all examples, and those without each group.

    Attributes:
      whole: of all examples.
      without: without each group that has examples; () where only one has.
    """

    whole: Any
    without: tuple[Any, ...]

    def standard_error(self, field: str) -> float | None:
        """Of a field of the record, by the delete-a-group jackknife; None for one group."""
        if not self.without:
            return None
        return jackknife_error(np.array([getattr(record, field) for record in self.without]))


class _GroupSums(NamedTuple):
    count: Any
    sums: Any


def grouped(measure: Measure, grams: GramsOf, *, num_groups: int = NUM_GROUPS) -> Measure:
    """`measure` with its sums by group, the example's index modulo `num_groups`; a `Grouped`.

    Args:
      measure: that reads `grams` and y, and keeps no values of examples.
      grams: what it reads.
      num_groups: G, at least 2.
    """

    def zero(shapes: Shapes) -> Totals:
        start = _GroupSums(np.zeros(()), measure.zero(shapes).sums)
        return Totals((start,) * num_groups, None)

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        group = (batch.start + np.arange(batch.count)) % num_groups
        none = _GroupSums(np.float64(0), measure.zero(batch.shapes).sums)
        return Totals(
            tuple(
                _of_rows(measure, grams, batch, found[grams], np.flatnonzero(group == g))
                if np.any(group == g)
                else none
                for g in range(num_groups)
            ),
            None,
        )

    def record(totals: Totals, shapes: Shapes) -> Grouped:
        groups = [group.sums for group in totals.sums if group.count > 0]

        def of(sums: list[Any]) -> Any:
            return measure.record(Totals(passes.merge(*sums), None), shapes)

        without = [groups[:g] + groups[g + 1 :] for g in range(len(groups)) if len(groups) > 1]
        return Grouped(of(groups), tuple(map(of, without)))

    return Measure(needs=(grams,), zero=zero, of_batch=of_batch, record=record)


def _of_rows(measure: Measure, grams: GramsOf, batch: Batch, found: Any, rows: Any) -> _GroupSums:
    part = batch._replace(count=len(rows), y=None if batch.y is None else batch.y[rows])
    totals = measure.of_batch(part, {grams: found.part(rows)})
    return _GroupSums(np.float64(len(rows)), totals.sums)
