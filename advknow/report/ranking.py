"""What ranking.json says: the order, then each source, then each score; ranks as a picture."""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from advknow.report import tables
from advknow.report.figures import COLOURS


def of_score(found: Mapping[str, Any], score: str) -> list[dict[str, Any]]:
    """The rows of one score, the best source first."""
    return [row for row in found["rows"] if row["score"] == score]


def text(found: Mapping[str, Any]) -> str:
    """For a terminal: the answer, the sources by that score, all scores, what is left out."""
    by = found["by"]
    title, target = found["titles"][by], pathlib.PurePath(found["target"]).name
    rows = [["source", "rank", "interval", "best", title], *map(_cells, of_score(found, by))]
    lines = [
        tables.wrapped(f"{found['sentence']}: by {title}, for {target}."),
        "",
        *tables.aligned(rows),
        tables.wrapped(
            f"n = {found['n']} labelled images. All intervals together hold the true ranks with "
            f"{100 * found['level']:g} %."
        ),
        "best: share of half-samples in which the source is first.",
        "",
        "By each score (x > y: told apart; x or y: not, or not all):",
    ]
    width = max(len(title) for title in found["titles"].values())
    lines += [
        tables.wrapped(f"  {found['titles'][s].ljust(width)}  {_brief(said)}", hanging=width + 4)
        for s, said in found["sentences"].items()
    ]
    rest = [*left_out(found), *filter(None, [found["trust"]]), *tables.audit(found["audit"])]
    return "\n".join([*lines, "", *tables.hanging(rest)])


def _brief(sentence: str) -> str:
    """Without what is said once for all scores."""
    return re.sub(r" \((cannot|not all|all) [^()]*\)", "", sentence).replace(", then ", " > ")


def _cells(row: Mapping[str, Any]) -> list[str]:
    error = row["standard_error"]
    return [
        row["source"],
        f"{row['rank']:g}",
        "n/a" if row["rank_low"] is None else f"{row['rank_low']} to {row['rank_high']}",
        "n/a" if row["best"] is None else f"{100 * row['best']:.0f} %",
        f"{row['value']:.4g}" if error is None else f"{row['value']:.4g} ± {error:.2g}",
    ]


def left_out(found: Mapping[str, Any]) -> list[str]:
    """Why scores are left out: a line a reason and set of sources."""
    reasons: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    whole = tuple(found["sources"])
    by_score: dict[tuple[str, str], list[str]] = {}
    for row in found["left_out"]:
        by_score.setdefault((row["score"], row["why"]), []).append(row["source"])
    for (score, why), sources in by_score.items():
        reasons.setdefault((why, tuple(sources)), []).append(score)
    return [
        f"left out{'' if sources == whole else ' of ' + ', '.join(sources)}: {_few(scores)} ({why})"
        for (why, sources), scores in reasons.items()
    ]


def _few(scores: list[str], most: int = 4) -> str:
    """Their names, of many the first; ranking.json has all."""
    if len(scores) <= most:
        return ", ".join(scores)
    return f"{', '.join(scores[:most])} and {len(scores) - most} more"


def figure(found: Mapping[str, Any]) -> Figure:
    """A row a source: its rank by the first score with its interval, and by every other score."""
    by, scores = found["by"], list(found["titles"])
    first = of_score(found, by)
    names = [row["source"] for row in first] + [
        name for name in found["sources"] if name not in {row["source"] for row in first}
    ]
    height = 1.6 + 0.35 * len(names)
    drawn = Figure(figsize=(5.0 + 0.33 * len(scores), max(height, 3.4)), layout="constrained")
    FigureCanvasAgg(drawn)
    ranks, everything = drawn.subplots(1, 2, width_ratios=[3.0, 0.33 * len(scores)])
    for k, row in enumerate(first):
        low, high = row["rank_low"], row["rank_high"]
        if low is not None:
            ranks.plot([low, high], [k, k], color=COLOURS[0], linewidth=5, alpha=0.35)
        ranks.plot(row["rank"], k, "o", color=COLOURS[0])
    ranks.set_yticks(range(len(names)), names, parse_math=False)
    ranks.set_xticks(range(1, len(names) + 1))
    ranks.set_xlim(0.5, len(names) + 0.5)
    ranks.invert_yaxis()
    ranks.set_xlabel("rank, 1 is best")
    ranks.set_title(f"{found['titles'][by]}, n = {found['n']}", fontsize=10)
    ranks.grid(alpha=0.25)
    table = [[float("nan")] * len(scores) for _ in names]
    for row in found["rows"]:
        table[names.index(row["source"])][scores.index(row["score"])] = row["rank"]
    everything.imshow(table, cmap="viridis_r", vmin=1, vmax=len(names), aspect="auto")
    for k, of_source in enumerate(table):
        for i, rank in enumerate(of_source):
            if rank == rank:
                light = rank > 0.6 * len(names)
                everything.text(
                    i,
                    k,
                    f"{rank:g}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="black" if not light else "white",
                )
    everything.set_xticks(
        range(len(scores)), [found["titles"][s] for s in scores], rotation=90, fontsize=7
    )
    everything.set_yticks([])
    everything.set_title("rank by every score", fontsize=10)
    return drawn
