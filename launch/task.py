"""The flags of the launchers that train or transfer one model."""

from typing import Any

from absl import flags

from launch import app, dataset, tensorboard

DATASET = flags.DEFINE_string("dataset", "digits", f"{dataset.NAMES}.")
CLASSES = flags.DEFINE_list("classes", None, "Classes by name, with commas; all by default.")
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for the checkpoint and for what is printed, as JSON."
)
EPOCHS = flags.DEFINE_integer("epochs", 10, "Passes over the images that are learned from.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images a step.")
BFLOAT16 = flags.DEFINE_bool(
    "bfloat16", False, "Train with bfloat16 activations; parameters stay float32."
)
MATMUL_PRECISION = flags.DEFINE_enum(
    "matmul_precision",
    "default",
    ["default", "high", "highest"],
    "Of float32 products while training: default is JAX's, fewer bits on GPUs and TPUs; measures "
    "are of the highest unless JAX_DEFAULT_MATMUL_PRECISION says otherwise.",
)
SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of initialisation, labelled images, order and augmentation."
)
flags.adopt_module_key_flags(app)
flags.adopt_module_key_flags(dataset)
flags.adopt_module_key_flags(tensorboard)


def training(**settings: Any) -> Any:
    """The `advknow.training.TrainConfig` of the flags and of these settings."""
    from advknow.training import TrainConfig

    return TrainConfig(
        epochs=EPOCHS.value,
        batch_size=BATCH_SIZE.value,
        activations="bfloat16" if BFLOAT16.value else "float32",
        matmul_precision=MATMUL_PRECISION.value,
        **settings,
    )


def settings() -> dict[str, Any]:
    """The task, the seed and how the flags want it done.

    Raises:
      ValueError: no workdir.
    """
    from advknow.experiments.config import task

    if not WORKDIR.value:
        raise ValueError("workdir=None: a folder for the checkpoint is needed (--workdir=runs/x).")
    return {
        "workdir": WORKDIR.value,
        "task": task(DATASET.value, None if CLASSES.value is None else tuple(CLASSES.value)),
        "data_dir": dataset.DATA_DIR.value,
        "skip_damaged": dataset.SKIP_DAMAGED.value,
        "seed": SEED.value,
        **app.session(),
        "on_event": tensorboard.writer(WORKDIR.value),
    }
