"""Partial rank correlation against the recursion; combined and static orders by hand."""

import numpy as np
import pytest
from scipy import stats

from advknow.statistics.partial import mean_rank, partial_rank_correlation
from advknow.statistics.static import leave_one_target_out


def _recursion(x, y, given):
    """r_xy.zw = (r_xy.w - r_xz.w r_yz.w) / sqrt((1 - r_xz.w^2) (1 - r_yz.w^2)), of ranks."""
    if not given:
        return stats.spearmanr(x, y).statistic
    z, *rest = given
    xy, xz, yz = _recursion(x, y, rest), _recursion(x, z, rest), _recursion(y, z, rest)
    return (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("decimals", [8, 0])
def test_equals_the_recursion(count, decimals):
    rng = np.random.default_rng(count)
    given = list(rng.normal(size=(count, 3, 20)).round(decimals))
    truth = (sum(given) + rng.normal(size=(3, 20))).round(decimals)
    scores = (truth + sum(given) + rng.normal(size=(3, 20))).round(decimals)
    slow = [_recursion(scores[t], truth[t], [g[t] for g in given]) for t in range(3)]
    np.testing.assert_allclose(partial_rank_correlation(scores, truth, given), slow, rtol=1e-10)


def test_what_the_given_hold_adds_nothing():
    given, truth = np.random.default_rng(0).normal(size=(2, 2, 15))
    for score in (given, np.exp(-given), np.zeros_like(given)):
        np.testing.assert_array_equal(partial_rank_correlation(score, truth, [given]), 0)
    np.testing.assert_allclose(partial_rank_correlation(truth, truth, [given]), 1)


def test_absent_sources_do_not_count():
    scores, truth, given = np.random.default_rng(1).normal(size=(3, 1, 12))
    present = np.arange(12)[None] > 2
    found = partial_rank_correlation(scores, truth, [given], present=present)
    kept = partial_rank_correlation(scores[:, 3:], truth[:, 3:], [given[:, 3:]])
    np.testing.assert_array_equal(found, kept)


def test_the_mean_rank_by_hand():
    """Ranks 1 2 3 and 1.5 1.5 3, each less a half, over three."""
    found = mean_rank([[[10.0, 20, 30]], [[5.0, 5, 9]]])
    np.testing.assert_allclose(found, [[0.75 / 3, 1.25 / 3, 2.5 / 3]], atol=1e-12)


def test_mean_ranks_that_tie_are_equal_to_the_last_bit():
    """1/6 + 3/6 + 5/6 in each of its six orders."""
    orders = np.array([[1, 1, 2, 2, 3, 3], [2, 3, 1, 3, 1, 2], [3, 2, 3, 1, 2, 1]]) * 1.0
    found = mean_rank(orders[:, None])
    assert len(set(found[0])) == 1


def test_the_static_order_is_of_the_other_targets_alone():
    """Scaled ranks 1/6 3/6 5/6 of three sources; the second target's own truth turns it."""
    truth = np.array([[1.0, 2, 3], [30, 20, 10], [1, 3, 2]])
    found = leave_one_target_out(truth)
    np.testing.assert_allclose(found[1], np.array([1 + 1, 3 + 5, 5 + 3]) / 12, atol=1e-12)
    assert found[1, 1] == found[1, 2]  # To the last bit: ties are ties.
    changed = truth.copy()
    changed[1] = [7, -100, 1e6]
    np.testing.assert_array_equal(leave_one_target_out(changed)[1], found[1])
    assert not np.array_equal(leave_one_target_out(changed)[0], found[0])


def test_the_static_order_of_sources_with_holes():
    """Source 0 is not on target 0: on target 1 nothing but target 2 says how good it is."""
    truth = np.array([[np.nan, 2, 3], [3, 2, 1], [1, 3, 2]])
    present = np.isfinite(truth)
    found = leave_one_target_out(truth, present=present)
    assert found[0, 0] == 0
    np.testing.assert_allclose(found[1], [1 / 6, (1 / 4 + 5 / 6) / 2, (3 / 4 + 3 / 6) / 2])


def test_bad_input_is_refused():
    values = np.arange(10.0).reshape(2, 5)
    with pytest.raises(ValueError, match=r"given\[1\] of target 0 and source 2 is nan"):
        partial_rank_correlation(values, values, [values, np.where(values == 2, np.nan, values)])
    with pytest.raises(ValueError, match="target 0 has 5 sources; at least 6"):
        partial_rank_correlation(values, values, [values] * 3)
    with pytest.raises(ValueError, match=r"scores\[0\] of target 1 and source 0 is nan"):
        mean_rank([np.where(values == 5, np.nan, values)])
    with pytest.raises(ValueError, match="scores is empty"):
        mean_rank([])
    with pytest.raises(ValueError, match=r"\(any, T, S\)"):
        mean_rank(values)
    with pytest.raises(ValueError, match="source 0 is present on no target but 0"):
        leave_one_target_out(values, present=np.array([[True] * 5, [False] + [True] * 4]))
