"""Weighted tau and tau of each target: against pairs written out, ties, holes and bad input."""

import numpy as np
import plain_tau
import pytest

from advknow.statistics import tau

FUNCTIONS = [tau.weighted_tau, tau.tau]


@pytest.mark.parametrize("decimals", [8, 1, 0])
def test_weighted_tau_equals_pairs_written_out(decimals):
    """Rounded to 0 decimals most pairs tie, in the score, in truth, or in both."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(4, 15))
    scores = (truth + rng.normal(size=(4, 15))).round(decimals)
    truth = truth.round(decimals)
    plain = [plain_tau.weighted_tau(a, b) for a, b in zip(scores, truth, strict=True)]
    np.testing.assert_allclose(tau.weighted_tau(scores, truth), plain, rtol=1e-12)


def test_weighted_tau_by_hand():
    """Score 3 2 1, truth 3 1 2: the last two are exchanged.

    Ranks by the score give pairs the weights 1 + 1/2, 1 + 1/3, 1/2 + 1/3, in all 11/3, of which the
    exchanged one has 5/6; by truth the same. (11/3 - 2 * 5/6) / (11/3) = 6/11.
    """
    np.testing.assert_allclose(tau.weighted_tau([[3, 2, 1]], [[3, 1, 2]]), [6 / 11], rtol=1e-14)
    # The first two exchanged: weight 3/2, so (11/3 - 3) / (11/3) = 2/11.
    np.testing.assert_allclose(tau.weighted_tau([[3, 2, 1]], [[2, 3, 1]]), [2 / 11], rtol=1e-14)
    np.testing.assert_allclose(tau.tau([[3, 2, 1]], [[3, 1, 2]]), [1 / 3], rtol=1e-14)
    # tau-b: 2 concordant pairs, one tied in the score: 2 / sqrt(2 * 3).
    np.testing.assert_allclose(tau.tau([[2, 1, 1]], [[3, 2, 1]]), [2 / 6**0.5], rtol=1e-14)


def test_tau_of_normal_pairs_is_the_arcsine():
    """2/pi arcsin r; 400 targets of 40 sources: the standard error is 0.0045, four of them."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(400, 40))
    scores = 0.6 * truth + 0.8 * rng.normal(size=truth.shape)
    np.testing.assert_allclose(
        tau.tau(scores, truth).mean(), 2 / np.pi * np.arcsin(0.6), atol=0.018
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_targets_stand_alone_and_only_order_counts(function):
    rng = np.random.default_rng(2)
    scores, truth = rng.normal(size=(2, 3, 12))
    found = function(scores, truth)
    assert found.shape == (3,)
    np.testing.assert_array_equal(found[1:2], function(scores[1:2], truth[1:2]))
    units = np.array([[1.0], [100.0], [1e-3]])
    np.testing.assert_array_equal(found, function(np.exp(scores) * units, truth * units + 5))
    np.testing.assert_allclose(function(truth, truth), 1, rtol=1e-12)
    np.testing.assert_allclose(function(-truth, truth), -1, rtol=1e-12)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_absent_sources_are_not_ranked(function):
    rng = np.random.default_rng(3)
    scores, truth = rng.normal(size=(2, 2, 10))
    present = np.ones((2, 10), bool)
    present[0, [2, 7]] = False
    scores[0, 2] = np.nan  # What is absent is not looked at.
    found = function(scores, truth, present=present)
    kept = np.delete(np.arange(10), [2, 7])
    np.testing.assert_array_equal(found[0], function(scores[:1, kept], truth[:1, kept])[0])
    np.testing.assert_array_equal(found[1], function(scores[1:], truth[1:])[0])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_constant_score_counts_nothing(function):
    np.testing.assert_array_equal(function([[2.0, 2, 2]], [[1.0, 2, 3]]), [0.0])


@pytest.mark.parametrize(
    ("scores", "truth", "present", "message"),
    [
        ([[1, np.nan, 2]], [[1, 2, 3]], None, "scores of target 0 and source 1 is nan; 1 such"),
        ([[1, 2, 3]], [[1, np.inf, 3]], None, "truth of target 0 and source 1 is inf"),
        ([[1, 2, 3]], [[2, 2, 2]], None, "truth of target 0 is 2 for all of its sources"),
        ([[1, 2, 3]], [[1, 2]], None, r"shapes \(1, 3\), \(1, 2\) and \(1, 2\)"),
        ([1, 2, 3], [1, 2, 3], None, r"\(targets, sources\), is needed"),
        ([[1, 2, 3]], [[1, 2, 3]], [[True, False, False]], "target 0 has 1 sources; at least 2"),
    ],
)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_input_is_refused(function, scores, truth, present, message):
    with pytest.raises(ValueError, match=message):
        function(scores, truth, present=present)


def test_present_must_be_booleans():
    with pytest.raises(TypeError, match="present has dtype int64; booleans"):
        tau.tau([[1, 2]], [[1, 2]], present=[[1, 1]])
