"""The synthetic experiment (theory.md section 7): alphas and distances as f_S moves away from f_T.

    python -m launch.synthetic --workdir=runs/synthetic
    python -m launch.synthetic --workdir=runs/again --data=FILE.npz --weights=FILE.npz --level=1

The first form generates data, trains both networks and measures ten steps; the second measures on
given files: data with X (n, N) and Y (d, N), weights with target_, source_ and deviate_ W1, b1, W2,
b2. Writes config.json, results.csv (the columns of the authors' tables), results.json, figure.png
and report.html; the first form data.npz and weights.npz too. Prints the table.
"""

from absl import flags

from launch import app
from launch.progress import reporter

WORKDIR = flags.DEFINE_string("workdir", "runs/synthetic", "Folder for results and figure.")
DATA = flags.DEFINE_string("data", None, "Data file, .npz with X (n, N) and Y (d, N).")
WEIGHTS = flags.DEFINE_string("weights", None, "Weights file, .npz; needed with --data.")
LEVEL = flags.DEFINE_integer("level", 0, "Which attack, counted from 0, the strongest.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of data, training and perturbation.")
NUM_INPUTS = flags.DEFINE_integer("num_inputs", 50, "n, numbers in an input.")
NUM_OUTPUTS = flags.DEFINE_integer("num_outputs", 10, "d, numbers in an output.")
NUM_EXAMPLES = flags.DEFINE_integer("num_examples", 5000, "N, examples.")
SOURCE_HIDDEN = flags.DEFINE_integer(
    "source_hidden", 100, "m, hidden units of f_S; of f_T's number, it starts as a copy of f_T."
)
TARGET_HIDDEN = flags.DEFINE_integer("target_hidden", 100, "Hidden units of f_T.")
NUM_STEPS = flags.DEFINE_integer("num_steps", 10, "Steps of the perturbation.")
EPOCHS = flags.DEFINE_integer("epochs", 300, "Epochs of training.")
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 1000, "Examples in one program; no result depends on it."
)
# What a file decides cannot be asked for as well.
_GENERATED = (
    "seed", "num_inputs", "num_outputs", "num_examples", "source_hidden", "target_hidden", "epochs"
)  # fmt: skip
flags.adopt_module_key_flags(app)


def main() -> None:
    """Reads the flags, runs, prints the table and draws the figure."""
    from advknow.report import answers, figures, pages
    from advknow.report import synthetic as report
    from advknow.synthetic import experiment as synthetic

    if DATA.value is not None or WEIGHTS.value is not None:
        given = [name for name in _GENERATED if flags.FLAGS[name].present]
        if given:
            raise ValueError(
                f"--{given[0]} has no meaning with --data and --weights, which decide it; drop it."
            )
        # The level is checked against the sizes of the files, when they are read.
        sizes = {"num_inputs": LEVEL.value + 1, "num_outputs": LEVEL.value + 1}
    else:
        sizes = {"num_inputs": NUM_INPUTS.value, "num_outputs": NUM_OUTPUTS.value}
    config = synthetic.SyntheticConfig(
        seed=SEED.value,
        num_examples=NUM_EXAMPLES.value,
        source_hidden=SOURCE_HIDDEN.value,
        target_hidden=TARGET_HIDDEN.value,
        level=LEVEL.value,
        num_steps=NUM_STEPS.value,
        epochs=EPOCHS.value,
        batch_size=BATCH_SIZE.value,
        **sizes,
    )
    results = synthetic.run(
        config,
        WORKDIR.value,
        data_file=DATA.value,
        weights_file=WEIGHTS.value,
        progress=reporter(quiet=app.QUIET.value),
        stop=app.stop_requested,
        command=app.command(),
    ).to_dict()
    figures.save(report.figure(results), f"{WORKDIR.value}/figure.png")
    pages.write(WORKDIR.value)
    print(report.text(results))
    print("\n".join(answers.synthetic(results).lines()))
    names = "report.html, results.csv, results.json, config.json and figure.png"
    print(f"{names} are in {WORKDIR.value}")


if __name__ == "__main__":
    app.run(main, usage=__doc__, resumes=lambda: True)
