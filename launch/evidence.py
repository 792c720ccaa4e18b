"""Does adversarial transferability tell what a model can teach? The whole study, or a shard of it.

    python -m launch.evidence --preset=digits --workdir=runs/evidence-digits
    python -m launch.evidence --preset=full --shard=1/4 --workdir=runs/evidence
    python -m launch.evidence --records=a/evidence.csv,b/evidence.csv --workdir=runs/evidence-again

The first forms train sources and the targets' own models, measure every score and what each source
is worth on each target, and write evidence.csv and evidence.json; once all sources are there, print
the verdict, draw evidence.png and write the page, report.html. The last makes tables, picture and
page again, without training, from the records of one workdir or of several shards together.
--preset=control asks something else: does moving one move the other? (advknow/evidence/README.md)
"""

import pathlib
import shlex

from absl import flags

from launch import app

PRESET = flags.DEFINE_enum(
    "preset", "digits", ["tiny", "digits", "full", "control"], "Which study."
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for all of it; runs/evidence-PRESET by default."
)
SHARD = flags.DEFINE_string("shard", "1/1", "I/N: the I-th of every N sources, I from 1.")
RECORDS = flags.DEFINE_list(
    "records", None, "In place of a study: files evidence.csv or evidence.csv.gz, with commas."
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where Fashion-MNIST's files lie; Debian's folder by default."
)
flags.adopt_module_key_flags(app)


def main() -> None:
    """Reads the flags, runs the study or reads its records, prints and draws the verdict."""
    from advknow.evidence import records, run, studies
    from advknow.report import answers, control, evidence, figures, pages

    folder = pathlib.Path(WORKDIR.value or f"runs/evidence-{PRESET.value}")
    if RECORDS.value is not None:
        given = [name for name in ("preset", "shard", "data_dir") if flags.FLAGS[name].present]
        if given:
            raise ValueError(f"--{given[0]} has no meaning with --records, which decides it.")
        together = records.read(RECORDS.value)
        found = run.concluded(together)
        run.write_again(folder, together, found, command=app.command())
        content = {"verdict": found}
    else:
        study = studies.study(PRESET.value, data_dir=DATA_DIR.value)
        content = run.run(study, folder, shard=SHARD.value, command=app.command(), **app.session())
        found = content["verdict"]
        if found is None:
            print(
                f"{len(study.sources) - len(content['missing'])} of {len(study.sources)} sources "
                f"are in {folder / records.FILE}; the verdict comes with the last of them, or of "
                "--records of all shards."
            )
            return
    report = control if control.fits(found) else evidence
    print(report.summary(found))
    if app.is_main():
        figures.save(report.figure(found), folder / "evidence.png")
        pages.write(folder)
    print(f"evidence.csv, evidence.json, report.html and evidence.png are in {folder}")
    again = shlex.join(["python", "-m", "launch.report", f"--workdir={folder}"])
    print(f"every table, of every question: {again}")
    answer = answers.control(found) if report is control else answers.evidence(content, folder)
    for line in answer.lines():
        print(line)


if __name__ == "__main__":
    app.run(main, usage=__doc__, resumes=lambda: RECORDS.value is None)
