"""The page of launch.evidence: evidence.json, once all sources are there."""

import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from advknow.evidence.hypotheses import COMPARED, POSTER, PRIMARY
from advknow.report import answers
from advknow.report import evidence as report
from advknow.report.evidence import SCOPES, Row
from advknow.report.pages import charts, parts
from advknow.report.pages.page import (
    Cell,
    Charts,
    Facts,
    Lines,
    Page,
    Section,
    Table,
    number,
    words,
)

FILE = "evidence.json"
# How many of the sources that lack are named.
_NAMED = 5
_ZOOS = {"A": " (one architecture, trained in many ways)", "B": " (several architectures)"}
# A table of more is folded away.
_MOST_ROWS = 20
# Of weighted tau, beside the intervals.
_MARGIN = 0.05
# The series of the forest plot; those of the hypotheses come after the first.
_GROUPS = (
    "the other scores",
    "the score of the primary hypothesis",
    "scores it is compared with",
    "the two scores of the poster",
)
_GROUP = {
    **{tuple(ranker): 2 for ranker in COMPARED},
    **{tuple(ranker): 3 for ranker in POSTER.values()},
    tuple(PRIMARY): 1,
}


def fits(content: Mapping[str, Any]) -> bool:
    """Whether it is what launch.evidence writes of a study; of any before all sources are there."""
    verdict = content.get("verdict", "")
    if isinstance(verdict, Mapping):
        return {"hypotheses", "rankers", "differences"} <= set(verdict)
    return verdict is None


def page(content: Mapping[str, Any], folder: pathlib.Path) -> Page:
    """The page, of evidence.json and what lies beside it.

    Raises:
      FileNotFoundError: sources are missing, so there is no verdict, and it says what goes on.
    """
    if content["verdict"] is None:
        raise FileNotFoundError(_missing(content, folder))
    of, answer = content["verdict"], answers.evidence(content, folder)
    preset = content.get("preset", "of records")
    sources = sum(of["sources"].values())
    return Page(
        f"evidence · {preset} · {sources} sources, {len(of['targets'])} targets",
        answer.question,
        answer.sentence,
        answer.following,
        (
            Section("What is compared", (_terms(of),)),
            Section("The hypotheses, fixed before any result", _hypotheses(of)),
            Section("Every score and its interval", _forests(of)),
            Section("Every score in numbers", _by_scope(of["rankers"], _rankers)),
            Section(
                "The primary hypothesis's score less others",
                _noted(_DIFFERENCES, _tables(of["differences"], _differences)),
            ),
            Section(
                "What a score adds to others", _noted(_PARTIAL, _tables(of["partial"], _partial))
            ),
            Section(
                "Ranks averaged with LogME's",
                _noted(_COMBINED, _tables(of["combined"], _combined)),
            ),
            Section(
                "With a reference model of few labels",
                _noted(_FEW, _by_scope(of["few"], _rankers)),
            ),
            Section("How sure the truth and the scores are", _noise(of)),
            Section("Controls", (*_controls(of), *_recipes(of))),
            Section("Not defined", _said([*map(_arrows, report.undefined(of))])),
            parts.made_study(content, folder, parts.events(folder)),
        ),
    )


_DIFFERENCES = (
    "Both rank the same sources. p: of no difference; p (Holm): corrected for the four comparisons "
    "of a scope."
)
_PARTIAL = (
    "Rank correlation with what sources teach, of what is left when the ranks of the given scores "
    "are accounted for."
)
_COMBINED = (
    "The weighted tau of the mean of two ranks, a score's and LogME's, and how far it is above "
    "that of LogME alone."
)
_FEW = (
    "The scores beside a reference model that was trained on the labelled images alone, where the "
    "others are beside one of the target's whole train part."
)


def _missing(content: Mapping[str, Any], folder: pathlib.Path) -> str:
    missing = content["missing"]
    named = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
    return (
        f"workdir={str(folder)!r} holds a study that is not finished: {len(missing)} sources have "
        f"no records in it yet ({named}). This makes them: "
        f"{answers.evidence_goes_on(content, folder)}; where other workdirs have them, "
        "python -m launch.evidence --records=A/evidence.csv,B/evidence.csv --workdir=NEW puts "
        "them together."
    )


def _said(lines: Sequence[str]) -> tuple[Lines, ...]:
    return (Lines(tuple(lines)),) if lines else ()


def _terms(of: Mapping[str, Any]) -> Facts:
    """What somebody needs who has never seen the study."""
    scopes = {row["scope"] for row in of["rankers"]}
    facts = {
        "source": "A trained model that may teach: " + ", ".join(
            f"{count} in zoo {zoo}{_ZOOS.get(zoo, '')}" for zoo, count in of["sources"].items()
        ) + ".",
        "target": "A data set on which sources are to teach, with few labels: "
        + ", ".join(of["targets"]) + ".",
        "truth": "What a source teaches: the accuracy on the target's test images of a linear "
        "probe on the source's features; full fine-tuning: of the whole model, trained on.",
        "score": "A number known before that, by which sources are ranked; larger is better: "
        "distances have a minus. S→T: the attack on the source is carried to a reference model of "
        "the target; T→S: the other way; eps → 0: in the limit of small attacks.",
        "weighted tau": "How far a score puts sources in the order of the truth: 1 in the same, 0 "
        "on average where the order is random, below 0 rather in the reverse; the best sources "
        "weigh most. The mean over targets.",
        "interval": f"{100 * of['level']:g} %, over targets and sources.",
        "near, far": "Source and target are of one data set, or of different ones.",
        "targets not tried before": "No trial used them before the hypotheses were fixed.",
        "regret": "Points of accuracy lost by the first choice of a score; regret of 3: by the "
        "best of its first three.",
    }  # fmt: skip
    if "new" not in scopes:
        del facts["targets not tried before"]
    return Facts(tuple(facts.items()))


def _arrows(text: str) -> str:
    """As the page writes them: no line ends inside one."""
    return text.replace("->", "→")


def _interval(row: Row) -> list[Cell]:
    return [number(row[name], 3, signed=True) for name in ("mean", "low", "high")]


def _p(value: float) -> Cell:
    return Cell("< 0.001", value) if value < 0.001 else number(value, 3)


def _hypotheses(of: Mapping[str, Any]) -> tuple[Table, ...]:
    rows = [
        [
            words(_arrows(f"{row['hypothesis']}; {row['statistic']}: {row['of']}")),
            words(SCOPES[row["scope"]]),
            *_interval(row),
            words(answers.zero(row)),
            number(row["targets"], 0),
            number(row["sources"], 0),
        ]
        for row in of["hypotheses"]
    ]
    header = ["hypothesis", "scope", "found", "from", "to", "interval", "targets", "sources"]
    note = "Of zoo A and the linear probe. Every one says that what is found is above zero."
    return (parts.table_of(header, rows, note),) if rows else ()


def _forests(of: Mapping[str, Any]) -> tuple[Charts, ...]:
    """Of the primary hypothesis's zoo and truth, a chart a scope, the first the largest."""
    if not of["rankers"]:
        return ()
    setting, rows = next(iter(report.questions(of["rankers"]).items()))
    limits = min(row["low"] for row in rows) - _MARGIN, max(row["high"] for row in rows) + _MARGIN
    drawn = [
        (_forest(there, limits), f"{_size(there)} · {setting}. The line: zero, a random order.")
        for there in _of_scopes(rows).values()
    ]
    first, *rest = drawn
    return (Charts((first,), _GROUPS), *([Charts(tuple(rest))] if rest else []))


def _forest(rows: Sequence[Row], limits: tuple[float, float]) -> Any:
    return charts.forest(
        *([row[name] for row in rows] for name in ("mean", "low", "high")),
        names=[_arrows(row["score"]) for row in rows],
        groups=[_GROUP.get((row["quantity"], row["attack"]), 0) for row in rows],
        limits=limits,
        label="weighted tau",
    )


def _of_scopes(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows by scope, the largest mean of each first."""
    ordered = sorted(rows, key=lambda row: -row["mean"])
    found = {scope: [row for row in ordered if row["scope"] == scope] for scope in SCOPES}
    return {scope: there for scope, there in found.items() if there}


def _size(rows: Sequence[Row]) -> str:
    """Of one scope."""
    first = rows[0]
    return f"{SCOPES[first['scope']]} · {first['targets']} targets, {first['sources']} sources"


def _by_scope(
    rows: Sequence[Row], of_rows: Callable[[Sequence[Row]], tuple[list[str], list[list[Cell]]]]
) -> tuple[Table, ...]:
    """A table a setting and scope."""
    return _folded(
        (f"{setting} · {_size(there)}", *of_rows(there))
        for setting, of_setting in report.questions(rows).items()
        for there in _of_scopes(of_setting).values()
    )


def _tables(
    rows: Sequence[Row],
    of_rows: Callable[[Sequence[Row]], tuple[list[str], list[list[Cell]]]],
) -> tuple[Table, ...]:
    """A table a setting, with a column for the scope."""
    return _folded((setting, *of_rows(there)) for setting, there in report.questions(rows).items())


def _folded(found: Iterable[tuple[str, list[str], list[list[Cell]]]]) -> tuple[Table, ...]:
    """Tables of their caption, header and rows; all but a first short one are folded away."""
    return tuple(
        parts.table_of(header, rows, caption, folded=i > 0 or len(rows) > _MOST_ROWS)
        for i, (caption, header, rows) in enumerate(found)
    )


def _noted(note: str, tables: tuple[Table, ...]) -> tuple[Any, ...]:
    """The tables, if there are any, below what has to be said of them."""
    return (Lines((note,)), *tables) if tables else ()


def _rankers(rows: Sequence[Row]) -> tuple[list[str], list[list[Cell]]]:
    cells = [
        [
            words(_arrows(row["score"])),
            *_interval(row),
            number(row["tau"], 3, signed=True),
            number(row["regret"], 2),
            number(row["regret_of_3"], 2),
        ]
        for row in rows
    ]
    return ["score", "weighted tau", "from", "to", "tau", "regret", "regret of 3"], cells


def _differences(rows: Sequence[Row]) -> tuple[list[str], list[list[Cell]]]:
    cells = [
        [
            words(_arrows(row["of"])),
            words(SCOPES[row["scope"]]),
            *_interval(row),
            _p(row["p_value"]),
            _p(row["p_holm"]),
        ]
        for row in rows
    ]
    return ["difference of weighted tau", "scope", "found", "from", "to", "p", "p (Holm)"], cells


def _partial(rows: Sequence[Row]) -> tuple[list[str], list[list[Cell]]]:
    cells = [
        [
            words(_arrows(row["score"])),
            words(_arrows(row["given"])),
            words(SCOPES[row["scope"]]),
            *_interval(row),
        ]
        for row in rows
    ]
    return ["score", "given", "scope", "partial rank correlation", "from", "to"], cells


def _combined(rows: Sequence[Row]) -> tuple[list[str], list[list[Cell]]]:
    cells = [
        [
            words(_arrows(row["score"])),
            words(SCOPES[row["scope"]]),
            *_interval(row),
            *_interval(row["less_logme"]),
        ]
        for row in rows
    ]
    less = ("less LogME's", "less LogME's, from", "less LogME's, to")
    return ["score", "scope", "weighted tau", "from", "to", *less], cells


def _noise(of: Mapping[str, Any]) -> tuple[Any, ...]:
    """Ceilings, stability, and what chance does."""
    ceilings = [
        [
            words(report.setting_of(row)),
            words(SCOPES[row["scope"]]),
            number(row["one_draw"], 3, signed=True),
            number(row["mean_of_others"], 3, signed=True),
        ]
        for row in of["ceiling"]
    ]
    # Without the attack, in which setups of one quantity differ here.
    titles = {
        row["quantity"]: re.sub(", (FGSM|PGD|eps -> 0)(?=,)", "", row["score"])
        for row in of["rankers"]
    }
    stability = [
        [
            words(_arrows(titles.get(row["quantity"], row["quantity"]))),
            words(row["zoo"]),
            words(row["component"]),
            number(row["mean"], 3, signed=True),
        ]
        for row in of["stability"]
    ]
    tables = (
        (
            ["truth", "scope", "one draw by another", "by the mean of others"],
            ceilings,
            "The ceiling: weighted tau of one draw of the truth with another.",
        ),
        (
            ["score", "zoo", "differing in", "mean weighted tau"],
            stability,
            "Stability: rankings by one score whose setups differ in one thing.",
        ),
    )
    return (
        *_said(report.chance(of)),
        *(parts.table_of(*table) for table in tables if table[1]),
    )


def _recipes(of: Mapping[str, Any]) -> tuple[Table, ...]:
    rows = [
        [words(row["recipe"]), *(number(row[name], 2) for name in ("truth", "primary", "logme"))]
        for row in of["controls"].get("recipes", ())
    ]
    header = ["recipe", "linear probe", "primary score", "LogME"]
    note = "Mean ranks of a recipe's sources over targets, 1 is best."
    return (parts.table_of(header, rows, note, folded=len(rows) > _MOST_ROWS),) if rows else ()


def _controls(of: Mapping[str, Any]) -> tuple[Lines, ...]:
    lines = report.controls(of)
    should = (
        "What should be: a copy of a target's first reference model, as a source of its own, is "
        "ranked first; two seeds of a recipe do not differ in rank; the primary hypothesis's score "
        "in random order has a weighted tau of about 0."
    )
    return (Lines((should,)), Lines(tuple(map(_arrows, lines)))) if lines else ()
