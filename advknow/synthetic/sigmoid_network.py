"""The one-hidden-layer sigmoid networks of the synthetic experiment (theory.md section 7).

f(x) = W2 sigmoid(W1 x + b1) + b2, in the orientation of the authors' files: biases are columns.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from advknow import validate
from advknow.typing import Array, Progress


class Weights(NamedTuple):
    """W1 (m, n), b1 (m, 1), W2 (d, m), b2 (d, 1); n inputs, m hidden units, d outputs."""

    W1: Array | np.ndarray
    b1: Array | np.ndarray
    W2: Array | np.ndarray
    b2: Array | np.ndarray


def _matmul(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")


def _hidden(weights: Weights, x: Array) -> Array:
    return jax.nn.sigmoid(_matmul(x, jnp.transpose(weights.W1)) + jnp.transpose(weights.b1))


def _apply(weights: Weights, x: Array) -> Array:
    return _matmul(_hidden(weights, x), jnp.transpose(weights.W2)) + jnp.transpose(weights.b2)


def bind(weights: Weights) -> Partial:
    """The network as a function of a batch, (B, n) -> (B, d)."""
    return Partial(_apply, weights)


def bind_hidden(weights: Weights) -> Partial:
    """Its hidden layer, (B, n) -> (B, m): what re-solving (W2, b2) is linear in."""
    return Partial(_hidden, weights)


def init(key: Array, *, num_inputs: int, hidden: int, num_outputs: int) -> Weights:
    """Random weights of variance 1 / fan-in, zero biases."""
    first, second = jax.random.split(key)
    return Weights(
        jax.random.normal(first, (hidden, num_inputs)) / num_inputs**0.5,
        jnp.zeros((hidden, 1)),
        jax.random.normal(second, (num_outputs, hidden)) / hidden**0.5,
        jnp.zeros((num_outputs, 1)),
    )


@functools.lru_cache(maxsize=8)
def _optimizer(learning_rate: float, num_steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))


@functools.partial(jax.jit, static_argnames=("learning_rate", "num_steps", "batch_size"))
def _epoch(weights, state, x, y, key, *, learning_rate, num_steps, batch_size):
    optimizer = _optimizer(learning_rate, num_steps)
    batches = x.shape[0] // batch_size
    order = jax.random.permutation(key, x.shape[0])[: batches * batch_size]

    def loss(weights, rows):
        return jnp.mean(jnp.sum((_apply(weights, x[rows]) - y[rows]) ** 2, axis=-1))

    def step(carry, rows):
        weights, state = carry
        value, gradient = jax.value_and_grad(loss)(weights, rows)
        updates, state = optimizer.update(gradient, state, weights)
        return (optax.apply_updates(weights, updates), state), value

    (weights, state), values = jax.lax.scan(
        step, (weights, state), order.reshape(batches, batch_size)
    )
    return weights, state, jnp.mean(values)


def train(
    key: Array,
    x: np.ndarray,
    y: np.ndarray,
    *,
    hidden: int,
    epochs: int = 300,
    learning_rate: float = 0.02,
    batch_size: int = 100,
    progress: Progress | None = None,
    on_epoch: Callable[[str, int, float], None] | None = None,
    stage: str = "train",
) -> Weights:
    """Weights that fit y by squared error: Adam with a cosine schedule.

    Args:
      key: of initialisation and order.
      x: (N, n). y: (N, d).
      hidden: m. epochs, learning_rate, batch_size: of the training; at most N in a batch.
      progress: called with (stage, epochs done, epochs, a note of the loss) after each.
      on_epoch: called with (stage, epochs done, the loss) after each: the root of the mean squared
        error over the epoch's batches.

    Raises:
      FloatingPointError: the loss is NaN or infinite. ValueError, TypeError: a setting.
    """
    validate.integer("hidden", hidden, minimum=1)
    validate.integer("epochs", epochs, minimum=1)
    validate.number("learning_rate", learning_rate, above=0.0)
    validate.integer("batch_size", batch_size, minimum=1)
    batch_size = min(batch_size, len(x))
    num_steps = epochs * (len(x) // batch_size)
    weights = init(
        jax.random.fold_in(key, 0), num_inputs=x.shape[1], hidden=hidden, num_outputs=y.shape[1]
    )
    state = _optimizer(learning_rate, num_steps).init(weights)
    inputs, responses = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    for epoch in range(epochs):
        weights, state, value = _epoch(
            weights,
            state,
            inputs,
            responses,
            jax.random.fold_in(key, epoch + 1),
            learning_rate=learning_rate,
            num_steps=num_steps,
            batch_size=batch_size,
        )
        if not np.isfinite(value):
            raise FloatingPointError(
                f"the loss is {float(value)} in epoch {epoch + 1} at learning_rate="
                f"{learning_rate:g}; use a smaller one."
            )
        loss = float(value) ** 0.5
        if on_epoch is not None:
            on_epoch(stage, epoch + 1, loss)
        if progress is not None:
            progress(stage, epoch + 1, epochs, f"loss {loss:.4f}")
    return jax.tree.map(np.asarray, weights)


def deviations(key: Array, weights: Weights) -> Weights:
    """D of theory.md section 7: for each weight a number uniform in [-0.5, 0.5], float32."""
    leaves, structure = jax.tree.flatten(weights)
    drawn = [
        np.asarray(jax.random.uniform(k, leaf.shape, jnp.float32, -0.5, 0.5))
        for k, leaf in zip(jax.random.split(key, len(leaves)), leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)


def moved(weights: Weights, deviation: Weights, scale: float) -> Weights:
    """W + scale * D."""
    return jax.tree.map(
        lambda w, d: (w + np.float32(scale) * d).astype(w.dtype), weights, deviation
    )
