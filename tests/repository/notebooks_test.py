"""The notebooks' code runs, at the smallest size."""

import json
import pathlib

import pytest

NOTEBOOKS = sorted((pathlib.Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def _code(path: pathlib.Path) -> list[str]:
    cells = json.loads(path.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_every_cell_runs(path, monkeypatch, capsys):
    from advknow.experiments import presets
    from advknow.experiments.config import scaled

    def small(make):
        # Two sources are enough to draw; five cost minutes of compiling.
        config = make()
        return scaled(
            config,
            sources=config.sources[:2],
            epochs=2,
            width=0.06,
            num_examples=8,
            transfer_repeats=1,
        )

    for of_experiment in presets.PRESETS.values():
        make = of_experiment["digits"]
        monkeypatch.setitem(of_experiment, "digits", lambda make=make: small(make))
    scope: dict = {}
    for cell in _code(path):
        exec(compile(cell, str(path), "exec"), scope)
    assert "alpha1" in capsys.readouterr().out


def test_no_notebook_carries_outputs():
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs")
