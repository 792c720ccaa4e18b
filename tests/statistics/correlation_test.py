import itertools

import numpy as np
import pytest
from scipy import stats

from advknow.statistics.correlation import correlate


def test_coefficients_and_p_values_equal_a_brute_force_over_all_pairings():
    x, y = [0.35, 0.32, 0.34, 0.54, 0.61], [28.30, 45.65, 55.09, 76.60, 77.92]
    found = correlate(x, y)
    assert found is not None
    np.testing.assert_allclose(found.pearson, np.corrcoef(x, y)[0, 1], rtol=1e-12)
    np.testing.assert_allclose(found.spearman, stats.spearmanr(x, y)[0], rtol=1e-12)
    every = [abs(np.corrcoef(p, y)[0, 1]) for p in itertools.permutations(x)]
    share = np.mean([r >= abs(found.pearson) - 1e-12 for r in every])
    np.testing.assert_allclose(found.pearson_p, share, rtol=1e-12)
    assert found.n == 5


def test_the_least_p_value_of_five_points_is_two_in_120():
    found = correlate([1, 2, 3, 4, 5], [10, 20, 30, 40, 50])
    assert found is not None
    np.testing.assert_allclose([found.pearson_p, found.spearman_p], 2 / 120, rtol=1e-12)


def test_order_of_the_pairs_does_not_matter():
    x, y = [1.0, 5.0, 2.0, 7.0], [3.0, 1.0, 4.0, 1.5]
    np.testing.assert_allclose(correlate(x, y), correlate(x[::-1], y[::-1]), rtol=1e-12)


@pytest.mark.parametrize(("x", "y"), [([1, 1, 1], [1, 2, 3]), ([1, 2], [1, 2]), ([], [])])
def test_undefined_is_none_not_nan(x, y):
    assert correlate(x, y) is None


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [([1, 2, 3], [1, 2], "equal lengths"), ([1, 2, float("nan")], [1, 2, 3], "finite")],
)
def test_bad_lists_are_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        correlate(x, y)
