"""A new quantity is one new file and one line that names it: then every report has it."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import top_cosine
from tiny_run import trained_run

from advknow.experiments import results
from advknow.experiments.quantities import QUANTITIES
from advknow.experiments.run import run
from advknow.report import figures, tables

NAME = "top_cosine"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    config = trained_run()
    # The line that names it.
    return workdir, run(config, workdir, quantities=(*QUANTITIES, top_cosine.QUANTITY))


def test_it_is_in_the_results(made):
    workdir, found = made
    for row in json.loads((workdir / "results.json").read_text())["rows"]:
        assert 0 < row[NAME] <= 1
        assert row[f"{NAME}_se"] > 0
    header, *lines = csv.reader((workdir / "results.csv").read_text().splitlines())
    assert {NAME, f"{NAME}_se"} <= set(header)
    assert [float(line[header.index(NAME)]) for line in lines] == [r[NAME] for r in found.rows]
    records = list(csv.DictReader((workdir / "records.csv").read_text().splitlines()))
    of_it = [record for record in records if record["quantity"] == NAME]
    assert [record["source"] for record in of_it] == [row["source"] for row in found.rows]
    for record, row in zip(of_it, found.rows, strict=True):
        assert float(record["value"]) == row[NAME]
        assert float(record["standard_error"]) == row[f"{NAME}_se"]
        assert int(record["n"]) == found.target["n_measured"]


def test_it_is_in_the_tables_and_the_correlations(made):
    found = results.read(made[0])
    for text in (tables.text(found), tables.markdown(found)):
        assert top_cosine.TITLE in text
        for row in found.rows:
            assert f"{row[NAME]:.3f} ± {row[f'{NAME}_se']:.3f}" in text
    assert NAME in found.correlations()


def test_it_is_in_the_figure(made):
    found = results.read(made[0])
    axes = figures.experiment_figure(found).axes
    assert len(axes) == 4
    assert top_cosine.TITLE in axes[-1].get_ylabel()
    drawn = [container[0].get_ydata()[0] for container in axes[-1].containers]
    np.testing.assert_allclose(drawn, [row[NAME] for row in found.rows])


def test_a_name_of_a_source_is_no_formula(made, tmp_path):
    found = results.read(made[0])
    rows = [{**row, "source": f"$x_{{{row['source']}$"} for row in found.rows]
    figures.save(
        figures.experiment_figure(dataclasses.replace(found, rows=rows)), tmp_path / "figure.png"
    )


def test_the_records_of_all_quantities_are_there(made):
    found = results.read(made[0])
    names = {record["quantity"] for record in found.records}
    for quantity in (*QUANTITIES, top_cosine.QUANTITY):
        assert {name for name in quantity.columns if not name.endswith("_se")} <= names
    for record in found.records:
        row = next(row for row in found.rows if row["source"] == record["source"])
        assert record["value"] == row[record["quantity"]]
        assert record["n"] > 0
