"""A sample as batches of one size: an array (N, ...), or an iterable of arrays (B, ...)."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from advknow import validate
from advknow.passes import devices
from advknow.typing import Array, ArrayLike, Sharding

OF_ONE_HOT = "one-hot vectors: y.astype(numpy.float32)"

Sample = ArrayLike | Iterable[ArrayLike]


def total(x: Any) -> int | None:
    """N where it is known beforehand: of an array, not of an iterable."""
    return int(x.shape[0]) if getattr(x, "ndim", 0) else None


def _batches(name: str, x: Sample) -> Iterator[ArrayLike]:
    if hasattr(x, "shape"):
        return iter([x])  # type: ignore[list-item]
    if not isinstance(x, Iterable):
        raise TypeError(
            f"{name}={x!r} ({type(x).__name__}) must be an array (N, ...) or an iterable of such "
            "batches."
        )
    return iter(x)


def _paired(x: Sample, y: Sample | None) -> Iterator[tuple[ArrayLike, Any]]:
    """Batches of x, each with the rows of y that belong to it (None without y)."""
    rows_of_y = None if y is None else _batches("y", y)
    rest: Any = None
    done = 0
    for i, batch in enumerate(_batches("x", x)):
        validate.inputs("x" if i == 0 else f"batch {i} of x", batch)
        if rows_of_y is None:
            yield batch, None
            continue
        count = batch.shape[0]
        # Either may come in larger batches than the other.
        while rest is None or rest.shape[0] < count:
            following = next(rows_of_y, None)
            if following is None:
                held = 0 if rest is None else rest.shape[0]
                raise ValueError(
                    f"y has {done + held} rows and x at least {done + count}; one row of y for "
                    "each example is needed."
                )
            if getattr(following, "ndim", 2) != 2:
                raise ValueError(
                    f"y has shape {tuple(following.shape)}; (N, d) floats are needed. Of class "
                    "labels make one-hot vectors: jax.nn.one_hot(labels, d)."
                )
            validate.inputs("y", following, advice=OF_ONE_HOT)
            following = np.asarray(following)
            rest = following if rest is None else np.concatenate([rest, following])
        yield batch, rest[:count]
        rest, done = rest[count:], done + count
    if (
        rows_of_y is not None
        and done
        and ((rest is not None and len(rest)) or next(rows_of_y, None) is not None)
    ):
        raise ValueError(
            f"y has more rows than x has examples, {done}; one row for each is needed."
        )


def padded(batch: Array, size: int) -> Array:
    """The batch, its last example repeated up to `size`, so that one program serves all."""
    missing = size - batch.shape[0]
    if missing <= 0:
        return batch
    return jnp.concatenate([batch, jnp.repeat(batch[-1:], missing, axis=0)])


def batches(
    x: Sample,
    batch_size: int,
    y: Sample | None = None,
    *,
    size: int | None = None,
    skip: int = 0,
    sharding: Sharding = None,
) -> Iterator[tuple[Array, int, np.ndarray | None]]:
    """The sample in batches of one size: (x padded to it, true examples, their rows of y).

    Args:
      x: (N, ...) floats, or an iterable of such batches of any sizes.
      batch_size: examples in one program.
      y: (N, d) floats, or an iterable of such; the rows belong to those of x in order.
      size: to which batches are padded; by default batch_size, or N where x is a smaller array.
      skip: examples at the start that are done already, whole batches.
      sharding: over the devices; the size is rounded up to a multiple of them.

    Raises:
      TypeError, ValueError: x or y not an array or iterable of float arrays, empty, of wrong rank,
        with NaN; more or fewer rows of y than of x; skip ends inside a batch.
    """
    validate.integer("batch_size", batch_size, minimum=1)
    # An iterable may go on after a short batch; an array does not.
    size = devices.rounded_up(size or min(batch_size, total(x) or batch_size), sharding)
    seen = 0
    for batch, rows in _paired(x, y):
        for start in range(0, batch.shape[0], batch_size):
            part = slice(start, min(start + batch_size, batch.shape[0]))
            before, seen = seen, seen + part.stop - start
            if seen <= skip:
                continue
            if before < skip:
                raise ValueError(
                    f"{skip} examples are done, and that is inside a batch ({before} to {seen}); "
                    f"batch_size={batch_size} must be that of the beginning."
                )
            piece = jnp.asarray(batch[part])
            whole = devices.put(padded(piece, size), sharding)
            yield whole, piece.shape[0], None if rows is None else rows[part]
    if not seen:
        raise ValueError("x holds no examples; at least one is needed.")
