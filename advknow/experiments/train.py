"""One training: what `launch.train` does."""

import dataclasses
import pathlib
from typing import Any

from advknow import data, models
from advknow.experiments import stages, tasks
from advknow.experiments.config import ADDED, Task
from advknow.passes import keys
from advknow.runs.session import begin, finish
from advknow.runs.versions import versions
from advknow.training import TrainConfig, evaluate


def train(
    workdir: str | pathlib.Path,
    *,
    model: str,
    task: Task,
    training: TrainConfig,
    width: float = 1.0,
    data_dir: str | None = None,
    image_size: int = data.IMAGE_SIZE,
    skip_damaged: bool = False,
    augment: bool = True,
    seed: int = 0,
    **how: Any,
) -> dict[str, Any]:
    """Trains a model on the train part, keeps the best epoch of the validation part.

    Args:
      workdir: becomes the checkpoint. One of the same settings is gone on with, or only read.
      model, width: as `models.create`.
      task: what it learns. data_dir: where the data set lies.
      image_size, skip_damaged: of its images, as `data.load`.
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
    parts = tasks.of_one(task, data_dir, image_size=image_size, skip_damaged=skip_damaged)
    class_names = list(parts.class_names)
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
        "dataset": task.dataset,
        "classes": class_names,
        "training": dataclasses.asdict(training),
        "augment": augment,
        "image_size": image_size,
        "seed": seed,
        **tasks.fingerprints([parts.origin]),
    }
    session = begin(workdir, settings, added=ADDED, ends_with="train.json", **how)
    stages.tell_of_data(session, [parts.origin])
    variables, metadata = stages.trained(
        session,
        pathlib.Path(workdir),
        model,
        created,
        parts.train,
        parts.validation,
        training=training,
        key=keys.of_stage(seed, "train"),
        augment=stages.augmentation(task.dataset, augment),
        metadata={"dataset": task.dataset, "class_names": class_names, "seed": seed},
    )
    test = evaluate(created, variables, parts.test, sharding=session.sharding)
    return finish(
        session,
        {
            "checkpoint": str(workdir),
            "model": model,
            "width": width,
            "num_params": created.num_params(),
            "dataset": task.dataset,
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
