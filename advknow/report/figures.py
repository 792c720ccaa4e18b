"""The experiments' picture: knowledge transfer against alpha1, alpha2², (alpha1*alpha2)²."""

import pathlib

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from advknow.experiments.results import Results
from advknow.report.tables import ARROWS

TITLES = {
    "adv2know": "Does attacking tell what a model can teach?",
    "know2adv": "Does what a model can teach tell how attacks transfer?",
}
COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#777777")


def experiment_figure(results: Results) -> Figure:
    """One panel a quantity that asks for one; a point a source, with its standard errors."""
    panels = {name: how.panel for name, how in results.columns().items() if how.panel}
    figure = Figure(figsize=(2.0 + 3.0 * len(panels), 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    correlations = results.correlations()
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (metric, label) in zip(all_axes, panels.items(), strict=True):
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
        axes.set_xlabel("knowledge transfer (test accuracy, %)")
        axes.set_ylabel(f"{label}   ({ARROWS[results.direction].replace('->', '→')})")
        axes.grid(alpha=0.25)
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
        f"{attack['name'].upper()} eps = {attack['eps']:g}, seed {results.seed}; bars: ± one "
        "standard error",
        fontsize=10,
    )
    return figure


def save(figure: Figure, path: str | pathlib.Path) -> None:
    """Writes the figure; the ending of the path chooses the format (png, svg, pdf)."""
    figure.savefig(path, dpi=150)
