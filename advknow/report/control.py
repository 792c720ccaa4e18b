"""What the control found: a table and a row of panels for every source task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from advknow.evidence.control import OTHERS, PULLED
from advknow.evidence.hypotheses import TRUTH, TUNED, Ranker
from advknow.evidence.rankings import title
from advknow.evidence.zoo import ALIGNMENT
from advknow.report import answers, tables
from advknow.report.figures import COLOURS

Row = Mapping[str, Any]
TITLES = {
    "source_accuracy": "source accuracy (%)",
    ALIGNMENT: "alignment, source's images",
    TRUTH: "probe (%)",
    TUNED: "fine-tuned (%)",
}
# One number of labels: of the probe the fewest.
PANELS = (
    ("source_accuracy", ""),
    (ALIGNMENT, ""),
    ("alpha1_alpha2_squared_source_to_target", "small_eps"),
    ("alpha1_alpha2_squared_target_to_source", "small_eps"),
    ("rho2", ""),
    (TRUTH, ""),
    (TUNED, ""),
)
STYLES = {PULLED: "-", "": "-", OTHERS: "--"}


def title_of(row: Row) -> str:
    """What a row is of, without its target."""
    name = TITLES.get(row["quantity"]) or title(Ranker(row["quantity"], row["attack"]))
    return f"{name}, {row['labels']} labels" if row["labels"] != "" else name


def key_of(row: Row) -> tuple[Any, ...]:
    """What rows of every weight have in common."""
    return tuple(row[name] for name in ("quantity", "attack", "labels", "target", "reference"))


def _digits(row: Row) -> str:
    return ".1f" if row["quantity"].endswith("_accuracy") else ".3f"


def fits(verdict: Mapping[str, Any]) -> bool:
    """Whether it is a control's verdict, not the study's."""
    return "groups" in verdict


def summary(found: Mapping[str, Any]) -> str:
    """For a terminal: the answer and the tables of what the figure shows."""
    return _text(found, lambda row: (row["quantity"], row["attack"]) in PANELS)


def text(found: Mapping[str, Any]) -> str:
    """For a terminal: the answer and every table."""
    return _text(found, lambda row: True)


def _text(found: Mapping[str, Any], shown: Callable[[Row], bool]) -> str:
    """A source task's tables, one beside each target and reference model."""
    lines: list[str] = [tables.wrapped(answers.control(found).sentence), ""]
    for group in found["groups"]:
        weights = group["weights"]
        said = (
            "By weight: the mean over seeds; then that of the largest weight less that of 0, by "
            f"seed, with its interval of {100 * found['level']:g} %. That of other weights: "
            "report.html, evidence.json."
        )
        lines += [
            f"{group['zoo']}: {group['seeds']} seeds x weights "
            + ", ".join(f"{weight:g}" for weight in weights),
            tables.wrapped(said),
            "",
        ]
        of = [row for row in group["values"] if row["weight"] == weights[0] and shown(row)]
        for beside in dict.fromkeys((row["target"], row["reference"]) for row in of):
            rows = [row for row in of if (row["target"], row["reference"]) == beside]
            lines += [*tables.aligned(_table(group, rows, _beside(*beside))), ""]
        lines += [*tables.aligned(_contrasts(group)), ""] if group["contrasts"] else []
    return "\n".join(lines).rstrip()


def _contrasts(group: Row) -> list[list[str]]:
    """By how much more the target of the pull gains than the others, at the largest weight."""
    weight = group["weights"][-1]
    head = [f"gain on {group['to']} less that on the other", f"{weight:g} less 0"]
    rows = [row for row in group["contrasts"] if row["weight"] == weight]
    return [head, *([title_of(row), _signed(row, _digits(row))] for row in rows)]


def _signed(row: Row, digits: str) -> str:
    return "{mean:+{d}} [{low:+{d}}, {high:+{d}}]".format(**row, d=digits)


def _beside(target: str, reference: str) -> str:
    """Beside which target and reference model, for the head of a table."""
    if not target:
        return "source"
    return f"{target}, {reference}" if reference else target


def _table(group: Row, rows: Sequence[Row], head: str) -> list[list[str]]:
    weights = group["weights"]
    means = {(key_of(row), row["weight"]): row for row in group["values"]}
    effects = {(key_of(row), row["weight"]): row for row in group["effects"]}
    largest = [weight for weight in weights if weight != 0][-1:]
    table = [[head, *(f"{weight:g}" for weight in weights)]]
    table[0] += [f"{weight:g} less 0" for weight in largest]
    for row in rows:
        key, digits = key_of(row), _digits(row)
        line = [title_of(row), *(f"{means[key, weight]['mean']:{digits}}" for weight in weights)]
        line += [_signed(effects[key, weight], digits) for weight in largest]
        table.append(line)
    return table


def figure(found: Mapping[str, Any]) -> Figure:
    """Every quantity against the weight, a row of panels a source task; bars: over seeds."""
    groups = found["groups"]
    drawn = Figure(figsize=(2.3 * len(PANELS), 0.6 + 2.6 * len(groups)), layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.subplots(len(groups), len(PANELS), squeeze=False)
    for line, group in zip(axes, groups, strict=True):
        for one, (quantity, attack) in zip(line, PANELS, strict=True):
            _panel(one, group, quantity, attack)
        line[0].set_ylabel(group["zoo"], parse_math=False)
    handles = {
        label: handle
        for line in axes
        for one in line
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True)
    }
    drawn.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, fontsize=8)
    drawn.supxlabel(
        f"weight of the pull to the target's reference model; bars: {100 * found['level']:g} % "
        "over seeds",
        fontsize=9,
    )
    return drawn


def panel(group: Row, quantity: str, attack: str) -> list[Row]:
    """The rows of a panel, of the fewest labels."""
    rows = [r for r in group["values"] if (r["quantity"], r["attack"]) == (quantity, attack)]
    fewest = min((r["labels"] for r in rows), default="")
    return [row for row in rows if row["labels"] == fewest]


def _panel(axes: Axes, group: Row, quantity: str, attack: str) -> None:
    rows = panel(group, quantity, attack)
    places = range(len(group["weights"]))
    for key in dict.fromkeys(key_of(row) for row in rows):
        of = [row for row in rows if key_of(row) == key]
        _line(axes, of, group, places)
    axes.set_xticks(places, [f"{weight:g}" for weight in group["weights"]])
    axes.set_title(title_of(rows[0]) if rows else quantity, fontsize=8, wrap=True)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25)


def _line(axes: Axes, rows: Sequence[Row], group: Row, places: Sequence[int]) -> None:
    target, reference = rows[0]["target"], rows[0]["reference"]
    means = [row["mean"] for row in rows]
    own = target in (group["to"], "")
    label = target or "source's own images"
    if reference:
        label += f", reference {reference}" if own else ", its references"
    axes.errorbar(
        places,
        means,
        yerr=[
            [mean - row["low"] for mean, row in zip(means, rows, strict=True)],
            [row["high"] - mean for mean, row in zip(means, rows, strict=True)],
        ],
        fmt="o" + STYLES[reference],
        color=(COLOURS[0] if not target else COLOURS[4]) if own else COLOURS[6],
        markersize=3,
        capsize=2,
        linewidth=1.2,
        label=label,
    )
