"""Training a classifier: `fit`.

The best variables are chosen on a validation part. Test images have no way in here: neither `fit`
nor `fine_tune` takes any (the authors' code picked its checkpoints on the test set; theory.md
section 6). The optimizer is in `advknow.training.sgd`, transfer in `advknow.training.fine_tuning`.
"""

import dataclasses

import jax.numpy as jnp

from advknow import data, validate
from advknow.data import Dataset
from advknow.models import Model
from advknow.passes import devices
from advknow.training import sgd
from advknow.training.config import TrainConfig
from advknow.training.evaluation import check_dataset, evaluate
from advknow.training.forward import Augment, WholeModel, check_augment
from advknow.training.objective import Objective, check, chosen
from advknow.training.state import (
    Best,
    OnStep,
    Restore,
    TrainState,
    copy,
    create_state,
    init_key,
    resumed,
)
from advknow.typing import Array, PyTree, Sharding


@dataclasses.dataclass(frozen=True, eq=False)
class FitResult:
    """What `fit` found.

    Attributes:
      variables: those of the best epoch.
      best_epoch: counted from 1.
      best_validation_accuracy: in [0, 1].
      history: one record an epoch, from the first that this call ran.
    """

    variables: PyTree
    best_epoch: int
    best_validation_accuracy: float
    history: tuple[sgd.EpochRecord, ...]


def fit(
    model: Model,
    train: Dataset,
    validation: Dataset,
    *,
    config: TrainConfig,
    key: Array,
    augment: Augment | None = None,
    objective: Objective | None = None,
    progress: sgd.Progress | None = None,
    progress_steps: int | None = None,
    sharding: Sharding = None,
    restore: Restore | None = None,
    on_step: OnStep | None = None,
) -> FitResult:
    """Trains a model from new parameters; returns the best of its epochs by validation.

    The same arguments give the same bits on the same machine. After each epoch the validation
    accuracy is measured in evaluation mode; of equal ones the later epoch is taken.

    Args:
      model: the architecture.
      train: what it learns from.
      validation: what chooses the epoch; no image of `train`.
      config: settings of SGD.
      key: initial parameters, order of the examples and augmentation come from it.
      augment: (images (B, H, W, C) float32 in [0, 1], key) -> images, such as `data.augment(...)`;
        runs inside the compiled step. Pass one object to all trainings that may share a program.
      objective: what is descended (`advknow.training.objective`); as `config` says by default. The
        loss and the training accuracy of the records are its own: of the adversarial examples, and
        with the term of an alignment.
      progress: called with {"kind": "epoch", "epoch", "epochs", "loss", "train_accuracy",
        "validation_accuracy", "learning_rate", "steps_per_second"} after each epoch.
      progress_steps: also call it with {"kind": "step", "step", "steps"} every so many steps.
      sharding: over devices, from `devices.data_sharding`; None for one device. Batch norm takes
        its statistics of the whole batch.
      restore: given the state before the first step, returns one that `on_step` saw, from which the
        training goes on bit for bit as if never interrupted (model, data, config, augment and
        objective must be those of the start), or None.
      on_step: called with the state after each step, after the last of an epoch with its best. Its
        arrays are valid during the call only (the next step takes their memory): copy or save what
        is to be kept.

    Raises:
      ValueError, TypeError: data sets that are empty, overlap, or do not fit the model; a restored
        state that is another model's or past the last step; anything else of a wrong kind.
      FloatingPointError: NaN or infinity in the loss or the parameters.
    """
    _check_fit(model, train, validation, config, augment, progress_steps)
    check(objective, config)
    objective = chosen(objective, config)
    forward = WholeModel(model, augment, config.activations)
    variables = model.init(init_key(key))
    start = create_state(variables["params"], variables.get("batch_stats", {}), config, key)
    variables = forward.variables(start.params, start.batch_stats)
    start = start._replace(best=Best(copy(variables), jnp.int32(-1), jnp.int32(0)))
    state = resumed(start, restore, sgd.total_steps(config, len(train)))
    best, history = state.best, []
    assert best is not None

    def with_best(state: TrainState) -> None:
        if on_step is not None:
            on_step(state._replace(best=best))

    steps = sgd.epochs(
        state,
        forward,
        {},
        train.images,
        train.labels,
        config,
        objective=objective,
        progress=progress,
        progress_steps=progress_steps,
        on_step=None if on_step is None else with_best,
        sharding=sharding,
    )
    for state, record in steps:
        variables = forward.variables(state.params, state.batch_stats)
        correct = int(evaluate(model, variables, validation, sharding=sharding).correct.sum())
        record = dataclasses.replace(record, validation_accuracy=correct / len(validation))
        if correct >= int(best.correct):
            best = Best(copy(variables), jnp.int32(correct), jnp.int32(record.epoch))
        history.append(record)
        sgd.report(progress, record, config)
        with_best(state)
    return FitResult(
        variables=best.variables if sharding is None else devices.local(best.variables),
        best_epoch=int(best.epoch),
        best_validation_accuracy=int(best.correct) / len(validation),
        history=tuple(history),
    )


def _check_fit(
    model: Model,
    train: Dataset,
    validation: Dataset,
    config: TrainConfig,
    augment: Augment | None,
    progress_steps: int | None,
) -> None:
    if not isinstance(config, TrainConfig):
        raise TypeError(f"config={config!r} must be a TrainConfig.")
    check_augment(augment)
    if progress_steps is not None:
        validate.integer("progress_steps", progress_steps, minimum=1)
    check_dataset("train", train, model, model.num_classes)
    check_dataset("validation", validation, model, model.num_classes)
    data.check_disjoint(train, validation, names=("train", "validation"))
