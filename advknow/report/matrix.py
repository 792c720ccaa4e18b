"""What matrix.json says: the answer, and a table a quantity; heat maps with their values."""

from collections.abc import Mapping
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from advknow.report import tables

# What is shown of what a matrix has, where it is there: title, and which end is dark.
SHOWN = {
    "alpha1": ("alpha1", "viridis"),
    "alpha2_squared_unbiased": ("alpha2², unbiased", "viridis"),
    "alpha1_alpha2_squared_unbiased": ("(alpha1*alpha2)², unbiased", "viridis"),
    "small_eps_alpha1": ("alpha1, eps -> 0", "viridis"),
    "rho2": ("rho²", "viridis"),
    "fmd_relative": ("FMD relative", "viridis_r"),
}


def shown(found: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Which quantities are shown, with title and colours."""
    return {name: how for name, how in SHOWN.items() if name in found["values"]}


def text(found: Mapping[str, Any]) -> str:
    """For a terminal: the answer, then (K, K) tables, source in rows."""
    lines = [
        tables.wrapped(f"{found['sentence']}."),
        f"n = {found['n']} images; source in rows, target in columns.",
    ]
    numbers = [str(k + 1) for k in range(len(found["models"]))]
    for name, (title, _) in shown(found).items():
        rows = [[title, *numbers]]
        for number, model, values in zip(
            numbers, found["models"], found["values"][name], strict=True
        ):
            rows.append([f"{number} {model}", *(tables.number(value, 3) for value in values)])
        lines += ["", *tables.aligned(rows)]
    undefined = [
        f"not defined: {row['part']}, {row['source']} to {row['target']}: {row['why']}"
        for row in found["undefined"]
    ]
    return "\n".join([*lines, "", *tables.hanging([*undefined, *tables.audit(found["audit"])])])


def figure(found: Mapping[str, Any]) -> Figure:
    """A heat map a quantity, with the values in its cells."""
    panels, names = shown(found), found["models"]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    side = 1.6 + 0.42 * max(len(names), 4)
    drawn = Figure(figsize=(columns * (side + 0.8), rows * side), layout="constrained")
    FigureCanvasAgg(drawn)
    all_axes = drawn.subplots(rows, columns, squeeze=False)
    for axes in all_axes.ravel()[len(panels) :]:
        axes.set_axis_off()
    for axes, (name, (title, colours)) in zip(all_axes.ravel(), panels.items(), strict=False):
        values = [[float("nan") if v is None else v for v in row] for row in found["values"][name]]
        # Colours tell models apart: what a model is to itself, the largest of all, has none.
        others = [
            [float("nan") if i == j else value for j, value in enumerate(row)]
            for i, row in enumerate(values)
        ]
        image = axes.imshow(others, cmap=colours)
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                if value == value:
                    red, green, blue, _ = image.cmap(image.norm(value))
                    dark = i != j and 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
                    axes.text(
                        j,
                        i,
                        f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3f}",
                        ha="center",
                        va="center",
                        fontsize=7,
                        color="white" if dark else "#777777" if i == j else "black",
                    )
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8, parse_math=False)
        axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
        axes.set_title(title, fontsize=10)
    all_axes[0][0].set_ylabel("source")
    drawn.supxlabel("target", fontsize=10)
    return drawn
