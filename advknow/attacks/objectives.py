"""What a gradient attack maximises: (outputs at x, outputs at x + delta) -> (B,), per example."""

import jax
import jax.numpy as jnp

from advknow import losses, validate
from advknow.typing import Array, LossFn


def cross_entropy(y: Array, y_prime: Array) -> Array:
    """Cross-entropy of softmax y' to the model's own prediction argmax y (theory.md section 6).

    (B, d) logits, (B, d) logits -> (B,) nats. The label is fixed at x; ties take the first.
    """
    label = jnp.argmax(y, axis=-1)[:, None]
    return -jnp.take_along_axis(jax.nn.log_softmax(y_prime), label, axis=-1)[:, 0]


def output_deviation(y: Array, y_prime: Array) -> Array:
    """|y' - y|^2 (theory.md section 1); its gradient is 0 at delta = 0: start at random."""
    return losses.squared_l2(y, y_prime)


OBJECTIVES = {"cross_entropy": cross_entropy, "output_deviation": output_deviation}


def get(objective: str | LossFn) -> LossFn:
    """The objective of that name, or the function itself.

    Raises:
      ValueError: an unknown name. TypeError: neither a name nor a function.
    """
    if isinstance(objective, str):
        validate.choice("objective", objective, OBJECTIVES)
        return OBJECTIVES[objective]
    if not callable(objective):
        raise TypeError(
            f"objective={objective!r} must be a name ({', '.join(OBJECTIVES)}) or a function "
            "(y, y') -> (batch,)."
        )
    return objective
