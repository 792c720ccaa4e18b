"""Times of several ways of doing the same work: interleaved, so that a busy machine meets all."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from advknow.typing import Progress


class Work(NamedTuple):
    """A way of doing a stage: `run()` does `share` of it (1 = all) and waits for the result."""

    run: Callable[[], Any]
    share: float = 1.0


class Row(NamedTuple):
    """One comparison.

    Attributes:
      stage, model: what. against: who does the same.
      ratio: median over the repeats of their seconds over ours; above 1 ours is faster.
      spread: (largest - smallest ratio of a repeat) / ratio.
      seconds: median of ours. other_seconds: of theirs, for the whole stage.
      share: of the stage that they did, from which other_seconds is scaled; 1 = all.
      repeats: how many.
    """

    stage: str
    model: str
    against: str
    ratio: float
    spread: float
    seconds: float
    other_seconds: float
    share: float
    repeats: int


def _seconds(work: Work) -> float:
    start = time.perf_counter()
    work.run()
    return (time.perf_counter() - start) / work.share


def compare(
    stage: str,
    model: str,
    ours: Work,
    others: Mapping[str, Work],
    *,
    repeats: int,
    progress: Progress | None = None,
) -> list[Row]:
    """A row for each of the others.

    Every way is run once beforehand (compilation, pages, thread pools) and then `repeats` times in
    turn, ours before each of the others, so that a ratio is of neighbours in time.
    """
    for work in (ours, *others.values()):
        work.run()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in others}
    for i in range(repeats):
        for name, work in others.items():
            found[name].append((_seconds(ours), _seconds(work)))
        if progress is not None:
            progress(f"{stage} {model}", i + 1, repeats)
    return [
        row(stage, model, name, pairs, share=others[name].share) for name, pairs in found.items()
    ]


def row(
    stage: str, model: str, against: str, pairs: list[tuple[float, float]], *, share: float = 1.0
) -> Row:
    """The row of (our seconds, their seconds) a repeat."""
    ratios = [other / own for own, other in pairs]
    ratio = statistics.median(ratios)
    return Row(
        stage,
        model,
        against,
        ratio=ratio,
        spread=(max(ratios) - min(ratios)) / ratio,
        seconds=statistics.median(own for own, _ in pairs),
        other_seconds=statistics.median(other for _, other in pairs),
        share=share,
        repeats=len(pairs),
    )


def table(rows: list[Row]) -> str:
    """The rows as text."""
    head = ("stage", "model", "against", "ratio", "spread", "ours s", "theirs s", "share")
    cells = [head] + [
        (
            r.stage,
            r.model,
            r.against,
            f"{r.ratio:.2f}",
            f"{r.spread:.0%}",
            f"{r.seconds:.3g}",
            f"{r.other_seconds:.3g}",
            f"{r.share:.3g}",
        )
        for r in rows
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
