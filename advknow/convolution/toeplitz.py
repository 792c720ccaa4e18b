"""Convolutions of few channels as products with block Toeplitz matrices.

A tile of outputs (r x s pixels, K features) is linear in the tiles of inputs that the kernel
reaches from it, and by the same matrix for every tile: its entries are w[p - o], at input p and
output o. So the convolution is one matrix product of all tiles, with the tiles that each reaches
side by side.
"""

import math

import jax.numpy as jnp
import numpy as np

from advknow.convolution import parts
from advknow.convolution.geometry import Geometry, by_transposition
from advknow.typing import Array

# Measured on two cores (`python -m advknow.benchmark.convolutions`). A tile of r outputs in a
# dimension wastes (r + w - 1) / w of its products, which pays only against few channels; the
# smallest tile of so many numbers wastes least and is still a fast matrix product.
NUMBERS_OF_A_TILE = 48
LARGEST_TILE = (4, 4)
# Of a part of the batch: what it reads and writes fits a cache.
OUTPUTS_OF_A_PART = 2**18
# Pairs of a channel and a feature for every tap of the kernel.
MOST_PAIRS_PER_TAP = {"y": 4, "x": 4, "w": 2}


def suits(geometry: Geometry, mode: str) -> bool:
    """Whether channels are so few, and the kernel so large, that `convolve` gains."""
    height, breadth, channels, features = geometry.w_shape
    most = MOST_PAIRS_PER_TAP[mode] * height * breadth
    return geometry.strides == (1, 1) and channels * features <= most


def _tile(features: int) -> tuple[int, int]:
    """Rows and columns of outputs."""
    rows, columns = 1, 1
    while rows * columns * features < NUMBERS_OF_A_TILE and (rows, columns) != LARGEST_TILE:
        rows, columns = (2 * rows, columns) if rows < columns else (rows, 2 * columns)
    return rows, columns


def _reach(tile: int, kernel: int) -> int:
    """Over how many tiles of inputs a tile of outputs reaches."""
    return -(-(tile + kernel - 1) // tile)


def _toeplitz(w: Array, axis: int, tile: int) -> Array:
    """The axis a of w becomes p, o with w[p - o]: inputs of `_reach` tiles to outputs of one."""
    inputs = tile * _reach(tile, w.shape[axis])
    offset = np.arange(inputs)[:, None] - np.arange(tile)[None]
    inside = (offset >= 0) & (offset < w.shape[axis])
    taken = jnp.take(w, np.clip(offset, 0, w.shape[axis] - 1), axis=axis)
    return jnp.where(inside.reshape(inside.shape + (1,) * (w.ndim - 1 - axis)), taken, 0)


def _matrix(w: Array) -> Array:
    """The (inputs that a tile reaches, outputs of a tile), tile by tile."""
    rows, columns = tile = _tile(w.shape[3])
    down, across = (_reach(t, k) for t, k in zip(tile, w.shape[:2], strict=True))
    # (inputs, outputs of a row; inputs, outputs of a column; C, K)
    matrix = _toeplitz(_toeplitz(w, 1, columns), 0, rows)
    matrix = matrix.reshape(down, rows, rows, across, columns, columns, *w.shape[2:])
    matrix = matrix.transpose(0, 3, 1, 4, 6, 2, 5, 7)
    return matrix.reshape(math.prod(matrix.shape[:5]), math.prod(matrix.shape[5:]))


def _products(x: Array, matrix: Array, geometry: Geometry) -> Array:
    """x * w, of the matrix of w."""
    size, height, breadth, features = geometry.y_shape
    tile = _tile(features)
    counts = [-(-n // t) for n, t in zip((height, breadth), tile, strict=True)]
    reach = [_reach(t, k) for t, k in zip(tile, geometry.w_shape[:2], strict=True)]
    tiles = [count + more - 1 for count, more in zip(counts, reach, strict=True)]
    pads = [
        (geometry.padding[i][0], tiles[i] * tile[i] - x.shape[1 + i] - geometry.padding[i][0])
        for i in range(2)
    ]
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    x = x.reshape(size, tiles[0], tile[0], tiles[1], tile[1], -1).swapaxes(2, 3)
    x = x.reshape(size, *tiles, -1)
    pieces = [
        x[:, i : i + counts[0], j : j + counts[1]].reshape(-1, x.shape[3])
        for i in range(reach[0])
        for j in range(reach[1])
    ]
    y = jnp.concatenate(pieces, axis=1) @ matrix
    y = y.reshape(size, *counts, *tile, features).swapaxes(2, 3)
    y = y.reshape(size, counts[0] * tile[0], counts[1] * tile[1], features)
    return y[:, :height, :breadth]


def num_parts(geometry: Geometry) -> int:
    """Into how many equal parts of the batch modes "y" and "x" divide it, in a compiled loop."""
    return parts.divisor(geometry.y_shape[0], most=math.prod(geometry.y_shape) // OUTPUTS_OF_A_PART)


def convolve(a: Array, b: Array, mode: str, geometry: Geometry) -> Array:
    """The mode by products with the matrix of the weights, or by their transposes."""
    if mode == "w":
        return by_transposition(
            lambda x, w, geometry: _products(x, _matrix(w), geometry), a, b, mode, geometry
        )
    matrix, count = _matrix(b), num_parts(geometry)
    part = geometry.with_batch(len(a) // count)
    return parts.mapped(lambda a: by_transposition(_products, a, matrix, mode, part), a, count)
