"""What the single commands print, from the content of their files."""

from collections.abc import Mapping
from typing import Any

from advknow.report import answers, tables

MEASURED = (
    "alpha1",
    "alpha2",
    "alpha2_squared",
    "alpha1_alpha2",
    "alpha1_alpha2_squared",
    "n",
    "n_alpha2",
    "n_degenerate",
    "n_alpha1_above_one",
)


def measured(found: Mapping[str, Any]) -> str:
    """The answer; measure.json as a table, a column a direction, norms and squares; the audit."""
    directions = ("source_to_target", "target_to_source")
    rows = [["", *directions]]
    for name in MEASURED:
        values = (found[direction].get(name) for direction in directions)
        rows.append([name, *(tables.number(value, 4) for value in values)])
    answer = tables.wrapped(answers.measure(found).sentence)
    trust = [*tables.audit(found["audit"]), *tables.findings(found.get("findings", {}))]
    return "\n".join([answer, "", *tables.aligned(rows), *tables.hanging(trust)])


def record(found: Mapping[str, Any]) -> str:
    """train.json or finetune.json in lines, without the versions."""
    shown = {name: value for name, value in found.items() if name != "versions"}
    width = max(len(name) for name in shown)
    lines = []
    for name, value in shown.items():
        if isinstance(value, float):
            value = f"{value:.2f}"
        elif isinstance(value, list):
            value = ", ".join(value)
        unit = " %" if name.endswith("accuracy") else ""
        lines.append(f"{name.ljust(width)}  {value}{unit}")
    return "\n".join(lines)
