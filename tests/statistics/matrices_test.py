"""Long records as matrices: every fault of the records is named."""

import csv
import io

import numpy as np
import pytest

from advknow.runs.records import RECORD, to_csv
from advknow.statistics.matrices import from_records

TARGETS, SOURCES = ["digits", "mnist"], ["a", "b", "c"]


def _records():
    return [
        {"source": s, "target": t, "quantity": q, "value": v + 10 * j + i, "standard_error": None, "n": 9}
        for i, t in enumerate(TARGETS)
        for j, s in enumerate(SOURCES)
        for q, v in (("alpha1", 100.0), ("transfer", 0.0))
    ]  # fmt: skip


def _matrix(records, **settings):
    return from_records(records, "transfer", targets=TARGETS, sources=SOURCES, **settings)


def test_rows_are_targets_and_columns_sources_in_the_order_asked_for():
    found = _matrix(_records())
    np.testing.assert_array_equal(found.values, [[0, 10, 20], [1, 11, 21]])
    assert found.present.all()
    turned = from_records(_records()[::-1], "alpha1", targets=["mnist"], sources=["c", "a"])
    np.testing.assert_array_equal(turned.values, [[121, 101]])
    assert turned.targets == ("mnist",)
    assert turned.sources == ("c", "a")


def test_a_csv_file_is_read_back():
    rows = csv.DictReader(io.StringIO(to_csv(_records(), RECORD)))
    np.testing.assert_array_equal(_matrix(rows).values, _matrix(_records()).values)


@pytest.mark.parametrize("recorded", [True, False])
def test_absent_pairs_are_left_out_recorded_or_not(recorded):
    records = [r for r in _records() if recorded or (r["source"], r["target"]) != ("b", "mnist")]
    found = _matrix(records, absent={("b", "mnist")})
    np.testing.assert_array_equal(found.present, [[True] * 3, [True, False, True]])
    np.testing.assert_array_equal(found.values[1], [1, 0, 21])


def test_a_pair_twice_is_refused():
    with pytest.raises(ValueError, match="hold transfer of source a on target digits twice"):
        _matrix(_records() + _records()[1:2])


def test_a_missing_pair_is_refused():
    records = [r for r in _records() if (r["source"], r["target"]) != ("b", "mnist")]
    with pytest.raises(ValueError, match="lack transfer of source b, target mnist; pairs that"):
        _matrix(records)
    with pytest.raises(ValueError, match="source c, target digits; .*; and 1 more; pairs"):
        _matrix([])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "", "much"])
def test_a_value_that_is_no_number_names_its_pair(value):
    records = _records()
    records[-1]["value"] = value
    message = f"transfer of source c on target mnist is {value!r}; a finite"
    with pytest.raises(ValueError, match=message):
        _matrix(records)


def test_bad_names_are_refused():
    with pytest.raises(
        ValueError, match=r"targets=\['digits', 'digits'\] must be names, each once"
    ):
        from_records([], "transfer", targets=["digits", "digits"], sources=SOURCES)
    with pytest.raises(ValueError, match=r"sources=\[\] must"):
        from_records([], "transfer", targets=TARGETS, sources=[])
    with pytest.raises(ValueError, match="unknown names: source d, target mnist"):
        _matrix(_records(), absent=[("d", "mnist")])
