"""Long records as matrices of targets by sources, which the statistics are of."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from advknow.typing import ArrayLike

# Of many missing pairs a message names so many.
NAMED = 5


class Matrix(NamedTuple):
    """One quantity of every source on every target.

    Attributes:
      values: (T, S) float64, 0 where there is none.
      present: (T, S) booleans: whether the source is ranked for the target.
      targets, sources: their names, T and S.
    """

    values: np.ndarray
    present: np.ndarray
    targets: tuple[str, ...]
    sources: tuple[str, ...]


def _some(pairs: Sequence[tuple[str, str]]) -> str:
    named = "; ".join(f"source {source}, target {target}" for source, target in pairs[:NAMED])
    return named + (f"; and {len(pairs) - NAMED} more" if len(pairs) > NAMED else "")


def from_records(
    records: Iterable[Mapping[str, Any]],
    quantity: str,
    *,
    targets: Sequence[str],
    sources: Sequence[str],
    absent: Collection[tuple[str, str]] = (),
) -> Matrix:
    """The values of one quantity; those of other targets and sources are left out.

    Args:
      records: long records (`advknow.runs.records`), of any quantities, in any order; values may be
        strings, as `csv.DictReader` gives them.
      quantity: which of them.
      targets, sources: names, in the order of the rows and columns.
      absent: pairs (source, target) that are not ranked, because the source has seen the target's
        data; their records, if there are any, are left out.

    Raises:
      ValueError: two records of a pair, a pair without one that is not absent, a value that is no
        finite number, a name that stands twice, an absent pair of unknown names.
    """
    for name, names in (("targets", targets), ("sources", sources)):
        if not names or len(set(names)) != len(names):
            raise ValueError(f"{name}={list(names)!r} must be names, each once.")
    unknown = [pair for pair in absent if pair[0] not in sources or pair[1] not in targets]
    if unknown:
        raise ValueError(f"absent has pairs of unknown names: {_some(unknown)}.")
    rows = {name: i for i, name in enumerate(targets)}
    columns = {name: i for i, name in enumerate(sources)}
    values = np.full((len(targets), len(sources)), np.nan)
    for record in records:
        source, target = record["source"], record["target"]
        if record["quantity"] != quantity or source not in columns or target not in rows:
            continue
        if (source, target) in absent:
            continue
        where = f"{quantity} of source {source} on target {target}"
        at = rows[target], columns[source]
        if not np.isnan(values[at]):
            raise ValueError(f"records hold {where} twice; one value of each pair is needed.")
        try:
            values[at] = float(record["value"])
        except (TypeError, ValueError):
            values[at] = math.nan
        if not math.isfinite(values[at]):
            raise ValueError(f"{where} is {record['value']!r}; a finite number is needed.")
    present = np.ones(values.shape, bool)
    for source, target in absent:
        present[rows[target], columns[source]] = False
    gaps = [(sources[s], targets[t]) for t, s in np.argwhere(present & np.isnan(values))]
    if gaps:
        raise ValueError(
            f"records lack {quantity} of {_some(gaps)}; pairs that are not ranked are to be named "
            "in absent."
        )
    return Matrix(np.where(present, values, 0.0), present, tuple(targets), tuple(sources))


def checked(
    scores: ArrayLike,
    truth: ArrayLike,
    present: ArrayLike | None = None,
    *,
    name: str = "scores",
    least: int = 2,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, truth and present as (T, S) arrays, the values in float64.

    Args:
      scores, truth: (T, S). present: (T, S) booleans, all by default; values elsewhere are ignored.
      name: of the scores, for messages. least: number of sources that each target needs.

    Raises:
      TypeError: present is not boolean. ValueError: other shapes, a value of a present pair that is
        not finite, too few sources, a target whose truth is the same for all of its sources.
    """
    s, y = np.asarray(scores, np.float64), np.asarray(truth, np.float64)
    p = np.ones(y.shape, bool) if present is None else np.asarray(present)
    if p.dtype != bool:
        raise TypeError(f"present has dtype {p.dtype}; booleans are needed.")
    if y.ndim != 2 or s.shape != y.shape or p.shape != y.shape:
        raise ValueError(
            f"{name}, truth and present have shapes {s.shape}, {y.shape} and {p.shape}; one shape, "
            "(targets, sources), is needed."
        )
    for given, array in ((name, s), ("truth", y)):
        bad = np.argwhere(p & ~np.isfinite(array))
        if len(bad):
            t, j = bad[0]
            raise ValueError(
                f"{given} of target {t} and source {j} is {array[t, j]}; {len(bad)} such values. "
                "Finite numbers are needed."
            )
    for t in range(len(y)):
        if p[t].sum() < least:
            raise ValueError(
                f"target {t} has {p[t].sum()} sources; at least {least} are needed to rank."
            )
        if np.ptp(y[t, p[t]]) == 0:
            raise ValueError(
                f"truth of target {t} is {y[t, p[t]][0]:g} for all of its sources: there is no "
                "order to find. Leave the target out, and say so."
            )
    return s, y, p
