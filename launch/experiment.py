"""The flags that adv2know and know2adv share, and what both do with them."""

import pathlib
from collections.abc import Callable

from absl import flags

from advknow.experiments.config import ExperimentConfig, scaled
from advknow.experiments.presets import preset
from advknow.training.fine_tuning import METHODS
from launch import app, memory, tensorboard

PRESET = flags.DEFINE_string(
    "preset",
    "digits",
    "digits (two cores: four minutes for both experiments), fashion (real images, two cores: under "
    "90 minutes; needs Debian's dataset-fashion-mnist or --data_dir) or poster (CIFAR-10 -> STL-10 "
    "at full size; needs a GPU or TPU, and the extra advknow[tfds] to prepare the data).",
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for results and checkpoints; runs/EXPERIMENT-PRESET by default."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of everything random.")
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where the data sets lie; each data set's usual place by default."
)
EPOCHS = flags.DEFINE_integer("epochs", None, "Epochs of every training; the preset's by default.")
WIDTH = flags.DEFINE_float(
    "width", None, "Width multiplier of every model, 1 = the poster's; the preset's by default."
)
BFLOAT16 = flags.DEFINE_bool(
    "bfloat16", None, "Train with bfloat16 activations; measures and parameters are float32."
)
EPS = flags.DEFINE_float(
    "eps", None, "Radius of the attack in [0, 1] pixel units; the preset's by default."
)
NUM_EXAMPLES = flags.DEFINE_integer(
    "num_examples", None, "Measure on at most so many target test images; 0 for all."
)
TRANSFER_METHOD = flags.DEFINE_enum(
    "transfer_method",
    None,
    list(METHODS),
    "Train a new last_layer with f_S frozen, all layers, or a last layer in closed_form.",
)
TRANSFER_EPOCHS = flags.DEFINE_integer("transfer_epochs", None, "Epochs of the transfer.")
TRANSFER_REPEATS = flags.DEFINE_integer(
    "transfer_repeats", None, "Draws of the labelled images; the table gives mean and error."
)
LABELLED_PER_CLASS = flags.DEFINE_integer(
    "labelled_per_class", None, "Labelled target images a class; 0 for the whole train part."
)
ATTACK_BATCH_SIZE = flags.DEFINE_integer(
    "attack_batch_size",
    None,
    "Images in one program (the authors': 1), 0 for the largest power of two that fits; no result "
    "depends on it beyond rounding.",
)
CHECKPOINT_ON_TEST = flags.DEFINE_bool(
    "checkpoint_on_test", None, "As the authors' code: pick the best epoch on the test part."
)
BATCH_NORM_DRIFT = flags.DEFINE_bool(
    "batch_norm_drift",
    None,
    "As the authors' code: let the batch-norm statistics of f_S drift during last-layer transfer.",
)


SET = flags.DEFINE_multi_string(
    "set",
    [],
    "NAME=VALUE, any field of the configuration by its dotted name: transfer.repeats=3, "
    "sources.*.training.epochs=5, sources.LeNet.width=0.5, attack.num_steps=20; again for another. "
    "config.json in the workdir shows all names.",
)
flags.adopt_module_key_flags(app)
flags.adopt_module_key_flags(tensorboard)
flags.adopt_module_key_flags(memory)


def configuration(found: ExperimentConfig) -> ExperimentConfig:
    """The preset with the changes that the flags ask for."""
    return scaled(
        found,
        settings=SET.value,
        seed=SEED.value,
        data_dir=DATA_DIR.value,
        epochs=EPOCHS.value,
        width=WIDTH.value,
        bfloat16=BFLOAT16.value,
        eps=EPS.value,
        num_examples=NUM_EXAMPLES.value,
        transfer_method=TRANSFER_METHOD.value,
        transfer_epochs=TRANSFER_EPOCHS.value,
        transfer_repeats=TRANSFER_REPEATS.value,
        labelled_per_class=LABELLED_PER_CLASS.value,
        attack_batch_size=ATTACK_BATCH_SIZE.value,
        checkpoint_on_test=CHECKPOINT_ON_TEST.value,
        batch_norm_drift=BATCH_NORM_DRIFT.value,
    )


def main(experiment: str, usage: str, slips: Callable[[], dict[str, bool]] = lambda: {}) -> None:
    """Runs the experiment of the flags, prints its table, draws its figure.

    Args:
      experiment: "adv2know" or "know2adv". usage: the launcher's docstring.
      slips: those of the authors that the launcher's own flags ask for.
    """

    def run() -> None:
        from advknow.experiments.run import run as run_experiment
        from advknow.report import figures, tables

        config = configuration(preset(experiment, PRESET.value, **slips()))
        workdir = WORKDIR.value
        if workdir is None:
            workdir = f"runs/{config.experiment}-{config.preset}"
        results = run_experiment(
            config,
            workdir,
            command=app.command(),
            on_event=tensorboard.writer(workdir),
            strict=app.STRICT.value,
            memory_limit_gib=memory.LIMIT_GIB.value,
            **app.session(),
        )
        if app.is_main():
            figure = pathlib.Path(workdir) / "figure.png"
            figures.save(figures.experiment_figure(results), figure)
        print(tables.text(results))
        print("\n".join(tables.audit(results.audit)))
        if not app.QUIET.value:
            print(tables.times(results))
        print(
            f"results.json, results.csv, records.csv, config.json and figure.png are in {workdir}"
        )

    app.run(run, usage=usage, resumes=lambda: True)
