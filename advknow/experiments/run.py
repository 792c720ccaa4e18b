"""Runs an experiment: trains, attacks, measures, transfers (theory.md section 6).

    target: train -> which test images it classifies correctly -> delta_T, once for all sources
    source: train -> delta_S -> alphas and distances -> new head on few labels -> accuracy

The source is measured before anything is transferred. The same command in the same workdir goes on
where the run stopped, inside a training, an attack or a measurement, and gives the same results
bit for bit; a finished run is only read. In this order what is there is used: results.json,
finished checkpoints, `unfinished/`.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from advknow import models
from advknow.experiments import results, stages, tasks
from advknow.experiments.config import ExperimentConfig, Source
from advknow.experiments.results import Results
from advknow.experiments.stages import NothingCorrectError, Session
from advknow.experiments.tasks import Parts
from advknow.models import Model
from advknow.passes import devices, memory
from advknow.runs import files
from advknow.runs.versions import versions
from advknow.training import Evaluation, TrainConfig, evaluate
from advknow.typing import Progress, PyTree, Sharding

__all__ = ["NothingCorrectError", "run"]


def _write(found: Results, folder: pathlib.Path) -> None:
    if devices.is_main():
        results.write(found, folder)


def _finished(folder: pathlib.Path, config: ExperimentConfig) -> Results | None:
    """The results in the folder, if they are those of a whole run by this advknow."""
    if not (folder / "results.json").exists():
        return None
    found = results.read(folder)
    names = [source.name for source in config.sources]
    if [row["source"] for row in found.rows] != names:
        return None
    if any(set(row) != set(results.COLUMNS) for row in found.rows):
        return None
    return found


def _trained(
    session: Session,
    config: ExperimentConfig,
    folder: pathlib.Path,
    name: str,
    model: Model,
    parts: tasks.Parts,
    training: TrainConfig,
    dataset: str,
) -> PyTree:
    """The best variables by validation, or by test where the authors' slip is asked for."""
    variables, _ = stages.trained(
        session,
        folder,
        name,
        model,
        parts.train,
        parts.test if config.checkpoint_on_test else parts.validation,
        training=training,
        key=tasks.stage_key(config.seed, f"train/{name}"),
        augment=stages.augmentation(dataset, config.augment),
        metadata={
            "stage": name,
            "dataset": dataset,
            "class_names": list(parts.train.class_names),
            "seed": config.seed,
        },
    )
    return variables


def _row(
    session: Session,
    config: ExperimentConfig,
    source: Source,
    parts: tasks.Parts,
    target: tasks.Parts,
    f_target: Any,
    delta_target: np.ndarray,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    strict: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Everything of one source: a row of the results, and its audit."""
    model = _source_model(source, x.shape[1:])
    variables = _trained(
        session,
        config,
        stages.source_folder(session, source.name),
        source.name,
        model,
        parts,
        source.training,
        source.task.dataset,
    )
    f_source = model.bind(variables)
    audit = stages.audited(session, source.name, f_source, x, config=config, strict=strict)
    delta_source = stages.attacked(
        session,
        source.name,
        f_source,
        x,
        attack=config.attack.make(),
        key=tasks.stage_key(config.seed, "attack"),
        batch_size=config.attack_batch_size,
    )
    found = stages.measured(
        session,
        source.name,
        f_source,
        f_target,
        x,
        labels,
        delta_source,
        delta_target,
        config=config,
    )
    accuracies = stages.transferred(session, config, source, model, variables, target)
    repeats = len(accuracies)
    row = {
        "source": source.name,
        "knowledge_transfer": float(np.mean(accuracies)),
        "knowledge_transfer_se": (
            float(np.std(accuracies, ddof=1) / repeats**0.5) if repeats > 1 else None
        ),
        "source_accuracy": 100.0
        * evaluate(model, variables, parts.test, sharding=session.sharding).accuracy,
        "model": source.model,
        "width": source.width,
        "num_params": model.num_params(),
        "similarity": source.similarity,
        **found.summary(),
    }
    return {name: row[name] for name in results.COLUMNS}, audit


def _source_model(source: Source, input_shape: tuple[int, ...]) -> Model:
    return models.create(
        source.model,
        num_classes=len(source.task.class_names),
        input_shape=input_shape,
        width=source.width,
    )


def _target_model(config: ExperimentConfig, target: Parts) -> Model:
    return models.create(
        config.target_model,
        num_classes=len(config.target.class_names),
        input_shape=target.train.images.shape[1:],
        width=config.target_width,
    )


def _fitting(
    config: ExperimentConfig, target: Parts, limit_gib: float | None, sharding: Sharding
) -> ExperimentConfig:
    """The configuration with a batch size that fits all pairs of models, before any is trained."""
    if limit_gib is None and config.attack_batch_size > 0:
        return config
    shape = target.train.images.shape[1:]
    chosen, size = [], config.attack_batch_size
    for source in config.sources:
        f_source = _source_model(source, shape).bind_abstract()
        f_target = _target_model(config, target).bind_abstract()
        lower = memory.jacobians_of(f_source, f_target, shape)
        number = devices.count(sharding)
        chosen.append(memory.asked_batch_size(lower, size, limit_gib=limit_gib, num_devices=number))
    return dataclasses.replace(config, attack_batch_size=min(chosen))


def _described(
    config: ExperimentConfig, model: Model, evaluation: Evaluation, measured: int
) -> dict[str, Any]:
    return {
        "accuracy": 100.0 * evaluation.accuracy,
        "n_test": evaluation.n,
        "n_correct": int(evaluation.correct.sum()),
        "n_measured": measured,
        "model": config.target_model,
        "width": config.target_width,
        "num_params": model.num_params(),
    }


def run(
    config: ExperimentConfig,
    workdir: str | pathlib.Path,
    *,
    progress: Progress | None = None,
    command: str = "",
    save_interval: float = 30.0,
    stop: Callable[[], bool] = lambda: False,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    num_devices: int | None = None,
    strict: bool = False,
    memory_limit_gib: float | None = None,
) -> Results:
    """The whole experiment; writes config.json, results.json, results.csv and checkpoints.

    Args:
      config: a preset of `adv2know` or `know2adv`, or your own.
      workdir: folder for all that is written; the same folder with the same configuration goes on
        where the run stopped.
      progress: told how far each stage is.
      command: what to record as the command that made the results.
      save_interval: seconds between two snapshots of unfinished work.
      stop: asked after every step and batch; when it returns True the work so far is saved.
      on_event: told every line of metrics.jsonl.
      num_devices: over which every batch is divided; all by default. No result depends on it beyond
        the rounding of sums. With several processes (`jax.distributed`) all call this with the same
        arguments and see the same workdir; the first of them writes.
      strict: whether a finding of the audit (`advknow.check_model`) ends the run.
      memory_limit_gib: what a measuring program may take on a device (`memory.asked_batch_size`).

    Raises:
      ValueError: a workdir of another configuration, source and target sharing images, a damaged
        checkpoint or snapshot.
      audit.AuditError: a finding, if strict.
      memory.MemoryLimitError: `config.attack_batch_size` does not fit; names one that does.
      NothingCorrectError: no correctly classified target image.
      FileNotFoundError: a data set is missing; says how to get it.
      FloatingPointError: a training diverged.
      unfinished.StoppedError: `stop` asked for it.
    """
    folder = files.make_workdir(workdir)
    target, sources = tasks.load(config)
    settings = config.to_dict()
    if not (folder / "results.json").exists():
        # Before the folder is claimed: what is refused here leaves nothing behind.
        sharding = devices.data_sharding(num_devices)
        config = _fitting(config, target, memory_limit_gib, sharding)
    stages.claim(folder, settings)
    session = stages.session(
        folder,
        progress=progress,
        save_interval=save_interval,
        stop=stop,
        on_event=on_event,
        num_devices=num_devices,
    )
    journal, unfinished = session.journal, session.unfinished
    found = devices.agreed("results", lambda: _finished(folder, config))
    if found is not None:
        _write(found, folder)
        unfinished.clear()
        return found
    folders = {stages.source_folder(session, source.name) for source in config.sources}
    if len(folders) < len(config.sources):
        names = [source.name for source in config.sources]
        raise ValueError(f"sources={names}: two names differ only in signs; folders need more.")
    if config.attack_batch_size == 0:  # There were results, but not of a whole run.
        config = _fitting(config, target, memory_limit_gib, session.sharding)
    journal.write("start", command=command, attack_batch_size=config.attack_batch_size)
    target_model = _target_model(config, target)
    target_variables = _trained(
        session,
        config,
        folder / "target",
        "target",
        target_model,
        target,
        config.target_training,
        config.target.dataset,
    )
    evaluation = evaluate(target_model, target_variables, target.test, sharding=session.sharding)
    x, labels = stages.measured_examples(config, target.test, evaluation.correct)
    f_target = target_model.bind(target_variables)
    delta_target = stages.attacked(
        session,
        "target",
        f_target,
        x,
        attack=config.attack.make(),
        key=tasks.stage_key(config.seed, "attack"),
        batch_size=config.attack_batch_size,
    )
    audits = {
        "target": stages.audited(session, "target", f_target, x, config=config, strict=strict)
    }
    rows = []
    for source in config.sources:
        stage = f"row {source.name}"
        done = unfinished.load(stage)
        if done is None:
            row, audit = _row(
                session,
                config,
                source,
                sources[source.name],
                target,
                f_target,
                delta_target,
                x,
                labels,
                strict=strict,
            )
            unfinished.save(stage, dict, {"row": row, "audit": audit}, last=True)
            journal.write("row", **row)
        else:
            row, audit = done[1]["row"], done[1]["audit"]
        rows.append(row)
        audits[source.name] = audit
    found = Results(
        experiment=config.experiment,
        preset=config.preset,
        direction=config.direction,
        seed=config.seed,
        rows=rows,
        target=_described(config, target_model, evaluation, len(x)),
        settings=settings,
        versions=versions(),
        seconds=journal.seconds(),
        command=command,
        audit=audits,
    )
    _write(found, folder)
    journal.write("end")
    unfinished.clear()
    return found
