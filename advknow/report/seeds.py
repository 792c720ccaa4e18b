"""One experiment at several seeds: between which values its numbers lie, and its correlations."""

from collections.abc import Callable, Sequence

import numpy as np

from advknow.experiments.results import Results
from advknow.report import tables

NOTE = (
    "From the least to the most over the seeds: another target, other sources, images and draws "
    "each time, but the same few kinds of source, so that seeds do not add up to more sources."
)


def check(found: Sequence[Results]) -> None:
    """Raises unless they are runs of one experiment that differ in the seed alone.

    Raises:
      ValueError: fewer than two runs; one seed twice; another experiment, setting or source.
    """
    if len(found) < 2:
        raise ValueError("two runs or more are needed, of different seeds.")
    seeds = [results.seed for results in found]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"the runs have the seeds {seeds}; each seed once is needed.")
    first = found[0]
    for other in found[1:]:
        names = [[row["source"] for row in results.rows] for results in (first, other)]
        for what, one, two in (
            ("experiment", first.experiment, other.experiment),
            ("sources", *names),
            *(
                (key, first.settings.get(key), other.settings.get(key))
                for key in sorted({*first.settings, *other.settings} - {"seed"})
            ),
        ):
            if one != two:
                raise ValueError(
                    f"seeds {first.seed} and {other.seed} differ in {what}: {one!r}, {two!r}; runs "
                    "that differ in the seed alone are needed."
                )


def text(found: Sequence[Results]) -> str:
    """For a terminal."""
    return "\n".join([_made_by(found), "", *_body(found, tables.aligned, tables.wrapped)])


def markdown(found: Sequence[Results]) -> str:
    """For a README, with the command of each run."""
    commands = [f"- `{results.command}`" for results in found]
    return "\n".join([_made_by(found), "", *commands, "", *_body(found, tables.in_markdown, str)])


def _made_by(found: Sequence[Results]) -> str:
    return f"{found[0].experiment} ({found[0].preset}), seeds {listed(found)}"


def listed(found: Sequence[Results]) -> str:
    """The seeds of the runs, with commas."""
    return ", ".join(str(results.seed) for results in found)


def _body(
    found: Sequence[Results],
    layout: Callable[[list[list[str]]], list[str]],
    prose: Callable[[str], str],
) -> list[str]:
    seeds = listed(found)
    accuracy = _range([results.target["accuracy"] for results in found], 1)
    n = _range([row["n"] for results in found for row in results.rows], 0)
    return [
        *layout(_ranges(found)),
        "",
        prose(f"{NOTE} Target accuracy {accuracy} %, n {n}."),
        "",
        prose(f"Pearson's correlation with knowledge transfer, by seed ({seeds}), and its mean:"),
        "",
        *layout(_correlations(found)),
    ]


def _range(values: Sequence[float], digits: int) -> str:
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _ranges(found: Sequence[Results]) -> list[list[str]]:
    """A line a source: every column between its least and its most."""
    first = found[0]
    shown = {
        name: how
        for name, how in first.columns().items()
        if all(name in results.columns() for results in found)
    }
    table = [
        [
            tables.FIRST_COLUMN.get(first.experiment, "source"),
            "transfer %",
            *(how.title for how in shown.values()),
            "alpha1>1",
        ]
    ]
    for i, row in enumerate(first.rows):
        of = [results.rows[i] for results in found]
        table.append(
            [
                row["source"],
                _range([one["knowledge_transfer"] for one in of], 1),
                *(_range([one[name] for one in of], how.digits) for name, how in shown.items()),
                _range([one["n_alpha1_above_one"] for one in of], 0),
            ]
        )
    return table


def _correlations(found: Sequence[Results]) -> list[list[str]]:
    """A line a quantity: its correlation of each seed with its p, and their mean."""
    of_seed = [results.correlations() for results in found]
    titles = tables.correlated(found[0])
    table = [["", *(f"seed {results.seed}" for results in found), "mean"]]
    for name in of_seed[0]:
        known = [of.get(name) for of in of_seed]
        cells = [
            "n/a" if one is None else f"{one['pearson']:+.2f} (p {one['pearson_p']:.3f})"
            for one in known
        ]
        mean = "n/a"
        if all(one is not None for one in known):
            mean = f"{np.mean([one['pearson'] for one in known if one]):+.2f}"
        table.append([titles[name], *cells, mean])
    return table
