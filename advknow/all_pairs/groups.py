"""A measure of Gram matrices by groups of examples: what a jackknife of its record needs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

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


def grouped(measure: Measure, grams: GramsOf, *, num_groups: int = NUM_GROUPS) -> Measure:
    """`measure` with its sums by group, the example's index modulo `num_groups`; a `Grouped`.

    Args:
      measure: that reads `grams` and y, and keeps no values of examples.
      grams: what it reads.
      num_groups: G, at least 2.
    """

    def zero(shapes: Shapes) -> Totals:
        of_one = measure.zero(shapes).sums
        by_group = jax.tree.map(lambda leaf: np.zeros((num_groups, *np.shape(leaf))), of_one)
        return Totals({"count": np.zeros(num_groups), "sums": by_group}, None)

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        start = zero(batch.shapes).sums
        leaves = jax.tree.leaves(start["sums"])
        group = (batch.start + np.arange(batch.count)) % num_groups
        for g in np.unique(group):
            rows = np.flatnonzero(group == g)
            start["count"][g] = len(rows)
            part = batch._replace(count=len(rows), y=None if batch.y is None else batch.y[rows])
            of_rows = measure.of_batch(part, {grams: found[grams].part(rows)}).sums
            for leaf, value in zip(leaves, jax.tree.leaves(of_rows), strict=True):
                leaf[g] = value
        return Totals(start, None)

    def record(totals: Totals, shapes: Shapes) -> Grouped:
        leaves, structure = jax.tree.flatten(totals.sums["sums"])
        having = np.flatnonzero(totals.sums["count"] > 0)

        def of(groups: np.ndarray) -> Any:
            sums = jax.tree.unflatten(structure, [leaf[groups].sum(axis=0) for leaf in leaves])
            return measure.record(Totals(sums, None), shapes)

        without = having if len(having) > 1 else having[:0]
        return Grouped(of(having), tuple(of(having[having != g]) for g in without))

    return Measure(needs=(grams,), zero=zero, of_batch=of_batch, record=record)
