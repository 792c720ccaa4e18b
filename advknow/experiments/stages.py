"""The stages of an experiment; each goes on where it was stopped.

trained      data -> variables          attacked    f, x -> delta
measured     f_S, f_T, x, y, deltas -> alphas and distances
transferred  f_S, few labels -> accuracies
"""

import functools
import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from advknow import data, validate
from advknow.alphas import finite as metrics
from advknow.audit import check_model
from advknow.data import Dataset
from advknow.experiments import pair, tasks
from advknow.experiments.config import ExperimentConfig, Source
from advknow.models import Model
from advknow.passes import devices
from advknow.runs import checkpoints, files, snapshots
from advknow.runs.journal import Journal
from advknow.runs.unfinished import Unfinished
from advknow.training import TrainConfig, evaluate, fine_tune, fit
from advknow.training.objective import Augment
from advknow.typing import ApplyFn, Array, AttackFn, Progress, PyTree, Sharding


class Session(NamedTuple):
    """What every stage writes to, and the devices it runs on.

    Attributes:
      folder: the workdir.
      unfinished, journal: its snapshots and its metrics.jsonl.
      progress: the screen.
      sharding: over devices.
    """

    folder: pathlib.Path
    unfinished: Unfinished
    journal: Journal
    progress: Progress
    sharding: Sharding = None


# Enough to tell a broken model from a sound one, at a cost of a few seconds.
AUDIT_EXAMPLES, AUDIT_STEPS = 32, 10


def silent(stage: str, done: int, total: int | None, note: str = "") -> None:
    """A `progress` that tells nobody."""


def session(
    folder: pathlib.Path,
    *,
    progress: Progress | None = None,
    save_interval: float = 30.0,
    stop: Callable[[], bool] = lambda: False,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    num_devices: int | None = None,
) -> Session:
    """A session in a workdir; arguments as `run.run`."""
    validate.number("save_interval", save_interval, minimum=0.0)
    journal = Journal(folder, on_event)
    unfinished = Unfinished(
        folder, interval=save_interval, stop=stop, on_save=lambda _: journal.lap()
    )
    sharding = devices.data_sharding(num_devices)
    return Session(folder, unfinished, journal, progress or silent, sharding)


def claim(folder: pathlib.Path, settings: dict[str, Any]) -> None:
    """`files.claim` by the main process, refused on all where it is refused there."""
    if devices.is_main():
        files.claim(folder, settings)
    devices.agreed("config", lambda: files.claim(folder, settings))


class NothingCorrectError(ValueError):
    """The target model classifies no test image correctly, so there is nothing to measure on."""


@functools.lru_cache(maxsize=8)
def _random_crop(flip: bool):
    # One object for all trainings: it is a static argument of the compiled step.
    return data.augment(random_crop=4, flip=flip)


def augmentation(dataset_name: str, wanted: bool):
    """The augmentation of that data set, or None where it is not wanted."""
    return _random_crop(data.info(dataset_name).flip) if wanted else None


def told(session: Session, stage: str):
    """The `progress` of `fit` and `fine_tune`: every epoch to the screen and into the journal."""

    def tell(event: dict[str, Any]) -> None:
        if event["kind"] != "epoch":
            return
        note = f"loss {event['loss']:.3f}"
        if event["validation_accuracy"] is not None:
            note += f", validation {100 * event['validation_accuracy']:.1f} %"
        session.progress(stage, event["epoch"], event["epochs"], note)
        session.journal.write(**{**event, "stage": stage})

    return tell


def _named(session: Session, name: str) -> Progress:
    """The screen's progress under this stage's name."""
    return lambda stage, done, total, note="": session.progress(name, done, total, note)


def finished_checkpoint(folder: pathlib.Path) -> tuple[Model, PyTree, dict[str, Any]] | None:
    """The model, variables and metadata of the checkpoint in the folder, None where there is none.

    Raises:
      ValueError: it is damaged.
    """
    if not (folder / checkpoints.METADATA_FILE).exists():
        return None
    return checkpoints.restore_model(folder)


def trained(
    session: Session,
    folder: pathlib.Path,
    name: str,
    model: Model,
    train: Dataset,
    validation: Dataset,
    *,
    training: TrainConfig,
    key: Array,
    augment: Augment | None,
    metadata: dict[str, Any],
) -> tuple[PyTree, dict[str, Any]]:
    """The best variables of a training and their metadata; read where it is done already.

    Args:
      session: of the run.
      folder: becomes the checkpoint, or is it.
      name: of the stage.
      model, train, validation, training, key, augment: as `training.fit`.
      metadata: for the checkpoint, beside the model's and the best epoch's.

    Raises:
      ValueError: the folder holds another model; a damaged checkpoint or snapshot.
      FloatingPointError: the training diverged. unfinished.StoppedError.
    """
    done = devices.agreed(f"checkpoint {name}", lambda: finished_checkpoint(folder))
    if done is not None:
        stored, variables, found = done
        if stored != model:
            raise ValueError(f"{folder} holds another model than {model}; choose another workdir.")
        return variables, found
    stage = f"train {name}"
    with session.journal.stage(stage):
        session.unfinished.begin()
        fitted = fit(
            model,
            train,
            validation,
            config=training,
            key=key,
            augment=augment,
            progress=told(session, stage),
            restore=session.unfinished.restore_training(stage),
            on_step=session.unfinished.save_training(stage),
            sharding=session.sharding,
        )
        metadata = {
            **checkpoints.model_metadata(model),
            **metadata,
            "best_epoch": fitted.best_epoch,
            "best_validation_accuracy": fitted.best_validation_accuracy,
        }
        if devices.is_main():
            checkpoints.save(folder, fitted.variables, metadata)
    session.unfinished.clear(stage)
    return fitted.variables, metadata


def measured_examples(
    config: ExperimentConfig, test: Dataset, correct: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the correctly classified test images, at most `num_examples`, and their labels."""
    indices = np.flatnonzero(correct)
    if len(indices) == 0:
        raise NothingCorrectError(
            f"the target model classifies 0 of {len(test)} target test images correctly, and only "
            "those count; train it longer (--epochs) or on more classes."
        )
    if 0 < config.num_examples < len(indices):
        generator = np.random.default_rng(tasks.stage_seed(config.seed, "measured"))
        indices = np.sort(generator.choice(indices, config.num_examples, replace=False))
    return test.pixels(indices), test.labels[indices]


def audited(
    session: Session,
    name: str,
    f: ApplyFn,
    x: np.ndarray,
    *,
    config: ExperimentConfig,
    strict: bool,
) -> dict[str, Any]:
    """What the audit of a model finds on a few of the measured examples, ready for JSON.

    Raises:
      audit.AuditError: a finding, if strict.
    """
    stage = f"audit {name}"
    done = session.unfinished.load(stage)
    if done is not None:
        return done[1]
    with session.journal.stage(stage):
        if len(x) < 2:
            return {"n": len(x), "flags": [], "findings": [], "values": {}}
        found = check_model(
            f,
            x,
            eps=config.attack.eps,
            num_steps=AUDIT_STEPS,
            key=tasks.stage_key(config.seed, "audit"),
            max_examples=AUDIT_EXAMPLES,
            batch_size=config.attack_batch_size,
        )
        for finding in found.findings:
            session.progress(stage, 1, 1, f"{finding.name}: {finding.message}")
        if not found.findings:
            session.progress(stage, 1, 1, "nothing found")
        if strict:
            found.raise_for_findings(name)
        session.unfinished.save(stage, dict, found.summary(), last=True)
    return found.summary()


def attacked(
    session: Session,
    name: str,
    f: ApplyFn,
    x: np.ndarray,
    *,
    attack: AttackFn,
    key: Array,
    batch_size: int,
) -> np.ndarray:
    """delta of every example; arguments as `metrics.perturb`."""
    stage = f"attack {name}"
    found = session.unfinished.load(stage)
    done = None if found is None else found[0]["delta"]
    if done is not None and len(done) == len(x):
        return done

    def save(count: int, deltas: Any) -> None:
        session.unfinished.save(
            stage, lambda: {"delta": deltas()}, {"done": count}, last=count == len(x)
        )

    with session.journal.stage(stage):
        session.unfinished.begin()
        return metrics.perturb(
            f,
            x,
            attack=attack,
            key=key,
            batch_size=batch_size,
            sharding=session.sharding,
            progress=_named(session, stage),
            done=done,
            on_batch=save,
        )


def measured(
    session: Session,
    source: str,
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: np.ndarray,
    labels: np.ndarray,
    delta_source: np.ndarray,
    delta_target: np.ndarray,
    *,
    config: ExperimentConfig,
) -> pair.Measured:
    """The alphas and distances of a source."""
    stage = f"measure {source}"
    found = session.unfinished.load(stage)

    def save(state: pair.PairState) -> None:
        session.unfinished.save(
            stage, lambda: snapshots.arrays_of(state), {}, last=len(state.alpha1) == len(x)
        )

    with session.journal.stage(stage):
        session.unfinished.begin()
        return pair.measure_pair(
            f_source,
            f_target,
            x,
            np.eye(len(config.target.class_names))[labels],
            delta_source,
            delta_target,
            direction=config.direction,
            batch_size=config.attack_batch_size,
            sharding=session.sharding,
            progress=_named(session, stage),
            restore=None if found is None else lambda start: snapshots.tree_of(found[0], start),
            on_batch=save,
        )


def transferred(
    session: Session,
    config: ExperimentConfig,
    source: Source,
    model: Model,
    variables: PyTree,
    target: tasks.Parts,
) -> list[float]:
    """Accuracy in percent on the target's test part, one a draw of the labelled images."""
    settings, stage = config.transfer, f"transfer {source.name}"
    found = session.unfinished.load(stage)
    accuracies: list[float] = [] if found is None else list(found[1]["accuracies"])
    sgd = settings.method != "closed_form"
    with session.journal.stage(stage):
        for repeat in range(len(accuracies), settings.repeats):
            session.unfinished.begin()
            draw = f"{stage} {repeat}"
            head, head_variables = fine_tune(
                model,
                variables,
                tasks.labelled(config, target, repeat),
                num_classes=len(target.train.class_names),
                method=settings.method,
                config=settings.training if sgd else None,
                key=(
                    tasks.stage_key(config.seed, f"transfer/{source.name}/{repeat}")
                    if sgd
                    else None
                ),
                batch_norm_drift=settings.batch_norm_drift,
                augment=augmentation(config.target.dataset, settings.augment and sgd),
                restore=session.unfinished.restore_training(draw),
                on_step=session.unfinished.save_training(draw),
                sharding=session.sharding,
            )
            evaluation = evaluate(head, head_variables, target.test, sharding=session.sharding)
            accuracies.append(100.0 * evaluation.accuracy)
            session.unfinished.clear(draw)
            session.progress(stage, repeat + 1, settings.repeats)
            session.unfinished.save(stage, dict, {"accuracies": accuracies}, last=True)
    return accuracies


def source_folder(session: Session, name: str) -> pathlib.Path:
    """Where a source's checkpoint is."""
    return session.folder / "sources" / re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
