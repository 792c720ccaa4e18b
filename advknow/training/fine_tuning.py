"""Knowledge transfer: a new last layer g on a trained backbone f_S, or all layers trained on.

    method        what changes                       f_S in g∘f_S
    last_layer    g by SGD                           fixed, evaluation mode
    closed_form   g by ridge regression              fixed, evaluation mode
    all           every parameter by SGD             moves

With batch_norm_drift=True "last_layer" repeats the slip of the authors' code (theory.md section 6):
batch norm in training mode, so that f_S's running statistics move in every step.
"""

import functools

import jax.numpy as jnp
import numpy as np
import scipy.linalg

from advknow import validate
from advknow.data import Dataset
from advknow.models import Model
from advknow.passes import devices
from advknow.training import sgd
from advknow.training.config import TrainConfig
from advknow.training.evaluation import check_dataset, extract_features
from advknow.training.forward import (
    Augment,
    HeadOnFeatures,
    HeadOnImages,
    WholeModel,
    check_augment,
)
from advknow.training.state import OnStep, Restore, create_state, init_key, resumed
from advknow.typing import Array, PyTree, Sharding

METHODS = ("last_layer", "all", "closed_form")


def keeps_backbone(method: str, *, batch_norm_drift: bool) -> bool:
    """Whether `fine_tune` returns all but the head bit for bit as given, whatever the model."""
    return method != "all" and not batch_norm_drift


def fine_tune(
    model: Model,
    variables: PyTree,
    train: Dataset,
    *,
    num_classes: int,
    method: str = "last_layer",
    config: TrainConfig | None = None,
    key: Array | None = None,
    batch_norm_drift: bool = False,
    augment: Augment | None = None,
    ridge: float = 1e-2,
    batch_size: int | None = None,
    progress: sgd.Progress | None = None,
    progress_steps: int | None = None,
    sharding: Sharding = None,
    restore: Restore | None = None,
    on_step: OnStep | None = None,
) -> tuple[Model, PyTree]:
    """Transfers a trained model to new classes; the variables are those after the last step.

    Args:
      model: the source model.
      variables: its variables; left as they are.
      train: the target task's images, labels 0 .. num_classes - 1.
      num_classes: outputs of the new last layer.
      method: "last_layer", "all" or "closed_form"; see the module.
      config: settings of SGD; not used by "closed_form".
      key: new last layer, order of examples, augmentation; not used by "closed_form".
      batch_norm_drift: with "last_layer" only; see the module. Without batch norm it has no effect.
      augment: as in `training.fit`. Without it "last_layer" computes the features once.
      ridge: with "closed_form" only; see `ridge_head`.
      batch_size: of the passes that compute features, as in `training.extract_features`; no result
        depends on it beyond rounding.
      progress: as in `training.fit`, validation_accuracy None.
      progress_steps: as in `training.fit`.
      sharding: as in `training.fit`.
      restore, on_step: as in `training.fit`, for a transfer that can be resumed; not used by
        "closed_form".

    Returns:
      The model with the new number of classes, and its variables; with "last_layer" (no drift) and
      "closed_form" all but the head are bit for bit the given ones.

    Raises:
      ValueError, TypeError: an unknown method, settings that the method does not take or lacks, a
        data set that does not fit.
      FloatingPointError: NaN or infinity in the loss, the parameters or the features.
    """
    validate.choice("method", method, METHODS)
    validate.integer("num_classes", num_classes, minimum=1)
    check_augment(augment)
    check_dataset("train", train, model, num_classes)
    if batch_norm_drift and method != "last_layer":
        raise ValueError(
            f"batch_norm_drift=True goes with method='last_layer', not with {method!r} (which "
            + ("trains every layer)." if method == "all" else "runs f_S in evaluation mode only).")
        )
    new_model = model.replace_classes(num_classes)
    if method == "closed_form":
        if augment is not None:
            raise ValueError("augment must be None with method='closed_form'.")
        features = _finite_features(model, variables, train, batch_size, sharding)
        kernel, bias = ridge_head(features, train.labels, num_classes=num_classes, ridge=ridge)
        head = (jnp.asarray(kernel, jnp.float32), jnp.asarray(bias, jnp.float32))
        return new_model, new_model.with_head(variables, *head)

    if not isinstance(config, TrainConfig):
        raise TypeError(f"config={config!r} must be a TrainConfig with method={method!r}.")
    if method == "last_layer" and config.adversarial.eps > 0:
        raise ValueError(
            f"config.adversarial.eps={config.adversarial.eps:g} goes with method='all'; "
            "method='last_layer' has eps=0."
        )
    if key is None:
        raise TypeError(f"key=None: method={method!r} needs a JAX key, such as jax.random.key(0).")
    if progress_steps is not None:
        validate.integer("progress_steps", progress_steps, minimum=1)
    descended = functools.partial(
        _descended,
        labels=train.labels,
        config=config,
        key=key,
        restore=restore,
        progress=progress,
        progress_steps=progress_steps,
        on_step=on_step,
        sharding=sharding,
    )
    first = new_model.new_head(init_key(key))
    start = new_model.with_head(variables, first["kernel"], first["bias"])
    batch_stats = start.get("batch_stats", {})
    if method == "all":
        whole = WholeModel(new_model, augment, config.activations)
        params, batch_stats = descended(whole, start["params"], batch_stats, {}, train.images)
        return new_model, whole.variables(params, batch_stats)
    if augment is None and not (batch_norm_drift and batch_stats):
        features = _finite_features(model, variables, train, batch_size, sharding)
        head, _ = descended(HeadOnFeatures(new_model), first, {}, start, features)
        return new_model, new_model.with_head(variables, head["kernel"], head["bias"])
    forward = HeadOnImages(new_model, augment, batch_norm_drift)
    frozen = {"params": start["params"]}
    head, drifted = descended(forward, first, batch_stats, frozen, train.images)
    tuned = new_model.with_head(variables, head["kernel"], head["bias"])
    return new_model, {**tuned, "batch_stats": drifted} if forward.drift and drifted else tuned


def _descended(
    forward: sgd.Forward,
    params: PyTree,
    batch_stats: PyTree,
    frozen: PyTree,
    inputs: np.ndarray,
    *,
    labels: np.ndarray,
    config: TrainConfig,
    key: Array,
    restore: Restore | None,
    progress: sgd.Progress | None,
    progress_steps: int | None,
    on_step: OnStep | None,
    sharding: Sharding,
) -> tuple[PyTree, PyTree]:
    """The parameters and batch_stats after the last step."""
    start = create_state(params, batch_stats, config, key)
    state = resumed(start, restore, sgd.total_steps(config, len(inputs)))
    steps = sgd.epochs(
        state,
        forward,
        frozen,
        inputs,
        labels,
        config,
        progress=progress,
        progress_steps=progress_steps,
        on_step=on_step,
        sharding=sharding,
    )
    for after, record in steps:
        state = after
        sgd.report(progress, record, config)
        if on_step is not None:
            on_step(state)
    found = state.params, state.batch_stats
    return found if sharding is None else devices.local(found)


def _finite_features(
    model: Model, variables: PyTree, dataset: Dataset, batch_size: int | None, sharding: Sharding
) -> np.ndarray:
    features = extract_features(model, variables, dataset, batch_size=batch_size, sharding=sharding)
    if not np.isfinite(features).all():
        bad = int((~np.isfinite(features)).any(axis=-1).sum())
        raise FloatingPointError(
            f"The features of {bad} of {len(features)} examples are NaN or infinite; the "
            "variables are those of a training that diverged."
        )
    return features


def ridge_head(
    features: np.ndarray, labels: np.ndarray, *, num_classes: int, ridge: float
) -> tuple[np.ndarray, np.ndarray]:
    """The last layer by ridge regression of one-hot labels, solved in float64 on the host.

    Minimises  1/N sum_i |y_i - W' f_i - b|^2 + ridge s |W|_F^2,  s = tr(Cov f) / F  the mean
    variance of a feature, so that `ridge` means the same for features of any scale; b is free. At
    ridge=0 it is the knowledge transfer distance's least squares (theory.md section 4), with the
    smallest W where several are best.

    Args:
      features: (N, F).
      labels: (N,) integers below `num_classes`.
      num_classes: k.
      ridge: >= 0, without unit.

    Returns:
      kernel (F, k) and bias (k,), float64.

    Raises:
      ValueError, TypeError: a ridge that is negative or no number.
    """
    validate.number("ridge", ridge, minimum=0)
    f = np.asarray(features, np.float64)
    y = np.eye(num_classes)[np.asarray(labels)]
    mean_f, mean_y = f.mean(axis=0), y.mean(axis=0)
    f, y = f - mean_f, y - mean_y
    covariance = f.T @ f / len(f)
    penalty = ridge * np.trace(covariance) / len(covariance)
    if penalty > 0:
        matrix = covariance + penalty * np.eye(len(covariance))
        kernel = scipy.linalg.solve(matrix, f.T @ y / len(f), assume_a="pos")
    else:
        kernel = np.linalg.lstsq(f, y)[0]
    return kernel, mean_y - mean_f @ kernel
