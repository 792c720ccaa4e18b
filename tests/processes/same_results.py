"""Compares what two versions of advknow made: a script.

    python tests/processes/same_results.py runs/before runs/after

Every results.csv, results.json, measure.json, chain.json and weights file below the first folder
must be below the second with the same content, bit for bit, but for times, versions, commands, paths
and what the second has beside. Prints a line a file, exits with 1 where one differs.
"""

import csv
import json
import pathlib
import sys

import numpy as np

IGNORED = {"seconds", "versions", "command", "records", "shown", "source", "target", "checkpoint"}


def differences(before, after, at=""):
    """Where `after` differs from `before`, not counting what is only in `after`."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            # Paths and times at the top; a row's source is its name.
            if at == "" and name in IGNORED and not isinstance(value, dict):
                continue
            if name in ("seconds", "versions"):
                continue
            yield from differences(value, after.get(name), f"{at}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, (a, b) in enumerate(zip(before, after, strict=True)):
            yield from differences(a, b, f"{at}[{i}]")
    elif before != after:
        yield f"{at}: {before!r} -> {after!r}"


def compared(before, after):
    """What differs between two files, as text."""
    if not after.exists():
        return ["is not there"]
    if before.suffix == ".json":
        return list(differences(json.loads(before.read_text()), json.loads(after.read_text())))
    if before.suffix == ".npz":
        with np.load(before) as a, np.load(after) as b:
            return [name for name in a.files if not np.array_equal(a[name], b[name])]
    if before.suffix == ".csv":
        a, b = (list(csv.DictReader(path.read_text().splitlines())) for path in (before, after))
        return list(differences(a, b))
    return [] if before.read_bytes() == after.read_bytes() else ["other bytes"]


def main():
    first, second = (pathlib.Path(folder) for folder in sys.argv[1:3])
    names = ("results.csv", "results.json", "measure.json", "chain.json", "*.npz")
    files = sorted(path for name in names for path in first.rglob(name))
    bad = 0
    for path in files:
        found = compared(path, second / path.relative_to(first))
        bad += bool(found)
        print(f"{path.relative_to(first)}: {'; '.join(found[:3]) if found else 'the same'}")
    print(f"{len(files)} files, {bad} differ")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
