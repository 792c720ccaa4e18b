"""3 x 3 convolutions by minimal filtering, in the modes of `advknow.convolution.trilinear`.

Two outputs of a 3-tap filter from as few products as can be (Winograd 1980; Lavin, Gray 2016),

    y = A' ((G w) * (B' d)),

of 4 inputs d at stride 1, 4 products instead of 6; at stride 2 of 5 inputs, 5 products instead of 6
(the inputs at odd places meet one tap, those at even places two taps of stride 1). Applied along
both dimensions, every product is one matrix product over channels: 16 instead of 36, and 25
instead of 36.

A part of the batch at a time, in a compiled loop: what a part transforms stays in the cache.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from advknow.convolution import parts
from advknow.convolution.geometry import Geometry, Shape
from advknow.typing import Array

# Measured on two cores (`python -m advknow.benchmark.convolutions`): below so many channels the
# transforms of the images cost more than the saved products, below so many tiles those of weights.
LEAST_CHANNELS = 32
LEAST_TILES = 128
# And below so many products of the direct convolution (a few milliseconds) a short training does
# not win back the second that the many small loops take to compile.
LEAST_PRODUCTS = 2**28
# Numbers in one transformed matrix of a part: sixteen of them and their products fit a cache, and
# are enough for two threads.
NUMBERS_OF_A_PART = 2**17

Grid = list[list[Array]]


class Filtering(NamedTuple):
    """Two outputs of a 3-tap filter in one dimension; a tile begins every 2 * stride inputs."""

    inputs: np.ndarray  # B', (products, inputs of a tile)
    weights: np.ndarray  # G, (products, 3)
    outputs: np.ndarray  # A', (2, products)


FILTERINGS = {
    1: Filtering(
        inputs=np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
        weights=np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
        outputs=np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
    ),
    2: Filtering(
        inputs=np.array(
            [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [1, 0, -1, 0, 0], [0, 0, 1, 0, 0], [0, 0, -1, 0, 1]]
        ),
        weights=np.array([[0, 1, 0], [0, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]]),
        outputs=np.array([[1, 0, 1, 1, 0], [0, 1, 0, 1, 1]]),
    ),
}
# G of a reversed kernel is G of the kernel in this order, at stride 1.
_REVERSED = (3, 1, 2, 0)


def _num_tiles(geometry: Geometry) -> tuple[int, int, int]:
    size, height, breadth, _ = geometry.y_shape
    return size, (height + 1) // 2, (breadth + 1) // 2


def suits(geometry: Geometry) -> bool:
    """Whether it is a padded 3x3 convolution of stride 1 or 2, large enough to gain."""
    size, rows, columns = _num_tiles(geometry)
    return (
        geometry.w_shape[:2] == (3, 3)
        and geometry.strides in ((1, 1), (2, 2))
        and geometry.padding == ((1, 1), (1, 1))
        and min(geometry.w_shape[2:]) >= LEAST_CHANNELS
        and size * rows * columns >= LEAST_TILES
        and math.prod((*geometry.y_shape, *geometry.w_shape[:3])) >= LEAST_PRODUCTS
    )


def num_parts(geometry: Geometry) -> int:
    """Into how many equal parts of the batch the loop divides it."""
    size, rows, columns = _num_tiles(geometry)
    numbers = size * rows * columns * max(geometry.w_shape[2:])
    return parts.divisor(size, most=numbers // NUMBERS_OF_A_PART)


def _times(matrix: np.ndarray, arrays: Sequence[Array]) -> list[Array]:
    """The matrix times a column of arrays."""
    found = []
    for row in matrix:
        # Python's numbers: NumPy's float64 would widen a float32 array where JAX has 64 bits.
        pairs = [(float(c), a) for c, a in zip(row, arrays, strict=True) if c]
        terms = [a if c == 1 else -a if c == -1 else c * a for c, a in pairs]
        found.append(sum(terms[1:], start=terms[0]))
    return found


def _along_both(matrix: np.ndarray, grid: Sequence[Sequence[Array]]) -> Grid:
    """The matrix times the grid of arrays times the transposed matrix."""
    rows = [_times(matrix, row) for row in grid]
    columns = [_times(matrix, column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _transformed_weights(w: Array, stride: int) -> Grid:
    """A grid of (C, K)."""
    return _along_both(FILTERINGS[stride].weights, [[w[i, j] for j in range(3)] for i in range(3)])


def _transformed_inputs(x: Array, rows: int, columns: int, stride: int) -> Grid:
    """A grid of (tiles, C): overlapping tiles of x, padded by 1, transformed."""
    _, height, breadth, channels = x.shape
    matrix, step = FILTERINGS[stride].inputs, 2 * stride
    reach = matrix.shape[1]
    high = (step * (rows - 1) + reach - 1 - height, step * (columns - 1) + reach - 1 - breadth)
    # The barrier keeps the padding out of the loops that read it, which would test every index.
    x = lax.optimization_barrier(jnp.pad(x, ((0, 0), (1, high[0]), (1, high[1]), (0, 0))))
    grid = [
        [
            x[:, i : i + step * (rows - 1) + 1 : step, j : j + step * (columns - 1) + 1 : step]
            for j in range(reach)
        ]
        for i in range(reach)
    ]
    return [[tile.reshape(-1, channels) for tile in row] for row in _along_both(matrix, grid)]


def _transposed_outputs(y: Array, rows: int, columns: int, stride: int) -> Grid:
    """A grid of (tiles, K): A y of the tiles of two by two outputs."""
    _, height, breadth, features = y.shape
    y = jnp.pad(y, ((0, 0), (0, 2 * rows - height), (0, 2 * columns - breadth), (0, 0)))
    grid = [[y[:, i::2, j::2].reshape(-1, features) for j in range(2)] for i in range(2)]
    return _along_both(FILTERINGS[stride].outputs.T, grid)


def _products(tiles: Grid, weights: Grid) -> Grid:
    return [
        [tile @ weight for tile, weight in zip(*pair, strict=True)]
        for pair in zip(tiles, weights, strict=True)
    ]


def _interleaved(grid: Grid, shape: Shape) -> Array:
    """An n x n grid of (tiles, K), pixels i, j of every tile, as images of shape `shape`."""
    size, height, breadth, features = shape
    pixels = len(grid)
    rows, columns = -(-height // pixels), -(-breadth // pixels)
    lines = [
        jnp.stack([tile.reshape(size, rows, columns, features) for tile in row], axis=3)
        for row in lax.optimization_barrier(grid)
    ]
    y = jnp.stack(lines, axis=2).reshape(size, pixels * rows, pixels * columns, features)
    return y[:, :height, :breadth]


def _convolved(x: Array, weights: Grid, y_shape: Shape, stride: int) -> Array:
    rows, columns = (y_shape[1] + 1) // 2, (y_shape[2] + 1) // 2
    products = _products(_transformed_inputs(x, rows, columns, stride), weights)
    return _interleaved(_along_both(FILTERINGS[stride].outputs, products), (len(x), *y_shape[1:]))


def _spread(y: Array, weights: Grid, x_shape: Shape) -> Array:
    """dT/dx at stride 2, of the transposed weights: tiles of 5 x 5 that overlap in one pixel."""
    size, (rows, columns) = len(y), ((n + 1) // 2 for n in y.shape[1:3])
    products = _products(_transposed_outputs(y, rows, columns, 2), weights)
    tiles = [
        [tile.reshape(size, rows, columns, -1) for tile in row]
        for row in _along_both(FILTERINGS[2].inputs.T, products)
    ]

    def joined(first: Array, last: Array, axis: int) -> Array:
        """The last pixel of every tile, on which the first of the next one lies."""
        pads = [(0, int(i == axis)) for i in range(4)]
        return last + lax.slice_in_dim(jnp.pad(first, pads), 1, None, axis=axis)

    tiles = [[*row[1:4], joined(row[0], row[4], 2)] for row in tiles]
    last = [joined(first, last, 1) for first, last in zip(tiles[0], tiles[4], strict=True)]
    return _interleaved([*tiles[1:4], last], (size, *x_shape[1:]))


def _y(x: Array, w: Array, geometry: Geometry) -> Array:
    stride = geometry.strides[0]
    weights = _transformed_weights(w, stride)
    return parts.mapped(
        lambda x: _convolved(x, weights, geometry.y_shape, stride), x, num_parts(geometry)
    )


def _x(y: Array, w: Array, geometry: Geometry) -> Array:
    weights = _transformed_weights(w, geometry.strides[0])
    if geometry.strides == (1, 1):
        # The convolution with the reversed kernel, features and channels exchanged.
        turned = [[weights[i][j].T for j in _REVERSED] for i in _REVERSED]
        return parts.mapped(
            lambda y: _convolved(y, turned, geometry.x_shape, 1), y, num_parts(geometry)
        )
    turned = [[weight.T for weight in row] for row in weights]
    # The whole batch at once: in a loop it takes a fifth longer.
    return _spread(y, turned, geometry.x_shape)


def _w(x: Array, y: Array, geometry: Geometry) -> Array:
    stride = geometry.strides[0]
    _, rows, columns = _num_tiles(geometry)

    def of_part(x: Array, y: Array) -> Grid:
        inputs = _transformed_inputs(x, rows, columns, stride)
        outputs = _transposed_outputs(y, rows, columns, stride)
        return _products([[tile.T for tile in row] for row in inputs], outputs)

    products = parts.summed(of_part, (x, y), num_parts(geometry))
    found = _along_both(FILTERINGS[stride].weights.T, products)
    return jnp.stack([jnp.stack(row) for row in found])


MODES: dict[str, Callable[[Array, Array, Geometry], Array]] = {"y": _y, "x": _x, "w": _w}
