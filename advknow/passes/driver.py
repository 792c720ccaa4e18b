"""The one pass over a sample: every measure's numbers come from `states`.

    for state in states(measure, {"f_source": f, "f_target": g}, x, y=y):
        ...  # save it, report it, stop
    found = record(measure, state)

`run` is these lines with a report of progress. A state is small (sums, and a few numbers an
example), and from any of them the pass goes on bit for bit.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from advknow import precision, validate
from advknow.passes import batching, devices, keys
from advknow.passes.apply_fn import as_pytree, explained, output_spec
from advknow.passes.batching import Sample
from advknow.passes.measure import Batch, Measure, Need, Shapes, Totals, merge
from advknow.typing import ApplyFn, Array, ArrayLike, Progress, PyTree, Sharding


class Run(TypedDict, total=False):
    """How a pass is run; no result depends on it beyond rounding.

    Attributes:
      batch_size: examples in one program; 64 by default.
      sharding: over devices, from `devices.data_sharding`; None for one device.
      progress: called with (stage, examples done, N or None) after each batch.
    """

    batch_size: int
    sharding: Sharding
    progress: Progress | None


class Saved(NamedTuple):
    """What has to be kept of a state, a pytree of arrays: `State.saved`, `State.restored`."""

    sums: PyTree
    values: PyTree
    done: Any


class State(NamedTuple):
    """How far a pass has come.

    Attributes:
      sums: over the examples done, float64 on the host.
      pieces: the values of these examples, batch by batch.
      done: how many examples.
      shapes: of the pass.
    """

    sums: PyTree
    pieces: tuple[PyTree, ...]
    done: int
    shapes: Shapes

    def totals(self) -> Totals:
        """The totals over the examples done."""
        return Totals(self.sums, jax.tree.map(lambda *parts: np.concatenate(parts), *self.pieces))

    def saved(self) -> Saved:
        """The state as arrays."""
        return Saved(*self.totals(), np.int64(self.done))

    def restored(self, saved: Saved) -> "State":
        """The state that `saved` was made of, by a pass of the same shapes."""
        return self._replace(sums=saved.sums, pieces=(saved.values,), done=int(saved.done))


def _prepared(models: Mapping[str, ApplyFn], sharding: Sharding) -> dict[str, ApplyFn]:
    return {
        name: devices.replicate(as_pytree(f, name=name), sharding) for name, f in models.items()
    }


def _shapes(
    models: Mapping[str, ApplyFn], x: Array, y: np.ndarray | None, examples: int | None
) -> Shapes:
    specs = {name: output_spec(f, x, name=name) for name, f in models.items()}
    return Shapes(
        inputs=tuple(x.shape[1:]),
        dtype=x.dtype,
        outputs={name: spec.shape[-1] for name, spec in specs.items()},
        responses=None if y is None else y.shape[-1],
        eps=float(jnp.finfo(x.dtype).eps),
        output_eps={name: float(jnp.finfo(spec.dtype).eps) for name, spec in specs.items()},
        examples=examples,
    )


def _start(measure: Measure, shapes: Shapes) -> State:
    zero = measure.zero(shapes)
    return State(merge(zero.sums), (zero.values,), 0, shapes)


def begin(
    measure: Measure,
    models: Mapping[str, ApplyFn],
    x: ArrayLike,
    *,
    y: ArrayLike | None = None,
    batch_size: int = 64,
    sharding: Sharding = None,
    **rest: Any,
) -> State:
    """The state before the first example; a saved one must have its structure.

    Args, Raises: as `states`; what is left of its arguments does not matter here.
    """
    models = _prepared(models, sharding)
    first, _, rows = next(batching.batches(x, batch_size, y, sharding=sharding))
    return _start(measure, _shapes(models, first, rows, batching.total(x)))


def _find(need: Need, batch: Batch, found: dict[Need, Any]) -> Any:
    """What is needed, computed once and kept in `found`."""
    if need not in found:
        found[need] = need(batch, *(_find(inner, batch, found) for inner in need.needs))
    return found[need]


@explained()
@precision.measured
def _totals(measure: Measure, batch: Batch) -> Totals:
    # No closure that refers to itself: it would keep the batch's arrays until the next collection.
    found: dict[Need, Any] = {}
    for need in measure.needs:
        _find(need, batch, found)
    return measure.of_batch(batch, found)


def states(
    measure: Measure,
    models: Mapping[str, ApplyFn],
    x: Sample,
    *,
    y: Sample | None = None,
    deltas: Mapping[str, ArrayLike] | None = None,
    key: Array | None = None,
    batch_size: int = 64,
    sharding: Sharding = None,
    state: State | None = None,
) -> Iterator[State]:
    """One pass over a sample; the state after each batch.

    Args:
      measure: what is summed; of several, `combine` makes one.
      models: functions of a batch (B, ...) -> (B, d), each row on its own, under the names that the
        measure knows them by.
      x: (N, ...) floats, or an iterable of such batches.
      y: (N, d) floats, what is to be learned, or an iterable of such batches.
      deltas: perturbations at hand, of x's shape, by the model's name; x is an array then.
      key: one key, of which example i gets `fold_in(key, i)`, or a key per example (N,).
      batch_size: examples in one program; it changes speed and memory, not the result.
      sharding: over devices, from `devices.data_sharding`; None for one device.
      state: a state of the same pass to go on from; from the start if None. After the last one
        nothing is left, and nothing is yielded.

    Raises:
      ValueError, TypeError: x empty, of wrong rank, or with NaN; models that do not take x; deltas
        of another shape; more or fewer keys than examples; a state that ends inside a batch.
    """
    models = _prepared(models, sharding)
    given: Any = None if key is None else keys.typed(key)
    several = given is not None and given.ndim == 1
    if several and batching.total(x) is not None:
        keys.per_example(given, batching.total(x) or 0)
    for name, delta in (deltas or {}).items():
        if delta.shape != getattr(x, "shape", None):
            raise ValueError(
                f"the delta of {name} has shape {delta.shape}; that of x, "
                f"{getattr(x, 'shape', None)}, is needed."
            )
    done, n = 0 if state is None else state.done, batching.total(x)
    if n is not None and done > n:
        raise ValueError(
            f"{done} examples are done and x has {n}: the state is of another sample; remove it to "
            "begin again."
        )
    shapes = None
    for piece, count, rows in batching.batches(x, batch_size, y, skip=done, sharding=sharding):
        if shapes is None:
            shapes = _shapes(models, piece, rows, n)
        if state is None:
            state = _start(measure, shapes)
        size, part = piece.shape[0], slice(done, done + count)
        of_batch_keys = None
        if given is not None:
            of_batch_keys = (
                batching.padded(keys.per_example(given[part], count), size)
                if several
                else keys.per_example(given, size, start=done)
            )
            of_batch_keys = devices.put(of_batch_keys, sharding)
        batch = Batch(
            models=models,
            x=piece,
            count=count,
            start=done,
            y=rows,
            deltas={
                name: devices.put(batching.padded(jnp.asarray(delta[part]), size), sharding)
                for name, delta in (deltas or {}).items()
            },
            keys=of_batch_keys,
            shapes=shapes,
        )
        totals = _totals(measure, batch)
        done += count
        state = State(merge(state.sums, totals.sums), (*state.pieces, totals.values), done, shapes)
        yield state
    if several:
        keys.per_example(given, done)


def record(measure: Measure, state: State) -> Any:
    """The measure's record, from the state after the last batch."""
    return measure.record(state.totals(), state.shapes)


def checked(run: Run) -> Run:
    """`run` itself, what a call was given beside its own arguments.

    Raises:
      TypeError: another argument than those of `Run`.
    """
    for name in run:
        try:
            validate.choice("argument", name, Run.__annotations__)
        except ValueError as error:
            raise TypeError(str(error)) from None
    return run


def run(
    measure: Measure,
    models: Mapping[str, ApplyFn],
    x: Sample,
    *,
    stage: str,
    y: Sample | None = None,
    deltas: Mapping[str, ArrayLike] | None = None,
    key: Array | None = None,
    progress: Progress | None = None,
    **how: Any,
) -> Any:
    """The record of a whole pass.

    Args:
      measure, models, x, y, deltas, key: as in `states`.
      stage: what `progress` is told is being done.
      progress: called with (stage, examples done, N or None) after each batch.
      **how: batch_size and sharding, as in `states`.
    """
    state = None
    for state in states(measure, models, x, y=y, deltas=deltas, key=key, **how):
        if progress is not None:
            progress(stage, state.done, batching.total(x))
    assert state is not None, "batching refuses an empty sample"
    return record(measure, state)
