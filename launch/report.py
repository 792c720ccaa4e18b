"""Shows a finished run again: its table, its figure, or its page.

python -m launch.report --workdir=runs/adv2know-digits --format=markdown
python -m launch.report --workdir=runs/adv2know-digits --format=html

Text and Markdown are of adv2know and know2adv; html writes report.html, of any kind of run.
"""

import pathlib

from absl import flags

from launch import app

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished run.")
FORMAT = flags.DEFINE_enum(
    "format", "text", ["text", "markdown", "html"], "What to print; html writes report.html."
)
FIGURE = flags.DEFINE_string("figure", None, "Where to draw the figure; nowhere by default.")

flags.adopt_module_key_flags(app)


def main() -> None:
    """Reads what the run ended with; prints, draws or writes."""
    from advknow.experiments import results
    from advknow.report import figures, pages, tables

    if not WORKDIR.value:
        raise ValueError("workdir=None: the folder of a finished run is needed (--workdir=runs/x).")
    if FORMAT.value == "html":
        print(f"the page is {pages.write(WORKDIR.value)}")
        if not FIGURE.value:
            return
    found = results.read(pathlib.Path(WORKDIR.value))
    if FORMAT.value != "html":
        print(tables.text(found) if FORMAT.value == "text" else tables.markdown(found))
    if FIGURE.value:
        figures.save(figures.experiment_figure(found), FIGURE.value)


if __name__ == "__main__":
    app.run(main, usage=__doc__)
