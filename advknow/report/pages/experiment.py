"""The page of adv2know and know2adv: results.json with a row a source."""

import pathlib
from collections.abc import Mapping
from typing import Any

from advknow.experiments import results
from advknow.experiments.results import Results
from advknow.report import answers, poster, tables
from advknow.report.pages import charts, parts
from advknow.report.pages.page import (
    Arrow,
    Box,
    Cell,
    Charts,
    Lines,
    Page,
    Picture,
    Section,
    Table,
    number,
    words,
)
from advknow.runs import gallery

FILE = results.FILE
TRANSFER = "knowledge transfer, %"


def fits(content: Mapping[str, Any]) -> bool:
    """Whether it is what such an experiment writes."""
    return {"experiment", "rows", "target", "direction"} <= set(content)


def page(content: Mapping[str, Any], folder: pathlib.Path) -> Page:
    """The page, of results.json and what lies beside it."""
    found = results.from_dict(dict(content))
    answer = answers.experiment(found, folder)
    happened = parts.events(folder)
    kept = gallery.load(folder)
    carried = f"Direction {tables.ARROWS[found.direction]}."
    return Page(
        f"{found.experiment} · {found.preset} · seed {found.seed}",
        answer.question,
        answer.sentence,
        answer.following,
        (
            Section("The table", _table(found)),
            Section("Knowledge transfer against each alpha", _against(found)),
            Section("The paper's picture, with what was measured", _picture(found)),
            parts.spread(kept, note=carried),
            parts.audit(found.audit, found.findings),
            parts.examples(kept),
            Section("The chain, link by link", _links(found)),
            Section("Beside the poster", _poster(found)),
            parts.training(happened),
            parts.made(
                folder,
                happened,
                command=found.command,
                seed=found.seed,
                versions=found.versions,
                seconds=found.seconds,
            ),
        ),
    )


def _first(found: Results) -> str:
    return tables.FIRST_COLUMN.get(found.experiment, "source")


def _column(row: Mapping[str, Any], name: str, digits: int) -> Cell:
    return number(row[name], digits, row.get(f"{name}_se"))


def _table(found: Results) -> tuple[Table | Lines, ...]:
    alphas = found.columns(table="alphas")
    header = [
        _first(found),
        "transfer %",
        "own accuracy %",
        *(how.title for how in alphas.values()),
    ]
    rows = [
        [
            words(row["source"]),
            _column(row, "knowledge_transfer", 1),
            number(row["source_accuracy"], 1),
            *(_column(row, name, how.digits) for name, how in alphas.items()),
            *(number(row[name], 0) for name in ("n", "n_degenerate", "n_alpha1_above_one")),
        ]
        for row in found.rows
    ]
    table = parts.table_of([*header, "n", "left out", "alpha1 > 1"], rows)
    return (table, Lines((*tables.notes(found), tables.ABOVE_ONE_NOTE)))


def _links(found: Results) -> tuple[Table | Lines, ...]:
    """The distances, where the results have them."""
    links = found.columns(table="chain")
    if not links:
        return ()
    header = [_first(found), *(how.title for how in links.values()), "transfer %"]
    rows = [
        [
            words(row["source"]),
            *(_column(row, name, how.digits) for name, how in links.items()),
            number(row["knowledge_transfer"], 1),
        ]
        for row in found.rows
    ]
    return (parts.table_of(header, rows), Lines((tables.CHAIN_NOTE,)))


def _poster(found: Results) -> tuple[Table, ...]:
    """The figures that the poster prints of the sources that it has too."""
    published = poster.TABLES.get(found.experiment, {})
    rows = [
        [words(row["source"]), *map(number, published[row["source"]], (2, 2, 2, 3))]
        for row in found.rows
        if row["source"] in published
    ]
    if not rows:
        return ()
    header = [_first(found), "transfer %", "alpha1", "alpha2²", "(alpha1*alpha2)²"]
    caption = f"{tables.POSTER_NOTE} {poster.NOTES[found.experiment]}".strip()
    return (parts.table_of(header, rows, caption),)


def _against(found: Results) -> tuple[Any, ...]:
    names = [row["source"] for row in found.rows]
    transfer = [row["knowledge_transfer"] for row in found.rows]
    errors = [row["knowledge_transfer_se"] for row in found.rows]
    correlations = found.correlations()
    titles = tables.correlated(found)
    drawn = []
    for name, how in found.columns().items():
        if not how.panel:
            continue
        chart = charts.against(
            [row[name] for row in found.rows],
            transfer,
            names=names,
            x_label=how.title,
            y_label=TRANSFER,
            x_error=[row.get(f"{name}_se") for row in found.rows],
            y_error=errors,
        )
        drawn.append((chart, _correlation(correlations.get(name))))
    rows = [
        [
            words(titles.get(name, name)),
            *(
                number(None if c is None else c[what], digits, signed=not what.endswith("p"))
                for what, digits in (
                    ("pearson", 2),
                    ("pearson_p", 3),
                    ("spearman", 2),
                    ("spearman_p", 3),
                    ("n", 0),
                )
            ),
        ]
        for name, c in correlations.items()
    ]
    header = ("with knowledge transfer", "Pearson", "p", "Spearman", "p", "n")
    caption = "Correlations over the sources; p is two-sided, of exact permutations."
    return (
        Charts(tuple(drawn), tuple(names)),
        Lines(("Bars: ± one standard error. A point's name and numbers show on hover.",)),
        parts.table_of(header, rows, caption),
    )


def _correlation(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "no correlation is defined"
    return f"Pearson {found['pearson']:+.2f}, p = {found['pearson_p']:.3f}, n = {found['n']}"


def _range(found: Results, name: str, digits: int) -> str:
    values = [row[name] for row in found.rows]
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low}–{high}"


def _picture(found: Results) -> tuple[Any, ...]:
    """Each box: the range over the sources; each arrow: the correlation of its right end."""
    columns, correlations = found.columns(), found.correlations()
    if not {"alpha2_squared", "rho2", "gmd_relative", "fmd_relative", "ktd"} <= set(columns):
        return ()

    def ranges(*names: tuple[str, str]) -> tuple[str, ...]:
        return tuple(f"{title}{_range(found, name, columns[name].digits)}" for title, name in names)

    def with_transfer(*names: str) -> tuple[str, ...]:
        known = [c for name in names if (c := correlations.get(name)) is not None]
        told = ", ".join(f"{c['pearson']:+.2f}" for c in known)
        return (f"r {told}",) if known else ()

    boxes = (
        Box(
            "α₁, α₂²",
            (
                *ranges(("", "alpha1"), ("", "alpha2_squared")),
                *with_transfer("alpha1", "alpha2_squared"),
            ),
            "adversarial",
        ),
        Box("A₁, A₂", (*ranges(("ρ² ", "rho2")), *with_transfer("rho2")), "theory"),
        Box("gradient matching", ranges(("", "gmd_relative")), "theory"),
        Box(
            "function matching",
            (*ranges(("", "fmd_relative")), *with_transfer("fmd_relative")),
            "knowledge",
        ),
        Box("knowledge distance", (*ranges(("", "ktd")), *with_transfer("ktd")), "knowledge"),
        Box("knowledge transfer", (f"{_range(found, 'knowledge_transfer', 1)} %",), "knowledge"),
    )
    arrows = (
        Arrow("stand for", (), both_ways=False),
        Arrow("Theorem 1", ("GMD = √(1−ρ²)",)),
        Arrow("Theorem 2"),
        Arrow("Theorem 3"),
        Arrow("a new head", (), both_ways=False),
    )
    note = (
        "Ranges over the sources, distances relative to the norm of what is matched; r: the "
        "Pearson correlation with knowledge transfer."
    )
    return (Picture(boxes, arrows), Lines((note,)))
