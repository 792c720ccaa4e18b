"""Batch norm with its own gradient, against flax's and against sums over the batch."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from advknow.models import batch_norm


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_batch_norm_equals_flax_in_value_gradient_and_statistics():
    rng = np.random.default_rng(0)
    x = (3 * rng.standard_normal((4, 3, 5, 2)) + 1).astype(np.float32)
    cotangent = rng.standard_normal(x.shape).astype(np.float32)
    params = {"scale": jnp.array([0.5, -2.0]), "bias": jnp.array([1.0, 3.0])}
    stats = {"mean": jnp.array([0.3, -0.4]), "var": jnp.array([2.0, 0.7])}
    ours, theirs = batch_norm.BatchNorm(), nn.BatchNorm(momentum=0.9, epsilon=1e-5)

    def pulled(call):
        def forward(params, x):
            variables = {"params": params, "batch_stats": stats}
            return call(variables, x)

        y, pull, changed = jax.vjp(forward, params, x, has_aux=True)
        return y, pull(cotangent), changed["batch_stats"]

    mine = pulled(lambda v, x: ours.apply(v, x, True, mutable=["batch_stats"]))
    flax = pulled(
        lambda v, x: theirs.apply(v, x, use_running_average=False, mutable=["batch_stats"])
    )
    jax.tree.map(close, mine, flax)
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(mine[2]["mean"], 0.9 * stats["mean"] + 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(mine[2]["var"], 0.9 * stats["var"] + 0.1 * variance, rtol=1e-5)


def test_batch_norm_of_a_constant_channel_has_finite_gradients():
    x = jnp.full((4, 2, 2, 1), 0.7)
    y, pull = jax.vjp(lambda *args: batch_norm.normalise(*args)[0], x, jnp.ones(1), jnp.ones(1))
    np.testing.assert_allclose(y, 1.0, atol=1e-4)
    assert all(np.isfinite(g).all() for g in pull(jnp.arange(16.0).reshape(x.shape)))
