"""The verdict on records whose answer is known beforehand."""

import itertools
import json

import numpy as np
import pytest
from planted_evidence import planted
from scipy import stats

from advknow.evidence import hypotheses, rankings
from advknow.evidence.hypotheses import PRIMARY, Ranker
from advknow.evidence.questions import Question, interval_of
from advknow.evidence.rankings import Rankings, Setup
from advknow.evidence.verdict import verdict
from advknow.report import evidence as report


def _row(rows, **wanted):
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, wanted
    return found[0]


@pytest.fixture(scope="module")
def said():
    """The primary score is the truth; the smallest FMD is the best source; CKA is the worst."""
    return verdict(
        planted(
            {
                tuple(PRIMARY): lambda truth, rng: truth / 100,
                ("fmd", ""): lambda truth, rng: 100 - truth,
                ("cka", ""): lambda truth, rng: -truth,
                ("gmd", ""): lambda truth, rng: np.ones_like(truth),
            }
        )
    )


@pytest.mark.parametrize("scope", rankings.SCOPES)
def test_a_score_equal_to_truth_ranks_without_fault_and_costs_nothing(said, scope):
    for quantity, attack in (tuple(PRIMARY), ("fmd", "")):
        row = _row(
            said["rankers"], quantity=quantity, attack=attack, scope=scope, labels=10, zoo="A"
        )
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((1, 1, 1))
        assert row["tau"] == pytest.approx(1)
        assert (row["regret"], row["regret_of_3"]) == pytest.approx((0, 0))


def test_every_hypothesis_has_its_interval(said):
    of_primary = [row for row in said["hypotheses"] if row["hypothesis"] == "primary"]
    assert [row["scope"] for row in of_primary] == list(rankings.SCOPES)
    assert all(row["mean"] == pytest.approx(1) for row in of_primary)
    second = [row for row in said["hypotheses"] if row["hypothesis"] == "second"]
    assert len(second) == 3
    assert {row["scope"] for row in second} == {"far"}
    assert all(row["low"] > 0 for row in second)
    third = {row["hypothesis"] for row in said["hypotheses"]} - {"primary", "second"}
    assert len(third) == 2


def test_the_opposite_of_the_truth_and_a_constant_score(said):
    cka = _row(said["rankers"], quantity="cka", scope="all", labels=10)
    # Weighted tau of a reversed order is not -1: the weights of both orders are averaged.
    assert cka["mean"] < -0.9
    constant = _row(said["rankers"], quantity="gmd", scope="all", labels=10)
    assert (constant["mean"], constant["low"], constant["high"], constant["tau"]) == (0, 0, 0, 0)
    # The regret of a constant score is that of chance: of ten sources, more than of the first.
    assert constant["regret"] > constant["regret_of_3"] > 0


def test_the_truth_is_better_than_noise_and_holm_is_no_smaller(said):
    rows = [row for row in said["differences"] if (row["scope"], row["labels"]) == ("all", 10)]
    assert len(rows) == len(hypotheses.COMPARED)
    assert all(row["low"] > 0 and row["p_holm"] < 0.05 for row in rows)
    assert all(row["p_holm"] >= row["p_value"] for row in rows)


def test_noise_covers_zero_about_as_often_as_it_should():
    covered, studies = 0, 20
    for seed in range(studies):
        of = verdict_of_primary(planted({}, seed=seed))
        covered += of["low"] <= 0 <= of["high"]
    # Of 20 at 95 %, 15 or fewer have a probability below 0.0003.
    assert covered > 15


def verdict_of_primary(records):
    """Without the other tables, which take a second."""
    of = Rankings(records)
    view = of.view(hypotheses.TRUTH, "A", 10, "all")
    question = Question(of, "A", hypotheses.TRUTH, 10, "all", view)
    return interval_of(question.weighted(PRIMARY))


def test_the_mean_over_targets_is_scipys():
    records = planted({}, seed=3)
    of = Rankings(records)
    truth = of.truth(hypotheses.TRUTH, "A", 10)
    expected = np.mean(
        [
            stats.weightedtau(of.values(PRIMARY, "A", Setup(10, i))[t], truth[t]).statistic
            for i, t in itertools.product(range(2), range(len(truth)))
        ]
    )
    assert verdict_of_primary(records)["mean"] == pytest.approx(expected)


def test_near_and_far_divide_the_pairs_and_the_trials_targets_are_apart(said):
    of = Rankings(planted({}))
    near, far, new = (of.view(hypotheses.TRUTH, "A", 10, s) for s in ("near", "far", "new"))
    assert new.targets == ("Fashion all ten", "letters A-M", "letters N-Z", "numerals")
    for name in near.targets:
        both = near.present[near.targets.index(name)] ^ far.present[far.targets.index(name)]
        assert both.all()
    assert "digits" in far.targets
    assert "digits" not in near.targets


def test_a_source_without_a_value_is_put_last_and_counted():
    records = planted({})
    gone = [r for r in records if r["quantity"] == "logme" and r["source"].endswith("r0 0")]
    for record in gone:
        record["value"] = ""
    values = Rankings(records).values(Ranker("logme"), "A", Setup(10, 0))
    column = Rankings(records).sources["A"].index("A r0 0")
    assert (values.argmin(axis=1) == column).all()
    assert Rankings(records).undefined[Ranker("logme")] == len(gone) > 0


def test_a_pair_that_lacks_and_nan_are_errors():
    records = planted({})
    lacking = [  # One pair of all.
        r
        for r in records
        if (r["quantity"], r["target"], r["source"]) != ("cka", "MNIST", "A r1 1")
    ]
    with pytest.raises(ValueError, match=r"records lack cka of source A r1 1, target MNIST"):
        verdict(lacking)
    next(r for r in records if r["quantity"] == "cka")["value"] = float("nan")
    with pytest.raises(ValueError, match="cka .* is nan; a finite number is needed"):
        verdict(records)


def test_it_is_json_and_the_report_has_every_ranker(said):
    json.dumps(said, allow_nan=False)
    printed = report.text(said)
    for score in {row["score"] for row in said["rankers"]}:
        assert score in printed
    figure = report.figure(said)
    assert len(figure.axes) == len(rankings.SCOPES)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    # The truth itself on top.
    assert set(labels[-2:]) == {"(alpha1*alpha2)², eps -> 0, S->T", "-FMD"}
