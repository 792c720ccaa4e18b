"""The flags that adv2know and know2adv share, and what both do with them."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

from absl import flags

from advknow.experiments.config import ExperimentConfig, scaled
from advknow.experiments.presets import preset
from advknow.training.fine_tuning import METHODS
from launch import app, memory, tensorboard

PRESET = flags.DEFINE_string(
    "preset",
    "digits",
    "digits (two cores: four minutes for both experiments), mnist (two scanners of the same "
    "digits; needs the extra advknow[mnist]), fashion (real images, two cores: under "
    "90 minutes; needs Debian's dataset-fashion-mnist or --data_dir) or poster (CIFAR-10 -> STL-10 "
    "at full size; needs a GPU or TPU, and the extra advknow[tfds] to prepare the data).",
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for results and checkpoints; runs/EXPERIMENT-PRESET by default."
)
# What changes a setting of the preset: how it is read, and what it does.
CHANGES: dict[str, tuple[Callable[..., Any], str]] = {
    "seed": (flags.DEFINE_integer, "Seed of everything random."),
    "data_dir": (
        flags.DEFINE_string,
        "Where the data sets lie; each data set's usual place by default.",
    ),
    "image_size": (flags.DEFINE_integer, "Height and width of all images; 32 by default."),
    "skip_damaged": (
        flags.DEFINE_bool,
        "Of folder:PATH (--set=target.dataset=folder:PATH), leave out damaged images and name "
        "them, in place of an error.",
    ),
    "epochs": (flags.DEFINE_integer, "Epochs of every training; the preset's by default."),
    "width": (
        flags.DEFINE_float,
        "Width multiplier of every model, 1 = the poster's; the preset's by default.",
    ),
    "bfloat16": (
        flags.DEFINE_bool,
        "Train with bfloat16 activations; measures and parameters are float32.",
    ),
    "matmul_precision": (
        functools.partial(flags.DEFINE_enum, enum_values=["default", "high", "highest"]),
        "Of float32 products while training: default is JAX's, fewer bits on GPUs and TPUs; "
        "measures are of the highest unless JAX_DEFAULT_MATMUL_PRECISION says otherwise.",
    ),
    "eps": (
        flags.DEFINE_float,
        "Radius of the attack in [0, 1] pixel units, steps in proportion; the preset's by default.",
    ),
    "objective": (
        functools.partial(flags.DEFINE_enum, enum_values=["cross_entropy", "output_deviation"]),
        "What the attacks raise; alpha1 is evaluated in the outputs' distance, output_deviation.",
    ),
    "num_examples": (
        flags.DEFINE_integer,
        "Measure on at most so many target test images; 0 for all.",
    ),
    "transfer_method": (
        functools.partial(flags.DEFINE_enum, enum_values=list(METHODS)),
        "Train a new last_layer with f_S frozen, all layers, or a last layer in closed_form.",
    ),
    "transfer_epochs": (flags.DEFINE_integer, "Epochs of the transfer."),
    "transfer_repeats": (
        flags.DEFINE_integer,
        "Draws of the labelled images; the table gives mean and error.",
    ),
    "labelled_per_class": (
        flags.DEFINE_integer,
        "Labelled target images a class; 0 for the whole train part.",
    ),
    "attack_batch_size": (
        flags.DEFINE_integer,
        "Images in one program (the authors': 1), 0 for the largest power of two that fits; no "
        "result depends on it beyond rounding.",
    ),
    "checkpoint_on_test": (
        flags.DEFINE_bool,
        "As the authors' code: pick the best epoch on the test part.",
    ),
    "batch_norm_drift": (
        flags.DEFINE_bool,
        "As the authors' code: let the batch-norm statistics of f_S drift during last-layer "
        "transfer.",
    ),
}
for _name, (_define, _help) in CHANGES.items():
    _define(_name, default=None, help=_help)
COMPILE_AHEAD = flags.DEFINE_bool(
    "compile_ahead",
    True,
    "Compile in the background what later stages need; no result depends on it.",
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
    changes = {name: flags.FLAGS[name].value for name in CHANGES}
    return scaled(found, settings=SET.value, **changes)


def main(experiment: str, usage: str, slips: Callable[[], dict[str, bool]] = lambda: {}) -> None:
    """Runs the experiment of the flags, prints its table, draws its figure.

    Args:
      experiment: "adv2know" or "know2adv". usage: the launcher's docstring.
      slips: those of the authors that the launcher's own flags ask for.
    """

    def run() -> None:
        from advknow.experiments.run import run as run_experiment
        from advknow.report import answers, figures, pages, tables

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
            compile_ahead=COMPILE_AHEAD.value,
            **app.session(),
        )
        if app.is_main():
            figure = pathlib.Path(workdir) / "figure.png"
            figures.save(figures.experiment_figure(results), figure)
            pages.write(workdir)
        print(tables.text(results))
        trust = [*tables.audit(results.audit), *tables.findings(results.findings)]
        print("\n".join(tables.hanging(trust)))
        if not app.QUIET.value:
            print(tables.times(results))
        print("\n".join(answers.experiment(results, workdir).lines()))
        names = "report.html, results.json, results.csv, records.csv, config.json and figure.png"
        print(f"{names} are in {workdir}")

    app.run(run, usage=usage, resumes=lambda: True)
