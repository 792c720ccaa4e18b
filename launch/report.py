"""Shows a finished run again: its table, its figure, or its page.

python -m launch.report --workdir=runs/adv2know-digits --format=markdown
python -m launch.report --workdir=runs/adv2know-digits --format=html
python -m launch.report --workdir=runs/a,runs/b,runs/c  # of one experiment at several seeds

Text and Markdown are of adv2know and know2adv, text also of evidence: every table of every
question. html writes report.html, of any kind of run.
"""

import pathlib
from typing import TYPE_CHECKING

from absl import flags

from launch import app

if TYPE_CHECKING:
    from advknow.experiments.results import Results

WORKDIR = flags.DEFINE_list(
    "workdir", None, "Folder of a finished run; of several seeds of one experiment all, by commas."
)
FORMAT = flags.DEFINE_enum(
    "format", "text", ["text", "markdown", "html"], "What to print; html writes report.html."
)
FIGURE = flags.DEFINE_string("figure", None, "Where to draw the figure; nowhere by default.")

flags.adopt_module_key_flags(app)


def main() -> None:
    """Reads what the run ended with; prints, draws or writes."""
    from advknow.experiments import results
    from advknow.report import figures, pages, tables
    from advknow.report.pages import evidence as study

    if not WORKDIR.value:
        raise ValueError("workdir=None: the folder of a finished run is needed (--workdir=runs/x).")
    if len(WORKDIR.value) > 1:
        _show_seeds([results.read(folder) for folder in WORKDIR.value])
        return
    folder = pathlib.Path(WORKDIR.value[0])
    if FORMAT.value == "html":
        print(f"the page is {pages.write(folder)}")
        if not FIGURE.value:
            return
    if FORMAT.value != "markdown" and (folder / study.FILE).is_file():
        _show_study(folder / study.FILE)
        return
    found = results.read(folder)
    if FORMAT.value != "html":
        print(tables.text(found) if FORMAT.value == "text" else tables.markdown(found))
    if FIGURE.value:
        figures.save(figures.experiment_figure(found), FIGURE.value)


def _show_seeds(found: list["Results"]) -> None:
    from advknow.report import figures, seeds

    if FORMAT.value == "html":
        raise ValueError("format=html is of one workdir; of several seeds text or markdown.")
    seeds.check(found)
    print(seeds.text(found) if FORMAT.value == "text" else seeds.markdown(found))
    if FIGURE.value:
        figures.save(figures.seeds_figure(found), FIGURE.value)


def _show_study(path: pathlib.Path) -> None:
    from advknow.report import control, evidence, figures
    from advknow.runs import files

    verdict = files.read_json(path, cure="remove it, or choose another workdir").get("verdict")
    if verdict is None:
        raise ValueError(f"{path} has no verdict: sources are missing; launch.evidence goes on.")
    report = control if control.fits(verdict) else evidence
    if FORMAT.value == "text":
        print(report.text(verdict))
    if FIGURE.value:
        figures.save(report.figure(verdict), FIGURE.value)


if __name__ == "__main__":
    app.run(main, usage=__doc__)
