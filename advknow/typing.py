"""Shapes and protocols that the whole package speaks: arrays, models, losses, attacks."""

from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

Array = jax.Array
ArrayLike = jax.Array | np.ndarray
PyTree = Any
# How a batch is divided among devices (`advknow.passes.devices`); None for one device.
Sharding = jax.sharding.NamedSharding | None


@runtime_checkable
class ApplyFn(Protocol):
    """A model: a batch of inputs (B, ...) to a batch of outputs (B, d), each row on its own."""

    def __call__(self, x: Array, /) -> Array: ...


@runtime_checkable
class LossFn(Protocol):
    """An adversarial loss l(y, y'): two batches of outputs (B, d) to values (B,), per example."""

    def __call__(self, y: Array, y_prime: Array, /) -> Array: ...


@runtime_checkable
class AttackFn(Protocol):
    """An attack: (f, x, key) -> delta, of x's shape.

    `key` is one key, of which example i gets `fold_in(key, i)`, or one key per example (B,).
    """

    def __call__(self, f: ApplyFn, x: Array, key: Array, /) -> Array: ...


class Progress(Protocol):
    """Told how far work has come: (stage, done, total or None, note). The library never prints."""

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None: ...
