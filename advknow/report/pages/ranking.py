"""The page of launch.rank: ranking.json, a row a source and score."""

import pathlib
from collections.abc import Mapping
from typing import Any

from advknow.report import answers
from advknow.report import ranking as report
from advknow.report.pages import charts, parts
from advknow.report.pages.page import Cell, Charts, Lines, Page, Section, Table, number, words

FILE = "ranking.json"


def fits(content: Mapping[str, Any]) -> bool:
    """Whether it is what launch.rank writes."""
    return {"sentence", "rows", "by", "titles"} <= set(content)


def page(content: Mapping[str, Any], folder: pathlib.Path) -> Page:
    """The page, of ranking.json and what lies beside it."""
    answer, happened = answers.ranking(content), parts.events(folder)
    first, title = report.of_score(content, content["by"]), content["titles"][content["by"]]
    said = tuple(
        f"{content['titles'][score]}: {sentence}"
        for score, sentence in content["sentences"].items()
    )
    trust = (Lines((content["trust"],)),) if content["trust"] else ()
    left_out = tuple(report.left_out(content))
    intervals = (
        f"The intervals hold all true ranks at once with {100 * content['level']:g} %; best: the "
        "share of half-samples in which the source is first."
    )
    return Page(
        f"rank · {len(content['sources'])} sources · n = {content['n']}",
        answer.question,
        answer.sentence,
        answer.following,
        (
            Section(f"The order by {title}", (_table(first, title), *_ranks(first, intervals))),
            Section("The rank by every score", _by_every_score(content, first)),
            Section("By each score", (Lines(said),)),
            Section("Left out", (Lines(left_out),) if left_out else ()),
            Section("The reference model", trust),
            parts.audit(content["audit"], {}),
            parts.training(happened),
            parts.made_alone(content, folder, happened),
        ),
    )


def _table(rows: list[dict[str, Any]], title: str) -> Table:
    cells = [
        [
            words(row["source"]),
            Cell(f"{row['rank']:g}", float(row["rank"])),
            number(row["rank_low"], 0),
            number(row["rank_high"], 0),
            number(None if row["best"] is None else 100 * row["best"], 0),
            number(row["value"], 4, row["standard_error"]),
        ]
        for row in rows
    ]
    return parts.table_of(["source", "rank", "from", "to", "best, %", title], cells)


def _ranks(rows: list[dict[str, Any]], note: str) -> tuple[Any, ...]:
    known = [row for row in rows if row["rank_low"] is not None]
    if not known:
        return ()
    chart = charts.intervals(
        *([row[name] for row in known] for name in ("rank", "rank_low", "rank_high")),
        names=[row["source"] for row in known],
        label="rank, 1 is best",
        whole=True,
    )
    return (Charts(((chart, note),)),)


def _by_every_score(content: Mapping[str, Any], first: list[dict[str, Any]]) -> tuple[Any, ...]:
    names = list(dict.fromkeys([*(row["source"] for row in first), *content["sources"]]))
    ranks = {(row["source"], row["score"]): row["rank"] for row in content["rows"]}
    titles = content["titles"]
    chart = charts.heat_map(
        [[ranks.get((name, score)) for name in names] for score in titles],
        rows=list(titles.values()),
        columns=names,
        label="rank, 1 is best",
    )
    return (Charts(((chart, ""),)),)
