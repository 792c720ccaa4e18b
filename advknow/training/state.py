"""Where a training stands: a pytree of arrays that was stored goes on bit for bit."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from advknow.passes import keys
from advknow.training.config import TrainConfig
from advknow.typing import Array, ArrayLike, PyTree

# The independent streams that a training draws from its one key.
INIT, ORDER, STEP, ATTACK = 0, 1, 2, 3

# Called with a TrainState; its arrays are valid during the call only.
OnStep = Callable[["TrainState"], None]
# Given the state before the first step, returns the one to go on from, or None to begin with it.
Restore = Callable[["TrainState"], "TrainState | None"]


class Best(NamedTuple):
    """The best variables so far: `correct` of the validation examples, after `epoch`."""

    variables: PyTree
    correct: Array
    epoch: Array


class TrainState(NamedTuple):
    """All that a training needs to go on: a pytree of arrays.

    Attributes:
      params: what is trained.
      batch_stats: running statistics of batch norm, {} without.
      opt_state: optax's.
      step: () int32, steps done.
      sums: (2,) float32, the loss and the correct predictions summed over this epoch's steps.
      key: the training's one key.
      best: by validation, or None where there is no validation.
    """

    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    step: Array
    sums: Array
    key: Array
    best: Best | None = None


def init_key(key: Array) -> Array:
    """The key from which new parameters are drawn; independent of the training's other draws."""
    return jax.random.fold_in(keys.typed(key), INIT)


def copy(tree: PyTree) -> PyTree:
    """Copies where the arrays lie: a step gives up the buffers of the state that it gets."""
    return jax.tree.map(_copied, tree)


def _copied(array: ArrayLike) -> Array:
    if not isinstance(array, jax.Array):
        # device_put shares the memory of a NumPy array, whatever it is told.
        return jax.device_put(np.array(array))
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        words = _copied(jax.random.key_data(array))
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(array))
    if not array.is_fully_addressable:  # Of several processes, which device_put refuses.
        return jnp.copy(array)
    return jax.device_put(array, may_alias=False)


def create_state(
    params: PyTree, batch_stats: PyTree, config: TrainConfig, key: Array
) -> TrainState:
    """The state before the first step; `params` and `batch_stats` are copied."""
    params, batch_stats, key = copy((params, batch_stats, keys.typed(key)))
    start = functools.partial(_start, momentum=config.momentum, weight_decay=config.weight_decay)
    spec = jax.eval_shape(start, params, batch_stats, key)
    # What is not given begins with 0, momentum too: nothing is compiled for it.
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), spec._replace(key=None))
    return jax.device_put(zeros)._replace(params=params, batch_stats=batch_stats, key=key)


def _start(
    params: PyTree, batch_stats: PyTree, key: Array, *, momentum: float, weight_decay: float
) -> TrainState:
    return TrainState(
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer_of(momentum, weight_decay).init(params),
        step=jnp.zeros((), jnp.int32),
        sums=jnp.zeros(2, jnp.float32),
        key=key,
    )


def optimizer_of(momentum: float, weight_decay: float) -> optax.GradientTransformation:
    """optax's of the update in `advknow.training.sgd`, without the learning rate."""
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.trace(decay=momentum))


def resumed(start: TrainState, restore: Restore | None, total: int) -> TrainState:
    """What `restore` makes of the state before the first step, or that state itself.

    Raises:
      TypeError: no TrainState. ValueError: one of other parameters, or past the last step.
    """
    found = None if restore is None else restore(start)
    if found is None:
        return start
    if not isinstance(found, TrainState):
        raise TypeError(f"restore returned a {type(found).__name__}; a TrainState is needed.")
    if _shapes(found) != _shapes(start):
        raise ValueError("restore returned the state of another model: its arrays differ.")
    if int(found.step) > total:
        raise ValueError(
            f"restore returned a state of {int(found.step)} steps; this training has only {total}."
        )
    return copy(found)


def _shapes(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda a: (tuple(a.shape), str(a.dtype)), tree)
