"""report.html: a page for every run, made from the files of its workdir alone.

    write("runs/adv2know-digits")  # -> runs/adv2know-digits/report.html

page        what a page shows, as records, and its HTML (page.html, sort.js)
charts, svg what is drawn, of plain arrays
parts       what pages of several kinds have
experiment, measure, chain, synthetic, matrix, ranking, evidence, control   one kind of run each

A kind is a module with FILE, the name of the file that its runs end with; fits(content), whether
that file is of this kind; and page(content, folder). A new one is one such file and its name in
`KINDS`.
"""

import html as markup
import pathlib

from advknow import validate
from advknow.report.pages import (
    chain,
    control,
    evidence,
    experiment,
    matrix,
    measure,
    ranking,
    synthetic,
)
from advknow.report.pages.page import render
from advknow.runs import files

KINDS = (synthetic, experiment, measure, chain, matrix, ranking, evidence, control)
FILE = "report.html"


def html(workdir: str | pathlib.Path) -> str:
    """The page of the finished run in that folder.

    Raises:
      FileNotFoundError: it holds no finished run of a known kind, and names the files looked for;
        or a study that lacks sources, and says how it goes on.
      ValueError: its file is damaged, of another program or of a version that no page can show.
    """
    folder = pathlib.Path(workdir)
    names = dict.fromkeys(kind.FILE for kind in KINDS)
    there = [name for name in names if (folder / name).is_file()]
    if not there:
        raise FileNotFoundError(
            f"workdir={str(workdir)!r} holds no finished run: none of {', '.join(names)}."
        )
    path = folder / there[0]
    content = files.read_json(path, cure="remove it, or choose another workdir")
    kind = next((kind for kind in KINDS if path.name == kind.FILE and kind.fits(content)), None)
    if kind is None:
        raise ValueError(
            f"{path} is of no kind that a page can show; {path.name} of this version of advknow is "
            "needed."
        )
    try:
        return render(kind.page(content, folder))
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path} and what lies beside it cannot be shown ({type(error).__name__}: {error}): of "
            "another version of advknow, or changed; run it again into another workdir."
        ) from error


def write(workdir: str | pathlib.Path) -> pathlib.Path:
    """Writes report.html into the folder, atomic; returns where it is.

    Raises:
      FileNotFoundError, ValueError: as `html`. OSError: it cannot be written.
    """
    path = pathlib.Path(workdir) / FILE
    files.write_atomically(path, html(workdir))
    return path


def framed(workdir: str | pathlib.Path, *, height: int = 720) -> str:
    """`html` in a frame of its own, so that neither its style nor a notebook's reaches the other.

    Args:
      workdir: as `html`.
      height: of the frame, in pixels; the page scrolls in it.

    Returns:
      HTML for a notebook's `IPython.display.HTML`; it asks for no file and no server.

    Raises:
      FileNotFoundError, ValueError: as `html`.
    """
    validate.integer("height", height, minimum=1)
    style = f"width: 100%; height: {height}px; border: 1px solid #8886"
    return f'<div><iframe srcdoc="{markup.escape(html(workdir))}" style="{style}"></iframe></div>\n'
