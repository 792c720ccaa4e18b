"""A matplotlib figure as SVG inside a page: colours of the page, titles on hover, no request.

Figures are drawn in the colours of `PAINT`, which stand for the page's own: they follow its light,
dark and printed form. Text stays text. An artist with a gid that has a title shows it on hover.
"""

import io
import zlib
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
# What a colour in a figure stands for: custom properties of template.html.
PAINT = {
    "#010203": "var(--ink)",
    "#040506": "var(--muted)",
    "#070809": "var(--faint)",
    "#0a0b0c": "var(--paper)",
    **{f"#0d0e1{i}": f"var(--series-{i})" for i in range(7)},
}
INK, MUTED, FAINT, PAPER = list(PAINT)[:4]
SERIES = tuple(list(PAINT)[4:])
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "advknow",
    # Names are no formulas.
    "text.parse_math": False,
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}


def plain(text: object) -> str:
    """The text without what no XML may hold: control characters become U+FFFD."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(text))


def _coloured(style: str) -> str:
    for drawn, meant in PAINT.items():
        style = style.replace(drawn, meant)
    return style


def inline(figure: Figure, label: str, titles: Mapping[str, str]) -> Markup:
    """The figure as an <svg> element that scales to its place.

    Args:
      figure: drawn and saved under `STYLE`.
      label: what it shows, for those who do not see it.
      titles: what the artists of these gids show on hover.
    """
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(
        buffer, metadata={"Date": None, "Creator": None, "Type": None, "Format": None}
    )
    text = buffer.getvalue()
    # Ids are unique in a page of several figures.
    prefix = f"f{zlib.crc32((label + text).encode()):08x}-"
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{SVG}style", f"{SVG}metadata") or "metadata" in child.tag:
                parent.remove(child)
    for element in root.iter():
        _inside(element, prefix, titles)
    _, _, width, height = root.get("viewBox", "0 0 1 1").split()
    for name in list(root.keys()):
        del root.attrib[name]
    root.attrib |= {
        "viewBox": f"0 0 {width} {height}",
        "class": "chart",
        "role": "img",
        "aria-label": plain(label),
        "style": f"max-width: {1.35 * float(width):.0f}px",
    }
    # Inside HTML no prefix is needed: the parser knows <svg>.
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _inside(element: ElementTree.Element, prefix: str, titles: Mapping[str, str]) -> None:
    """One element in the page's colours, with ids of its own and its title."""
    if "style" in element.attrib:
        element.set("style", _coloured(element.attrib["style"]))
    for name, value in list(element.attrib.items()):
        if name == f"{XLINK}href":
            del element.attrib[name]
            element.set("href", value.replace("#", f"#{prefix}", 1))
        elif "url(#" in value:
            element.set(name, value.replace("url(#", f"url(#{prefix}"))
    found = element.get("id")
    if found is None:
        return
    element.set("id", prefix + found)
    if found in titles:
        element.set("class", "mark")
        title = ElementTree.Element(f"{SVG}title")
        title.text = plain(titles[found])
        element.insert(0, title)
