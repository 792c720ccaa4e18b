"""The stages of experiments and commands; each goes on where it was stopped.

trained      data -> variables          audited      f, x -> findings
attacked     f, x -> delta              measured     f_S, f_T, x, y, deltas -> columns of a row
fine_tuned   f_S, few labels -> f       transferred  f_S, few labels -> accuracies
"""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from advknow import data, passes
from advknow.alphas import Perturbation, Transferability, perturbations
from advknow.audit import check_model, check_record
from advknow.data import Dataset
from advknow.experiments import gallery, quantities, tasks
from advknow.experiments.config import ExperimentConfig, Source, Transfer
from advknow.experiments.sample import Pair
from advknow.models import Model
from advknow.passes import devices, keys
from advknow.runs import checkpoints
from advknow.runs.session import Session, save_checkpoint
from advknow.runs.session import measured as whole_pass
from advknow.training import TrainConfig, evaluate, extract_features, fine_tune, fit
from advknow.training.fine_tuning import keeps_backbone
from advknow.training.forward import Augment
from advknow.training.objective import Objective
from advknow.typing import ApplyFn, Array, AttackFn, PyTree

# Enough to tell a broken model from a sound one, at a cost of a few seconds; and where a batch of
# the attack is at most so large, that batch, whose programs it needs too.
AUDIT_EXAMPLES, AUDIT_STEPS, LARGEST_BATCH = 32, 10, 64
# Of the attack of the audit of models that no experiment attacks, in pixel units.
AUDIT_EPS = 0.1


class Setting(NamedTuple):
    """What the stages of a run share.

    Attributes:
      session: of the run. seed: of everything random.
      attack: of the run; eps: that of the audit's own.
      batch_size: examples in one program.
      strict: whether a finding of the audit is an error.
    """

    session: Session
    seed: int
    attack: AttackFn | None
    eps: float
    batch_size: int
    strict: bool


class Attacked(NamedTuple):
    """A model on the measured examples, and the attack on it.

    Attributes:
      f: (B, H, W, C) -> (B, d). x: (N, H, W, C) pixels. one_hot: (N, k), labels of the target's.
      delta: of x's shape.
    """

    f: ApplyFn
    x: np.ndarray
    one_hot: np.ndarray
    delta: np.ndarray


@functools.lru_cache(maxsize=8)
def _random_crop(flip: bool):
    # One object for all trainings: it is a static argument of the compiled step.
    return data.augment(random_crop=4, flip=flip)


def augmentation(dataset_name: str, wanted: bool) -> Augment | None:
    """The augmentation of that data set, or None where it is not wanted."""
    return _random_crop(data.info(dataset_name).flip) if wanted else None


def tell_of_data(session: Session, origins: Iterable[tasks.Origin]) -> None:
    """What was found when the data were read, to the screen and into the journal."""
    for origin in dict.fromkeys(origins):
        for note in origin.notes:
            session.progress(origin.dataset, 0, 0, note)
            session.journal.write("data", dataset=origin.dataset, note=note)


def _told(session: Session, stage: str):
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


def is_trained(folder: pathlib.Path) -> bool:
    """Whether the folder is a checkpoint."""
    return (folder / checkpoints.METADATA_FILE).exists()


def finished_checkpoint(folder: pathlib.Path) -> tuple[Model, PyTree, dict[str, Any]] | None:
    """The model, variables and metadata of the checkpoint in the folder, None where there is none.

    Raises:
      ValueError: it is damaged.
    """
    return checkpoints.restore_model(folder) if is_trained(folder) else None


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
    objective: Objective | None = None,
) -> tuple[PyTree, dict[str, Any]]:
    """The best variables of a training and their metadata; read where it is done already.

    Args:
      session: of the run.
      folder: becomes the checkpoint, or is it.
      name: of the stage.
      model, train, validation, training, key, augment, objective: as `training.fit`.
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
            objective=objective,
            progress=_told(session, stage),
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
        save_checkpoint(session, folder, fitted.variables, metadata)
    session.unfinished.clear(stage)
    return fitted.variables, metadata


def audited(of: Setting, name: str, f: ApplyFn, x: np.ndarray) -> dict[str, Any]:
    """What the audit of a model finds on a few of the measured examples, ready for JSON.

    Raises:
      audit.AuditError: a finding, if strict.
    """
    session, stage = of.session, f"audit {name}"
    done = session.unfinished.load(stage)
    if done is not None:
        return done[1]
    with session.journal.stage(stage):
        if len(x) < 2:
            return {"n": len(x), "flags": [], "findings": [], "values": {}}
        batch = min(len(x), of.batch_size)
        found = check_model(
            f,
            x,
            eps=of.eps,
            num_steps=AUDIT_STEPS,
            key=keys.of_stage(of.seed, "audit"),
            max_examples=batch if 2 <= batch <= LARGEST_BATCH else AUDIT_EXAMPLES,
            batch_size=of.batch_size,
        )
        for finding in found.findings:
            session.progress(stage, 1, 1, f"{finding.name}: {finding.message}")
        if not found.findings:
            session.progress(stage, 1, 1, "nothing found")
        if of.strict:
            found.raise_for_findings(f"the {name}" if name in ("source", "target") else name)
        session.unfinished.save(stage, dict, found.summary(), last=True)
    return found.summary()


def audits(of: Setting, pair: Pair) -> dict[str, dict[str, Any]]:
    """The audits of both models of a pair, by "source" and "target"; {} of a single example."""
    x = pair.images.pixels()
    if len(x) < 2:
        return {}
    both = {"source": pair.source, "target": pair.target}
    return {name: audited(of, name, f, x) for name, f in both.items()}


def record_findings(record: Transferability) -> list[dict[str, Any]]:
    """What `check_record` finds of a record of the alphas, ready for JSON."""
    return [dataclasses.asdict(finding) for finding in check_record(record)]


def attacked(of: Setting, name: str, f: ApplyFn, x: np.ndarray) -> np.ndarray:
    """delta of every example, of x's shape: the run's attack on the model of that name."""
    return whole_pass(
        of.session,
        f"attack {name}",
        perturbations(Perturbation("f", of.attack)),
        {"f": f},
        x,
        key=keys.of_stage(of.seed, "attack"),
        batch_size=of.batch_size,
    )


class Measured(NamedTuple):
    """What one pass over the examples gives of a source.

    Attributes:
      columns: of its row. counts: of how many examples each is a mean.
      findings: what the alphas say against themselves.
      alphas: their record. predicted: (N, 2, 2), as `gallery.predictions`.
    """

    columns: dict[str, float | None]
    counts: dict[str, int]
    findings: list[dict[str, Any]]
    alphas: Transferability
    predicted: np.ndarray


def measured(
    of: Setting,
    name: str,
    source: Attacked,
    target: Attacked,
    *,
    direction: str,
    measures: tuple[quantities.Quantity, ...],
) -> Measured:
    """Everything that is measured of a source and the target, in one pass over the examples."""
    first, second = (f"f_{role}" for role in direction.split("_to_"))
    both = passes.combine(
        {
            "quantities": quantities.measure(measures, direction),
            "predicted": gallery.predictions(Perturbation(first), second),
        }
    )
    record = whole_pass(
        of.session,
        f"measure {name}",
        both,
        {"f_source": source.f, "f_target": target.f},
        target.x,
        y=target.one_hot,
        deltas={"f_source": source.delta, "f_target": target.delta},
        batch_size=of.batch_size,
    )
    found = record["quantities"]
    alphas = found[quantities.ALPHAS.name]
    return Measured(
        quantities.row(measures, found),
        quantities.examples(measures, found),
        record_findings(alphas),
        alphas,
        record["predicted"],
    )


def fine_tuned(
    session: Session,
    stage: str,
    model: Model,
    variables: PyTree,
    train: Dataset,
    *,
    transfer: Transfer,
    dataset: str,
    key: Array,
    told: bool = False,
) -> tuple[Model, PyTree]:
    """A model transferred to the classes of the labelled images: one draw (`training.fine_tune`).

    Args:
      session: of the run. stage: name of its snapshots.
      model, variables: the source's.
      train: the labelled images.
      transfer: how; `dataset`: where the images are from, for their augmentation.
      key: of the new layer and the order.
      told: whether every epoch goes to the screen and into the journal.
    """
    sgd = transfer.method != "closed_form"
    return fine_tune(
        model,
        variables,
        train,
        num_classes=len(train.class_names),
        method=transfer.method,
        config=transfer.training if sgd else None,
        key=key if sgd else None,
        batch_norm_drift=transfer.batch_norm_drift,
        augment=augmentation(dataset, transfer.augment and sgd),
        progress=_told(session, stage) if told else None,
        restore=session.unfinished.restore_training(stage),
        on_step=session.unfinished.save_training(stage),
        sharding=session.sharding,
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
    fixed = keeps_backbone(settings.method, batch_norm_drift=settings.batch_norm_drift)
    features = None
    with session.journal.stage(stage):
        for repeat in range(len(accuracies), settings.repeats):
            session.unfinished.begin()
            draw = f"{stage} {repeat}"
            tuned = fine_tuned(
                session,
                draw,
                model,
                variables,
                tasks.labelled(
                    target.train,
                    settings.labelled_per_class,
                    seed=config.seed,
                    draw=f"labelled/{repeat}",
                ),
                transfer=settings,
                dataset=config.target.dataset,
                key=keys.of_stage(config.seed, f"transfer/{source.name}/{repeat}"),
            )
            if features is None or not fixed:
                features = extract_features(*tuned, target.test, sharding=session.sharding)
            evaluation = evaluate(*tuned, target.test, features=features)
            accuracies.append(100.0 * evaluation.accuracy)
            session.unfinished.clear(draw)
            session.progress(stage, repeat + 1, settings.repeats)
            session.unfinished.save(stage, dict, {"accuracies": accuracies}, last=True)
    return accuracies


def source_folder(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Where a source's checkpoint is in a workdir."""
    return folder / "sources" / re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
