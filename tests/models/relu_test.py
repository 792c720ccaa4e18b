"""The rectifier against flax's: value, slope and curvature, in every bit."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advknow.models.layers import relu

AROUND_ZERO = [0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, np.inf, -np.inf]


def numbers(dtype):
    drawn = np.random.default_rng(0).standard_normal(50)
    return jnp.asarray(np.concatenate([AROUND_ZERO, drawn]), dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_it_is_flaxs_forward_and_backward(dtype, variant):
    x = numbers(dtype)
    dx = jnp.cos(jnp.arange(len(x))).astype(dtype)

    def of(rectifier):
        y, dy = variant(lambda x, dx: jax.jvp(rectifier, (x,), (dx,)))(x, dx)
        slope = variant(jax.vmap(jax.grad(rectifier)))(x)
        return y, dy, slope

    for ours, flax in zip(of(relu), of(nn.relu), strict=True):
        assert ours.dtype == flax.dtype == x.dtype
        np.testing.assert_array_equal(np.asarray(ours, np.float32), np.asarray(flax, np.float32))


def test_its_curvature_is_flaxs():
    x = numbers("float32")[:8]
    ours, flax = (jax.hessian(lambda x, f=f: jnp.sum(f(x**2 - 1) ** 2))(x) for f in (relu, nn.relu))
    np.testing.assert_array_equal(ours, flax)


def test_what_is_no_number_stays_so(variant):
    x = jnp.array([jnp.nan, 2.0])
    y, dy = variant(lambda x: jax.jvp(relu, (x,), (jnp.ones(2),)))(x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dy, [0.0, 1.0])
