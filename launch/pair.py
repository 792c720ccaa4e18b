"""The flags of the launchers that measure two models on one sample."""

import pathlib
from typing import Any

from absl import flags

from launch import app, dataset, memory

SOURCE = flags.DEFINE_string(
    "source", None, "Checkpoint folder of the source model, or MODULE:CALLABLE."
)
TARGET = flags.DEFINE_string(
    "target", None, "Checkpoint folder of the target model, or MODULE:CALLABLE."
)
DATASET = flags.DEFINE_string(
    "dataset", None, f"Data set to measure on, the target's by default: {dataset.NAMES}."
)
CLASSES = flags.DEFINE_list(
    "classes", None, "Its classes, by name, with commas; the target's by default."
)
IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Height and width of its images; by default the models', or else 32."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the choice of images and of attacks.")
CORRECT_ONLY = flags.DEFINE_bool(
    "correct_only",
    True,
    "Count only images that the target classifies correctly (where the classes are the target's).",
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for what is written; none by default: nothing is kept."
)
flags.adopt_module_key_flags(app)
flags.adopt_module_key_flags(dataset)
flags.adopt_module_key_flags(memory)


def sample(num_examples: int) -> Any:
    """The `advknow.experiments.sample.Sample` of the flags."""
    from advknow.experiments.sample import Sample

    return Sample(
        source=SOURCE.value or "",
        target=TARGET.value or "",
        dataset=DATASET.value,
        classes=None if CLASSES.value is None else tuple(CLASSES.value),
        data_dir=dataset.DATA_DIR.value,
        image_size=IMAGE_SIZE.value,
        skip_damaged=dataset.SKIP_DAMAGED.value,
        num_examples=num_examples,
        correct_only=CORRECT_ONLY.value,
        seed=SEED.value,
    )


def resumes() -> bool:
    """Whether the work can be gone on with: there is a folder to keep it in."""
    return WORKDIR.value is not None


def written(name: str) -> float | None:
    """When the file that a whole run ends with was written in the workdir; None if it was not."""
    path = pathlib.Path(WORKDIR.value or "") / name
    return path.stat().st_mtime if WORKDIR.value and path.exists() else None


def how() -> dict[str, Any]:
    """The keyword arguments of `measure` and `chain` that the flags decide."""
    found = {
        **app.session(),
        "command": app.command(),
        "strict": app.STRICT.value,
        "memory_limit_gib": memory.LIMIT_GIB.value,
    }
    return found if resumes() else {**found, "stop": lambda: False}
