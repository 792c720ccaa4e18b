"""What a page shows, as plain records, and the page itself.

A page is one file that asks for nothing: its styles, charts and images are in it, and its content
security policy refuses all else. The only script that may run is the one of the template, known by
its SHA-256; so whatever a class, a file or a model is called, it is text.
"""

import base64
import dataclasses
import hashlib
import pathlib
from typing import ClassVar, NamedTuple

import jinja2
from markupsafe import Markup

from advknow.report.pages.charts import series
from advknow.report.pages.svg import plain


class Cell(NamedTuple):
    """What a cell of a table says, and by what it is sorted: a number, a text, or "" for none."""

    text: str
    value: float | str


def words(text: object) -> Cell:
    """A cell of text."""
    return Cell(str(text), str(text))


def number(
    value: float | None, digits: int, error: float | None = None, *, signed: bool = False
) -> Cell:
    """A cell of a number with so many digits, and its error; n/a of None; an int as it is."""
    if value is None:
        return Cell("n/a", "")
    if isinstance(value, int):
        return Cell(str(value), value)
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return Cell(text if error is None else f"{text} ± {error:.{digits}f}", value)


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of cells under a header; a click on a column sorts by it.

    Attributes:
      folded: whether it is folded away under its caption, which it then needs.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    folded: bool = False
    kind: ClassVar[str] = "table"


@dataclasses.dataclass(frozen=True)
class Charts:
    """Charts beside each other, each with its caption, and one legend of their series.

    Attributes:
      charts: of `charts`, and what is said below each.
      legend: names, the first of series 0.
    """

    charts: tuple[tuple[Markup, str], ...]
    legend: tuple[str, ...] = ()
    kind: ClassVar[str] = "charts"

    @property
    def signs(self) -> list[tuple[str, str, str]]:
        """Name, sign and colour of each entry of the legend."""
        found = [(name, series(i)) for i, name in enumerate(self.legend)]
        return [(name, looks.sign, looks.css) for name, looks in found]


class Box(NamedTuple):
    """A box of the paper's picture: its title, its lines, and "adversarial", "theory" or
    "knowledge", whose colour it has.
    """

    title: str
    lines: tuple[str, ...]
    side: str


class Arrow(NamedTuple):
    """Between two boxes: what stands above and below; whether it points both ways."""

    above: str
    below: tuple[str, ...] = ()
    both_ways: bool = True


@dataclasses.dataclass(frozen=True)
class Picture:
    """The paper's picture with measured numbers: boxes, and an arrow between each two."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    kind: ClassVar[str] = "picture"

    def __post_init__(self) -> None:
        if len(self.arrows) != len(self.boxes) - 1:
            raise ValueError(
                f"{len(self.boxes)} boxes have {len(self.arrows)} arrows; one between each two is "
                "needed."
            )


class Example(NamedTuple):
    """One example of a gallery.

    Attributes:
      images: (what it is, data URI) of each.
      lines: what is said of it.
      predictions: (model, before, after).
    """

    images: tuple[tuple[str, str], ...]
    lines: tuple[str, ...]
    predictions: tuple[tuple[str, str, str], ...]


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples of one carried attack, under a title."""

    title: str
    examples: tuple[Example, ...]
    kind: ClassVar[str] = "examples"


@dataclasses.dataclass(frozen=True)
class Facts:
    """Pairs of a name and what it is."""

    facts: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "facts"


@dataclasses.dataclass(frozen=True)
class Lines:
    """Sentences, one below the other; as a list where there are several."""

    lines: tuple[str, ...]
    kind: ClassVar[str] = "lines"


@dataclasses.dataclass(frozen=True)
class Listing:
    """Text as it is in a file, folded away under a title."""

    title: str
    text: str
    kind: ClassVar[str] = "listing"


Part = Table | Charts | Picture | Examples | Facts | Lines | Listing


class Section(NamedTuple):
    """A heading and what stands below it."""

    title: str
    parts: tuple[Part, ...]


class Page(NamedTuple):
    """A page.

    Attributes:
      title: of the run.
      question, answer: what was asked, and the answer in one sentence.
      following: what to do next: why, and a command or "".
      sections: in their order; one without a part is left out.
    """

    title: str
    question: str
    answer: str
    following: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]


def render(page: Page) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: plain_lines(value) if isinstance(value, str) else value,
    )
    script = environment.get_template("sort.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        page=page, script=Markup(script), script_hash=f"sha256-{digest}"
    )


def plain_lines(text: str) -> str:
    """The text without control characters but the ends of lines; markup stays as it is."""
    if isinstance(text, Markup):
        return text
    return "\n".join(plain(line) for line in text.split("\n"))
