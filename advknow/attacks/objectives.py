"""What a gradient attack maximises: (outputs at x, outputs at x + delta) -> (B,), per example."""

import jax
import jax.numpy as jnp

from advknow import losses, validate
from advknow.typing import Array, LossFn


def cross_entropy(y: Array, y_prime: Array) -> Array:
    """Cross-entropy of softmax y' to the model's own prediction argmax y (theory.md section 6).

    (B, d) logits, (B, d) logits -> (B,) nats. The label is fixed at x; ties take the first.

    In differences to the label's logit, z: log(1 + sum_{j != label} e^{z_j}). The gradient of
    log softmax holds p_label - 1, which float32 rounds to 0 from a margin of about 17 on, and a
    confident model would be attacked in a wrong direction; here it keeps its digits to margin 87.
    """
    label = jnp.argmax(y, axis=-1, keepdims=True)
    z = y_prime - jnp.take_along_axis(y_prime, label, axis=-1)
    z = jnp.where(jnp.arange(y.shape[-1])[None] == label, -jnp.inf, z)
    top = jax.lax.stop_gradient(jnp.maximum(jnp.max(z, axis=-1, keepdims=True), 0.0))
    others = jnp.sum(jnp.exp(z - top), axis=-1)
    top = top[:, 0]
    return top + jnp.log1p(jnp.expm1(-top) + others)


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
