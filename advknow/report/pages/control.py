"""The page of launch.evidence --preset=control: evidence.json of a control."""

import pathlib
from collections.abc import Mapping
from typing import Any

from advknow.evidence.control import OTHERS, PULLED
from advknow.report import answers
from advknow.report import control as report
from advknow.report.pages import charts, parts
from advknow.report.pages.page import Cell, Charts, Facts, Page, Section, Table, number, words

Row = Mapping[str, Any]
FILE = "evidence.json"
# The series of every chart.
_LEGEND = (
    "the source's own images",
    "beside the model it is pulled to",
    "beside others of that target",
    "on that target",
    "the other target",
)


def fits(content: Mapping[str, Any]) -> bool:
    """Whether it is what launch.evidence writes of a control that has all of its sources."""
    verdict = content.get("verdict")
    return isinstance(verdict, Mapping) and report.fits(verdict)


def page(content: Mapping[str, Any], folder: pathlib.Path) -> Page:
    """The page, of evidence.json and what lies beside it."""
    of = content["verdict"]
    answer = answers.control(of)
    return Page(
        "evidence · control",
        answer.question,
        answer.sentence,
        answer.following,
        (
            Section("What is compared", (_terms(of),)),
            *(
                Section(
                    f"{group['zoo']}: {group['seeds']} seeds",
                    (_charts(group), _effects(group), _values(group)),
                )
                for group in of["groups"]
            ),
            parts.made_study(content, folder, parts.events(folder)),
        ),
    )


def _terms(of: Mapping[str, Any]) -> Facts:
    return Facts(
        (
            (
                "weight",
                "Sources of one seed differ in it alone: how strongly the training pulls their "
                "input gradients towards those of a target's model (above 0) or away (below 0).",
            ),
            (
                "pulled to, others",
                "The target's model that the source was pulled to; models of that target of other "
                "seeds. Every source is measured beside the other target too, which it was not "
                "pulled to.",
            ),
            (
                "alignment",
                "The mean cosine of both input gradients, without its sign, on test images of the "
                "source's task: whether the pull did what it should.",
            ),
            ("probe, fine-tuned", "What a source teaches: accuracies on the target's test images."),
            ("interval", f"{100 * of['level']:g} %, Student's t over seeds."),
        )
    )


def _series(row: Row, group: Row) -> int:
    """Which line of a chart a row is of; its name is in `_LEGEND`."""
    if not row["target"]:
        return 0
    if row["target"] != group["to"]:
        return 4
    return {PULLED: 1, OTHERS: 2}.get(row["reference"], 3)


def _charts(group: Row) -> Charts:
    weights = [f"{weight:g}" for weight in group["weights"]]
    drawn = []
    for quantity, attack in report.PANELS:
        rows = report.panel(group, quantity, attack)
        lines: dict[int, list[tuple[float, float, float]]] = {}
        for row in rows:
            # Of the other target beside its reference models, the one that others were pulled to.
            if row["target"] != group["to"] and row["reference"] == OTHERS:
                continue
            found = lines.setdefault(_series(row, group), [])
            found.append((row["mean"], row["low"], row["high"]))
        if rows:
            drawn.append(
                (
                    charts.responses(
                        weights, lines, names=_LEGEND, x_label="weight", y_label=_title(rows[0])
                    ),
                    "",
                )
            )
    return Charts(tuple(drawn), _LEGEND)


def _title(row: Row) -> str:
    return report.title_of(row).replace("->", "→")


def _said(row: Row) -> list[Cell]:
    return [words(_title(row)), words(row["target"]), words(row["reference"])]


def _with_contrasts(group: Row) -> list[Row]:
    """The effects, then by how much the target of the pull gains more than the others."""
    target = f"{group['to']} less the other"
    return [*group["effects"], *({**row, "target": target} for row in group["contrasts"])]


def _digits(row: Row) -> int:
    return 2 if row["quantity"].endswith("_accuracy") else 4


def _effects(group: Row) -> Table:
    rows = [
        [
            *_said(row),
            number(row["weight"], 0, signed=True),
            *(number(row[name], _digits(row), signed=True) for name in ("mean", "low", "high")),
            words(answers.zero(row)),
        ]
        for row in _with_contrasts(group)
        if row["weight"] in (group["weights"][0], group["weights"][-1])
    ]
    header = ["quantity", "target", "reference", "weight", "less weight 0", "from", "to"]
    note = "The smallest and the largest weight less 0, of the same seed."
    return parts.table_of([*header, "interval"], rows, note, folded=True)


def _values(group: Row) -> Table:
    by_name: dict[tuple[Any, ...], list[Row]] = {}
    for row in group["values"]:
        by_name.setdefault(report.key_of(row), []).append(row)
    rows = [
        [*_said(of[0]), *(number(row["mean"], _digits(row)) for row in of)]
        for of in by_name.values()
    ]
    header = ["quantity", "target", "reference", *(f"{weight:g}" for weight in group["weights"])]
    return parts.table_of(header, rows, "The mean over seeds by weight.", folded=True)
