"""One training, one transfer: what `launch.train` and `launch.finetune` do."""

import pathlib
from typing import Any

from advknow import checkpoints, data, files, models
from advknow.experiments import tasks
from advknow.experiments.config import Task, Transfer
from advknow.experiments.stages import augmentation
from advknow.experiments.versions import versions
from advknow.training import TrainConfig, evaluate, fine_tune, fit
from advknow.typing import Progress


def _parts(task: Task, data_dir: str | None, channels: int | None = None) -> tasks.Parts:
    splits = data.load(task.dataset, data_dir=data_dir)
    selected = [data.select_classes(getattr(splits, p), task.class_names) for p in tasks.PARTS]
    if channels is not None:
        selected = [data.match_channels(part, channels) for part in selected]
    return tasks.Parts(*selected)


def _told(progress: Progress | None, stage: str):
    def told(event: dict[str, Any]) -> None:
        if progress is None or event["kind"] != "epoch":
            return
        accuracy = event["validation_accuracy"]
        note = f"loss {event['loss']:.3f}"
        if accuracy is not None:
            note += f", validation {100 * accuracy:.1f} %"
        progress(stage, event["epoch"], event["epochs"], note)

    return told


def _unused(workdir: str | pathlib.Path) -> pathlib.Path:
    folder = files.make_workdir(workdir)
    if (folder / checkpoints.METADATA_FILE).exists():
        raise ValueError(
            f"workdir={str(workdir)!r} holds a checkpoint already; choose another folder."
        )
    return folder


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
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trains a model on the train part, keeps the best epoch of the validation part.

    Args:
      workdir: becomes the checkpoint; must not hold one.
      model, width: as `models.create`.
      dataset, classes, data_dir: as `data.load` and `data.select_classes`; None for all classes.
      training: of SGD.
      augment: random crops, and flips where the classes survive them.
      seed: of everything random.
      progress: told the epochs.

    Returns:
      accuracies in percent and settings, ready for JSON.

    Raises:
      ValueError, TypeError, FileNotFoundError, FloatingPointError: as what it is made of.
    """
    folder = _unused(workdir)
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
    fitted = fit(
        created,
        parts.train,
        parts.validation,
        config=training,
        key=tasks.stage_key(seed, "train"),
        augment=augmentation(dataset, augment),
        progress=_told(progress, f"train {model}"),
    )
    checkpoints.save(
        folder,
        fitted.variables,
        {
            **checkpoints.model_metadata(created),
            "dataset": dataset,
            "class_names": list(task.class_names),
            "seed": seed,
        },
    )
    test = evaluate(created, fitted.variables, parts.test)
    return {
        "checkpoint": str(folder),
        "model": model,
        "width": width,
        "num_params": created.num_params(),
        "dataset": dataset,
        "classes": list(task.class_names),
        "best_epoch": fitted.best_epoch,
        "validation_accuracy": 100.0 * fitted.best_validation_accuracy,
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
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Transfers a checkpoint to a target task (`training.fine_tune`).

    Args:
      checkpoint: the source model's folder.
      workdir: becomes the new checkpoint; must not hold one.
      dataset, classes, data_dir: the target task.
      transfer: method, training and number of labelled images; one draw of them.
      seed: of the draw, the new layer and the order.
      progress: told the epochs.

    Returns:
      accuracies in percent and settings, ready for JSON.

    Raises:
      ValueError, TypeError, FileNotFoundError, FloatingPointError: as what it is made of.
    """
    folder = _unused(workdir)
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
    sgd = transfer.method != "closed_form"
    tuned, tuned_variables = fine_tune(
        model,
        variables,
        labelled,
        num_classes=len(task.class_names),
        method=transfer.method,
        config=transfer.training if sgd else None,
        key=tasks.stage_key(seed, "finetune") if sgd else None,
        batch_norm_drift=transfer.batch_norm_drift,
        augment=augmentation(dataset, transfer.augment and sgd),
        progress=_told(progress, f"transfer ({transfer.method})"),
    )
    checkpoints.save(
        folder,
        tuned_variables,
        {
            **checkpoints.model_metadata(tuned),
            "dataset": dataset,
            "class_names": list(task.class_names),
            "seed": seed,
            "source": str(checkpoint),
        },
    )
    test = evaluate(tuned, tuned_variables, parts.test)
    return {
        "checkpoint": str(folder),
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
