"""Stochastic gradient descent as the poster uses it: one compiled step, called from Python.

    g_t = dL/dp + weight_decay p        (every parameter, as PyTorch's SGD)
    v_t = momentum v_{t-1} + g_t
    p  <- p - learning_rate(t) v_t,     learning_rate(t) = learning_rate (1 + cos(pi t / T)) / 2

for the steps t = 0 .. T - 1 of all epochs (theory.md section 6). The loop is Python's, because
XLA's CPU backend runs convolutions inside a compiled loop on one thread. Every random number of
step t comes from fold_in(key, t), and the order of the examples from the key and the epoch, so that
a `TrainState` that was stored goes on bit for bit. What is done once an epoch or less is NumPy's: a
program of its own would take longer to compile.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from advknow import precision, programs
from advknow.passes import devices, keys
from advknow.training.config import TrainConfig
from advknow.training.forward import Forward
from advknow.training.objective import Objective, chosen
from advknow.training.state import ORDER, STEP, OnStep, TrainState, optimizer_of
from advknow.typing import Array, PyTree, Sharding

Progress = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class EpochRecord:
    """One epoch's means over its steps, and the validation accuracy after it, if any."""

    epoch: int
    loss: float
    train_accuracy: float
    learning_rate: float
    validation_accuracy: float | None = None
    steps_per_second: float = dataclasses.field(default=0.0, compare=False)


def total_steps(config: TrainConfig, n: int) -> int:
    """Steps of all epochs over n examples."""
    return config.epochs * (n // min(config.batch_size, n))


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """The learning rate of step 0 <= step < total."""
    return config.learning_rate * float(_decay(config.schedule, step, total))


def _decay(schedule: str, step: Any, total: Any) -> Any:
    if schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + jnp.cos(jnp.pi * step / total))


def _products(matmul_precision: str) -> Any:
    """The precision of a training's products; None for JAX's default."""
    return precision.chosen() if matmul_precision == "default" else matmul_precision


@functools.partial(
    programs.program,
    static_argnames=(
        "forward",
        "momentum",
        "weight_decay",
        "schedule",
        "matmul_precision",
        "sharding",
    ),
    donate_argnames="state",
)
def _step(
    state: TrainState,
    frozen: PyTree,
    inputs: Array,
    labels: Array,
    rate: Array,
    total: Array,
    loss_of: Partial,
    *,
    forward: Forward,
    momentum: float,
    weight_decay: float,
    schedule: str,
    matmul_precision: str,
    sharding: Sharding,
) -> TrainState:
    """One step of SGD. `rate` and `total` are arrays, so that they cost no compilation."""
    step_key = jax.random.fold_in(jax.random.fold_in(state.key, STEP), state.step)

    def mean_loss(params: PyTree) -> tuple[Array, tuple[Array, PyTree]]:
        return loss_of(forward, params, state.batch_stats, frozen, inputs, labels, step_key)

    with jax.default_matmul_precision(_products(matmul_precision)):
        (loss, (logits, batch_stats)), grads = jax.value_and_grad(mean_loss, has_aux=True)(
            state.params
        )
    optimizer = optimizer_of(momentum, weight_decay)
    direction, opt_state = optimizer.update(grads, state.opt_state, state.params)
    rate = rate * _decay(schedule, state.step, total)
    hits = jnp.sum(jnp.argmax(logits, axis=-1) == labels)
    after = state._replace(
        params=jax.tree.map(lambda p, v: p - rate * v, state.params, direction),
        batch_stats=batch_stats,
        opt_state=opt_state,
        step=state.step + 1,
        sums=state.sums + jnp.stack([loss, hits.astype(jnp.float32)]),
    )
    if sharding is None:
        return after
    return jax.lax.with_sharding_constraint(after, devices.replicated(sharding))


def _order(key: Array, epoch: int, n: int) -> np.ndarray:
    """The order of an epoch's examples."""
    return np.argsort(keys.bits(key, ORDER, epoch, count=n), kind="stable").astype(np.int32)


def take_step(
    state: TrainState,
    frozen: PyTree,
    batch: tuple[Array, Array],
    rate_and_total: tuple[Array, Array],
    *,
    forward: Forward,
    config: TrainConfig,
    objective: Objective | None = None,
    sharding: Sharding = None,
) -> TrainState:
    """One compiled step of SGD.

    Args:
      state: gives up its arrays.
      frozen: arrays that `forward` reads and nothing changes.
      batch: inputs (B, ...) and labels (B,).
      rate_and_total: the learning rate of step 0 and the steps in all, () float32 each: arrays, so
        that they cost no compilation.
      forward: what is trained. config: the settings. sharding: over devices.
      objective: what is descended; as `config` says by default.
    """
    objective = chosen(objective, config)
    if objective.perturb is not None:
        # "default" is said aloud: an attack would take None for a wish for float32's products.
        with jax.default_matmul_precision(_products(config.matmul_precision) or "default"):
            batch = objective.perturb(forward, state, *batch), batch[1]
    return _step(
        state,
        frozen,
        *batch,
        *rate_and_total,
        objective.loss,
        forward=forward,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        schedule=config.schedule,
        matmul_precision=config.matmul_precision,
        sharding=sharding,
    )


@functools.partial(programs.program, static_argnames=("size", "sharding"))
def _take(
    inputs: Array, labels: Array, order: Array, step: Array, size: int, sharding: Sharding
) -> tuple[Array, Array]:
    """The batch of a step. A program of its own: it depends on N, and the costly step must not."""
    position = step % (len(order) // size)
    chosen = jax.lax.dynamic_slice_in_dim(order, position * size, size)
    batch = inputs[chosen], labels[chosen]
    return batch if sharding is None else jax.lax.with_sharding_constraint(batch, sharding)


def _all_finite(tree: PyTree) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(devices.fetch(tree)))


def epochs(
    state: TrainState,
    forward: Forward,
    frozen: PyTree,
    inputs: np.ndarray,
    labels: np.ndarray,
    config: TrainConfig,
    *,
    objective: Objective | None = None,
    progress: Progress | None = None,
    progress_steps: int | None = None,
    on_step: OnStep | None = None,
    sharding: Sharding = None,
) -> Iterator[tuple[TrainState, EpochRecord]]:
    """Trains from `state.step` to the last epoch; yields the state and its record after each.

    Nothing is fetched from the device within an epoch. A yielded state is valid until the next is
    asked for, since its buffers are given up; `copy` what is to be kept.

    Args:
      state: the start. Its arrays are given up.
      forward: what is trained.
      frozen: arrays that `forward` reads and nothing changes.
      inputs: (N, ...), kept on the device as they are (images as bytes).
      labels: (N,) integers.
      config: the settings.
      objective: what is descended; as `config` says by default.
      progress: called with {"kind": "step", "step", "steps"}.
      progress_steps: every so many steps; never where None.
      sharding: over devices. A batch that they do not divide is computed whole on each of them: a
        padded one would have other statistics of batch norm.
      on_step: called with the state after each step but the last of an epoch, which is yielded.

    Raises:
      FloatingPointError: the loss or a parameter is NaN or infinite after an epoch.
    """
    n = len(inputs)
    size = min(config.batch_size, n)
    steps_per_epoch = n // size
    total = total_steps(config, n)
    step, best = int(state.step), state.best
    objective = chosen(objective, config)
    # On the device before the first step: no step brings what `_take` and `_step` read again.
    if sharding is None:
        place: Callable[[PyTree], PyTree] = jax.device_put
    else:
        place = functools.partial(devices.replicate, sharding=sharding)
        state = place(state)
    frozen = place(frozen)
    objective = objective._replace(loss=place(objective.loss))
    data = place((inputs, np.asarray(labels, np.int32)))
    rate_and_total = place((np.float32(config.learning_rate), np.float32(total)))
    divided = sharding if devices.divides(size, sharding) else None
    while step < total:
        epoch = step // steps_per_epoch
        started, first = time.perf_counter(), step
        order = place(_order(state.key, epoch, n))
        while step < (epoch + 1) * steps_per_epoch:
            batch = _take(*data, order, state.step, size, divided)
            # The best variables stay; they are not given up.
            state = take_step(
                state._replace(best=None),
                frozen,
                batch,
                rate_and_total,
                forward=forward,
                config=config,
                objective=objective,
                sharding=sharding,
            )
            step += 1
            if progress is not None and progress_steps is not None and step % progress_steps == 0:
                progress({"kind": "step", "step": step, "steps": total})
            if on_step is not None and step % steps_per_epoch:
                on_step(state._replace(best=best))
        sums = np.array(devices.fetch(state.sums))
        if not _all_finite((state.sums, state.params, state.batch_stats)):
            raise FloatingPointError(
                f"NaN or infinity in the loss or the parameters in epoch {epoch + 1} of "
                f"{config.epochs} with learning_rate={config.learning_rate:g}; try a smaller one."
            )
        state = state._replace(sums=jnp.zeros_like(state.sums), best=best)
        record = EpochRecord(
            epoch=epoch + 1,
            loss=float(sums[0]) / steps_per_epoch,
            train_accuracy=float(sums[1]) / (steps_per_epoch * size),
            learning_rate=learning_rate(config, step - 1, total),
            steps_per_second=(step - first) / (time.perf_counter() - started),
        )
        yield state, record


def report(progress: Progress | None, record: EpochRecord, config: TrainConfig) -> None:
    """Calls `progress` with an epoch's record as {"kind": "epoch", "epochs", ...}."""
    if progress is not None:
        progress({"kind": "epoch", "epochs": config.epochs, **dataclasses.asdict(record)})
