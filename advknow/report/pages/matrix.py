"""The page of launch.matrix: matrix.json, every ordered pair of models."""

import pathlib
from collections.abc import Mapping
from typing import Any

from advknow.report import answers
from advknow.report import matrix as report
from advknow.report.pages import charts, parts
from advknow.report.pages.page import Charts, Lines, Page, Section, Table, number, words

FILE = "matrix.json"


def fits(content: Mapping[str, Any]) -> bool:
    """Whether it is what launch.matrix writes."""
    return {"sentence", "models", "values"} <= set(content)


def page(content: Mapping[str, Any], folder: pathlib.Path) -> Page:
    """The page, of matrix.json and what lies beside it."""
    answer, happened, names = answers.matrix(content), parts.events(folder), content["models"]
    drawn = tuple(
        (
            charts.heat_map(
                content["values"][name],
                rows=names,
                columns=names,
                label=title,
                row_label="source",
                column_label="target",
            ),
            "",
        )
        for name, (title, _) in report.shown(content).items()
    )
    undefined = tuple(
        f"{row['part']}, {row['source']} to {row['target']}: {row['why']}"
        for row in content["undefined"]
    )
    return Page(
        f"matrix · {len(names)} models · n = {content['n']}",
        answer.question,
        answer.sentence,
        answer.following,
        (
            Section("Source in rows, target in columns", (Charts(drawn),)),
            Section("Every pair", (_pairs(content),)),
            Section("Not defined", (Lines(undefined),) if undefined else ()),
            parts.audit(content["audit"], {}),
            parts.made_alone(content, folder, happened),
        ),
    )


def _pairs(content: Mapping[str, Any]) -> Table:
    """A row a pair, a column a quantity with its standard error where it has one."""
    shown, names, errors = report.shown(content), content["models"], content["standard_errors"]
    rows = [
        [
            words(f"{source} → {target}"),
            *(
                number(
                    content["values"][name][i][j], 3, errors[name][i][j] if name in errors else None
                )
                for name in shown
            ),
        ]
        for i, source in enumerate(names)
        for j, target in enumerate(names)
        if i != j
    ]
    return parts.table_of(["pair", *(title for title, _ in shown.values())], rows)
