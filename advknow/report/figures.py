"""The experiments' picture: knowledge transfer against alpha1, alpha2², (alpha1*alpha2)²."""

import pathlib
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from advknow.experiments.results import Results
from advknow.report import seeds
from advknow.report.tables import ARROWS

TITLES = {
    "adv2know": "Does attacking tell what a model can teach?",
    "know2adv": "Does what a model can teach tell how attacks transfer?",
}
COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#777777")


def experiment_figure(results: Results) -> Figure:
    """One panel a quantity that asks for one; a point a source, with its standard errors."""
    figure, panels = _panels(results)
    correlations = results.correlations()
    for metric, axes in panels.items():
        for row, colour in zip(results.rows, COLOURS * len(results.rows), strict=False):
            axes.errorbar(
                row["knowledge_transfer"],
                row[metric],
                xerr=row["knowledge_transfer_se"],
                yerr=row.get(f"{metric}_se"),
                fmt="o",
                color=colour,
                capsize=3,
                label=row["source"],
            )
        found = correlations.get(metric)
        if found is not None:
            axes.set_title(
                f"Pearson {found['pearson']:+.2f}, n = {found['n']}, p = {found['pearson_p']:.2f}",
                fontsize=9,
            )
    return _explained(figure, results, f"seed {results.seed}; bars: ± one standard error")


def seeds_figure(found: Sequence[Results]) -> Figure:
    """One panel a quantity that asks for one; a colour a source, a point a seed.

    Args:
      found: runs that differ in the seed alone (`advknow.report.seeds.check`).
    """
    first = found[0]
    figure, panels = _panels(first)
    for metric, axes in panels.items():
        for i, colour in zip(range(len(first.rows)), COLOURS * len(first.rows), strict=False):
            of = [results.rows[i] for results in found]
            transfer = [row["knowledge_transfer"] for row in of]
            values = [row[metric] for row in of]
            axes.plot(transfer, values, "o", color=colour, label=of[0]["source"])
        known = [results.correlations().get(metric) for results in found]
        said = ", ".join("n/a" if one is None else f"{one['pearson']:+.2f}" for one in known)
        axes.set_title(f"Pearson by seed {said}", fontsize=9)
    return _explained(figure, first, f"a point a seed ({seeds.listed(found)})")


def _panels(results: Results) -> tuple[Figure, dict[str, Axes]]:
    """An empty figure, and its axes by the quantity that each is to show."""
    panels = {name: how.panel for name, how in results.columns().items() if how.panel}
    figure = Figure(figsize=(2.0 + 3.0 * len(panels), 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, label in zip(all_axes, panels.values(), strict=True):
        axes.set_xlabel("knowledge transfer (test accuracy, %)")
        axes.set_ylabel(f"{label}   ({ARROWS[results.direction].replace('->', '→')})")
        axes.grid(alpha=0.25)
    return figure, dict(zip(panels, all_axes, strict=True))


def _explained(figure: Figure, results: Results, said: str) -> Figure:
    """With zero in sight, a legend and a title."""
    for axes in figure.axes:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    legend = figure.axes[-1].legend(
        title="source" if results.experiment == "adv2know" else "common classes",
        fontsize=8,
        loc="best",
    )
    for name in legend.get_texts():
        name.set_parse_math(False)
    attack = results.settings["attack"]
    figure.suptitle(
        f"{TITLES.get(results.experiment, results.experiment)}  {results.preset}, "
        f"{attack['name'].upper()} eps = {attack['eps']:g}, {said}",
        fontsize=10,
    )
    return figure


def save(figure: Figure, path: str | pathlib.Path) -> None:
    """Writes the figure; the ending of the path chooses the format (png, svg, pdf)."""
    figure.savefig(path, dpi=150)
