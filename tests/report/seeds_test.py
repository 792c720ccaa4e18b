"""Runs that differ in the seed alone, put together."""

import dataclasses

import numpy as np
import pytest
from launching import launch
from planted_results import FALLING, MIXED, NAMES, RISING, found

from advknow.experiments import results
from advknow.report import figures, seeds


def runs():
    first = found(RISING, MIXED, MIXED, seed=0)
    second = found(FALLING, MIXED, MIXED, transfer=(52.0, 61.0, 69.0, 80.5, 90.0), seed=4)
    second.target["accuracy"] = 98.5
    return [first, second]


def test_the_table_has_least_and_most_and_the_correlation_of_each_seed():
    text = seeds.text(runs())
    lines = [line.split("  ") for line in text.splitlines()]
    cells = {line[0]: [cell.strip() for cell in line[1:] if cell.strip()] for line in lines}
    assert text.startswith("adv2know (digits), seeds 0, 4\n")
    assert "Target accuracy 97.0 to 98.5 %, n 12345." in " ".join(text.split())
    assert cells["MLP"][:2] == ["50.0 to 52.0", "0.100 to 0.500"]
    # Where nothing moves there is one number.
    assert cells["ResNet50"][:2] == ["90.0", "0.100 to 0.500"]
    first, second = (run.correlations()["alpha1"] for run in runs())
    assert cells["alpha1"] == [
        f"{first['pearson']:+.2f} (p {first['pearson_p']:.3f})",
        f"{second['pearson']:+.2f} (p {second['pearson_p']:.3f})",
        f"{(first['pearson'] + second['pearson']) / 2:+.2f}",
    ]
    assert max(map(len, text.splitlines())) <= 100


def test_markdown_has_every_command_and_the_same_cells():
    said = seeds.markdown(runs())
    assert said.count("- `python -m launch.adv2know") == 2
    assert "| MLP | 50.0 to 52.0 | 0.100 to 0.500 |" in said


def test_the_figure_has_a_point_a_seed():
    drawn = figures.seeds_figure(runs())
    for axes, name in zip(
        drawn.axes, ("alpha1", "alpha2_squared", "alpha1_alpha2_squared"), strict=True
    ):
        assert [line.get_label() for line in axes.lines] == list(NAMES)
        for i, line in enumerate(axes.lines):
            np.testing.assert_array_equal(line.get_ydata(), [r.rows[i][name] for r in runs()])
    assert "seed (0, 4)" in drawn.get_suptitle()
    assert "+1.00, -1.00" in drawn.axes[0].get_title()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 0}, r"the runs have the seeds \[0, 0\]; each seed once is needed"),
        ({"experiment": "know2adv"}, "differ in experiment: 'adv2know', 'know2adv'"),
        ({"rows": []}, "differ in sources"),
        ({"settings": {"attack": {"name": "pgd"}, "transfer": {"repeats": 1}}}, "in attack: "),
        ({"settings": {"seed": 9}}, "differ in attack"),
    ],
)
def test_other_runs_than_seeds_of_one_are_refused(change, message):
    first, second = runs()
    with pytest.raises(ValueError, match=message):
        seeds.check([first, dataclasses.replace(second, **change)])
    with pytest.raises(ValueError, match="two runs or more"):
        seeds.check([first])


def test_the_launcher_takes_several_workdirs(tmp_path):
    for name, run in zip("ab", runs(), strict=True):
        (tmp_path / name).mkdir()
        results.write(run, tmp_path / name)
    done = launch("report", "--workdir=a,b", "--figure=it.png", cwd=tmp_path)
    assert done.stdout.startswith(seeds.text(runs()))
    assert (tmp_path / "it.png").stat().st_size > 1000
    done = launch("report", "--workdir=a,a", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "each seed once is needed" in done.stderr
    done = launch("report", "--workdir=a,b", "--format=html", cwd=tmp_path, check=False)
    assert "format=html is of one workdir" in done.stderr
