"""The results as the poster prints them, with n, standard errors and the poster's own figures."""

import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from advknow.experiments.results import Results
from advknow.report import answers, poster

# Of a terminal.
WIDTH = 100
ARROWS = {"target_to_source": "T -> S", "source_to_target": "S -> T"}
FIRST_COLUMN = {"adv2know": "source", "know2adv": "similarity"}
BASELINES = {
    "baseline_similarity": "baseline: share of common classes",
    "baseline_log_num_params": "baseline: model size (log parameters)",
}


def _with_error(value: float, error: float | None, digits: int) -> str:
    if error is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _header(results: Results) -> list[str]:
    return [
        FIRST_COLUMN.get(results.experiment, "source"),
        "transfer %",
        "source %",
        *(how.title for how in results.columns(table="alphas").values()),
        "n",
        "degenerate",
        "alpha1>1",
    ]


# Where a line of a terminal has no room for them.
_SHORT = {"source %": "own %", "degenerate": "left out", "alpha1>1": ">1"}
_SHORT_NOTE = (
    "own %: accuracy on the source's own test part; left out: degenerate; >1: alpha1>1, which "
    "proves the attack on the receiving model no maximiser."
)


def _cells(results: Results, row: dict[str, Any]) -> list[str]:
    return [
        row["source"],
        _with_error(row["knowledge_transfer"], row["knowledge_transfer_se"], 1),
        f"{row['source_accuracy']:.1f}",
        *(
            _with_error(row[name], row.get(f"{name}_se"), how.digits)
            for name, how in results.columns(table="alphas").items()
        ),
        str(row["n"]),
        str(row["n_degenerate"]),
        str(row["n_alpha1_above_one"]),
    ]


_POSTER_HEADER = ["transfer %", "alpha1", "alpha2²", "(alpha1*alpha2)²"]
POSTER_NOTE = "What the poster prints, of other data, sizes and tasks: for orientation."


def _published(results: Results, row: dict[str, Any]) -> list[str] | None:
    """The poster's figures of that source; None where it has none."""
    published = poster.TABLES.get(results.experiment, {}).get(row["source"])
    if published is None:
        return None
    transfer, alpha1, alpha2, product = published
    return [f"{transfer:.2f}", f"{alpha1:.2f}", f"{alpha2:.2f}", f"{product:.3f}"]


def _poster(results: Results) -> list[str]:
    """The poster's figures under the table; [] where it has none."""
    first = FIRST_COLUMN.get(results.experiment, "source")
    found = [(row["source"], _published(results, row)) for row in results.rows]
    rows = [[source, *published] for source, published in found if published is not None]
    if not rows:
        return []
    notes = f"{POSTER_NOTE} {poster.NOTES[results.experiment]}".strip()
    return [wrapped(notes), *aligned([[first, *_POSTER_HEADER], *rows]), ""]


def wrapped(text: str, hanging: int = 0) -> str:
    """The text in lines that fit a terminal, all but the first with so many spaces before them."""
    return textwrap.fill(
        text,
        WIDTH,
        subsequent_indent=" " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def hanging(lines: Iterable[str]) -> list[str]:
    """Each line `wrapped`, what goes on of it two spaces further in."""
    return [wrapped(line, hanging=2) for line in lines]


def aligned(rows: list[list[str]]) -> list[str]:
    """The rows as lines of text, columns below each other, the first row a heading.

    Columns for which a terminal has no room come below, beside the first column again.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    parts: list[list[int]] = [[]]
    for i in range(1, len(widths)):
        taken = widths[0] + sum(2 + widths[k] for k in (*parts[-1], i))
        if taken > WIDTH and parts[-1]:
            parts.append([])
        parts[-1].append(i)
    lines: list[str] = []
    for part in parts:
        lines += [""] if lines else []
        table = [
            "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in part)]).rstrip()
            for row in rows
        ]
        lines += [table[0], "-" * len(table[0]), *table[1:]]
    return lines


def in_markdown(rows: list[list[str]]) -> list[str]:
    """The rows as a table of Markdown, the first row a heading."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    return [line(rows[0]), line(["---"] * len(rows[0])), *(line(row) for row in rows[1:])]


def correlated(results: Results) -> dict[str, str]:
    """What correlates with knowledge transfer, in words: by the names of `Results.correlations`."""
    return BASELINES | {name: how.in_words for name, how in results.columns().items()}


def _correlation_lines(results: Results) -> list[str]:
    names = correlated(results)
    lines = []
    for name, found in results.correlations().items():
        if found is None:
            lines.append(f"  {names[name]}: not defined (constant, or fewer than three rows)")
            continue
        lines.append(
            f"  {names[name]}: Pearson {found['pearson']:+.2f} (p = {found['pearson_p']:.3f}), "
            f"Spearman {found['spearman']:+.2f} (p = {found['spearman_p']:.3f}), n = {found['n']}"
        )
    return lines


def notes(results: Results) -> list[str]:
    """What a reader needs beside the table, a line each."""
    attack = results.settings["attack"]
    target = results.target
    repeats = results.settings["transfer"]["repeats"]
    return [
        f"Direction {ARROWS[results.direction]}; {attack['name'].upper()} eps = {attack['eps']:g} "
        f"in [0, 1] pixel units; n correctly classified target test images of "
        f"{target['n_test']}; target accuracy {target['accuracy']:.1f} %.",
        "Convention: SQUARES of alpha2 and alpha1*alpha2, as the poster's image tables print them; "
        "the norms and the unbiased squares are in results.json.",
        "± standard error: of alpha1 over examples, of the squares by jackknife over examples, of "
        + (
            f"transfer over {repeats} draws of the labelled images."
            if repeats > 1
            else "transfer none (a single run)."
        ),
    ]


ABOVE_ONE_NOTE = (
    "alpha1>1 counts examples that prove the attack on the receiving model no maximiser."
)


def _chain(results: Results) -> list[list[str]]:
    """The paper's chain, source by source; [] where the results have no distances."""
    columns = results.columns(table="chain")
    if not columns:
        return []
    header = [FIRST_COLUMN.get(results.experiment, "source"), "alpha1"]
    rows = [[*header, *(how.title for how in columns.values()), "transfer %"]]
    for row in results.rows:
        cells = [
            _with_error(row[name], row.get(f"{name}_se"), how.digits)
            for name, how in columns.items()
        ]
        transfer = f"{row['knowledge_transfer']:.1f}"
        rows.append([row["source"], f"{row['alpha1']:.3f}", *cells, transfer])
    return rows


CHAIN_NOTE = (
    "The chain, link by link: gradient matching distance and rho² = 1 - relative² (what share of "
    "the target's gradient the attacks on the source explain), function matching distance to the "
    "target's logits, knowledge transfer distance to one-hot labels; H = I, least squares over the "
    "same n images (theory, sections 3 and 4)."
)


def _render(results: Results, layout: Callable[[list[list[str]]], list[str]]) -> list[str]:
    """The table with the poster's figures beside ours, where lines are as long as they must be."""
    header = [*_header(results), f"poster: {_POSTER_HEADER[0]}", *_POSTER_HEADER[1:]]
    rows = [
        [*_cells(results, row), *(_published(results, row) or ["-"] * len(_POSTER_HEADER))]
        for row in results.rows
    ]
    return layout([header, *rows])


def _render_chain(results: Results, layout: Callable[[list[list[str]]], list[str]]) -> list[str]:
    rows = _chain(results)
    return [CHAIN_NOTE, "", *layout(rows), ""] if rows else []


def audit(audits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the audits found, a line a finding; one line where they found nothing."""
    lines = [
        f"audit: {name}: {finding['name']}: {finding['message']}"
        for name, found in audits.items()
        for finding in found["findings"]
    ]
    return lines or ([f"audit: nothing found in {len(audits)} models"] if audits else [])


def findings(found: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """What measurements say against their own alphas, a line a finding, by their names."""
    return [
        f"finding: {name}: {finding['name']}: {finding['message']}"
        for name, of_one in found.items()
        for finding in of_one
    ]


def number(value: float | None, digits: int) -> str:
    """A count as it is, another number with so many digits, n/a where there is none."""
    if value is None:
        return "n/a"
    return str(value) if isinstance(value, int) else f"{value:.{digits}f}"


def times(results: Results) -> str:
    """Seconds of the run by kind of stage, and all of them, for a terminal."""
    kinds: dict[str, list[str]] = {}
    for stage, seconds in results.seconds.items():
        kind, _, name = stage.partition(" ")
        kinds.setdefault(kind, []).append(f"{name} {seconds:.1f}")
    total = sum(results.seconds.values())
    lines = [wrapped(f"  {kind}: {', '.join(each)}", hanging=4) for kind, each in kinds.items()]
    return "\n".join([f"Seconds by stage, {total:.0f} in all:", *lines])


def text(results: Results) -> str:
    """The answer, the table, its notes and the correlations, for a terminal."""
    title = f"{results.experiment} ({results.preset}, seed {results.seed})"
    answer = answers.experiment(results)
    header = [_SHORT.get(name, name) for name in _header(results)]
    return "\n".join(
        [
            wrapped(f"{title}: {answer.question}"),
            wrapped(answer.sentence),
            "",
            *aligned([header, *(_cells(results, row) for row in results.rows)]),
            *map(wrapped, [_SHORT_NOTE, *notes(results)]),
            "",
            *_poster(results),
            *map(wrapped, _render_chain(results, aligned)),
            "Correlation with knowledge transfer over the rows, two-sided exact permutation p:",
            *(wrapped(line, hanging=4) for line in _correlation_lines(results)),
            "",
        ]
    )


def markdown(results: Results) -> str:
    """The same for a README."""
    minutes = sum(results.seconds.values()) / 60
    made_by = (
        f"`{results.command}` ({minutes:.0f} minutes on {results.versions['cores']} cores, "
        f"{results.versions['device']}; jax {results.versions['jax']}, seed {results.seed})"
    )
    return "\n".join(
        [
            made_by,
            "",
            *_render(results, in_markdown),
            "",
            " ".join(
                [*notes(results), ABOVE_ONE_NOTE, poster.NOTES.get(results.experiment, "")]
            ).strip(),
            "",
            *_render_chain(results, in_markdown),
            "Correlation with knowledge transfer over the rows, two-sided exact permutation p:",
            "",
            *(f"- {line.strip()}" for line in _correlation_lines(results)),
            "",
        ]
    )
