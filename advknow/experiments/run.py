"""Runs an experiment: trains, attacks, measures, transfers (theory.md section 6).

    target: train -> which test images it classifies correctly -> delta_T, once for all sources
    source: train -> delta_S -> alphas with delta_T -> new head on few labels -> accuracy

The source is measured before anything is transferred. A finished training is a checkpoint in the
workdir and is not repeated when the same command runs again.
"""

import contextlib
import functools
import pathlib
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from advknow import checkpoints, data, files, metrics, models
from advknow.data import Dataset
from advknow.experiments import results, tasks
from advknow.experiments.config import ExperimentConfig, Source
from advknow.experiments.results import Results
from advknow.experiments.versions import versions
from advknow.models import Model
from advknow.training import TrainConfig, evaluate, fine_tune, fit
from advknow.typing import Progress, PyTree


class NothingCorrectError(ValueError):
    """The target model classifies no test image correctly, so there is nothing to measure on."""


def _silent(stage: str, done: int, total: int | None, note: str = "") -> None:
    pass


@functools.lru_cache(maxsize=8)
def _random_crop(flip: bool):
    # One object for all trainings: it is a static argument of the compiled step.
    return data.augment(random_crop=4, flip=flip)


def augmentation(dataset_name: str, wanted: bool):
    """The augmentation of that data set, or None where it is not wanted."""
    return _random_crop(data.info(dataset_name).flip) if wanted else None


class _Stages:
    """Times of the named stages, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - begin
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)


def _trained(
    folder: pathlib.Path,
    stage: str,
    model: Model,
    parts: tasks.Parts,
    training: TrainConfig,
    dataset: str,
    config: ExperimentConfig,
    progress: Progress,
) -> PyTree:
    """The best variables of this training; read from `folder` where it is done already."""
    if (folder / checkpoints.METADATA_FILE).exists():
        stored, variables, _ = checkpoints.restore_model(folder)
        if stored != model:
            raise ValueError(f"{folder} holds another model than {model}; choose another workdir.")
        return variables

    def told(event: dict[str, Any]) -> None:
        if event["kind"] == "epoch":
            note = (
                f"loss {event['loss']:.3f}, validation {100 * event['validation_accuracy']:.1f} %"
            )
            progress(f"train {stage}", event["epoch"], event["epochs"], note)

    fitted = fit(
        model,
        parts.train,
        parts.test if config.checkpoint_on_test else parts.validation,
        config=training,
        key=tasks.stage_key(config.seed, f"train/{stage}"),
        augment=augmentation(dataset, config.augment),
        progress=told,
    )
    metadata = {
        **checkpoints.model_metadata(model),
        "stage": stage,
        "dataset": dataset,
        "class_names": list(parts.train.class_names),
        "best_epoch": fitted.best_epoch,
        "best_validation_accuracy": fitted.best_validation_accuracy,
        "seed": config.seed,
    }
    checkpoints.save(folder, fitted.variables, metadata)
    return fitted.variables


def _measured_examples(
    config: ExperimentConfig, test: Dataset, correct: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the correctly classified test images, at most `num_examples`, and their indices."""
    indices = np.flatnonzero(correct)
    if len(indices) == 0:
        raise NothingCorrectError(
            f"the target model classifies 0 of {len(test)} target test images correctly, and only "
            "those count; train it longer (--epochs) or on more classes."
        )
    if 0 < config.num_examples < len(indices):
        generator = np.random.default_rng(tasks.stage_seed(config.seed, "measured"))
        indices = np.sort(generator.choice(indices, config.num_examples, replace=False))
    return test.pixels(indices), indices


def _transfer(
    config: ExperimentConfig,
    source: Source,
    model: Model,
    variables: PyTree,
    target: tasks.Parts,
    progress: Progress,
) -> list[float]:
    """Accuracy in percent on the target's test part, one a draw of the labelled images."""
    settings, accuracies = config.transfer, []
    num_classes = len(target.train.class_names)
    for repeat in range(settings.repeats):
        sgd = settings.method != "closed_form"
        head, head_variables = fine_tune(
            model,
            variables,
            tasks.labelled(config, target, repeat),
            num_classes=num_classes,
            method=settings.method,
            config=settings.training if sgd else None,
            key=tasks.stage_key(config.seed, f"transfer/{source.name}/{repeat}") if sgd else None,
            batch_norm_drift=settings.batch_norm_drift,
            augment=augmentation(config.target.dataset, settings.augment and sgd),
        )
        accuracies.append(100.0 * evaluate(head, head_variables, target.test).accuracy)
        progress(f"transfer {source.name}", repeat + 1, settings.repeats)
    return accuracies


def _staged(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total, note="": progress(name, done, total, note)


def run(
    config: ExperimentConfig,
    workdir: str | pathlib.Path,
    *,
    progress: Progress | None = None,
    command: str = "",
) -> Results:
    """The whole experiment; writes config.json, results.json, results.csv and checkpoints.

    Args:
      config: a preset of `adv2know` or `know2adv`, or your own.
      workdir: folder for all that is written; the same folder with the same configuration goes on
        where training stopped.
      progress: told how far each stage is.
      command: what to record as the command that made the results.

    Raises:
      ValueError: a workdir of another configuration, source and target sharing images.
      NothingCorrectError: no correctly classified target image.
      FileNotFoundError: a data set is missing; says how to get it.
      FloatingPointError: a training diverged.
    """
    progress = progress or _silent
    folder = files.make_workdir(workdir)
    target, sources = tasks.load(config)
    files.claim(folder, config.to_dict())
    stages = _Stages()
    attack = config.attack.make()
    attack_key = tasks.stage_key(config.seed, "attack")
    shape = target.train.images.shape[1:]

    def of(model: Model, variables: PyTree, x: np.ndarray, stage: str) -> np.ndarray:
        return metrics.perturb(
            model.bind(variables),
            x,
            attack=attack,
            key=attack_key,
            batch_size=config.attack_batch_size,
            progress=_staged(progress, f"attack {stage}"),
        )

    target_model = models.create(
        config.target_model,
        num_classes=len(config.target.class_names),
        input_shape=shape,
        width=config.target_width,
    )
    with stages("train target"):
        target_variables = _trained(
            folder / "target",
            "target",
            target_model,
            target,
            config.target_training,
            config.target.dataset,
            config,
            progress,
        )
    evaluation = evaluate(target_model, target_variables, target.test)
    x, indices = _measured_examples(config, target.test, evaluation.correct)
    with stages("attack target"):
        delta_target = of(target_model, target_variables, x, "target")

    rows = []
    for source in config.sources:
        parts = sources[source.name]
        model = models.create(
            source.model,
            num_classes=len(source.task.class_names),
            input_shape=shape,
            width=source.width,
        )
        with stages(f"train {source.name}"):
            variables = _trained(
                folder / "sources" / re.sub(r"[^A-Za-z0-9]+", "_", source.name).strip("_"),
                source.name,
                model,
                parts,
                source.training,
                source.task.dataset,
                config,
                progress,
            )
        with stages(f"attack {source.name}"):
            delta_source = of(model, variables, x, source.name)
        pair = [
            (target_model.bind(target_variables), delta_target),
            (model.bind(variables), delta_source),
        ]
        if config.direction == "source_to_target":
            pair.reverse()
        (f1, delta1), (f2, delta2) = pair
        with stages(f"measure {source.name}"):
            measured = metrics.from_deltas(
                f1, f2, x, delta1, delta2, batch_size=config.attack_batch_size
            )
        with stages(f"transfer {source.name}"):
            accuracies = _transfer(config, source, model, variables, target, progress)
        repeats = len(accuracies)
        row = {
            "source": source.name,
            "knowledge_transfer": float(np.mean(accuracies)),
            "knowledge_transfer_se": (
                float(np.std(accuracies, ddof=1) / repeats**0.5) if repeats > 1 else None
            ),
            "source_accuracy": 100.0 * evaluate(model, variables, parts.test).accuracy,
            "model": source.model,
            "width": source.width,
            "num_params": model.num_params(),
            "similarity": source.similarity,
            **measured.summary(),
        }
        rows.append({name: row[name] for name in results.COLUMNS})

    found = Results(
        experiment=config.experiment,
        preset=config.preset,
        direction=config.direction,
        seed=config.seed,
        rows=rows,
        target={
            "accuracy": 100.0 * evaluation.accuracy,
            "n_test": evaluation.n,
            "n_correct": int(evaluation.correct.sum()),
            "n_measured": len(indices),
            "model": config.target_model,
            "width": config.target_width,
            "num_params": target_model.num_params(),
        },
        settings=config.to_dict(),
        versions=versions(),
        seconds=stages.seconds,
        command=command,
    )
    results.write(found, folder)
    return found
