"""One training: what `launch.train` does."""

import dataclasses
import pathlib
from typing import Any

from advknow import models
from advknow.experiments import stages, tasks
from advknow.experiments.config import ADDED, task
from advknow.passes import keys
from advknow.runs.session import begin, finish
from advknow.runs.versions import versions
from advknow.training import TrainConfig, evaluate


def train(
    workdir: str | pathlib.Path,
    *,
    model: str,
    dataset: str,
    training: TrainConfig,
    width: float = 1.0,
    classes: tuple[str, ...] | None = None,
    data_dir: str | None = None,
    augment: bool = True,
    seed: int = 0,
    **how: Any,
) -> dict[str, Any]:
    """Trains a model on the train part, keeps the best epoch of the validation part.

    Args:
      workdir: becomes the checkpoint. One of the same settings is gone on with, or only read.
      model, width: as `models.create`.
      dataset, classes, data_dir: as `data.load` and `data.select_classes`; None for all classes.
      training: of SGD.
      augment: random crops, and flips where the classes survive them.
      seed: of everything random.
      **how: progress, save_interval, stop, on_event and num_devices, as `runs.session.session`.

    Returns:
      accuracies in percent and settings, as in train.json.

    Raises:
      ValueError: the workdir holds a run of other settings; shows the difference.
      ValueError, TypeError, FileNotFoundError, FloatingPointError: as what it is made of.
      unfinished.StoppedError: `stop` asked for it.
    """
    chosen = task(dataset, classes)
    parts = tasks.of_one(chosen, data_dir)
    class_names = list(chosen.class_names)
    created = models.create(
        model,
        num_classes=len(class_names),
        input_shape=parts.train.images.shape[1:],
        width=width,
    )
    settings = {
        "launch": "train",
        "model": model,
        "width": width,
        "dataset": dataset,
        "classes": class_names,
        "training": dataclasses.asdict(training),
        "augment": augment,
        "seed": seed,
    }
    session = begin(workdir, settings, added=ADDED, ends_with="train.json", **how)
    variables, metadata = stages.trained(
        session,
        pathlib.Path(workdir),
        model,
        created,
        parts.train,
        parts.validation,
        training=training,
        key=keys.of_stage(seed, "train"),
        augment=stages.augmentation(dataset, augment),
        metadata={"dataset": dataset, "class_names": class_names, "seed": seed},
    )
    test = evaluate(created, variables, parts.test, sharding=session.sharding)
    return finish(
        session,
        {
            "checkpoint": str(workdir),
            "model": model,
            "width": width,
            "num_params": created.num_params(),
            "dataset": dataset,
            "classes": class_names,
            "best_epoch": metadata["best_epoch"],
            "validation_accuracy": 100.0 * metadata["best_validation_accuracy"],
            "test_accuracy": 100.0 * test.accuracy,
            "n_train": len(parts.train),
            "n_test": test.n,
            "seed": seed,
            "versions": versions(),
        },
    )
