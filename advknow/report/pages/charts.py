"""The pages' charts, of plain arrays: each returns an <svg> element with titles on hover.

against     points with error bars
intervals   a value and its interval a row, such as ranks
forest      the same of many about zero, in few groups
spread      how values are distributed, a row a group
curves      lines, such as those of a training
heat_map    a matrix with its numbers

They are matplotlib's SVG: it is installed with advknow anyway, needs no script in the page (a page
that may run none shows it, and so does a printer), and its colours can be the page's (`svg`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from advknow.report.pages import svg
from advknow.report.pages.svg import FAINT, INK, MUTED, PAPER, SERIES, plain

# Of matplotlib, and the same for a legend in words.
_MARKERS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"))
# Characters of a name at an axis; its title has all.
_LONGEST, _LONGEST_OF_MANY = 26, 40
_BINS = 32
_MOST_MARKERS = 20
# More columns than this, and the numbers of a heat map would be too small to read.
_NUMBERED = 12


class Series(NamedTuple):
    """How one of several things looks in all charts of a page.

    Attributes:
      colour: in a figure. marker: of matplotlib. sign: the marker in text. css: the colour there.
    """

    colour: str
    marker: str
    sign: str
    css: str


def series(i: int) -> Series:
    """The looks of number i: 49 different ones, of seven colours and seven markers."""
    colour = i % len(SERIES)
    marker, sign = _MARKERS[(i + i // len(SERIES)) % len(_MARKERS)]
    return Series(SERIES[colour], marker, sign, f"series-{colour}")


def _short(name: object, longest: int = _LONGEST) -> str:
    text = plain(name)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _drawn(
    draw: Callable[[Axes, dict[str, str]], None], label: str, *, width: float, height: float
) -> Markup:
    """A figure of one axes, drawn in the page's style; `draw` fills the titles."""
    with matplotlib.rc_context(svg.STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        titles: dict[str, str] = {}
        draw(figure.subplots(), titles)
        return svg.inline(figure, label, titles)


def _same_length(**arrays: Any) -> None:
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{lengths}: one length is needed.")


def against(
    x: Sequence[float],
    y: Sequence[float],
    *,
    names: Sequence[str],
    x_label: str,
    y_label: str,
    x_error: Sequence[float | None] | None = None,
    y_error: Sequence[float | None] | None = None,
) -> Markup:
    """Points with bars of ± one error; a point's title has its name and numbers.

    Args:
      x, y, x_error, y_error: (K,); an error that is None has no bar. names: of the points, K.
      x_label, y_label: of the axes.
    """
    _same_length(x=x, y=y, names=names, x_error=x_error, y_error=y_error)
    errors = [[None] * len(x) if e is None else list(e) for e in (x_error, y_error)]

    def draw(axes: Axes, titles: dict[str, str]) -> None:
        for i, name in enumerate(names):
            looks, (of_x, of_y) = series(i), (e[i] for e in errors)
            line, caps, bars = axes.errorbar(
                x[i], y[i], xerr=of_x, yerr=of_y, fmt=looks.marker, color=looks.colour, capsize=3
            )
            line.set(markersize=8, markeredgecolor=PAPER, markeredgewidth=0.8)
            title = (
                f"{name}: {x_label} {_with_error(x[i], of_x)}, {y_label} {_with_error(y[i], of_y)}"
            )
            for part, artist in enumerate((line, *caps, *bars)):
                artist.set_gid(f"mark-{i}-{part}")
                titles[f"mark-{i}-{part}"] = title
        axes.set_xlabel(plain(x_label))
        axes.set_ylabel(plain(y_label))
        axes.margins(0.08)

    return _drawn(draw, f"{y_label} against {x_label}", width=4.0, height=3.1)


def responses(
    settings: Sequence[str],
    lines: Mapping[int, Sequence[tuple[float, float, float]]],
    *,
    names: Sequence[str],
    x_label: str,
    y_label: str,
) -> Markup:
    """What a setting does: a point with its interval for each setting, joined by a line a series.

    Args:
      settings: in the order of the axis, K. lines: mean, low and high (K,) by number of series.
      names: of the series, by number. x_label, y_label: of the axes.
    """
    for of in lines.values():
        _same_length(settings=settings, of=of)

    def draw(axes: Axes, titles: dict[str, str]) -> None:
        for i, of in lines.items():
            looks, places = series(i), range(len(settings))
            axes.plot(places, [mean for mean, _, _ in of], "-", color=looks.colour, linewidth=1)
            for k, (mean, low, high) in enumerate(of):
                (bar,) = axes.plot((k, k), (low, high), "-", color=looks.colour, linewidth=2)
                (point,) = axes.plot(k, mean, looks.marker, color=looks.colour, markersize=6)
                for part, artist in enumerate((bar, point)):
                    artist.set_gid(f"mark-{i}-{k}-{part}")
                    titles[f"mark-{i}-{k}-{part}"] = (
                        f"{names[i]}, {x_label} {settings[k]}: {_number(mean)}, from "
                        f"{_number(low)} to {_number(high)}"
                    )
        axes.set_xticks(range(len(settings)), [plain(name) for name in settings])
        axes.set_xlabel(plain(x_label))
        axes.set_ylabel(plain(y_label))
        axes.margins(0.08)

    return _drawn(draw, f"{y_label} against {x_label}", width=4.0, height=2.8)


def _with_error(value: float, error: float | None) -> str:
    return _number(value) if error is None else f"{_number(value)} ± {_number(error)}"


def _rows(axes: Axes, names: Sequence[str], label: str, longest: int = _LONGEST) -> None:
    """A row a name, the first on top."""
    axes.set_yticks(range(len(names)), [_short(name, longest) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.75)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(plain(label))


def intervals(
    values: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    names: Sequence[str],
    label: str,
    whole: bool = False,
) -> Markup:
    """A value with its interval a row, such as the rank of a source.

    Args:
      values, low, high: (K,). names: of the rows, K. label: of the numbers.
      whole: the axis has whole numbers alone.
    """
    _same_length(values=values, low=low, high=high, names=names)

    def draw(axes: Axes, titles: dict[str, str]) -> None:
        for i, name in enumerate(names):
            title = _interval(axes, i, series(i), name, values[i], low[i], high[i], size=9)
            titles |= dict.fromkeys((f"mark-{i}-0", f"mark-{i}-1"), title)
        _rows(axes, names, label)
        # More ticks, and long numbers run into each other.
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5 if not whole else "auto", integer=whole))

    return _drawn(draw, f"{label}, with intervals", width=5.4, height=0.9 + 0.38 * len(names))


def _interval(
    axes: Axes, i: int, looks: Series, name: str, value: float, low: float, high: float, size: float
) -> str:
    """Draws row i, whose bar and point are mark-i-0 and mark-i-1; returns their title."""
    (bar,) = axes.plot((low, high), (i, i), "-", color=looks.colour, linewidth=size / 3)
    (point,) = axes.plot(value, i, looks.marker, color=looks.colour, markersize=size)
    point.set(markeredgecolor=PAPER, markeredgewidth=0.8)
    for part, artist in enumerate((bar, point)):
        artist.set_gid(f"mark-{i}-{part}")
    return f"{name}: {_number(value)}, from {_number(low)} to {_number(high)}"


def forest(
    values: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    names: Sequence[str],
    groups: Sequence[int],
    limits: tuple[float, float],
    label: str,
) -> Markup:
    """Many values with their intervals about zero, a row each, such as effects of several studies.

    Args:
      values, low, high: (K,). names: of the rows, K. label: of the numbers.
      groups: (K,), the number of the series that a row looks like.
      limits: of the axis, one for several such charts.
    """
    _same_length(values=values, low=low, high=high, names=names, groups=groups)

    def draw(axes: Axes, titles: dict[str, str]) -> None:
        axes.axvline(0, color=MUTED, linewidth=1)
        for i, name in enumerate(names):
            looks = series(groups[i])
            title = _interval(axes, i, looks, name, values[i], low[i], high[i], size=7)
            titles |= dict.fromkeys((f"mark-{i}-0", f"mark-{i}-1"), title)
        _rows(axes, names, label, longest=_LONGEST_OF_MANY)
        axes.set_xlim(*limits)

    return _drawn(draw, f"{label}, with intervals", width=4.8, height=0.9 + 0.24 * len(names))


def spread(groups: Mapping[str, np.ndarray], *, label: str) -> Markup:
    """How the values of each group are distributed: a histogram, its median and its quantiles.

    Args:
      groups: name -> (n,) values, NaN left out; a group without a value has an empty row.
      label: of the values.
    """
    finite = {name: np.asarray(v, np.float64) for name, v in groups.items()}
    finite = {name: v[np.isfinite(v)] for name, v in finite.items()}
    every = np.concatenate([*finite.values(), np.zeros(0)])
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)

    def draw(axes: Axes, titles: dict[str, str]) -> None:
        for i, (name, values) in enumerate(finite.items()):
            if not len(values):
                continue
            colour = series(i).colour
            counts, _ = np.histogram(values, edges)
            heights = i - 0.7 * counts / counts.max()
            filled = axes.stairs(heights, edges, baseline=i, fill=True, color=colour, alpha=0.35)
            at = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
            (thin,) = axes.plot(at[[0, 4]], (i, i), "-", color=colour, linewidth=1.5)
            (thick,) = axes.plot(at[[1, 3]], (i, i), "-", color=colour, linewidth=5)
            (middle,) = axes.plot(at[2], i, "o", color=INK, markersize=5)
            title = (
                f"{name}: median {_number(at[2])}, half of them from {_number(at[1])} to "
                f"{_number(at[3])}, nine in ten from {_number(at[0])} to {_number(at[4])}, "
                f"n = {len(values)}"
            )
            for part, artist in enumerate((filled, thin, thick, middle)):
                artist.set_gid(f"mark-{i}-{part}")
                titles[f"mark-{i}-{part}"] = title
        _rows(axes, list(finite), label)

    return _drawn(draw, f"How {label} spreads", width=4.8, height=0.9 + 0.5 * len(finite))


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
    logarithmic: bool = False,
) -> Markup:
    """Lines, each with its name as title.

    Args:
      lines: name -> (x, y), of one length. x_label, y_label: of the axes.
      logarithmic: whether y is; where a value is not above 0, it is not.
    """

    def draw(axes: Axes, titles: dict[str, str]) -> None:
        for i, (name, (x, y)) in enumerate(lines.items()):
            _same_length(x=x, y=y)
            looks = series(i)
            (line,) = axes.plot(
                x,
                y,
                marker=looks.marker,
                # Of hundreds of points the markers would hide the line.
                markevery=-(-len(x) // _MOST_MARKERS) or 1,
                color=looks.colour,
                markersize=3.5,
                linewidth=1.5,
            )
            line.set_gid(f"mark-{i}")
            titles[f"mark-{i}"] = f"{name}: {y_label} {_number(y[0])} to {_number(y[-1])}"
        shown = [value for _, y in lines.values() for value in y]
        if logarithmic and shown and min(shown) > 0:
            axes.set_yscale("log")
            # Within two decades powers of ten alone would leave one tick, or none.
            between = (1.0, 2.0, 5.0) if max(shown) < 100 * min(shown) else (1.0,)
            axes.yaxis.set_major_locator(LogLocator(subs=between))
            # The usual ticks are formulas.
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(plain(x_label))
        axes.set_ylabel(plain(y_label))

    return _drawn(draw, f"{y_label} by {x_label}", width=4.0, height=2.8)


def heat_map(
    values: Sequence[Sequence[float | None]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    label: str,
    row_label: str = "",
    column_label: str = "",
    signed: bool = False,
) -> Markup:
    """A matrix, a cell a number; a cell's title has the names of its row and column.

    Args:
      values: (R, C); None or NaN for a cell that is not known, which stays empty.
      rows, columns: names, R and C. label: of the numbers.
      row_label, column_label: of the axes.
      signed: whether colours are symmetric about 0.
    """
    _same_length(values=values, rows=rows)
    for row in values:
        _same_length(row=row, columns=columns)
    known = [v for row in values for v in row if v is not None and math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if signed:
        high = max(abs(low), abs(high))
        low = -high
    colours = colormaps["RdBu_r" if signed else "viridis"]

    def draw(axes: Axes, titles: dict[str, str]) -> None:
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                gid = f"cell-{i}-{j}"
                place = f"{rows[i]}, {columns[j]}"
                if value is None or not math.isfinite(value):
                    titles[gid] = f"{place}: not known"
                    cell = Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="none", edgecolor=FAINT)
                    axes.add_patch(cell).set_gid(gid)
                    continue
                titles[gid] = f"{place}: {_number(value)}"
                colour = colours((value - low) / (high - low) if high > low else 0.5)
                cell = Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=colour, edgecolor=PAPER)
                axes.add_patch(cell).set_gid(gid)
                if len(columns) <= _NUMBERED:
                    bright = float(np.dot(colour[:3], (0.299, 0.587, 0.114))) > 0.5
                    ink = "#000000" if bright else "#ffffff"
                    text = axes.text(
                        j, i, f"{value:.2g}", color=ink, ha="center", va="center", fontsize=8
                    )
                    text.set_gid(f"{gid}-number")
                    titles[f"{gid}-number"] = titles[gid]
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), [_short(name) for name in columns])
        if max(map(len, map(_short, columns)), default=0) > 2:
            for text in axes.get_xticklabels():
                text.set(rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(rows)), [_short(name, _LONGEST_OF_MANY) for name in rows])
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(plain(column_label))
        axes.set_ylabel(plain(row_label))
        axes.set_title(plain(label), color=MUTED)

    side = 0.52 if len(columns) <= _NUMBERED else 0.42
    # In inches: cells, the names beside or below them, the axis labels.
    beside = max((len(_short(name, _LONGEST_OF_MANY)) for name in rows), default=0)
    below = max((len(_short(name)) for name in columns), default=0)
    width, height = 0.8 + 0.075 * beside + side * len(columns), 0.9 + 0.06 * below
    return _drawn(draw, f"{label}: a matrix", width=width, height=height + 0.8 * side * len(rows))
