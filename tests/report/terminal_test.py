"""What commands print fits a terminal, whatever the names and however many."""

import made_runs
import pytest

from advknow.experiments import results
from advknow.report import chain, commands, evidence, matrix, ranking, synthetic, tables
from advknow.runs import files

TEXTS = {
    "know2adv": ("results.json", None),
    "measure": ("measure.json", commands.measured),
    "chain": ("chain.json", lambda found: chain.text(found["chain"])),
    "matrix": ("matrix.json", matrix.text),
    "ranking": ("ranking.json", ranking.text),
    "synthetic": ("results.json", synthetic.text),
    "evidence": ("evidence.json", lambda found: evidence.text(found["verdict"])),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return made_runs.made(tmp_path_factory.mktemp("runs"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", made_runs.KINDS)
def test_every_kind_of_run_fits_a_terminal(runs, kind):
    name, text = TEXTS[kind]
    said = (
        text(files.read_json(runs[kind] / name, cure=""))
        if text
        else tables.text(results.read(runs[kind]))
    )
    assert max(map(len, said.splitlines())) <= 100, said


def test_columns_without_room_come_below_beside_the_first():
    rows = [["model", *(f"c{k}" for k in range(20))]]
    rows += [[f"model {i}", *(f"{i}.{k:04d}" for k in range(20))] for i in range(3)]
    lines = tables.aligned(rows)
    assert max(map(len, lines)) <= 100
    assert lines.count("") == 1
    assert sum(line.startswith("model 1 ") for line in lines) == 2
    cells = [cell for line in lines for cell in line.split() if "." in cell]
    assert sorted(cells) == sorted(cell for row in rows[1:] for cell in row[1:])
    # What fits is one table, and a single column is never cut.
    assert "" not in tables.aligned([row[:12] for row in rows])
    assert len(tables.aligned([["", "a" * 200], ["x", "y"]])) == 3


def test_a_matrix_of_32_models_fits():
    values = [[0.5] * 32 for _ in range(32)]
    found = {
        "sentence": f"model_1 says more of {', '.join(f'model_{k}' for k in range(32))}",
        "n": 9, "models": [f"model_{k}" for k in range(32)], "values": {"alpha1": values},
        "undefined": [{"part": "rho2", "source": "a", "target": "b", "why": "too few " * 20}],
        "audit": {"model_1": {"findings": [{"name": "ceiling", "message": "of clipping " * 15}]}},
    }  # fmt: skip
    lines = matrix.text(found).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("32 model_31 ") for line in lines) == 3


def test_prose_hangs():
    said = tables.wrapped("audit: " + "word " * 40, hanging=2).splitlines()
    assert len(said) == 3
    assert all(line.startswith("  word") for line in said[1:])
