"""The layers that the architectures share."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from advknow.convolution import convolve
from advknow.typing import Array

# He et al. 2015 for what a ReLU follows.
he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


def scaled(size: int, width: float) -> int:
    """A layer's size under the width multiplier: rounded, at least 1."""
    return max(1, round(size * width))


def flatten(x: Array) -> Array:
    """(B, ...) -> (B, n)."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def conv(
    features: int, kernel: int, *, stride: int = 1, padding: int = 0, **options: Any
) -> nn.Conv:
    """A square convolution with explicit padding, as in PyTorch."""
    return nn.Conv(
        features,
        (kernel, kernel),
        strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        kernel_init=he_normal,
        conv_general_dilated=convolve,
        **options,
    )


def pointwise(features: int) -> Callable[[Array], Array]:
    """A 1 x 1 convolution without bias, (..., C) -> (..., features), as the matrix product it is.

    XLA's CPU backend takes four times as long for the weight gradient of the convolution. The
    product is one of matrices: that of more axes transposes what the weight gradient reads.
    """
    product = nn.Dense(features, use_bias=False, kernel_init=he_normal)

    def layer(x: Array) -> Array:
        return product(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], features)

    return layer


def dense(features: int) -> nn.Dense:
    """A hidden linear layer."""
    return nn.Dense(features, kernel_init=he_normal)


def max_pool(x: Array) -> Array:
    """2 x 2, stride 2, what does not fill a window is dropped; (B, H, W, C).

    Of equal values the first of a window gets the gradient, as in `flax.linen.max_pool`, whose
    gradient XLA's CPU backend computes six times as slowly.
    """
    size, height, breadth, channels = x.shape
    rows, columns = height // 2, breadth // 2
    x = x[:, : 2 * rows, : 2 * columns].reshape(size, rows, 2, columns, 2, channels)
    # Split, whose gradient joins; that of a slice pads, and tests every index.
    upper, lower = (
        _larger(*(quarter.reshape(size, rows, columns, channels) for quarter in quarters))
        for quarters in (jnp.split(half, 2, axis=4) for half in jnp.split(x, 2, axis=2))
    )
    return _larger(upper, lower)


def _larger(a: Array, b: Array) -> Array:
    return jnp.where((a >= b) | jnp.isnan(a), a, b)


@jax.custom_jvp
def relu(x: Array) -> Array:
    """max(x, 0), the bits of `flax.linen.relu`: slope 0 at 0, NaN stays NaN.

    Chosen, where XLA's CPU backend would compute a maximum anew in every kernel that reads it, with
    all that leads to it: ResNet18's step of training compiled for almost twice as long.
    """
    return jnp.where(x <= 0, jnp.zeros_like(x), x)


@relu.defjvp
def _slope_of_relu(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    y, (dx,) = relu(*primals), tangents
    return y, jnp.where(y > 0, dx, jnp.zeros_like(dx))


def global_mean(x: Array) -> Array:
    """(B, H, W, C) -> (B, C)."""
    return jnp.mean(x, axis=(1, 2))
