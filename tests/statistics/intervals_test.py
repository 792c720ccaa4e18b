"""Intervals over targets and sources: planted means are covered, against plain loops."""

import numpy as np
import pytest
from planted_studies import study

from advknow.statistics import intervals, partial, tau
from advknow.statistics.holm import holm

# r, the share of the source's variance that all targets have in common, the spread of r over targets,
# and the mean weighted tau of 48 sources: of 60,000 targets, each by itself, where its standard
# error is up to 0.0008.
PLANTED = {
    "each target its own": (0.5, 0.0, 0.0, 0.4265),
    "half in common": (0.5, 0.5, 0.0, 0.4265),
    "half in common, targets differ": (0.5, 0.5, 0.5, 0.3952),
    "nearly one ranking": (0.5, 0.9, 0.0, 0.4265),
    "high": (0.8, 0.5, 0.4, 0.6749),
    "none": (0.0, 0.5, 0.0, 0.0),
}


def _covered(r, common, spread, planted, *, studies, seed):
    """The share of studies of 8 x 48 whose interval holds the planted mean."""
    rng, held = np.random.default_rng(seed), []
    for _ in range(studies):
        (scores,), truth = study(rng, 8, 48, r=r, common=common, spread=spread)
        found = intervals.interval(intervals.of_weighted_tau(scores, truth))
        held.append(found.low <= planted <= found.high)
    return np.mean(held)


def test_a_planted_mean_is_covered():
    """Over 6 truths, 100 studies each: 95 % within three standard deviations of 600, 2.7."""
    held = [_covered(*truth, studies=100, seed=i) for i, truth in enumerate(PLANTED.values())]
    assert abs(np.mean(held) - 0.95) < 0.027
    assert min(held) >= 0.95 - 0.065  # Three standard deviations of 100.


@pytest.mark.slow
@pytest.mark.parametrize("truth", PLANTED.values(), ids=PLANTED)
def test_a_planted_mean_is_covered_in_93_to_97_of_100(truth):
    """400 studies each: one standard deviation is 1.1, so 1.1 on either side of 93 to 97."""
    assert 0.919 <= _covered(*truth, studies=400, seed=0) <= 0.981


def test_kendalls_tau_in_closed_form_is_covered():
    """2/pi arcsin r; 150 studies: three standard deviations are 5.3 of 100."""
    rng, held = np.random.default_rng(0), []
    for _ in range(150):
        (scores,), truth = study(rng, 4, 12, r=0.5, common=0.5)

        def statistic(present, scores=scores, truth=truth):
            signs = [np.sign(v[:, :, None] - v[:, None, :]) for v in (scores, truth)]
            pairs = present[:, :, None] & present[:, None, :] & ~np.eye(12, dtype=bool)
            return np.sum(signs[0] * signs[1] * pairs, axis=(1, 2)) / pairs.sum(axis=(1, 2))

        found = intervals.interval(intervals.jackknife(statistic, np.ones((4, 12), bool)))
        held.append(found.low <= 2 / np.pi * np.arcsin(0.5) <= found.high)
    assert abs(np.mean(held) - 0.95) < 0.053


def test_variance_equals_a_plain_loop_and_analysis_of_variance_of_pseudo_values():
    """Without holes V is (MS_T + MS_S - MS_TS) / (T S) of pseudo-values of Dorfman et al. 1992."""
    (scores,), truth = study(np.random.default_rng(3), 5, 14, r=0.5, common=0.7)
    whole = tau.weighted_tau(scores, truth)
    pseudo = np.array([
        14 * whole - 13 * tau.weighted_tau(np.delete(scores, s, 1), np.delete(truth, s, 1))
        for s in range(14)
    ]).T  # fmt: skip
    rows, columns = pseudo.mean(axis=1, keepdims=True), pseudo.mean(axis=0, keepdims=True)
    of_sources = 5 * np.sum((columns - pseudo.mean()) ** 2) / 13
    of_both = np.sum((pseudo - rows - columns + pseudo.mean()) ** 2) / (4 * 13)
    # The means of rows are tau but for the jackknife's bias, so MS_T is of tau itself.
    expected = whole.var(ddof=1) / 5 + (of_sources - of_both) / (5 * 14)
    assert of_sources > of_both
    found = intervals.interval(intervals.of_weighted_tau(scores, truth))
    np.testing.assert_allclose(found.standard_error**2, expected, rtol=1e-12)
    np.testing.assert_allclose(found.mean, whole.mean(), rtol=1e-12)
    assert found.low < found.mean < found.high


@pytest.mark.parametrize("holes", [False, True])
def test_all_sources_at_once_equals_one_at_a_time(holes):
    rng = np.random.default_rng(4)
    (scores,), truth = study(rng, 4, 12, r=0.5, common=0.5)
    present = np.ones((4, 12), bool)
    if holes:
        present[0, :3] = present[2, 5] = False
    slow = intervals.jackknife(lambda p: tau.weighted_tau(scores, truth, present=p), present)
    fast = intervals.of_weighted_tau(scores, truth, present=present)
    np.testing.assert_allclose(fast.per_target, slow.per_target, rtol=1e-12)
    np.testing.assert_allclose(fast.influence, slow.influence, atol=1e-13)
    assert not fast.influence.T[~present].any()


def test_the_jackknife_of_means_is_their_covariance():
    """What column means of two targets have in common is the sample covariance over S."""
    values = np.random.default_rng(5).normal(size=(3, 20))
    found = intervals.jackknife(
        lambda p: np.sum(values * p, axis=1) / p.sum(axis=1), np.ones((3, 20), bool)
    )
    np.testing.assert_allclose(found.influence.T @ found.influence, np.cov(values) / 20, rtol=1e-12)


def test_equal_scores_differ_by_nothing_and_p_values_are_of_their_level():
    """Two scores of one law: 300 studies reject 5 of 100; three standard deviations are 3.8."""
    rng, rejected = np.random.default_rng(6), []
    for _ in range(300):
        scores, truth = study(rng, 8, 30, r=0.5, common=0.5, scores=2)
        a, b = (intervals.of_weighted_tau(s, truth) for s in scores)
        found = intervals.difference(a, b)
        rejected.append(found.p_value <= 0.05)
        assert (found.p_value <= 0.05) == (found.low >= 0 or found.high <= 0)
    assert abs(np.mean(rejected) - 0.05) < 0.038
    assert intervals.difference(a, a) == (0.0, 0.0, 0.0, 1.0)
    swapped = intervals.difference(b, a)
    np.testing.assert_allclose(swapped.p_value, found.p_value, rtol=1e-12)
    np.testing.assert_allclose([swapped.low, swapped.mean], [-found.high, -found.mean], rtol=1e-12)


def test_a_better_score_is_found_better():
    rng = np.random.default_rng(7)
    (good,), truth = study(rng, 8, 48, r=0.8, common=0.5)
    bad = rng.normal(size=truth.shape)
    found = intervals.difference(*(intervals.of_weighted_tau(s, truth) for s in (good, bad)))
    assert found.low > 0.2
    assert found.p_value < 1e-4


def test_the_interval_of_a_partial_correlation():
    """The score adds to nothing what it does not hold; given truth's other half it adds."""
    rng = np.random.default_rng(8)
    (scores,), truth = study(rng, 6, 30, r=0.7, common=0.5)
    noise = rng.normal(size=truth.shape)
    for given, adds in ((noise, True), (scores + 1e-3 * noise, False)):
        found = intervals.interval(
            intervals.jackknife(
                lambda p, given=given: partial.partial_rank_correlation(
                    scores, truth, [given], present=p
                ),
                np.ones((6, 30), bool),
            )
        )
        assert (found.low > 0) == adds
        assert -1 < found.low < found.high < 1


def test_perfect_order_has_an_interval_of_one_point():
    truth = np.random.default_rng(9).normal(size=(3, 8))
    found = intervals.interval(intervals.of_weighted_tau(truth, truth))
    np.testing.assert_allclose(found[:3], 1, rtol=1e-12)


def test_bad_input_is_refused():
    truth = np.arange(12.0).reshape(2, 6)
    with pytest.raises(ValueError, match="present has 1 targets"):
        intervals.of_weighted_tau(truth[:1], truth[:1])
    with pytest.raises(ValueError, match="the least of which has 3 sources"):
        intervals.of_weighted_tau(truth, truth, present=np.arange(6) < [[6], [3]])
    found = intervals.of_weighted_tau(truth[:, ::-1] ** 2, truth)
    with pytest.raises(ValueError, match=r"\(6, 2\) and \(5, 2\)"):
        intervals.difference(found, intervals.of_weighted_tau(truth[:, 1:], truth[:, 1:]))
    with pytest.raises(ValueError, match="level=95"):
        intervals.interval(found, level=95)


def test_holm_by_hand():
    """Sorted .01 .02 .03 .5 times 4 3 2 1: .04 .06 .06 .5, made monotone."""
    np.testing.assert_allclose(holm([0.03, 0.01, 0.5, 0.02]), [0.06, 0.04, 0.5, 0.06], rtol=1e-12)
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])
    assert holm([]).shape == (0,)
    for bad in ([0.5, 1.5], [np.nan], [[0.1]]):
        with pytest.raises(ValueError, match="p_values="):
            holm(bad)


def test_a_coefficient_of_one_on_all_targets_that_a_source_moves_has_an_interval_of_one_point():
    """Fisher's z of 1 is infinite; without one source a partial correlation may count 0."""
    found = intervals.Jackknife(np.ones(2), np.array([[0.1, 0.0], [0.0, 0.2], [0.0, 0.0]]))
    of = intervals.interval(found)
    assert (of.mean, of.low, of.high) == (1.0, 1.0, 1.0)
