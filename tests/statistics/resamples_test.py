"""Weighted tau on resamples against scipy's of sources written out; the two-way bootstrap."""

import numpy as np
import pytest
from planted_studies import study
from scipy import stats

from advknow.statistics import resamples, tau


@pytest.mark.parametrize("decimals", [8, 1, 0])
def test_equals_scipy_of_sources_written_out(decimals):
    rng = np.random.default_rng(0)
    scores, truth = study(rng, 3, 25, r=0.5, common=0.5)
    scores, truth = scores[0].round(decimals), truth.round(decimals)
    present = rng.random((3, 25)) > 0.2
    drawn = resamples.draw(3, 25, num=20, rng=rng)
    found = resamples.weighted_tau(scores, truth, drawn.sources, present=present)
    for t in range(3):
        for counts, value in zip(drawn.sources, found[:, t], strict=True):
            out = np.repeat(np.arange(25), counts * present[t])
            plain = stats.weightedtau(scores[t, out], truth[t, out]).statistic
            np.testing.assert_allclose(value, plain, rtol=0, atol=1e-12)
    plain = np.sum(found * drawn.targets, axis=1) / 3
    found = resamples.mean_weighted_tau(scores, truth, drawn, present=present)
    np.testing.assert_allclose(found, plain, rtol=1e-14)


def test_each_source_once_is_the_sample_itself():
    (scores,), truth = study(np.random.default_rng(1), 4, 30, r=0.5, common=0.5)
    found = resamples.weighted_tau(scores, truth, np.ones((1, 30), int))
    np.testing.assert_allclose(found[0], tau.weighted_tau(scores, truth), rtol=1e-12)


def test_copies_do_not_move_tau_towards_0():
    """As the docstring says; a tau that counted copies as discordant would lose a fiftieth."""
    (scores,), truth = study(np.random.default_rng(2), 8, 48, r=0.8, common=0.5)
    drawn = resamples.draw(8, 48, num=2000, rng=np.random.default_rng(3))
    found = resamples.weighted_tau(scores, truth, drawn.sources).mean()
    assert abs(found - tau.weighted_tau(scores, truth).mean()) < 0.01
    # Copies of all sources move perfect order not at all.
    np.testing.assert_allclose(resamples.weighted_tau(truth, truth, drawn.sources), 1, rtol=1e-12)


def test_resamples_are_with_replacement_independent_and_of_the_generator_alone():
    one, two = (resamples.draw(8, 48, num=4000, rng=np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one.sources, two.sources)
    assert set(one.targets.sum(axis=1)) == {8}
    assert set(one.sources.sum(axis=1)) == {48}
    # Multinomial: mean 1, variance 1 - 1/n; five standard errors of 4,000 draws of 8.
    np.testing.assert_allclose(one.targets.mean(axis=0), 1, atol=0.075)
    np.testing.assert_allclose(one.targets.var(), 1 - 1 / 8, atol=0.05)
    assert abs(np.corrcoef(one.targets[:, 0], one.sources[:, 0])[0, 1]) < 5 / 4000**0.5


def test_a_resample_that_orders_nothing_has_0():
    found = resamples.weighted_tau([[1, 1, 2]], [[1, 2, 2]], [[3, 0, 0], [1, 2, 0], [0, 1, 2]])
    np.testing.assert_array_equal(found, [[0], [0], [0]])


@pytest.mark.parametrize("counts", [[[1.0, 1]], [[1, 1, 1]], [1, 1], [[-1, 3]]])
def test_bad_counts_are_refused(counts):
    with pytest.raises(ValueError, match="integers >= 0"):
        resamples.weighted_tau([[1, 2]], [[1, 2]], counts)
