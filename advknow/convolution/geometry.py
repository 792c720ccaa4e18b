"""The shapes of a convolution, and its modes by transposition."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from advknow.typing import Array

Shape = tuple[int, ...]


class Geometry(NamedTuple):
    """Shapes of x (B, H, W, C), w (h, w, C, K) and y (B, H', W', K); strides; padding."""

    x_shape: Shape
    w_shape: Shape
    y_shape: Shape
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    def with_batch(self, size: int) -> "Geometry":
        """The same of so many examples."""
        return self._replace(x_shape=(size, *self.x_shape[1:]), y_shape=(size, *self.y_shape[1:]))


def by_transposition(
    forward: Callable[[Array, Array, Geometry], Array],
    a: Array,
    b: Array,
    mode: str,
    geometry: Geometry,
) -> Array:
    """The mode of `advknow.convolution.trilinear`, from `forward(x, w, geometry)`, its mode "y"."""
    if mode == "y":
        return forward(a, b, geometry)
    if mode == "x":
        x = jax.ShapeDtypeStruct(geometry.x_shape, a.dtype)
        return jax.linear_transpose(lambda x: forward(x, b, geometry), x)(a)[0]
    w = jax.ShapeDtypeStruct(geometry.w_shape, a.dtype)
    return jax.linear_transpose(lambda w: forward(a, w, geometry), w)(b)[0]
