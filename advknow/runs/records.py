"""Long records: a line a number, so that results of any runs can be put together.

source, target, quantity, value, standard_error, n
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

RECORD = ("source", "target", "quantity", "value", "standard_error", "n")


def long_records(
    row: Mapping[str, Any], *, target: str, counts: Mapping[str, int]
) -> list[dict[str, Any]]:
    """The row as long records: one for each number that is not None.

    Args:
      row: with the key "source"; NAME_se becomes the standard error of NAME.
      target: the target's name.
      counts: n of the columns that become records, by name: examples or draws.
    """
    return [
        {
            "source": row["source"],
            "target": target,
            "quantity": name,
            "value": row[name],
            "standard_error": row.get(f"{name}_se"),
            "n": n,
        }
        for name, n in counts.items()
        if row.get(name) is not None and not name.endswith("_se") and name != "n"
    ]


def to_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """The rows as CSV, the columns of the first row by default; empty where there is no value."""
    names = list(rows[0]) if columns is None else list(columns)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n", extrasaction="raise")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
