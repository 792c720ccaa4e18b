"""The compiled passes that a stage cannot do without: on data on the device, nothing else."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from advknow import precision
from advknow.models import Model
from advknow.passes.apply_fn import outputs, vjp_rows
from advknow.typing import ApplyFn, Array, ArrayLike, PyTree


@precision.program
def input_gradient(f: ApplyFn, x: Array, labels: Array) -> Array:
    """d sum of cross-entropies / dx."""

    def total(x: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(f(x), labels).sum()

    return jax.grad(total)(x)


@precision.program
def jacobians(f_source: ApplyFn, f_target: ApplyFn, x: Array) -> PyTree:
    """Both models' outputs and Jacobians: m + d vector-Jacobian products."""
    return vjp_rows(f_source, x), vjp_rows(f_target, x)


@functools.partial(jax.jit, static_argnums=0)
def parameter_gradient(model: Model, variables: PyTree, x: Array, labels: Array) -> PyTree:
    """d mean cross-entropy / d parameters in training mode."""

    def mean(params: PyTree) -> Array:
        logits, _ = model.apply_train({**variables, "params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return jax.grad(mean)(variables["params"])


# A function, its arguments, and how often it is called.
Pass = tuple[Callable[..., Any], tuple[Any, ...], int]


def repeated(passes: Sequence[Pass]) -> Callable[[], None]:
    """A function that makes every pass and waits for the last.

    Arguments that are arrays are put on the device here.
    """
    ready = [(function, jax.device_put(given), count) for function, given, count in passes]

    def run() -> None:
        found = None
        for function, given, count in ready:
            for _ in range(count):
                found = function(*given)
        jax.block_until_ready(found)

    return run


def attack_passes(f: ApplyFn, x: ArrayLike, num_steps: int) -> list[Pass]:
    """One forward pass and `num_steps` input gradients of a batch."""
    labels = jnp.zeros(x.shape[0], jnp.int32)
    return [(outputs, (f, x), 1), (input_gradient, (f, x, labels), num_steps)]
