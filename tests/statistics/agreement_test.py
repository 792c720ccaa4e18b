"""Stability and the ceiling against pairs written out; the null range against known figures."""

import itertools

import numpy as np
import pytest
from planted_studies import study
from scipy import stats

from advknow.statistics.agreement import ceiling, stability
from advknow.statistics.null import null_range
from advknow.statistics.tau import weighted_tau


def test_stability_is_of_setups_that_differ_in_one_component():
    rng = np.random.default_rng(0)
    setups = {(s, n): rng.normal(size=(2, 9)) for s in (0, 1, 2) for n in (10, 100)}
    found = stability(setups, ("seed", "labels"))
    seeds = [
        weighted_tau(setups[a, n], setups[b, n])
        for n in (10, 100)
        for a, b in itertools.combinations(range(3), 2)
    ]
    labels = [weighted_tau(setups[s, 10], setups[s, 100]) for s in range(3)]
    assert list(found) == ["seed", "labels"]
    np.testing.assert_allclose(found["seed"], np.mean(seeds, axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["labels"], np.mean(labels, axis=0), rtol=1e-12)


def test_setups_that_cannot_be_compared_are_refused():
    a = np.arange(4.0)[None]
    with pytest.raises(ValueError, match="no two of the 2 setups differ in seed alone"):
        stability({(0, 10): a, (1, 20): a}, ("seed", "labels"))
    with pytest.raises(ValueError, match="one value of each of"):
        stability({(0,): a}, ("seed", "labels"))


def test_the_ceiling_against_pairs_written_out():
    truths = np.random.default_rng(1).normal(size=(3, 2, 10))
    one, rest = ceiling(truths)
    for t in range(2):
        pairs = [stats.weightedtau(a[t], b[t])[0] for a, b in itertools.combinations(truths, 2)]
        np.testing.assert_allclose(one[t], np.mean(pairs), rtol=1e-12)
        means = [(truths.sum(axis=0) - y)[t] / 2 for y in truths]
        against = [stats.weightedtau(m, y[t])[0] for m, y in zip(means, truths, strict=True)]
        np.testing.assert_allclose(rest[t], np.mean(against), rtol=1e-12)


def test_more_seeds_raise_the_ceiling_and_none_differ_where_seeds_do_not():
    rng = np.random.default_rng(2)
    _, truth = study(rng, 8, 48, r=0.0, common=0.5)
    one, rest = ceiling(truth + 0.5 * rng.normal(size=(5, 8, 48)))
    assert one.mean() + 0.02 < rest.mean() < 1
    np.testing.assert_allclose(ceiling([truth, truth]), 1, rtol=1e-12)
    with pytest.raises(ValueError, match="2 seeds or more"):
        ceiling(truth[None])


@pytest.mark.parametrize(
    ("n", "known", "steps"), [(5, 0.84, 0.03), (10, 0.55, 0), (20, 0.40, 0), (50, 0.29, 0)]
)
def test_the_null_range_is_the_known_one(n, known, steps):
    """Known to two digits: half a digit, and 0.01 of 5,000 orders.

    Of five sources 95 % falls between two of the steps of 120 orders, 0.818 and 0.845.
    """
    assert abs(null_range(n, seed=0, num_orders=5000) - known) < 0.015 + steps


def test_the_null_range_of_few_is_that_of_all_orders():
    """Of 4! orders each |tau| is as likely: its quantile over all of them."""
    every = [abs(stats.weightedtau(p, range(4))[0]) for p in itertools.permutations(range(4))]
    # A level in the middle of a step, where a quantile of a sample is that of the population.
    steps = np.sort(every)
    edges = np.flatnonzero(np.diff(steps) > 1e-9)
    level = (edges[2] + edges[3] + 2) / 2 / 24
    expected = steps[edges[3]]
    np.testing.assert_allclose(null_range(4, seed=0, level=level), expected, rtol=1e-12)


def test_the_null_range_refuses_bad_input():
    with pytest.raises(ValueError, match="n=1"):
        null_range(1, seed=0)
    with pytest.raises(ValueError, match="level=95"):
        null_range(5, seed=0, level=95)
