"""Convolutions of few channels as products with banded matrices."""

import functools

import jax.numpy as jnp
import numpy as np

from advknow.models.geometry import Geometry, by_transposition
from advknow.typing import Array

# A band for g outputs of a row wastes (g + w - 1) / w of its products, which pays only against few
# channels; smaller bands waste less and are slower matrix products.
BAND = 14
MOST_CHANNEL_PAIRS = {"y": 32, "w": 32, "x": 128}


def suits(geometry: Geometry, mode: str) -> bool:
    """Whether channels are so few that `convolve` gains."""
    _, _, channels, features = geometry.w_shape
    return geometry.strides == (1, 1) and channels * features <= MOST_CHANNEL_PAIRS[mode]


def _forward(x: Array, w: Array, geometry: Geometry) -> Array:
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


def convolve(a: Array, b: Array, mode: str, geometry: Geometry) -> Array:
    """A row of the image times a banded matrix of the weights, for every row of the kernel."""
    return by_transposition(_forward, a, b, mode, geometry)
