"""The page of launch.measure: measure.json, both directions of one pair."""

import pathlib
from collections.abc import Mapping
from typing import Any

from advknow.report import answers
from advknow.report.pages import charts, parts
from advknow.report.pages.page import (
    Arrow,
    Box,
    Charts,
    Lines,
    Page,
    Picture,
    Section,
    number,
    words,
)
from advknow.runs import gallery
from advknow.runs.gallery import Carried

FILE = "measure.json"
DIRECTIONS = ("source_to_target", "target_to_source")
# Of the columns of numbers: title, name, digits.
COLUMNS = (
    ("alpha1", "alpha1", 4),
    ("alpha2", "alpha2", 4),
    ("alpha2²", "alpha2_squared", 4),
    ("alpha1*alpha2", "alpha1_alpha2", 4),
    ("(alpha1*alpha2)²", "alpha1_alpha2_squared", 4),
    ("n", "n", 0),
    ("left out", "n_degenerate", 0),
    ("alpha1 > 1", "n_alpha1_above_one", 0),
)


def fits(content: Mapping[str, Any]) -> bool:
    """Whether it is what launch.measure writes."""
    return {"source", "target", *DIRECTIONS} <= set(content)


def alphas(found: Mapping[str, Any]) -> Any:
    """The table of both directions, from their summaries."""
    rows = [
        [
            words(_way(direction)),
            *(
                number(found[direction].get(name), digits, found[direction].get(f"{name}_se"))
                for _, name, digits in COLUMNS
            ),
        ]
        for direction in DIRECTIONS
    ]
    return parts.table_of(["direction", *(title for title, _, _ in COLUMNS)], rows)


NOTE = (
    "alpha2 and alpha1*alpha2 are norms, beside them their squares, as the poster prints them. "
    "± one standard error: of alpha1 over examples, of the squares by jackknife over examples. "
    "alpha1 > 1 counts examples that prove the attack on the receiving model no maximiser."
)


def page(content: Mapping[str, Any], folder: pathlib.Path) -> Page:
    """The page, of measure.json and what lies beside it."""
    answer = answers.measure(content)
    happened, kept = parts.events(folder), carried(folder)
    there, back = (content[direction] for direction in DIRECTIONS)
    picture = Picture(
        (
            Box("source", (str(content["source"]),), "adversarial"),
            Box("target", (str(content["target"]),), "knowledge"),
        ),
        (
            Arrow(
                f"→ α₁ {there['alpha1']:.3f}, α₂ {_three(there['alpha2'])}",
                (f"← α₁ {back['alpha1']:.3f}, α₂ {_three(back['alpha2'])}",),
            ),
        ),
    )
    bars = charts.intervals(
        [there["alpha1"], back["alpha1"]],
        [one["alpha1"] - (one.get("alpha1_se") or 0.0) for one in (there, back)],
        [one["alpha1"] + (one.get("alpha1_se") or 0.0) for one in (there, back)],
        names=[_way(direction) for direction in DIRECTIONS],
        label="alpha1",
    )
    return Page(
        f"measure · {content['dataset']} · seed {content['seed']}",
        answer.question,
        answer.sentence,
        answer.following,
        (
            Section("The table", (picture, alphas(content), Lines((NOTE,)))),
            Section("alpha1 in both directions", (Charts(((bars, "± one standard error"),)),)),
            parts.spread(kept, note=""),
            parts.audit(content["audit"], content.get("findings", {})),
            parts.examples(kept),
            parts.made_alone(content, folder, happened),
        ),
    )


def carried(folder: pathlib.Path) -> list[Carried]:
    """What was kept of single examples, each direction under the name of the tables."""
    return [one._replace(name=_way(one.name)) for one in gallery.load(folder)]


def _way(direction: str) -> str:
    return direction.replace("_to_", " → ")


def _three(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
