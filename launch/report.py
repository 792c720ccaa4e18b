"""Prints the table of a finished experiment again, and redraws its figure.

python -m launch.report --workdir=runs/adv2know-digits --format=markdown
"""

import pathlib

from absl import flags

from launch import app

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished adv2know or know2adv run.")
FORMAT = flags.DEFINE_enum("format", "text", ["text", "markdown"], "What to print.")
FIGURE = flags.DEFINE_string("figure", None, "Where to draw the figure; nowhere by default.")

flags.adopt_module_key_flags(app)


def main() -> None:
    """Reads results.json, prints, draws."""
    from advknow.experiments import results
    from advknow.report import figures, tables

    if not WORKDIR.value:
        raise ValueError("workdir=None: the folder of a finished run is needed (--workdir=runs/x).")
    found = results.read(pathlib.Path(WORKDIR.value))
    print(tables.text(found) if FORMAT.value == "text" else tables.markdown(found))
    if FIGURE.value:
        figures.save(figures.experiment_figure(found), FIGURE.value)


if __name__ == "__main__":
    app.run(main, usage=__doc__)
