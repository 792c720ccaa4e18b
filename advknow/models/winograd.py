"""3 x 3 convolutions by Winograd's F(2x2, 3x3), in the modes of `advknow.models.convolution`."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from advknow.models.geometry import Geometry, Shape
from advknow.typing import Array

# Measured on two cores (`python -m advknow.benchmark.convolutions`): below so many channels the
# transforms cost more than the saved products, below so many tiles that of the weights does.
LEAST_CHANNELS = {"y": 64, "x": 64, "w": 256}
LEAST_TILES = 128


def _tiles(geometry: Geometry) -> tuple[int, int, int]:
    size, height, breadth, _ = geometry.y_shape
    return size, (height + 1) // 2, (breadth + 1) // 2


def suits(geometry: Geometry, mode: str) -> bool:
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


def _tiles_weights(w: Array) -> list[list[Array]]:
    """A 4 x 4 grid of (C, K)."""
    return _twice(_weights, [[w[i, j] for j in range(3)] for i in range(3)])


def _tiles_inputs(x: Array, rows: int, columns: int) -> list[list[Array]]:
    """A 4 x 4 grid of (tiles, C): overlapping 4 x 4 tiles of x, padded by 1, transformed."""
    _, height, breadth, channels = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1 + 2 * rows - height), (1, 1 + 2 * columns - breadth), (0, 0)))
    grid = [
        [x[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2] for j in range(4)]
        for i in range(4)
    ]
    return [[part.reshape(-1, channels) for part in row] for row in _twice(_inputs, grid)]


def _apply(x: Array, weights: list[list[Array]], shape: Shape) -> Array:
    """The result (B, H, W, K) of shape `shape`."""
    size, height, breadth, features = shape
    rows, columns = (height + 1) // 2, (breadth + 1) // 2
    inputs = _tiles_inputs(x, rows, columns)
    products = [[inputs[i][j] @ weights[i][j] for j in range(4)] for i in range(4)]
    tiles = [
        jnp.stack([part.reshape(size, rows, columns, features) for part in row], axis=3)
        for row in _twice(_outputs, products)
    ]
    y = jnp.stack(tiles, axis=2).reshape(size, 2 * rows, 2 * columns, features)
    return y[:, :height, :breadth]


def _mode_y(x: Array, w: Array, geometry: Geometry) -> Array:
    return _apply(x, _tiles_weights(w), geometry.y_shape)


def _mode_x(y: Array, w: Array, geometry: Geometry) -> Array:
    # The convolution with the reversed kernel, features and channels exchanged.
    weights = _tiles_weights(w)
    turned = [[weights[i][j].T for j in _REVERSED] for i in _REVERSED]
    return _apply(y, turned, geometry.x_shape)


def _mode_w(x: Array, y: Array, geometry: Geometry) -> Array:
    _, height, breadth, features = y.shape
    _, rows, columns = _tiles(geometry)
    y = jnp.pad(y, ((0, 0), (0, 2 * rows - height), (0, 2 * columns - breadth), (0, 0)))
    grid = [[y[:, i::2, j::2] for j in range(2)] for i in range(2)]
    inputs = _tiles_inputs(x, rows, columns)
    outputs = _twice(_outputs_transposed, grid)
    products = [
        [inputs[i][j].T @ outputs[i][j].reshape(-1, features) for j in range(4)] for i in range(4)
    ]
    return jnp.stack([jnp.stack(row) for row in _twice(_weights_transposed, products)])


MODES: dict[str, Callable[[Array, Array, Geometry], Array]] = {
    "y": _mode_y,
    "x": _mode_x,
    "w": _mode_w,
}
