"""A measure: what is summed of a sample, as a small record of pure functions.

    needs       what of a batch it reads; what several measures need is computed once for all
    zero        the totals over no examples
    of_batch    the totals over one batch
    record      the result, from the totals over all

It is to a sample what an optax transformation is to gradients. Everything advknow reports is a mean
over examples (theory.md section 5), so the sums merge by addition, in any order and any split; the
driver (`advknow.passes.driver`) adds them up, and its caller saves, reports and stops.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import numpy as np

from advknow.typing import ApplyFn, Array, PyTree

Sums = TypeVar("Sums")


class Shapes(NamedTuple):
    """What is known of a pass before its first batch is computed.

    Attributes:
      inputs: of one example. dtype: of x.
      outputs: how many each model has, by the model's name.
      responses: columns of y; None without y.
      eps: rounding of x's dtype, which is that of the gradients.
      output_eps: rounding of each model's outputs, by the model's name.
      examples: how many the sample has; None for an iterable, which does not say.
    """

    inputs: tuple[int, ...]
    dtype: Any
    outputs: Mapping[str, int]
    responses: int | None
    eps: float
    output_eps: Mapping[str, float]
    examples: int | None = None

    @property
    def num_inputs(self) -> int:
        """n, the numbers in one example."""
        return int(np.prod(self.inputs))


class Batch(NamedTuple):
    """One batch of a sample; all batches have one size, so that one program serves them all.

    Attributes:
      models: by name, as pytrees on the devices.
      x: (size, ...); beyond `count` the last example again.
      count: true examples. start: the index of the first of them in the sample.
      y: (count, d), the rows of what is to be learned, or None.
      deltas: perturbations that were given to the pass, by the model's name, (size, ...).
      keys: (size,), a random key an example; None where the pass was given no key.
      shapes: of the pass.
    """

    models: Mapping[str, ApplyFn]
    x: Array
    count: Any
    start: int
    y: np.ndarray | None
    deltas: Mapping[str, Array]
    keys: Any
    shapes: Shapes

    @property
    def size(self) -> int:
        """Examples with the padding."""
        return self.x.shape[0]


class Need(Protocol):
    """Something of a batch that measures read: hashable, and equal ones are computed once.

    Attributes:
      needs: what it is computed from.
    """

    @property
    def needs(self) -> tuple["Need", ...]: ...

    def __call__(self, batch: Batch, /, *found: Any) -> Any: ...


class Totals(NamedTuple):
    """What a measure keeps of some examples.

    Attributes:
      sums: a pytree of sums over them.
      values: a pytree of arrays (examples, ...), in their order.
    """

    sums: PyTree
    values: PyTree


class Measure(NamedTuple):
    """See the module.

    Attributes:
      needs: what `of_batch` finds in its second argument.
      zero: shapes -> the totals over no examples.
      of_batch: (batch, what is needed of it, by need) -> its totals.
      record: (totals over all examples, shapes) -> the record.
    """

    needs: tuple[Need, ...]
    zero: Callable[[Shapes], Totals]
    of_batch: Callable[[Batch, Mapping[Need, Any]], Totals]
    record: Callable[[Totals, Shapes], Any]


def combine(measures: Mapping[str, Measure]) -> Measure:
    """One measure of several; its record is the dict of theirs."""

    def joined(parts: Mapping[str, Totals]) -> Totals:
        return Totals(
            {name: part.sums for name, part in parts.items()},
            {name: part.values for name, part in parts.items()},
        )

    return Measure(
        needs=tuple(dict.fromkeys(need for m in measures.values() for need in m.needs)),
        zero=lambda shapes: joined({name: m.zero(shapes) for name, m in measures.items()}),
        of_batch=lambda batch, found: joined(
            {name: m.of_batch(batch, found) for name, m in measures.items()}
        ),
        record=lambda totals, shapes: {
            name: m.record(Totals(totals.sums[name], totals.values[name]), shapes)
            for name, m in measures.items()
        },
    )


def merge(*sums: Sums) -> Sums:
    """The sums over the union of the examples, of any pytree of sums, in float64 on the host."""
    leaves = zip(*map(jax.tree.leaves, sums), strict=True)
    # Thousands of small arrays, of a measure of many pairs: no function call for each but these.
    merged = [
        functools.reduce(np.add, [np.asarray(part, np.float64) for part in parts])
        for parts in leaves
    ]
    return jax.tree.unflatten(jax.tree.structure(sums[0]), merged)
