"""Regret against every order of the tied written out."""

import itertools

import numpy as np
import pytest

from advknow.statistics.choices import regret


def test_by_hand():
    """Truth 70 90 80; the score puts 80 first, then 70: 10 points are lost by one, 10 by two."""
    scores, truth = [[2.0, 1.0, 3.0]], [[70.0, 90.0, 80.0]]
    assert regret(scores, truth) == [10]
    assert regret(scores, truth, first=2) == [10]
    assert regret(scores, truth, first=3) == [0]


@pytest.mark.parametrize("first", [1, 2, 3, 5])
def test_ties_are_the_mean_over_all_orders(first):
    rng = np.random.default_rng(first)
    scores = rng.integers(0, 3, size=(4, 6)).astype(float)
    truth = rng.integers(50, 60, size=(4, 6)).astype(float)
    slow = []
    for a, b in zip(scores, truth, strict=True):
        best = []
        for order in itertools.permutations(range(6)):
            taken = sorted(order, key=lambda i: -a[i])[:first]  # Stable: ties stay as they come.
            best.append(max(b[i] for i in taken))
        slow.append(b.max() - np.mean(best))
    np.testing.assert_allclose(regret(scores, truth, first=first), slow, atol=1e-12)


def test_a_constant_score_has_the_regret_of_chance():
    truth = np.array([[60.0, 70, 95]])
    np.testing.assert_allclose(regret(0 * truth, truth), [95 - 75])
    # Two of three at random: 70 once, 95 twice.
    np.testing.assert_allclose(regret(0 * truth, truth, first=2), [95 - (70 + 2 * 95) / 3])


def test_truth_as_the_score_and_more_tries_regret_less():
    scores, truth = np.random.default_rng(0).normal(size=(2, 5, 40))
    np.testing.assert_array_equal(regret(truth, truth), 0)
    tries = np.array([regret(scores, truth, first=k) for k in (1, 3, 10, 40)])
    assert (np.diff(tries, axis=0) <= 0).all()
    np.testing.assert_array_equal(tries[-1], 0)


def test_absent_sources_are_neither_chosen_nor_missed():
    present = np.array([[True, True, False]])
    assert regret([[1.0, 2, 3]], [[70.0, 60, 90]], present=present) == [10]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="target 0 has 2 sources; at least 3"):
        regret([[1.0, 2]], [[1.0, 2]], first=3)
    with pytest.raises(ValueError, match="first=0"):
        regret([[1.0, 2]], [[1.0, 2]], first=0)
