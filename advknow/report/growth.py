"""Time and memory against the size of the work, from the content of growth.json."""

from collections.abc import Mapping
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

LABELS = {
    "examples": "examples N",
    "inputs": "inputs n",
    "outputs": "outputs d, all attacks",
    "many": "outputs d, 5 attacks, no Jacobian",
    "models": "models K, all pairs",
}
SECONDS, MEMORY = "#4477aa", "#ee6677"


def figure(found: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A panel an axis, logarithmic: seconds above, memory beyond the start below."""
    drawn = Figure(figsize=(3.0 * max(len(found), 2), 5.6), layout="constrained")
    FigureCanvasAgg(drawn)
    panels = drawn.subplots(2, len(found), squeeze=False)
    for column, (axis, of_axis) in enumerate(found.items()):
        points = of_axis["points"]
        sizes = [p["size"] for p in points]
        seconds = [p["seconds"] for p in points]
        memory = [max(p["peak_mib"] - p["start_mib"], 1.0) for p in points]
        for row, (values, colour, name) in enumerate(
            ((seconds, SECONDS, "seconds"), (memory, MEMORY, "memory"))
        ):
            axes = panels[row][column]
            axes.loglog(sizes, values, "o-", color=colour)
            # What grows as the size does, from the first point.
            proportional = [values[0] * size / sizes[0] for size in sizes]
            axes.loglog(sizes, proportional, ":", color="#bbbbbb", label="proportional")
            axes.set_title(
                f"exponent {of_axis[f'{name}_exponent']:.2f}, at last "
                f"{of_axis[f'{name}_last_exponent']:.2f}",
                fontsize=9,
            )
            axes.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.grid(alpha=0.25)
        panels[1][column].set_xlabel(LABELS.get(axis, axis), fontsize=9)
    panels[0][0].set_ylabel("seconds, without compilation")
    panels[1][0].set_ylabel("MiB beyond the start")
    panels[0][0].legend(fontsize=8)
    return drawn
