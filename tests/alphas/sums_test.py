import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from advknow import passes
from advknow.alphas import sums as alpha_sums

_jitted = jax.jit(alpha_sums.of_batch)


def _deviations(seed, count, m=3, d=4):
    rng = np.random.default_rng(seed)
    d11 = rng.normal(size=(count, m)) + 0.5
    d12 = rng.normal(size=(count, d)) + d11[:, :1]
    numerator, denominator = rng.uniform(0.1, 1.0, count), rng.uniform(0.5, 2.0, count)
    return tuple(a.astype(np.float32) for a in (d11, d12, numerator, denominator))


def _of_batch(deviations, *, start=0, noise_11=0.0, noise_12=0.0):
    """The sums over these examples, padded with NaN to 64: one program serves all tests."""
    count = len(deviations[0])

    def padded(a):
        return np.concatenate([a, np.full((64 - count, *a.shape[1:]), np.nan, np.float32)])

    noise = (padded(np.broadcast_to(np.float32(v), count)) for v in (noise_11, noise_12))
    sums, (alpha1, used, *_) = _jitted(
        *map(padded, deviations),
        index=start + np.arange(64),
        mask=np.arange(64) < count,
        **dict(zip(("noise_11", "noise_12"), noise, strict=True)),
    )
    assert not used[count:].any()
    return sums, alpha1[:count], used[:count]


def test_sums_by_their_definition(variant):
    deviations = _deviations(0, 25)
    index, mask = jnp.arange(25), jnp.ones(25, bool)
    sums, (alpha1, used, *_) = variant(alpha_sums.of_batch)(*deviations, index=index, mask=mask)
    d11, d12, numerator, denominator = (a.astype(np.float64) for a in deviations)
    expected = numerator / denominator
    group = np.arange(25) % alpha_sums.NUM_GROUPS
    outer = oracles.unit(d11)[:, :, None] * oracles.unit(d12)[:, None, :]
    np.testing.assert_allclose(alpha1, expected, rtol=1e-6)
    assert used.all()
    for g in range(alpha_sums.NUM_GROUPS):
        here = group == g
        weighted = (expected[here, None, None] * outer[here]).sum(axis=0)
        np.testing.assert_allclose(sums.outer[g], outer[here].sum(axis=0), atol=1e-6)
        np.testing.assert_allclose(sums.weighted_outer[g], weighted, atol=1e-6)
        np.testing.assert_allclose(sums.alpha1[g], expected[here].sum(), rtol=1e-6)
        np.testing.assert_allclose(sums.alpha1_squared[g], (expected[here] ** 2).sum(), rtol=1e-6)
        assert sums.used[g] == here.sum()
        assert sums.above_one[g] == (expected[here] > 1).sum()
    np.testing.assert_array_equal(sums.degenerate, 0)
    np.testing.assert_array_equal(sums.nonfinite, 0)


def test_merge_is_addition_in_any_order_and_split():
    deviations = _deviations(1, 60)
    whole = passes.merge(_of_batch(deviations)[0])
    cuts = [0, 1, 8, 33, 60]
    parts = [
        _of_batch(tuple(a[lo:hi] for a in deviations), start=lo)[0]
        for lo, hi in zip(cuts[:-1], cuts[1:], strict=True)
    ]
    zero = alpha_sums.zeros(3, 4)
    forward = passes.merge(zero, *parts)
    nested = passes.merge(passes.merge(parts[3], parts[1]), passes.merge(parts[0], parts[2]))
    for merged in (forward, nested):
        chex.assert_trees_all_close(merged, whole, atol=1e-5)
        assert {leaf.dtype for leaf in jax.tree.leaves(merged)} == {np.dtype(np.float64)}
    chex.assert_trees_all_equal(passes.merge(zero, zero), zero)


def test_addition_does_not_round_away_small_batches():
    one = passes.merge(_of_batch(_deviations(2, 1))[0])
    large = jax.tree.map(lambda a: a + 2.0**25, one)
    # In float32, 2^25 + 1 is 2^25.
    np.testing.assert_array_equal(passes.merge(large, one).used - large.used, one.used)


def test_padding_adds_nothing():
    deviations = _deviations(3, 12)
    sums, alpha1, _ = _of_batch(deviations)
    expected, (expected_alpha1, used, *_) = alpha_sums.of_batch(
        *deviations, index=jnp.arange(12), mask=jnp.ones(12, bool)
    )
    assert used.all()
    chex.assert_trees_all_close(sums, expected, atol=1e-6)
    np.testing.assert_allclose(alpha1, expected_alpha1, rtol=1e-6)


@pytest.mark.parametrize("which", ["deviation_11", "denominator"])
def test_degenerate_examples_are_counted_and_left_out(which):
    d11, d12, numerator, denominator = _deviations(4, 10)
    {"deviation_11": d11, "denominator": denominator}[which][[2, 7]] = 0.0
    sums, alpha1, used = _of_batch((d11, d12, numerator, denominator))
    chex.assert_tree_all_finite((sums, alpha1))
    assert (sums.degenerate.sum(), sums.used.sum(), sums.nonfinite.sum()) == (2, 8, 0)
    np.testing.assert_array_equal(np.flatnonzero(~np.asarray(used)), [2, 7])
    keep = [i for i in range(10) if i not in (2, 7)]
    kept = _of_batch(tuple(a[keep] for a in (d11, d12, numerator, denominator)))[0]
    np.testing.assert_allclose(sums.outer.sum(axis=0), kept.outer.sum(axis=0), atol=1e-6)


def test_an_example_without_a_direction_keeps_its_alpha1():
    d11, d12, numerator, denominator = _deviations(4, 10)
    d12[[2, 7]] = 0.0
    sums, _, used = _of_batch((d11, d12, numerator, denominator))
    assert used.all()
    assert (sums.used.sum(), sums.directed.sum(), sums.degenerate.sum()) == (10, 8, 0)
    ratio = numerator / denominator
    np.testing.assert_allclose(sums.alpha1.sum(), ratio.sum(), rtol=1e-6)
    keep = [i for i in range(10) if i not in (2, 7)]
    kept = _of_batch(tuple(a[keep] for a in (d11, d12, numerator, denominator)))[0]
    # Its matrix is 0: in both sums of matrices it is not there.
    for name in ("outer", "weighted_outer"):
        matrices = (getattr(s, name).sum(axis=0) for s in (sums, kept))
        np.testing.assert_allclose(*matrices, atol=1e-6)
    np.testing.assert_allclose(sums.alpha1_squared.sum(), (ratio[keep] ** 2).sum(), rtol=1e-6)


def test_what_is_not_above_the_noise_has_no_direction():
    d11, d12, numerator, denominator = _deviations(5, 6)
    length = np.linalg.norm(d12, axis=1)
    noise = np.where(np.arange(6) < 2, 1.01, 0.99) * length
    sums, _, used = _of_batch((d11, d12, numerator, denominator), noise_12=noise)
    assert (sums.degenerate.sum(), sums.directed.sum()) == (0, 4)
    assert used.all()
    sums, _, _ = _of_batch((d11, d12, numerator, denominator), noise_11=np.full(6, 1e3))
    assert sums.degenerate.sum() == 6


def test_non_finite_examples_are_counted_apart():
    d11, d12, numerator, denominator = _deviations(6, 8)
    d11[0, 1], d12[3, 0], numerator[5] = np.nan, np.inf, np.nan
    sums, alpha1, used = _of_batch((d11, d12, numerator, denominator))
    chex.assert_tree_all_finite((sums, alpha1))
    assert (sums.nonfinite.sum(), sums.degenerate.sum(), sums.used.sum()) == (3, 0, 5)
    assert not used[jnp.array([0, 3, 5])].any()


def test_above_one_is_counted_beyond_rounding_only():
    d11, d12, numerator, _ = _deviations(7, 4)
    ratio = np.array([1.0, 1 + 2e-7, 1 + 5e-5, 3.0], np.float32)
    sums, alpha1, _ = _of_batch((d11, d12, ratio * numerator, numerator))
    assert sums.above_one.sum() == 2
    np.testing.assert_allclose(alpha1, ratio, rtol=1e-6)  # as measured, never clipped
