"""The study's long records: a line a number, and several files of them put together.

source, target, quantity, value, standard_error, n   as all long records
zoo, relation, labels, draw, reference, attack       the setup, "" where a part has no meaning

target: "" of what is the source's alone. relation: near or far. labels: images a class. reference:
seed of the target's reference model, or "few" for the one that saw the labelled images alone.
value: "" where a score is not defined for a source; never NaN.
"""

import csv
import gzip
import io
import math
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from advknow.evidence.design import Source, Target
from advknow.runs import files
from advknow.runs.records import RECORD, to_csv
from advknow.runs.session import Session

SETUP = ("zoo", "relation", "labels", "draw", "reference", "attack")
COLUMNS = (*RECORD, *SETUP)
FILE = "evidence.csv"
# Digits of a value that are kept: float32's, and a file of a few MB.
DIGITS = 7

Record = dict[str, Any]


def record(
    source: Source,
    target: Target | None,
    quantity: str,
    value: float | None,
    *,
    n: int,
    labels: int | str = "",
    draw: int | str = "",
    reference: str = "",
    attack: str = "",
) -> Record:
    """One line.

    Args:
      source, target: of what; None for what is the source's alone.
      quantity: its name. value: None where it is not defined. n: examples that it is of.
      labels, draw, reference, attack: the setup.

    Raises:
      ValueError: NaN or infinity.
    """
    if value is not None:
        value = float(value)
        if not math.isfinite(value):
            where = "" if target is None else f" on target {target.name}"
            raise ValueError(f"{quantity} of source {source.name}{where} is {value}.")
        value = float(f"{value:.{DIGITS}g}")
    return {
        "source": source.name,
        "target": "" if target is None else target.name,
        "quantity": quantity,
        "value": "" if value is None else value,
        "standard_error": "",
        "n": n,
        "zoo": source.zoo,
        "relation": "" if target is None else target.relation(source),
        "labels": labels,
        "draw": draw,
        "reference": reference,
        "attack": attack,
    }


def kept(session: Session, stage: str, name: str, make: Callable[[], list[Record]]) -> list[Record]:
    """The records of one piece of work, made where the workdir has none; then a stop is heeded.

    Args:
      session: of the run. stage: kind of work. name: of the piece, in records/STAGE/.

    Raises:
      unfinished.StoppedError: `stop` asked for it, after the records are written.
    """
    assert session.folder is not None
    path = path_of(session, stage, name)
    if path.exists():
        return files.read_json(path, "records")["records"]
    path.parent.mkdir(parents=True, exist_ok=True)
    found = make()
    files.write_json(path, {"records": found})
    heed_stop(session)
    return found


def path_of(session: Session, stage: str, name: str) -> pathlib.Path:
    """Where the records of one piece of work are in the workdir."""
    assert session.folder is not None
    return session.folder / "records" / stage / f"{name.replace(' ', '_')}.json"


def heed_stop(session: Session) -> None:
    """Raises unfinished.StoppedError where a stop is asked for; what is done is in files."""
    session.unfinished.save("evidence", dict, {})


def gathered(workdir: pathlib.Path) -> list[Record]:
    """All records of a workdir, whichever shards they are of."""
    paths = sorted((workdir / "records").rglob("*.json"))
    return ordered(r for path in paths for r in files.read_json(path, "records")["records"])


def _key(of: Record) -> tuple[str, ...]:
    """What a record is of; two of one key are one number."""
    return tuple(str(of[name]) for name in ("source", "target", "quantity", *SETUP))


def ordered(records: Iterable[Record]) -> list[Record]:
    """The records in one order, each once: of whatever shards, merged.

    Raises:
      ValueError: two values of one number.
    """
    found: dict[tuple[str, ...], Record] = {}
    for one in records:
        key = _key(one)
        if key in found and str(found[key]["value"]) != str(one["value"]):
            raise ValueError(
                f"two records of {' / '.join(filter(None, key))}: {found[key]['value']} and "
                f"{one['value']}; shards of one study, made on one machine, are needed."
            )
        found.setdefault(key, one)
    return [found[key] for key in sorted(found)]


def write(records: Sequence[Record], path: pathlib.Path) -> None:
    """evidence.csv, or evidence.csv.gz, atomically; of the same bytes each time."""
    text = to_csv(records, COLUMNS)
    if path.suffix == ".gz":
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed:
            packed.write(text.encode())
        files.write_atomically(path, buffer.getvalue())
    else:
        files.write_atomically(path, text)


def read(paths: Iterable[str | pathlib.Path]) -> list[Record]:
    """The records of several files put together, .csv or .csv.gz.

    Raises:
      FileNotFoundError: one is not there. ValueError: a file of other columns, a value that is no
        number, two values of one number.
    """
    return ordered(one for path in paths for one in _read(pathlib.Path(path).expanduser()))


def _read(path: pathlib.Path) -> list[Record]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path} has the columns {reader.fieldnames}; {COLUMNS} are needed.")
        found = [dict(row) for row in reader]
    for row in found:
        try:
            row["n"] = int(row["n"])
            row["value"] = "" if row["value"] == "" else float(row["value"])
            for name in ("labels", "draw"):
                row[name] = "" if row[name] == "" else int(row[name])
        except ValueError as error:
            raise ValueError(f"{path}: {row}: {error}.") from error
        if row["value"] != "" and not math.isfinite(row["value"]):
            raise ValueError(f"{path}: {row}: a finite value is needed.")
    return found
