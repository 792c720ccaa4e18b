"""Outputs of 16 bits, and gradients that are no numbers (theory.md section 2: three counts)."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import advknow
from advknow import attacks
from advknow.alphas import sums as alpha_sums

KEY = jax.random.key(3)
ATTACK = attacks.pgd(eps=0.05, num_steps=5)
W1, W2 = (jax.random.normal(jax.random.key(i), (20, 5)) for i in range(2))


def _inputs(count):
    return np.random.default_rng(0).uniform(size=(count, 20)).astype(np.float32)


def net(w, dtype, cast=None):
    def f(x):
        y = jnp.tanh(x.astype(dtype) @ w.astype(dtype))
        return y if cast is None else y.astype(cast)

    return f


ATOL = {"bfloat16": 0.04, "float16": 0.005}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_alpha1_counts_every_example_whose_denominator_is_known(dtype):
    x = _inputs(300)
    cast = [net(w, dtype, jnp.float32) for w in (W1, W2)]
    deltas = [advknow.perturb(f, x, attack=ATTACK, key=KEY) for f in cast]
    known = advknow.from_deltas(*cast, x, *deltas)
    low = advknow.from_deltas(net(W1, dtype), net(W2, dtype), x, *deltas)
    assert low.n + low.n_degenerate == len(x)
    assert low.n_alpha2 <= low.n
    # Of the examples that count, alpha1 is that of the outputs cast to float32: to what XLA leaves
    # out of their rounding when a cast follows (a step of bfloat16 is 0.8 %, of deviations near 0.3
    # outputs near 1 make a few per cent of it).
    of_known = np.zeros(len(x))
    of_known[known.valid] = known.alpha1_per_example
    np.testing.assert_allclose(low.alpha1_per_example, of_known[low.valid], atol=ATOL[dtype])
    if dtype == "bfloat16":
        # Only some have a direction; leaving the others out of alpha1 would raise it by a third.
        assert 0.3 < low.n_alpha2 / low.n < 0.8
        assert low.alpha1 < 1.05 * known.alpha1
    else:
        np.testing.assert_allclose(low.alpha1, known.alpha1, rtol=0.02)


def test_the_three_counts_by_their_definitions():
    """Against NumPy in float64, with the outputs' own rounding as the limit."""
    x = _inputs(200)
    f1, f2 = net(W1, jnp.bfloat16), net(W2, jnp.bfloat16)
    d1, d2 = (advknow.perturb(f, x, attack=ATTACK, key=KEY) for f in (f1, f2))
    found = advknow.from_deltas(f1, f2, x, d1, d2)
    y1, m11 = (np.asarray(f1(z), np.float64) for z in (x, x + d1))
    y2, m12, m22 = (np.asarray(f2(z), np.float64) for z in (x, x + d1, x + d2))
    eps = float(jnp.finfo("bfloat16").eps)
    noise1, noise2 = (8 * eps * np.linalg.norm(y, axis=1) for y in (y1, y2))
    a11, a12, a22 = (np.linalg.norm(v, axis=1) for v in (m11 - y1, m12 - y2, m22 - y2))
    known = (a11 > noise1) & (a22 > noise2)
    directed = known & (a12 > noise2)
    assert 0 < directed.sum() < known.sum() < len(x)
    assert (found.n, found.n_alpha2) == (known.sum(), directed.sum())
    np.testing.assert_allclose(found.alpha1, (a12[known] / a22[known]).mean(), rtol=1e-5)
    u1, u2 = oracles.unit((m11 - y1)[directed]), oracles.unit((m12 - y2)[directed])
    outer = u1[:, :, None] * u2[:, None]
    ratio = (a12 / np.where(known, a22, 1.0))[directed]
    weighted = (ratio[:, None, None] * outer).sum(axis=0)
    np.testing.assert_allclose(found.alpha2, np.linalg.norm(outer.mean(axis=0)), rtol=1e-5)
    np.testing.assert_allclose(
        found.alpha1_alpha2, np.linalg.norm(weighted / known.sum()), rtol=1e-5
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_nothing_is_counted_or_summed_in_sixteen_bits(dtype):
    x = _inputs(5130)
    f = net(W1, dtype)
    whole, parts = (
        advknow.transferability(f, f, x, attack=attacks.fgsm(eps=0.05), key=KEY, batch_size=size)
        for size in (5130, 64)
    )
    assert whole.n == parts.n
    assert whole.n + whole.n_degenerate == 5130
    assert whole.alpha1 == parts.alpha1 == 1.0
    assert whole.alpha2 <= 1.0
    # bfloat16's matrix products round otherwise in other batches.
    np.testing.assert_allclose(whole.alpha2, parts.alpha2, rtol=1e-3)
    d11, d12 = (jnp.ones((3, 2), dtype) for _ in range(2))
    sums, values = alpha_sums.of_batch(d11, d12, jnp.ones(3, dtype), jnp.ones(3, dtype),
                                       index=jnp.arange(3), mask=jnp.ones(3, bool))  # fmt: skip
    for leaf in (*sums, values.alpha1):
        assert leaf.dtype == jnp.float32


def test_no_direction_at_all_leaves_alpha2_undefined_and_alpha1_zero():
    x = _inputs(20)
    columns = jnp.arange(1.0, 4.0)[None]
    w = jnp.concatenate([jnp.zeros((10, 3)), jnp.ones((10, 3))]) * columns
    v = jnp.concatenate([jnp.ones((10, 3)), jnp.zeros((10, 3))]) * columns
    found = advknow.transferability(lambda x: x @ w, lambda x: x @ v, x,
                                    attack=attacks.singular(), key=KEY, linearize=True)  # fmt: skip
    assert (found.n, found.n_alpha2, found.alpha1, found.alpha1_alpha2) == (20, 0, 0.0, 0.0)
    assert found.alpha2 is None
    assert found.alpha2_squared_unbiased is None


def _root(w):
    """Finite, with an infinite gradient where a product is 0 and NaN where it is negative."""
    return lambda x: jnp.sqrt(jnp.maximum(x @ w, 0.0))


def _norm(w):
    return lambda x: jnp.linalg.norm((x @ w)[..., None] * jnp.zeros((1, 1, 2)), axis=-1) + x @ w


def _where(w):
    return lambda x: jnp.where(x @ w > 1e9, 1.0 / ((x @ w) * 0.0), x @ w)


@pytest.mark.parametrize("make", [_root, _norm, _where])
def test_a_gradient_that_is_no_number_is_named_and_counted(make):
    x, bad, good = _inputs(50), make(W1), net(W2, jnp.float32)
    assert np.isfinite(np.asarray(bad(x))).all()
    message = r"NaN or infinity for \d+ of 50 examples.*a gradient of a model is NaN or infinite"
    for pair in ((bad, good), (good, bad)):
        with pytest.raises(ValueError, match=message):
            advknow.transferability(*pair, x, attack=ATTACK, key=KEY)
    with pytest.raises(ValueError, match=message):
        advknow.perturb(bad, x, attack=ATTACK, key=KEY)
    audit = advknow.check_model(bad, x)
    assert "nonfinite_gradients" in audit.flags
    assert all(value is None or np.isfinite(value) for value in audit.values.values())


def test_one_such_example_among_many_is_enough():
    x = _inputs(50)
    x[17] = 0.0

    def bad(x):
        return jnp.sqrt(jnp.maximum(x @ jnp.abs(W1) - 2.0, 0.0))

    with pytest.raises(ValueError, match="NaN or infinity for 1 of 50 examples"):
        advknow.transferability(bad, net(W2, jnp.float32), x, attack=ATTACK, key=KEY)


def test_the_audit_says_when_outputs_are_of_sixteen_bits():
    for dtype, flagged in (("bfloat16", True), ("float16", True), ("float32", False)):
        assert (
            "low_precision" in advknow.check_model(net(W1, dtype), _inputs(20)).flags
        ) == flagged
