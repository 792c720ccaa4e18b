"""Training a classifier, and measuring it: `fit`, `evaluate`, `predict`; `fine_tune` transfers it.

The best variables are chosen on a validation part. Test images have no way in here: neither `fit`
nor `fine_tune` takes any (the authors' code picked its checkpoints on the test set; theory.md,
section 6). The optimizer is in `advknow.sgd`, transfer in `advknow.fine_tuning`.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from advknow import data, validate
from advknow.data import Dataset
from advknow.evaluation import Evaluation, check_dataset, evaluate, predict
from advknow.fine_tuning import fine_tune, ridge_head
from advknow.forward import Augment, WholeModel, check_augment
from advknow.models import Model
from advknow.sgd import (
    Best,
    EpochRecord,
    Progress,
    TrainConfig,
    TrainState,
    copy,
    create_state,
    epochs,
    init_key,
    report,
)
from advknow.typing import Array, PyTree

__all__ = [
    "EpochRecord",
    "Evaluation",
    "FitResult",
    "TrainConfig",
    "TrainState",
    "evaluate",
    "fine_tune",
    "fit",
    "predict",
    "ridge_head",
]


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
    history: tuple[EpochRecord, ...]


def fit(
    model: Model,
    train: Dataset,
    validation: Dataset,
    *,
    config: TrainConfig,
    key: Array,
    augment: Augment | None = None,
    progress: Progress | None = None,
    progress_steps: int | None = None,
    state: TrainState | None = None,
    on_epoch: Callable[[TrainState], None] | None = None,
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
      progress: called with {"kind": "epoch", "epoch", "epochs", "loss", "train_accuracy",
        "validation_accuracy", "learning_rate", "steps_per_second"} after each epoch.
      progress_steps: also call it with {"kind": "step", "step", "steps"} every so many steps.
      state: goes on from a state that `on_epoch` saw, bit for bit as if never interrupted, with the
        state's key in place of `key`; model, data, config and augment must be those of the start.
      on_epoch: called with the state after each epoch. Its arrays are valid during the call only
        (the next step takes their memory): copy or save what is to be kept.

    Raises:
      ValueError, TypeError: data sets that are empty, overlap, or do not fit the model; a state
        that is another model's or past the last step; anything else of a wrong kind.
      FloatingPointError: NaN or infinity in the loss or the parameters.
    """
    _check_fit(model, train, validation, config, augment, progress_steps)
    forward = WholeModel(model, augment)
    if state is None:
        variables = _init(model, init_key(key))
        state = create_state(variables["params"], variables.get("batch_stats", {}), config, key)
        start = forward.variables(state.params, state.batch_stats)
        state = state._replace(best=Best(copy(start), jnp.int32(-1), jnp.int32(0)))
    best = _check_state(model, state, config, train)
    state, history = copy(state), []
    steps = epochs(
        state,
        forward,
        {},
        train.images,
        train.labels,
        config,
        progress=progress,
        progress_steps=progress_steps,
    )
    for state, record in steps:
        variables = forward.variables(state.params, state.batch_stats)
        correct = int(evaluate(model, variables, validation).correct.sum())
        record = dataclasses.replace(record, validation_accuracy=correct / len(validation))
        if correct >= int(best.correct):
            best = Best(copy(variables), jnp.int32(correct), jnp.int32(record.epoch))
        history.append(record)
        report(progress, record, config)
        if on_epoch is not None:
            on_epoch(state._replace(best=best))
    return FitResult(
        variables=best.variables,
        best_epoch=int(best.epoch),
        best_validation_accuracy=int(best.correct) / len(validation),
        history=tuple(history),
    )


@functools.partial(jax.jit, static_argnums=0)
def _init(model: Model, key: Array) -> PyTree:
    return model.init(key)


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


def _check_state(model: Model, state: TrainState, config: TrainConfig, train: Dataset) -> Best:
    """The state's best, where the state can be gone on with."""
    if not isinstance(state, TrainState) or state.best is None:
        raise TypeError(
            "state must be None or a TrainState that on_epoch of `fit` was called with."
        )
    expected = jax.eval_shape(model.init, jax.random.key(0))
    if _shapes(expected["params"]) != _shapes(state.params):
        raise ValueError(f"state is of another model than {model.name}: its parameters differ.")
    total = config.epochs * (len(train) // min(config.batch_size, len(train)))
    if int(state.step) > total:
        raise ValueError(
            f"state has done {int(state.step)} steps; epochs={config.epochs} of this data are only "
            f"{total}."
        )
    return state.best


def _shapes(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda a: (tuple(a.shape), str(a.dtype)), tree)
