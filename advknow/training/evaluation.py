"""Models on whole data sets: logits, features and accuracy, a batch at a time.

The last batch is padded to the size of the others, so that one program is compiled whatever the
length of the data set; the padding never leaves this module. It is up to a batch less one image,
so the batches of few images are smaller.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from advknow import precision, validate
from advknow.data import Dataset
from advknow.models import Model
from advknow.passes import devices
from advknow.typing import Array, PyTree, Sharding

# Images in one program: SMALL_BATCH_SIZE of a data set of fewer than FEW, BATCH_SIZE of others.
BATCH_SIZE, SMALL_BATCH_SIZE, FEW = 256, 64, 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """How well a model classifies a data set.

    Attributes:
      accuracy: share of correct examples, in [0, 1].
      correct: (n,) bool, in the data set's order.
      n: the number of examples.
    """

    accuracy: float
    correct: np.ndarray
    n: int


def pixels(images: Array) -> Array:
    """uint8 images as float32 in [0, 1], as `Dataset.pixels` gives them."""
    return images.astype(jnp.float32) / 255.0


def check_dataset(name: str, dataset: Dataset, model: Model, num_classes: int) -> None:
    """Raises ValueError where a data set is empty or does not fit the model."""
    if len(dataset) == 0:
        raise ValueError(f"{name} is empty; at least one example is needed.")
    shape = tuple(dataset.images.shape[1:])
    if shape != tuple(model.input_shape):
        raise ValueError(
            f"{name} has images of shape {shape}; the model {model.name} takes "
            f"{tuple(model.input_shape)}."
        )
    low, high = int(dataset.labels.min()), int(dataset.labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{name} has labels from {low} to {high}; 0 to {num_classes - 1} are accepted "
            f"(num_classes={num_classes})."
        )


def batch_size_of(n: int) -> int:
    """Images in one program where nothing else is asked for, of a data set of n."""
    return SMALL_BATCH_SIZE if n < FEW else BATCH_SIZE


def map_batches(
    fn: Callable[[Array], Array],
    inputs: np.ndarray,
    size: int | None = None,
    sharding: Sharding = None,
) -> np.ndarray:
    """fn on (size, ...) pieces of inputs (N, ...), the last one padded; outputs (N, ...).

    The size is `batch_size_of(N)` where none is given.
    """
    outputs = []
    size = devices.rounded_up(batch_size_of(len(inputs)) if size is None else size, sharding)
    for start in range(0, len(inputs), size):
        piece = inputs[start : start + size]
        if len(piece) < size:
            padding = np.zeros((size - len(piece), *inputs.shape[1:]), inputs.dtype)
            piece = np.concatenate([piece, padding])
        outputs.append(fn(devices.put(piece, sharding)))
    return np.concatenate(devices.fetch(outputs))[: len(inputs)]


@functools.partial(precision.program, static_argnums=0)
def _features(model: Model, variables: PyTree, images: Array) -> Array:
    return model.features(variables, pixels(images))


def extract_features(
    model: Model,
    variables: PyTree,
    dataset: Dataset,
    *,
    batch_size: int | None = None,
    sharding: Sharding = None,
) -> np.ndarray:
    """Features (N, F), float32: the input of the last layer, in evaluation mode.

    Args:
      model, variables, dataset: whose, of what.
      batch_size: images in one program; None for 256, or 64 of fewer than 1,024 images. sharding:
        over devices, None for one. No result depends on them beyond rounding.

    Raises:
      ValueError, TypeError: a data set that is empty or of another image shape, a bad batch_size.
    """
    if batch_size is not None:
        validate.integer("batch_size", batch_size, minimum=1)
    check_dataset("dataset", dataset, model, np.iinfo(np.int32).max)
    # Whatever the head: models of one backbone share the program.
    backbone = dataclasses.replace(model, num_classes=1)
    params = {"backbone": variables["params"]["backbone"]}
    variables = devices.replicate({**variables, "params": params}, sharding)
    return map_batches(
        lambda x: _features(backbone, variables, x), dataset.images, batch_size, sharding
    )


def predict(model: Model, variables: PyTree, dataset: Dataset, **how: Any) -> np.ndarray:
    """Logits (N, k), float32, of the model in evaluation mode: the head of its features.

    The head is NumPy's: models that differ in it alone share a program.

    Args, Raises: as `extract_features`.
    """
    return _head(variables, extract_features(model, variables, dataset, **how))


def _head(variables: PyTree, features: np.ndarray) -> np.ndarray:
    head = devices.fetch(variables["params"]["head"])
    return features @ head["kernel"] + head["bias"]


def evaluate(
    model: Model,
    variables: PyTree,
    dataset: Dataset,
    *,
    features: np.ndarray | None = None,
    **how: Any,
) -> Evaluation:
    """The model's accuracy in evaluation mode; logits that are NaN count as wrong.

    Args:
      model, variables, dataset: whose, on what.
      features: what `extract_features` gives of them, where it is known: heads on one backbone
        share it. **how: of `extract_features` otherwise.

    Raises:
      ValueError, TypeError: as `predict`; also labels that the model has no output for, and
        features of another number of examples.
    """
    check_dataset("dataset", dataset, model, model.num_classes)
    if features is None:
        features = extract_features(model, variables, dataset, **how)
    if len(features) != len(dataset):
        raise ValueError(
            f"features are of {len(features)} examples; the data set has {len(dataset)}."
        )
    logits = _head(variables, features)
    correct = (logits.argmax(axis=-1) == dataset.labels) & np.isfinite(logits).all(axis=-1)
    return Evaluation(accuracy=float(correct.mean()), correct=correct, n=len(correct))
