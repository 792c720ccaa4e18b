"""The control: trainings that differ in the weight of an alignment alone."""

import dataclasses
import json

import numpy as np
import pytest
from read_page import read
from scipy import stats

from advknow.evidence import control, records, run, studies
from advknow.evidence.design import Alignment, Recipe, Source
from advknow.evidence.run import write_again
from advknow.evidence.zoo import ALIGNMENT, WEIGHT
from advknow.report import answers, pages
from advknow.report import control as report
from advknow.training import TrainConfig

WEIGHTS = (-1.0, 0.0, 2.0)


def _sources(seeds=(0, 1, 2)):
    recipes = [
        Recipe(
            name=f"r{k}",
            dataset="mnist",
            training=TrainConfig(epochs=1),
            alignment=Alignment(target="digits", weight=weight),
        )
        for k, weight in enumerate(WEIGHTS)
    ]
    return [Source(recipe, seed, "mnist to digits") for recipe in recipes for seed in seeds]


def _planted(noise=0.0, seeds=(0, 1, 2)):
    """rho^2 to the model it is pulled to is .3 + .1 weight + .01 seed, to others half of it."""
    rng, target = np.random.default_rng(0), studies.TARGETS[0]
    found = []
    for source in _sources(seeds):
        weight = source.recipe.alignment.weight
        value = 0.3 + 0.1 * weight + 0.01 * source.seed + noise * rng.normal()
        write = records.record
        found += [
            write(source, target, WEIGHT, weight, n=1, reference="0"),
            write(source, target, ALIGNMENT, value, n=9, reference="0"),
            write(source, None, "source_accuracy", 90.0, n=9),
            write(source, target, "rho2", value, n=9, reference="0"),
            write(source, target, "rho2", value / 4, n=9, reference="1"),
            write(source, target, "rho2", 3 * value / 4, n=9, reference="2"),
            write(source, target, "rho2", 7.0, n=9, reference="few"),
            *(
                write(source, target, "probe_accuracy", 70.0 + draw, n=9, labels=10, draw=draw)
                for draw in (0, 2)
            ),
        ]
    return found


def _only(rows, **wanted):
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row


def test_effects_are_differences_to_weight_0_of_the_same_seed():
    (group,) = control.responses(_planted())["groups"]
    assert (group["zoo"], group["to"], group["seeds"]) == ("mnist to digits", "digits", 3)
    assert group["weights"] == [-1.0, 0.0, 2.0]
    for reference, share in (("pulled to", 1.0), ("others", 0.5)):
        for weight in (-1.0, 2.0):
            row = _only(group["effects"], quantity="rho2", reference=reference, weight=weight)
            # Without noise seeds differ as much at every weight: the interval is a point.
            expected = 0.1 * weight * share
            assert (row["mean"], row["low"], row["high"]) == pytest.approx([expected] * 3)
    row = _only(group["values"], quantity="probe_accuracy", weight=2.0)
    assert (row["mean"], row["labels"], row["reference"]) == (71.0, 10, "")


def test_intervals_are_students_over_seeds():
    (group,) = control.responses(_planted(noise=0.05))["groups"]
    by_place = {(s.recipe.alignment.weight, s.seed): s.name for s in _sources()}
    value = {
        o["source"]: o["value"]
        for o in _planted(noise=0.05)
        if (o["quantity"], o["reference"]) == ("rho2", "0")
    }
    apart = [value[by_place[2.0, seed]] - value[by_place[0.0, seed]] for seed in range(3)]
    row = _only(group["effects"], quantity="rho2", reference="pulled to", weight=2.0)
    low, high = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_seeds_of_one_number_differ_in_nothing_but_the_weight():
    of_seed = [source for source in studies.control().sources if source.seed == 1]
    for zoo in {source.zoo for source in of_seed}:
        assert len({source.drawn_as for source in of_seed if source.zoo == zoo}) == 1
    assert len({source.drawn_as for source in studies.control().sources}) == 12
    full = studies.full().sources
    assert [source.drawn_as for source in full] == [source.name for source in full]


def test_contrasts_are_differences_of_gains_of_the_same_seed():
    """On the target of the pull a gain of 2 weight + noise, on the other of half the noise."""
    rng, (to, other) = np.random.default_rng(1), studies.TARGETS[:2]
    found, expected = [o for o in _planted() if o["quantity"] != "probe_accuracy"], {}
    for source in _sources():
        weight, write = source.recipe.alignment.weight, records.record
        noise = float(rng.normal())
        for target, gain in ((to, 2 * weight + noise), (other, noise / 2)):
            found += [
                write(source, target, "probe_accuracy", 70 + gain + draw, n=9, labels=10, draw=draw)
                for draw in (0, 2)
            ]
        expected[weight, source.seed] = 2 * weight + noise / 2
    (group,) = control.responses(found)["groups"]
    row = _only(group["contrasts"], quantity="probe_accuracy", weight=2.0)
    apart = [expected[2.0, seed] - expected[0.0, seed] for seed in range(3)]
    low, high = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
    # Records have seven digits of 70.
    expected = pytest.approx((np.mean(apart), low, high), abs=5e-5)
    assert (row["mean"], row["low"], row["high"]) == expected
    text = report.text(control.responses(found))
    assert "gain on digits less that on the other" in text
    (planted,) = control.responses(_planted())["groups"]
    assert not planted["contrasts"]


@pytest.mark.parametrize(("points", "said"), [(0.4, "is equal"), (1.6, "is not equal")])
def test_equal_source_accuracy_is_said_by_its_interval(points, said):
    found = [
        {**o, "value": o["value"] - points * (o["source"].split()[-2] == "r2")}
        if o["quantity"] == "source_accuracy"
        else o
        for o in _planted()
    ]
    answer = answers.control(control.responses(found)).sentence
    assert f"points of source accuracy, from -{points:.2f}" in answer
    assert f"which {said} to within 1 point" in answer


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda found: found[:1] + found[2:], "values of alignment / digits / pulled to are missing"),
        (lambda found: [o for o in found if o["quantity"] != WEIGHT], "not the records of a control"),
        (lambda found: [o for o in found if not o["source"].endswith(("1", "2"))], "two seeds and 0"),
    ],
)  # fmt: skip
def test_records_that_lack_something_are_refused(spoil, message):
    with pytest.raises(ValueError, match=message):
        control.responses(spoil(_planted()))


def test_an_alignment_to_no_target_is_refused():
    study = studies.control()
    with pytest.raises(ValueError, match="the alignment of .*='digits' is not known"):
        dataclasses.replace(study, targets=study.targets[1:])


def test_the_table_and_the_picture_say_it(tmp_path):
    found = json.loads(json.dumps(control.responses(_planted())))
    for said in (report.text(found), report.summary(found)):
        beside = next(part for part in said.split("\n\n") if ", pulled to  " in part)
        line = next(line for line in beside.splitlines() if line.startswith("rho²"))
        assert line.endswith("  +0.200 [+0.200, +0.200]")
        assert max(map(len, said.splitlines())) <= 100
    report.figure(found).savefig(tmp_path / "control.png")


def test_the_page_has_the_effects_and_says_them_first(tmp_path):
    found = _planted(noise=0.05)
    said = control.responses(found)
    write_again(tmp_path, found, said, command="python -m launch.evidence --preset=control")
    text = pages.write(tmp_path).read_text()
    assert "Does moving one move the other?" in text
    page = read(tmp_path)
    tables = [[row for row in table if row] for table in page.tables]
    (effects,) = [rows for rows in tables if rows[0][-1][0] == "interval"]
    cells = [[text for _, _, text in row] for row in effects]
    shown = {(row[0], row[2], row[3]): row[4:] for row in cells}
    row = _only(said["groups"][0]["effects"], quantity="rho2", reference="others", weight=2.0)
    *numbers, zero = shown["rho²", "others", "+2"]
    # Four digits are shown.
    assert [float(x.replace("−", "-")) for x in numbers] == pytest.approx(
        [row["mean"], row["low"], row["high"]], abs=6e-5
    )
    assert zero == ("excludes zero" if row["low"] > 0 or row["high"] < 0 else "includes zero")
    probe = _only(said["groups"][0]["effects"], quantity="probe_accuracy", weight=2.0)
    assert (probe["low"], probe["high"]) == (0, 0)
    assert (
        "+0.00 points of the probe&#39;s accuracy, from +0.00 to +0.00, which includes zero" in text
    )


@pytest.mark.slow
def test_a_small_control_runs_to_its_end(tmp_path):
    """Sources of equal seed and weight 0 are equal whatever they might have been pulled to."""
    tiny = studies.tiny()
    whole = tiny.sources[0].recipe
    sources = tuple(
        Source(
            dataclasses.replace(
                whole, name=f"w{k}", alignment=Alignment(target="digits", weight=weight)
            ),
            seed,
            "letters to digits",
        )
        for k, weight in enumerate((0.0, 8.0))
        for seed in (0, 1)
    )
    study = dataclasses.replace(
        tiny, sources=sources, targets=tiny.targets[:1], tuned_zoos=("letters to digits",)
    )
    said = run.run(study, tmp_path)["verdict"]
    (group,) = said["groups"]
    pulled = _only(group["effects"], quantity=ALIGNMENT, weight=8.0)
    assert pulled["mean"] > 0
    assert {row["quantity"] for row in group["values"]} >= {
        "source_accuracy", "rho2", "cka", "probe_accuracy", "fine_tuned_accuracy",
        "alpha1_alpha2_squared_source_to_target",
    }  # fmt: skip
    assert report.text(said)
