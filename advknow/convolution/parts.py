"""A part of the batch at a time, so that what a part reads and writes fits a cache.

A part takes every `count`-th example, so that of a batch divided over devices each device has its
share of every part.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from advknow.convolution.geometry import Geometry
from advknow.typing import Array, PyTree

# XLA's gradient of the weights is fastest in parts of about so many outputs, which fit a cache.
OUTPUTS_OF_A_PART = 1024
# More parts take longer to compile than they gain.
MOST_PARTS = 8
# XLA reads this many examples at once; with half as many in a part it takes several times as long.
EXAMPLES_AT_ONCE = 8


def divisor(size: int, *, most: int) -> int:
    """The largest divisor of size that is at most `most`; 1 if there is none."""
    return max(count for count in range(1, max(1, min(size, most)) + 1) if size % count == 0)


def _divided(a: Array, count: int) -> Array:
    """(B, ...) -> (B / count, count, ...)."""
    return a.reshape(a.shape[0] // count, count, *a.shape[1:])


def _part(divided: Array, i: Array | int) -> Array:
    """Part i of what `_divided` gives, in a compiled loop."""
    return lax.dynamic_index_in_dim(divided, i, axis=1, keepdims=False)


def mapped(function: Callable[[Array], Array], a: Array, count: int) -> Array:
    """`function` (each example on its own) of `count` parts of the batch, in a compiled loop."""
    if count == 1:
        return function(a)
    divided = _divided(a, count)

    def part(i: Array | int) -> Array:
        return function(_part(divided, i))

    spec = jax.eval_shape(part, 0)
    found = jnp.zeros((spec.shape[0], count, *spec.shape[1:]), spec.dtype)
    found = lax.fori_loop(
        0, count, lambda i, found: lax.dynamic_update_index_in_dim(found, part(i), i, axis=1), found
    )
    return found.reshape(-1, *spec.shape[1:])


def summed(function: Callable[..., PyTree], arrays: tuple[Array, ...], count: int) -> PyTree:
    """The sum of `function` over `count` parts of the batch, in a compiled loop."""
    if count == 1:
        return function(*arrays)
    divided = [_divided(a, count) for a in arrays]

    def part(i: Array | int) -> PyTree:
        return function(*(_part(a, i) for a in divided))

    return lax.fori_loop(1, count, lambda i, total: jax.tree.map(jnp.add, total, part(i)), part(0))


def num_parts(geometry: Geometry) -> int:
    """Into how many equal parts of the batch XLA's gradient of the weights is divided."""
    size, rows, columns, _ = geometry.y_shape
    together, rest = divmod(size, EXAMPLES_AT_ONCE)
    most = min(MOST_PARTS, together, size * rows * columns // OUTPUTS_OF_A_PART)
    # Parts are multiples of EXAMPLES_AT_ONCE where the batch is one.
    return divisor(size if rest else together, most=most)


def sum_over_parts(
    function: Callable[[Array, Array, Geometry], Array],
    a: Array,
    b: Array,
    geometry: Geometry,
    count: int,
) -> Array:
    """The sum of `function`, XLA's mode "w", over `count` parts, which divides the batch.

    Unrolled: XLA's CPU backend runs its convolutions in loops on one thread.
    """
    if count == 1:
        return function(a, b, geometry)
    part = geometry.with_batch(len(a) // count)
    a, b = _divided(a, count), _divided(b, count)
    found = (function(a[:, i], b[:, i], part) for i in range(count))
    return functools.reduce(jnp.add, found)
