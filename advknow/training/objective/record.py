"""An objective as a record of pure functions; the mean cross-entropy."""

from collections.abc import Callable
from typing import NamedTuple

import optax
from jax.tree_util import Partial

from advknow.training.forward import Forward, WholeModel
from advknow.training.state import TrainState
from advknow.typing import Array, PyTree


class Objective(NamedTuple):
    """What a step of SGD descends.

    Attributes:
      loss: (forward, params, batch_stats, frozen, inputs, labels, key) -> (loss (), (logits (B, k),
        batch_stats)), differentiated in the compiled step. A pytree whose arrays are arguments of
        that step.
      perturb: (forward, state, inputs, labels) -> inputs, or None: programs that run before the
        step, and what it gets in place of the inputs. No gradient goes through them.
    """

    loss: Partial
    perturb: Callable[[Forward, TrainState, Array, Array], Array] | None = None


def cross_entropy() -> Objective:
    """The mean cross-entropy to the labels."""
    return Objective(Partial(_cross_entropy))


def _cross_entropy(
    forward: Forward,
    params: PyTree,
    batch_stats: PyTree,
    frozen: PyTree,
    inputs: Array,
    labels: Array,
    key: Array,
) -> tuple[Array, tuple[Array, PyTree]]:
    logits, batch_stats = forward(params, batch_stats, frozen, inputs, key)
    return mean_loss(logits, labels), (logits, batch_stats)


def mean_loss(logits: Array, labels: Array) -> Array:
    """Cross-entropy of logits (B, k) to labels (B,), its mean ()."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def whole_model(forward: Forward) -> WholeModel:
    """What is trained, where it is a whole model.

    Raises:
      ValueError: it is a last layer.
    """
    if not isinstance(forward, WholeModel):
        raise ValueError(
            "an adversarial or aligned objective needs a training of all layers on images: fit, or "
            "fine_tune with method='all'."
        )
    return forward
