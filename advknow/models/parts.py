"""The gradient of a convolution's weights, a part of the batch at a time."""

import functools
from collections.abc import Callable

import jax.numpy as jnp

from advknow.models.geometry import Geometry
from advknow.typing import Array

# XLA's gradient of the weights is fastest in parts of about so many outputs, which fit a cache.
OUTPUTS_OF_A_PART = 1024
MOST_PARTS = 32


def num_parts(geometry: Geometry) -> int:
    """Into how many equal parts of the batch the gradient of the weights is divided."""
    size, rows, columns, _ = geometry.y_shape
    most = min(size, MOST_PARTS, max(1, size * rows * columns // OUTPUTS_OF_A_PART))
    return max(count for count in range(1, most + 1) if size % count == 0)


def sum_over_parts(
    function: Callable[[Array, Array, Geometry], Array], a: Array, b: Array, geometry: Geometry
) -> Array:
    """The sum of `function`, mode "w", over parts of the batch.

    A part takes every `count`-th example, so that of a batch divided over devices each device has
    its share of every part.
    """
    count = num_parts(geometry)
    if count == 1:
        return function(a, b, geometry)
    (size, *of_x), (_, *of_y) = geometry.x_shape, geometry.y_shape
    part = geometry._replace(x_shape=(size // count, *of_x), y_shape=(size // count, *of_y))
    a, b = (array.reshape(size // count, count, *array.shape[1:]) for array in (a, b))
    found = [function(a[:, i], b[:, i], part) for i in range(count)]
    return functools.reduce(jnp.add, found)
