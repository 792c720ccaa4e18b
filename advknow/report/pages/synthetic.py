"""The page of the synthetic experiment: results.json with a row a step."""

import pathlib
from collections.abc import Mapping
from typing import Any

from advknow.report import answers, synthetic
from advknow.report.pages import charts, parts
from advknow.report.pages.page import Charts, Lines, Page, Section, number

FILE = "results.json"
# A panel: its label, and the columns in it with their names in its legend.
_PANELS = (
    ("alpha1", (("S → T", "alpha1_S_T"), ("T → S", "alpha1_T_S"))),
    ("alpha2, a norm", (("S → T", "alpha2_S_T"), ("T → S", "alpha2_T_S"))),
)
_DISTANCES = (
    ("gradient matching distance", "gradient_matching"),
    ("loss of g∘f_S", "loss_f_S"),
    ("loss of f_T", "loss_f_T"),
)


def fits(content: Mapping[str, Any]) -> bool:
    """Whether it is what launch.synthetic writes."""
    return content.get("experiment") == "synthetic"


def page(content: Mapping[str, Any], folder: pathlib.Path) -> Page:
    """The page, of results.json and what lies beside it."""
    rows, answer, happened = content["rows"], answers.synthetic(content), parts.events(folder)
    scale = [row["scale"] for row in rows]

    def curves(columns: tuple[tuple[str, str], ...], label: str) -> Any:
        lines = {title: (scale, [row[name] for row in rows]) for title, name in columns}
        return charts.curves(lines, x_label="scale of perturbation", y_label=label)

    table = parts.table_of(
        [title for _, title in synthetic.TITLES],
        [
            [number(row[name], 1 if name == "scale" else 4) for name, _ in synthetic.TITLES]
            for row in rows
        ],
    )
    alphas = Charts(
        tuple((curves(columns, label), "") for label, columns in _PANELS), ("S → T", "T → S")
    )
    distances = Charts(
        ((curves(_DISTANCES, "distance, loss"), ""),), tuple(title for title, _ in _DISTANCES)
    )
    return Page(
        f"synthetic · seed {content['settings'].get('seed', 'of given files')}",
        answer.question,
        answer.sentence,
        answer.following,
        (
            Section("The alphas as f_S moves away from f_T", (alphas,)),
            Section("Distance and loss", (distances,)),
            Section("The table", (table, Lines((synthetic.note(content),)))),
            parts.training(happened),
            parts.made(
                folder,
                happened,
                command=content["command"],
                seed=content["settings"].get("seed", "none: files were given"),
                versions=content["versions"],
                seconds=content["seconds"],
            ),
        ),
    )
