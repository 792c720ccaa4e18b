"""The flags of the launchers that compare several models on one set of images."""

import pathlib
from typing import Any

from absl import flags

from launch import app, dataset

DATASET = flags.DEFINE_string("dataset", None, f"Images to compare on: {dataset.NAMES}.")
CLASSES = flags.DEFINE_list("classes", None, "Its classes, by name, with commas; all by default.")
IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Height and width of its images; by default the models', or else 32."
)
NUM_EXAMPLES = flags.DEFINE_integer(
    "num_examples",
    256,
    "At most so many images, as evenly of all classes as these allow; 0 for all.",
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the choice of images, of attacks and draws.")
ATTACK = flags.DEFINE_enum(
    "attack", "pgd", ["fgsm", "pgd", "none"], "Of alphas at finite eps; none: the limit alone."
)
EPS = flags.DEFINE_float("eps", 0.1, "Radius of the attack in [0, 1] pixel units.")
NUM_STEPS = flags.DEFINE_integer("num_steps", 50, "Steps of pgd, each of eps/10.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images in one program.")
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for what is written; none by default: nothing is kept."
)
flags.adopt_module_key_flags(app)
flags.adopt_module_key_flags(dataset)


def images(part: str) -> Any:
    """The `advknow.experiments.collection.Images` of the flags.

    Raises:
      ValueError: no data set.
    """
    from advknow.experiments.collection import Images

    if not DATASET.value:
        raise ValueError(f"dataset=None: images are needed, --dataset={dataset.NAMES}.")
    return Images(
        dataset=DATASET.value,
        part=part,
        classes=None if CLASSES.value is None else tuple(CLASSES.value),
        data_dir=dataset.DATA_DIR.value,
        image_size=IMAGE_SIZE.value,
        skip_damaged=dataset.SKIP_DAMAGED.value,
        num_examples=NUM_EXAMPLES.value,
        seed=SEED.value,
    )


def how() -> dict[str, Any]:
    """The keyword arguments of `rank` and `matrix` that the flags decide."""
    from advknow.attacks import Named

    attack = None
    if ATTACK.value != "none":
        attack = Named(ATTACK.value, EPS.value, NUM_STEPS.value)
    found = {
        "attack": attack,
        "batch_size": BATCH_SIZE.value,
        "command": app.command(),
        "strict": app.STRICT.value,
        **app.session(),
    }
    return found if resumes() else {**found, "stop": lambda: False}


def resumes() -> bool:
    """Whether the work can be gone on with: there is a folder to keep it in."""
    return WORKDIR.value is not None


def show(found: dict[str, Any], report: Any, name: str) -> None:
    """Prints what was found; writes NAME.png and the page into the workdir, if there is one.

    Args:
      found: the content of NAME.json. report: the module with its `text` and `figure`.
    """
    from advknow.report import figures, pages

    print(report.text(found))
    if (workdir := _folder()) is not None:
        figures.save(report.figure(found), workdir / f"{name}.png")
        pages.write(workdir)
        print(f"{name}.json, {name}.csv, report.html and {name}.png are in {workdir}")


def _folder() -> pathlib.Path | None:
    """Where this process writes figures; None where nothing is kept."""
    return pathlib.Path(WORKDIR.value) if WORKDIR.value and app.is_main() else None
