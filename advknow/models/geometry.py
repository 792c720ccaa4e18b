"""The shapes of a convolution."""

from typing import NamedTuple

Shape = tuple[int, ...]


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
