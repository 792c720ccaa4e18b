"""The records of the study and of the control that are in the repository, and what is said of them."""

import pathlib

import pytest

import advknow
from advknow.evidence import control, records, studies
from advknow.evidence.hypotheses import PRIMARY, TRUTH, TUNED
from advknow.evidence.rankings import Rankings, Setup
from advknow.evidence.verdict import verdict
from advknow.report import control as control_report
from advknow.report import evidence as report

PACKAGE = pathlib.Path(advknow.__file__).parent
SAID = (PACKAGE / "experiments" / "README.md").read_text()


@pytest.fixture(scope="module")
def found():
    return records.read([PACKAGE / "evidence" / "full.csv.gz"])


@pytest.fixture(scope="module")
def of(found):
    return Rankings(found)


def test_all_of_the_study_is_there(found, of):
    full = studies.full()
    assert of.targets == tuple(target.name for target in full.targets)
    for zoo in "AB":
        assert set(of.sources[zoo]) == {s.name for s in full.sources if s.zoo == zoo}
    assert of.sources["control"] == ("control copy of the reference 0",)
    for zoo, truths in {"A": (TRUTH, TUNED), "B": (TRUTH,)}.items():
        for truth in truths:
            for labels in full.labels if truth == TRUTH else [full.tuned_labels]:
                assert of.truths(truth, zoo, labels).shape[0] == full.draws
    assert {one["reference"] for one in found} == {"", "0", "1", "2", "few"}
    for reference in range(3):
        assert of.values(PRIMARY, "A", Setup(10, reference)).shape == (8, 48)


def blocks(name):
    """The lines of the blocks of text that stand in the document under a mark."""
    after = SAID.split(f"<!-- {name} -->", 1)[1].split("```text\n", 1)[1]
    return [line for line in after.split("```", 1)[0].splitlines() if line]


@pytest.mark.slow
def test_the_tables_of_the_study_are_what_its_records_say(found):
    said = verdict(found)
    lines = {line.rstrip() for line in report.text(said).splitlines()}
    assert max(map(len, lines)) <= 100
    summary = report.summary(said).splitlines()
    assert {line.rstrip() for line in summary} < lines
    assert len(summary) < 200
    shown = blocks("evidence")
    assert len(shown) > 100
    assert [line for line in shown if line not in lines] == []
    assert len(said["hypotheses"]) == 15
    for row in said["hypotheses"]:
        assert report.with_interval(row) in SAID.split("<!-- evidence -->")[0]


def test_the_table_of_the_control_is_what_its_records_say():
    said = control.responses(records.read([PACKAGE / "evidence" / "control.csv.gz"]))
    lines = {line.rstrip() for line in control_report.text(said).splitlines()}
    assert max(map(len, lines)) <= 100
    shown = blocks("control")
    assert len(shown) > 50
    assert [line for line in shown if line not in lines] == []
