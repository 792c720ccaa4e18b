"""One training, one transfer: what `launch.train` and `launch.finetune` do."""

import dataclasses
import pathlib
from typing import Any

from advknow import data, models
from advknow.experiments import stages, tasks
from advknow.experiments.config import Task, Transfer
from advknow.passes import devices
from advknow.runs import checkpoints, files
from advknow.runs.versions import versions
from advknow.training import TrainConfig, evaluate, fine_tune


def _parts(task: Task, data_dir: str | None, channels: int | None = None) -> tasks.Parts:
    splits = data.load(task.dataset, data_dir=data_dir)
    selected = [data.select_classes(getattr(splits, p), task.class_names) for p in tasks.PARTS]
    if channels is not None:
        selected = [data.match_channels(part, channels) for part in selected]
    return tasks.Parts(*selected)


def _begin(workdir: str | pathlib.Path, settings: dict[str, Any], **session: Any) -> stages.Session:
    """A session in the workdir, which holds nothing or a run of the same settings."""
    folder = files.make_workdir(workdir)
    if (folder / checkpoints.METADATA_FILE).exists() and not (folder / files.CONFIG).exists():
        raise ValueError(
            f"workdir={str(workdir)!r} holds a checkpoint of another run; choose another folder."
        )
    stages.claim(folder, settings)
    return stages.session(folder, **session)


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
    **session: Any,
) -> dict[str, Any]:
    """Trains a model on the train part, keeps the best epoch of the validation part.

    Args:
      workdir: becomes the checkpoint. One of the same settings is gone on with, or only read.
      model, width: as `models.create`.
      dataset, classes, data_dir: as `data.load` and `data.select_classes`; None for all classes.
      training: of SGD.
      augment: random crops, and flips where the classes survive them.
      seed: of everything random.
      **session: progress, save_interval, stop, on_event and num_devices, as `run.run`.

    Returns:
      accuracies in percent and settings, ready for JSON.

    Raises:
      ValueError: the workdir holds a run of other settings; shows the difference.
      ValueError, TypeError, FileNotFoundError, FloatingPointError: as what it is made of.
      unfinished.StoppedError: `stop` asked for it.
    """
    if classes is not None and not classes:
        raise ValueError("classes=() is empty; at least one class by name is needed.")
    task = Task(dataset, classes or ())
    parts = _parts(task, data_dir)
    created = models.create(
        model,
        num_classes=len(task.class_names),
        input_shape=parts.train.images.shape[1:],
        width=width,
    )
    settings = {
        "launch": "train",
        "model": model,
        "width": width,
        "dataset": dataset,
        "classes": list(task.class_names),
        "training": dataclasses.asdict(training),
        "augment": augment,
        "seed": seed,
    }
    began = _begin(workdir, settings, **session)
    variables, metadata = stages.trained(
        began,
        began.folder,
        model,
        created,
        parts.train,
        parts.validation,
        training=training,
        key=tasks.stage_key(seed, "train"),
        augment=stages.augmentation(dataset, augment),
        metadata={"dataset": dataset, "class_names": list(task.class_names), "seed": seed},
    )
    began.unfinished.clear()
    test = evaluate(created, variables, parts.test, sharding=began.sharding)
    return {
        "checkpoint": str(began.folder),
        "model": model,
        "width": width,
        "num_params": created.num_params(),
        "dataset": dataset,
        "classes": list(task.class_names),
        "best_epoch": metadata["best_epoch"],
        "validation_accuracy": 100.0 * metadata["best_validation_accuracy"],
        "test_accuracy": 100.0 * test.accuracy,
        "n_train": len(parts.train),
        "n_test": test.n,
        "seed": seed,
        "versions": versions(),
    }


def finetune(
    checkpoint: str | pathlib.Path,
    workdir: str | pathlib.Path,
    *,
    dataset: str,
    transfer: Transfer,
    classes: tuple[str, ...] | None = None,
    data_dir: str | None = None,
    seed: int = 0,
    **session: Any,
) -> dict[str, Any]:
    """Transfers a checkpoint to a target task (`training.fine_tune`).

    Args:
      checkpoint: the source model's folder.
      workdir: becomes the new checkpoint. One of the same settings is gone on with, or only read.
      dataset, classes, data_dir: the target task.
      transfer: method, training and number of labelled images; one draw of them.
      seed: of the draw, the new layer and the order.
      **session: progress, save_interval, stop, on_event and num_devices, as `run.run`.

    Returns:
      accuracies in percent and settings, ready for JSON.

    Raises:
      ValueError: the workdir holds a run of other settings; shows the difference.
      ValueError, TypeError, FileNotFoundError, FloatingPointError: as what it is made of.
      unfinished.StoppedError: `stop` asked for it.
    """
    if classes is not None and not classes:
        raise ValueError("classes=() is empty; at least one class by name is needed.")
    model, variables, _ = checkpoints.restore_model(checkpoint)
    task = Task(dataset, classes or ())
    parts = _parts(task, data_dir, channels=model.input_shape[-1])
    labelled = parts.train
    if transfer.labelled_per_class:
        labelled = data.take_per_class(
            labelled, transfer.labelled_per_class, seed=tasks.stage_seed(seed, "labelled")
        )
    settings = {
        "launch": "finetune",
        "checkpoint": str(checkpoint),
        "dataset": dataset,
        "classes": list(task.class_names),
        "transfer": dataclasses.asdict(transfer),
        "seed": seed,
    }
    began = _begin(workdir, settings, **session)
    stage = f"transfer ({transfer.method})"
    done = devices.agreed("checkpoint", lambda: stages.finished_checkpoint(began.folder))
    if done is not None:
        tuned, tuned_variables, _ = done
    else:
        sgd = transfer.method != "closed_form"
        with began.journal.stage(stage):
            began.unfinished.begin()
            tuned, tuned_variables = fine_tune(
                model,
                variables,
                labelled,
                num_classes=len(task.class_names),
                method=transfer.method,
                config=transfer.training if sgd else None,
                key=tasks.stage_key(seed, "finetune") if sgd else None,
                batch_norm_drift=transfer.batch_norm_drift,
                augment=stages.augmentation(dataset, transfer.augment and sgd),
                progress=stages.told(began, stage),
                restore=began.unfinished.restore_training(stage),
                on_step=began.unfinished.save_training(stage),
                sharding=began.sharding,
            )
            metadata = {
                **checkpoints.model_metadata(tuned),
                "dataset": dataset,
                "class_names": list(task.class_names),
                "seed": seed,
                "source": str(checkpoint),
            }
            if devices.is_main():
                checkpoints.save(began.folder, tuned_variables, metadata)
    began.unfinished.clear()
    test = evaluate(tuned, tuned_variables, parts.test, sharding=began.sharding)
    return {
        "checkpoint": str(began.folder),
        "source": str(checkpoint),
        "model": model.name,
        "method": transfer.method,
        "dataset": dataset,
        "classes": list(task.class_names),
        "n_labelled": len(labelled),
        "test_accuracy": 100.0 * test.accuracy,
        "n_test": test.n,
        "seed": seed,
        "versions": versions(),
    }


def text(found: dict[str, Any]) -> str:
    """The record in lines, without the versions."""
    shown = {name: value for name, value in found.items() if name != "versions"}
    width = max(len(name) for name in shown)
    lines = []
    for name, value in shown.items():
        if isinstance(value, float):
            value = f"{value:.2f}"
        elif isinstance(value, list):
            value = ", ".join(value)
        unit = " %" if name.endswith("accuracy") else ""
        lines.append(f"{name.ljust(width)}  {value}{unit}")
    return "\n".join(lines)
