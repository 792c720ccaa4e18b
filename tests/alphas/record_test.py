"""Bias and standard errors of the estimators (theory.md section 2)."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax.tree_util import Partial

import advknow
from advknow import attacks
from advknow.alphas import sums as alpha_sums
from advknow.alphas.record import finalize

DRAWS = 200


def _waves(weights, x):
    """Random waves of random phase: gradients at two inputs know nothing of each other."""
    frequency, phase, out = weights
    return jnp.cos(x @ frequency + phase) @ out


def _random_waves(rng, n=8, h=64, d=3):
    weights = (
        4.0 * rng.normal(size=(n, h)),
        rng.uniform(0, 2 * np.pi, size=(1, h)),
        rng.normal(size=(h, d)) / np.sqrt(h),
    )
    return Partial(_waves, tuple(jnp.asarray(w, jnp.float32) for w in weights))


def test_unrelated_random_networks_average_to_zero():
    rng, count = np.random.default_rng(0), 24
    attack = attacks.singular()
    records = []
    for draw in range(DRAWS):
        x = rng.normal(size=(count, 8)).astype(np.float32)
        records.append(
            advknow.transferability(
                _random_waves(rng),
                _random_waves(rng),
                x,
                attack=attack,
                key=jax.random.key(draw),
                linearize=True,
                batch_size=count,
            )
        )

    def mean_and_error(name):
        values = np.array([getattr(record, name) for record in records])
        return values.mean(), values.std(ddof=1) / np.sqrt(DRAWS)

    mean_square_alpha1 = np.mean([np.mean(r.alpha1_per_example**2) for r in records])
    # With N examples the plug-in square of nothing is 1 / N, that of alpha1*alpha2 E[alpha1^2] / N.
    for name, bias in (
        ("alpha2_squared", 1.0 / count),
        ("alpha1_alpha2_squared", mean_square_alpha1 / count),
    ):
        unbiased, error = mean_and_error(f"{name}_unbiased")
        assert abs(unbiased) < 3 * error
        assert error < 0.1 * bias
        plug_in, error = mean_and_error(name)
        assert plug_in > 10 * error
        assert abs(plug_in - bias) < 3 * error
    assert any(record.alpha2_squared_unbiased < 0 for record in records)  # reported as it is


def _sample(rng, count):
    """Deviations of two related models: a common mean and a common part."""
    d11 = rng.normal(size=(count, 3)) + [1.0, 0.0, 0.0]
    d12 = d11 @ [[1.0, 0.5, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    d12 = d12 + 0.5 * rng.normal(size=(count, 4))
    return d11, d12, rng.uniform(0.2, 0.9, count)


_jitted = jax.jit(alpha_sums.of_batch)


def _record(d11, d12, alpha1):
    """The record of these deviations, padded to 100 so that one program serves all."""
    count = len(d11)

    def padded(a):
        return np.concatenate([a, np.ones((100 - count, *np.shape(a)[1:]))]).astype(np.float32)

    arrays = map(padded, (d11, d12, alpha1, np.ones(count)))
    sums, (of_each, used, *_) = _jitted(*arrays, index=np.arange(100), mask=np.arange(100) < count)
    return finalize(sums, alpha_sums.TransferValues(of_each[:count], used[:count]))


@pytest.mark.parametrize("count", [2, 7, 45])
def test_squares_are_the_pairwise_means(count):
    d11, d12, alpha1 = _sample(np.random.default_rng(count), count)
    record = _record(d11, d12, alpha1)
    squared, unbiased = oracles.pairwise_squares(d11, d12)
    np.testing.assert_allclose(record.alpha2_squared, squared, atol=1e-6)
    np.testing.assert_allclose(record.alpha2_squared_unbiased, unbiased, atol=2e-6)
    squared, unbiased = oracles.pairwise_squares(d11, d12, alpha1)
    np.testing.assert_allclose(record.alpha1_alpha2_squared, squared, atol=1e-6)
    np.testing.assert_allclose(record.alpha1_alpha2_squared_unbiased, unbiased, atol=2e-6)
    # The bias, exactly: (1 - unbiased) / N.
    bias = record.alpha2_squared - record.alpha2_squared_unbiased
    np.testing.assert_allclose(bias, (1 - record.alpha2_squared_unbiased) / count, atol=1e-12)


@pytest.mark.parametrize("count", [3, 10, 47])
def test_standard_errors_by_brute_force(count):
    d11, d12, alpha1 = _sample(np.random.default_rng(count), count)
    record = _record(d11, d12, alpha1)
    np.testing.assert_allclose(record.alpha1_se, alpha1.std(ddof=1) / np.sqrt(count), rtol=1e-5)
    groups = alpha_sums.NUM_GROUPS
    expected = oracles.jackknife(d11, d12, groups)
    np.testing.assert_allclose(record.alpha2_squared_se, expected, rtol=1e-4)
    expected = oracles.jackknife(d11, d12, groups, alpha1)
    np.testing.assert_allclose(record.alpha1_alpha2_squared_se, expected, rtol=1e-4)


def test_standard_errors_match_the_spread_over_draws():
    rng = np.random.default_rng(1)
    records = [_record(*_sample(rng, 100)) for _ in range(DRAWS)]
    for value, error in (
        ("alpha1", "alpha1_se"),
        ("alpha2_squared", "alpha2_squared_se"),
        ("alpha1_alpha2_squared", "alpha1_alpha2_squared_se"),
    ):
        spread = np.std([getattr(r, value) for r in records], ddof=1)
        reported = np.sqrt(np.mean([getattr(r, error) ** 2 for r in records]))
        # 200 draws know the spread to 5 %; the jackknife errs a few per cent on the safe side.
        assert 0.85 < reported / spread < 1.25, value


def test_unbiased_squares_do_not_depend_on_n():
    rng = np.random.default_rng(2)
    few = [_record(*_sample(rng, 5)) for _ in range(DRAWS)]
    d11, d12, alpha1 = _sample(rng, 200_000)
    true = {
        "alpha2_squared": oracles.plug_in_square(d11, d12),
        "alpha1_alpha2_squared": oracles.plug_in_square(d11, d12, alpha1),
    }
    for name in true:
        values = np.array([getattr(r, f"{name}_unbiased") for r in few])
        error = values.std(ddof=1) / np.sqrt(DRAWS)
        assert abs(values.mean() - true[name]) < 3 * error
        plug_in = np.array([getattr(r, name) for r in few])
        assert plug_in.mean() - true[name] > 3 * error


def test_one_example_has_no_unbiased_estimate():
    record = _record(*_sample(np.random.default_rng(3), 1))
    assert record.n == 1
    np.testing.assert_allclose(record.alpha2, 1.0, rtol=1e-6)
    for name in (
        "alpha2_squared_unbiased",
        "alpha1_alpha2_squared_unbiased",
        "alpha1_se",
        "alpha2_squared_se",
        "alpha1_alpha2_squared_se",
    ):
        assert getattr(record, name) is None
