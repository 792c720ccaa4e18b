"""Ranks with intervals: known truths, ties, and what is said of them."""

import numpy as np
import pytest

from advknow.statistics import ranks

# Gaps from clear to none at n = 200: the last two sources are equally good.
TRUTH = np.array([1.0, 0.6, 0.55, 0.2, 0.15, 0.0, 0.0])
TRUE_LOW = np.array([1, 2, 3, 4, 5, 6, 6])
TRUE_HIGH = np.array([1, 2, 3, 4, 5, 7, 7])


def _bootstrap(rng, truth, *, n=200, resamples=300, skewed=False):
    """Scores that are means over n examples, whose difficulty all sources share; their draws."""
    noise = rng.normal(size=(n, len(truth))) + rng.normal(size=(n, 1))
    if skewed:
        noise = np.exp(noise) - np.e
    examples = truth + noise
    counts = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    return examples.mean(axis=0), counts @ examples / n


@pytest.mark.parametrize("skewed", [False, True])
def test_all_true_ranks_are_covered_at_once_in_95_of_100(skewed):
    """400 studies: three standard deviations are 3.3 of 100. Only one pair can be told wrongly."""
    rng = np.random.default_rng(0)
    truth = 3 * TRUTH if skewed else TRUTH
    covered, told = 0, 0
    for _ in range(400):
        found = ranks.from_draws(*_bootstrap(rng, truth, skewed=skewed))
        covered += bool(np.all((found.low <= TRUE_LOW) & (found.high >= TRUE_HIGH)))
        told += found.apart[0, 3:].mean()
    assert covered / 4 >= 95 - 3.3
    assert told / 4 > 50  # Not by saying nothing: clear differences are told.


def test_of_equal_sources_none_is_told_apart_in_95_of_100():
    """The hardest truth, where all 21 pairs can be told wrongly: 400 studies, as above."""
    rng = np.random.default_rng(1)
    told = [ranks.from_draws(*_bootstrap(rng, 0 * TRUTH)).apart.any() for _ in range(400)]
    assert 5 - 3.3 <= np.mean(told) * 100 <= 5 + 3.3


def test_equals_a_slow_plain_version():
    values, draws = _bootstrap(np.random.default_rng(1), TRUTH, resamples=99)
    found = ranks.from_draws(values, draws)
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    spread = {}
    for i, j in pairs:
        away = [(row[i] - row[j]) - (values[i] - values[j]) for row in draws]
        spread[i, j] = np.sqrt(np.mean(np.square(away)))
    largest = sorted(
        max(
            abs((row[i] - row[j]) - (values[i] - values[j])) / spread[i, j]
            for i, j in pairs
        )
        for row in draws
    )  # fmt: skip
    critical = largest[94]  # The 95th of 99: 0.95 * (99 + 1).
    for i in range(7):
        better = [j for j in range(7) if j != i and values[j] - values[i] > critical * spread[i, j]]
        worse = [j for j in range(7) if j != i and values[i] - values[j] > critical * spread[i, j]]
        assert set(np.flatnonzero(found.apart[i])) == {*better, *worse}
        assert (found.low[i], found.high[i]) == (1 + len(better), 7 - len(worse))
        assert found.rank[i] == 1 + np.sum(values > values[i])
    assert found.apart.any()
    assert not found.apart.all()


def test_identical_sources_are_never_apart_and_share_ranks():
    values, draws = _bootstrap(np.random.default_rng(2), np.array([3.0, 2.0, 0.0]))
    twice = [0, 1, 1, 2]
    found = ranks.from_draws(values[twice], draws[:, twice])
    assert not found.apart[1, 2]
    assert not found.apart[2, 1]
    np.testing.assert_array_equal(found.rank, [1, 2.5, 2.5, 4])
    np.testing.assert_array_equal(found.low, [1, 2, 2, 4])
    np.testing.assert_array_equal(found.high, [1, 3, 3, 4])
    np.testing.assert_array_equal(found.best, [1, 0, 0, 0])
    # A copy takes nothing from what is said of the others.
    once = ranks.from_draws(values, draws)
    np.testing.assert_array_equal(found.apart[np.ix_([0, 1, 3], [0, 1, 3])], once.apart)
    # Neither does rounding tell them apart.
    jitter = [0, 0, 1e-15, 0]
    found = ranks.from_draws(values[twice] + jitter, draws[:, twice] + jitter)
    assert not found.apart[1, 2]


def test_ties_for_the_best_share_the_draw():
    draws = np.array([[1.0, 1, 0], [2, 1, 0], [0, 0, 0], [0, 1, 0]] * 10)
    found = ranks.from_draws([1.0, 1.0, 0.5], draws)
    np.testing.assert_allclose(
        found.best, [(1 / 2 + 1 + 1 / 3) / 4, (1 / 2 + 1 / 3 + 1) / 4, 1 / 12]
    )


def test_scores_without_spread_are_apart_where_they_differ():
    found = ranks.from_draws([3.0, 1.0, 1.0], np.tile([3.0, 1.0, 1.0], (50, 1)))
    np.testing.assert_array_equal(found.apart, [[0, 1, 1], [1, 0, 0], [1, 0, 0]])


def test_units_and_order_do_not_matter():
    values, draws = _bootstrap(np.random.default_rng(3), TRUTH)
    found, order = ranks.from_draws(values, draws), np.array([3, 0, 6, 1, 5, 2, 4])
    moved = ranks.from_draws(8 * values[order] - 4, 8 * draws[:, order] - 4)
    for name in ("rank", "low", "high", "best"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(found, name)[order])
    np.testing.assert_array_equal(moved.apart, found.apart[np.ix_(order, order)])


def test_a_lower_level_tells_more_apart():
    values, draws = _bootstrap(np.random.default_rng(4), TRUTH)
    strict, loose = (ranks.from_draws(values, draws, level=level).apart for level in (0.99, 0.5))
    assert np.all(loose | ~strict)
    assert loose.sum() > strict.sum()


def _ranks(values, apart):
    k = len(values)
    together = np.zeros((k, k), bool)
    for i, j in apart:
        together[i, j] = together[j, i] = True
    order = 1.0 + np.argsort(np.argsort([-v for v in values]))
    return ranks.Ranks(order, order, order, np.full(k, 1 / k), together)


@pytest.mark.parametrize(
    ("values", "apart", "words"),
    [
        ([3, 2, 1], [(0, 1), (0, 2)], "A, then B or C (cannot be told apart at n = 200)"),
        ([1, 2, 3], [(0, 1), (0, 2)], "C or B (cannot be told apart at n = 200), then A"),
        ([3, 2, 1], [(0, 2)], "A, B or C (not all can be told apart at n = 200)"),
        ([2, 1], [(0, 1)], "A, then B (all can be told apart at n = 200)"),
        ([2, 1], [], "A or B (cannot be told apart at n = 200)"),
        ([1], [], "A"),
    ],
)
def test_the_order_in_words(values, apart, words):
    assert ranks.sentence("ABC"[: len(values)], _ranks(values, apart), 200) == words


@pytest.mark.parametrize(
    ("values", "draws", "settings", "message"),
    [
        ([1.0, 2], np.ones((50, 3)), {}, r"\(2,\) and \(50, 3\)"),
        ([], np.ones((50, 0)), {}, r"\(K,\) and \(R, K\)"),
        ([1.0, np.nan], np.ones((50, 2)), {}, r"values holds NaN or infinity for sources \[1\]"),
        ([1.0, 2], [[1.0, np.inf]] * 50, {}, r"draws holds NaN or infinity for sources \[1\]"),
        ([1.0, 2], np.ones((18, 2)), {}, "18 draws, too few for level=0.95"),
        ([1.0, 2], np.ones((50, 2)), {"level": 1.0}, "too few for level=1"),
        ([1.0, 2], np.ones((50, 2)), {"level": 95}, "level=95"),
    ],
)
def test_bad_input_is_refused(values, draws, settings, message):
    with pytest.raises(ValueError, match=message):
        ranks.from_draws(values, draws, **settings)
    with pytest.raises(ValueError, match="1 names for 2 sources"):
        ranks.sentence("A", _ranks([2, 1], []), 5)
