"""The synthetic experiment's table and figure, from the content of its results.json."""

from collections.abc import Mapping
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from advknow.report import answers, tables

SOURCE_TO_TARGET, TARGET_TO_SOURCE, LEFT, LOSS = "#4477aa", "#ee6677", "#228833", "#777777"

HEADERS = (
    ("scale", "scale"),
    ("alpha1_S_T", "alpha1 S->T"),
    ("alpha1_T_S", "T->S"),
    ("alpha2_S_T", "alpha2 S->T"),
    ("alpha2_T_S", "T->S"),
    ("alpha1_alpha2_S_T", "alpha1*alpha2 S->T"),
    ("alpha1_alpha2_T_S", "T->S"),
    ("gradient_matching", "GMD"),
    ("loss_f_S", "loss S"),
    ("loss_f_T", "loss T"),
)
# The same where a title stands alone, as when rows become cards.
TITLES = tuple(
    (name, f"{name.removesuffix('_T_S').replace('_alpha2', '*alpha2')} T→S")
    if title == "T->S"
    else (name, title.replace("S->T", "S→T"))
    for name, title in HEADERS
)


def text(results: dict[str, Any]) -> str:
    """The rows as a table for a terminal, and what its numbers are."""
    lines = [tables.wrapped(answers.synthetic(results).sentence), ""]
    lines.append("  ".join(f"{header:>6}" for _, header in HEADERS))
    for row in results["rows"]:
        cells = (
            f"{row[name]:{max(len(header), 6)}.{1 if name == 'scale' else 4}f}"
            for name, header in HEADERS
        )
        lines.append("  ".join(cells))
    return "\n".join([*lines, tables.wrapped(note(results))])


def note(results: Mapping[str, Any]) -> str:
    """What the numbers of the table are."""
    return (
        f"attack {results['settings']['level']} (0 the strongest), n = {results['n']}, "
        f"{results['n_degenerate']} without direction; alpha2 and alpha1*alpha2 are norms, not "
        "squares; GMD of f_T by g∘f_S, H = I; loss after re-solving the last layer of f_S."
    )


def figure(results: dict[str, Any]) -> Figure:
    """alpha1 and alpha2 in both directions, loss and GMD, against the scale of perturbation."""
    rows, settings = results["rows"], results["settings"]
    scale = [row["scale"] for row in rows]
    drawn = Figure(figsize=(11.0, 3.6), layout="constrained")
    FigureCanvasAgg(drawn)
    left, middle, right = drawn.subplots(1, 3)
    for axes, name, label in ((left, "alpha1", r"$\alpha_1$"), (middle, "alpha2", r"$\alpha_2$")):
        for direction, colour, arrow in (
            ("S_T", SOURCE_TO_TARGET, "S → T"),
            ("T_S", TARGET_TO_SOURCE, "T → S"),
        ):
            values = [row[f"{name}_{direction}"] for row in rows]
            axes.plot(scale, values, "o-", color=colour, label=arrow, markersize=4)
        axes.set_title(label)
        axes.set_ylim(bottom=0.0)
        axes.legend(title="direction", fontsize=8)
    right.plot(
        scale, [r["gradient_matching"] for r in rows], "s-", color=LEFT, markersize=4, label="GMD"
    )
    right.plot(
        scale,
        [r["loss_f_S"] for r in rows],
        "o-",
        color=LOSS,
        markersize=4,
        label=r"loss of $g \circ f_S$",
    )
    right.plot(
        scale, [r["loss_f_T"] for r in rows], "--", color=LOSS, linewidth=1, label=r"loss of $f_T$"
    )
    right.set_title("gradient matching distance and loss")
    right.set_ylim(bottom=0.0)
    right.legend(fontsize=8)
    for axes in (left, middle, right):
        axes.set_xlabel("scale of perturbation, 0.1 k")
        axes.grid(alpha=0.25)
    drawn.suptitle(
        f"Synthetic experiment: f_S ({settings['source_hidden']} hidden units) moved away from "
        f"f_T ({settings['target_hidden']}), attack {settings['level']}, n = {results['n']}",
        fontsize=10,
    )
    return drawn
