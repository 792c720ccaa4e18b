"""Algorithms for convolutions on a CPU: Winograd's F(2x2, 3x3), banded matrices, and parts.

Each in three modes, as `advknow.models.convolution` has them: the result y = x * w, and what the
gradients need, dT/dx and dT/dw of T = <x * w, y>.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advknow.typing import Array

Shape = tuple[int, ...]

# Measured on two cores (`python -m advknow.benchmark.convolutions`): below so many channels the
# transforms cost more than the saved products, below so many tiles that of the weights does.
LEAST_CHANNELS = {"y": 64, "x": 64, "w": 256}
LEAST_TILES = 128
# XLA's gradient of the weights is fastest in parts of about so many outputs, which fit a cache.
OUTPUTS_OF_A_PART = 1024
MOST_PARTS = 32
# A band for g outputs of a row wastes (g + w - 1) / w of its products, which pays only against few
# channels; smaller bands waste less and are slower matrix products.
BAND = 14
MOST_CHANNEL_PAIRS = {"y": 32, "w": 32, "x": 128}


class Geometry(NamedTuple):
    """Shapes of x (B, H, W, C), w (h, w, C, K) and y (B, H', W', K); strides; padding."""

    x_shape: Shape
    w_shape: Shape
    y_shape: Shape
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    def with_copies(self, copies: int) -> "Geometry":
        """The same with a batch so many times as large."""
        (size, *of_x), (_, *of_y) = self.x_shape, self.y_shape
        return self._replace(x_shape=(size * copies, *of_x), y_shape=(size * copies, *of_y))


def _tiles(geometry: Geometry) -> tuple[int, int, int]:
    size, height, breadth, _ = geometry.y_shape
    return size, (height + 1) // 2, (breadth + 1) // 2


def suits_winograd(geometry: Geometry, mode: str) -> bool:
    """Whether it is a 3x3 convolution that keeps the size, large enough to gain."""
    size, rows, columns = _tiles(geometry)
    return (
        geometry.w_shape[:2] == (3, 3)
        and geometry.strides == (1, 1)
        and geometry.padding == ((1, 1), (1, 1))
        and min(geometry.w_shape[2:]) >= LEAST_CHANNELS[mode]
        and size * rows * columns >= LEAST_TILES
    )


# F(2, 3) in one dimension (Winograd 1980; Lavin, Gray 2016): y = A' ((G w) * (B' d)).
def _inputs(d: Sequence[Array]) -> list[Array]:
    """B' d."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _weights(w: Sequence[Array]) -> list[Array]:
    """G w."""
    even, odd = (w[0] + w[2]) / 2, w[1] / 2
    return [w[0], even + odd, even - odd, w[2]]


def _weights_transposed(u: Sequence[Array]) -> list[Array]:
    """G' u."""
    even = (u[1] + u[2]) / 2
    return [u[0] + even, (u[1] - u[2]) / 2, even + u[3]]


def _outputs(m: Sequence[Array]) -> list[Array]:
    """A' m."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _outputs_transposed(y: Sequence[Array]) -> list[Array]:
    """A y."""
    return [y[0], y[0] + y[1], y[0] - y[1], -y[1]]


def _twice(transform: Callable, grid: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """The transform along both dimensions of a grid of arrays."""
    rows = [transform(row) for row in grid]
    columns = [transform(column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


# G of a reversed kernel is G of the kernel in this order.
_REVERSED = (3, 1, 2, 0)


def _winograd_weights(w: Array) -> list[list[Array]]:
    """A 4 x 4 grid of (C, K)."""
    return _twice(_weights, [[w[i, j] for j in range(3)] for i in range(3)])


def _winograd_inputs(x: Array, rows: int, columns: int) -> list[list[Array]]:
    """A 4 x 4 grid of (tiles, C): overlapping 4 x 4 tiles of x, padded by 1, transformed."""
    _, height, breadth, channels = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1 + 2 * rows - height), (1, 1 + 2 * columns - breadth), (0, 0)))
    grid = [
        [x[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2] for j in range(4)]
        for i in range(4)
    ]
    return [[part.reshape(-1, channels) for part in row] for row in _twice(_inputs, grid)]


def _winograd_apply(x: Array, weights: list[list[Array]], shape: Shape) -> Array:
    """The result (B, H, W, K) of shape `shape`."""
    size, height, breadth, features = shape
    rows, columns = (height + 1) // 2, (breadth + 1) // 2
    inputs = _winograd_inputs(x, rows, columns)
    products = [[inputs[i][j] @ weights[i][j] for j in range(4)] for i in range(4)]
    tiles = [
        jnp.stack([part.reshape(size, rows, columns, features) for part in row], axis=3)
        for row in _twice(_outputs, products)
    ]
    y = jnp.stack(tiles, axis=2).reshape(size, 2 * rows, 2 * columns, features)
    return y[:, :height, :breadth]


def _winograd_y(x: Array, w: Array, geometry: Geometry) -> Array:
    return _winograd_apply(x, _winograd_weights(w), geometry.y_shape)


def _winograd_x(y: Array, w: Array, geometry: Geometry) -> Array:
    # The convolution with the reversed kernel, features and channels exchanged.
    weights = _winograd_weights(w)
    turned = [[weights[i][j].T for j in _REVERSED] for i in _REVERSED]
    return _winograd_apply(y, turned, geometry.x_shape)


def _winograd_w(x: Array, y: Array, geometry: Geometry) -> Array:
    _, height, breadth, features = y.shape
    _, rows, columns = _tiles(geometry)
    y = jnp.pad(y, ((0, 0), (0, 2 * rows - height), (0, 2 * columns - breadth), (0, 0)))
    grid = [[y[:, i::2, j::2] for j in range(2)] for i in range(2)]
    inputs = _winograd_inputs(x, rows, columns)
    outputs = _twice(_outputs_transposed, grid)
    products = [
        [inputs[i][j].T @ outputs[i][j].reshape(-1, features) for j in range(4)] for i in range(4)
    ]
    return jnp.stack([jnp.stack(row) for row in _twice(_weights_transposed, products)])


WINOGRAD: dict[str, Callable[[Array, Array, Geometry], Array]] = {
    "y": _winograd_y,
    "x": _winograd_x,
    "w": _winograd_w,
}


def suits_bands(geometry: Geometry, mode: str) -> bool:
    """Whether channels are so few that `banded` gains."""
    _, _, channels, features = geometry.w_shape
    return geometry.strides == (1, 1) and channels * features <= MOST_CHANNEL_PAIRS[mode]


def _banded_forward(x: Array, w: Array, geometry: Geometry) -> Array:
    size, rows, columns, features = geometry.y_shape
    height, reach, channels, _ = w.shape
    bands = max(1, round(columns / BAND))
    group = -(-columns // bands)
    breadth = group + reach - 1
    rest = bands * group + reach - 1 - geometry.x_shape[2] - geometry.padding[1][0]
    vertical, (left, _) = geometry.padding
    x = jnp.pad(x, ((0, 0), vertical, (left, rest), (0, 0)))
    # band[i][a, c, o, k] = w[i, a - o, c, k]: part of a row of the image to `group` outputs.
    offset = np.arange(breadth)[:, None] - np.arange(group)[None]
    inside = (offset >= 0) & (offset < reach)
    band = jnp.where(inside[None, :, :, None, None], w[:, np.clip(offset, 0, reach - 1)], 0)
    band = band.transpose(0, 1, 3, 2, 4).reshape(height, breadth * channels, group * features)
    found = []
    for start in range(0, bands * group, group):
        lines = x[:, :, start : start + breadth].reshape(size, -1, breadth * channels)
        products = (
            lines[:, i : i + rows].reshape(size * rows, -1) @ band[i] for i in range(height)
        )
        found.append(functools.reduce(jnp.add, products).reshape(size, rows, group, features))
    return jnp.concatenate(found, axis=2)[:, :, :columns]


def banded(a: Array, b: Array, mode: str, geometry: Geometry) -> Array:
    """A row of the image times a banded matrix of the weights, for every row of the kernel."""
    if mode == "y":
        return _banded_forward(a, b, geometry)
    if mode == "x":
        x = jax.ShapeDtypeStruct(geometry.x_shape, a.dtype)
        return jax.linear_transpose(lambda x: _banded_forward(x, b, geometry), x)(a)[0]
    w = jax.ShapeDtypeStruct(geometry.w_shape, a.dtype)
    return jax.linear_transpose(lambda w: _banded_forward(a, w, geometry), w)(b)[0]


def num_parts(geometry: Geometry) -> int:
    """Into how many equal parts of the batch the gradient of the weights is divided."""
    size, rows, columns, _ = geometry.y_shape
    most = min(size, MOST_PARTS, max(1, size * rows * columns // OUTPUTS_OF_A_PART))
    return max(count for count in range(1, most + 1) if size % count == 0)


def in_parts(
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
