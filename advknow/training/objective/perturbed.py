"""Adversarial training: the loss of examples that an attack has moved."""

import dataclasses
import functools
import inspect
from collections.abc import Callable

import jax
from jax.tree_util import Partial

from advknow import programs
from advknow.passes import loops
from advknow.training.forward import Forward, WholeModel
from advknow.training.objective.record import Objective, mean_loss, whole_model
from advknow.training.state import ATTACK, STEP, TrainState
from advknow.typing import Array, PyTree

# (f, x, key, y) -> delta, y what the objective compares with: as `attacks.pgd` makes them.
Attack = Callable[..., Array]


def adversarial(*, attack: Attack) -> Objective:
    """The mean cross-entropy of examples that the attack has moved, and of no others.

    The attack works on the augmented pixels, which stay in its bounds, and raises its own
    objective with the labels in the place of f(x): "cross_entropy" is the loss that is trained.
    delta is a constant of the step, so no gradient goes through it. Example i of a batch has a key
    of its own, of the training's key, the step and i: it does not matter how a batch is divided
    over devices. With batch norm delta depends on the whole batch, as the logits do.

    On CPUs the attack's steps are compiled programs called one by one, elsewhere the attack is one
    program (`advknow.passes.loops`).

    Args:
      attack: of `attacks.pgd(...)` or `attacks.fgsm(...)`. Pass one object to all trainings that
        may share its programs. With eps=0 training is `cross_entropy`, to rounding.

    Raises:
      TypeError: an attack that takes no labels. In training, ValueError: a transfer of a last
        layer.
    """
    if not callable(attack) or "y" not in inspect.signature(attack).parameters:
        raise TypeError(
            f"attack={attack!r} takes no labels; attacks.pgd(...) and attacks.fgsm(...) do."
        )
    return Objective(Partial(_of_pixels), functools.partial(_perturbed, attack))


def _of_pixels(
    forward: Forward,
    params: PyTree,
    batch_stats: PyTree,
    frozen: PyTree,
    x: Array,
    labels: Array,
    key: Array,
) -> tuple[Array, tuple[Array, PyTree]]:
    logits, batch_stats = whole_model(forward).logits(params, batch_stats, x)
    return mean_loss(logits, labels), (logits, batch_stats)


@dataclasses.dataclass(frozen=True)
class _Logits:
    """The model that is attacked, equal by value."""

    forward: WholeModel

    def __call__(self, params: PyTree, batch_stats: PyTree, x: Array) -> Array:
        return self.forward.logits(params, batch_stats, x)[0]


def _perturbed(
    attack: Attack, forward: Forward, state: TrainState, images: Array, labels: Array
) -> Array:
    run = _moved if loops.on_cpu([images]) else _moved_compiled
    where = state.params, state.batch_stats, state.key, state.step
    return run(attack, whole_model(forward), where, images, labels)


def _moved(
    attack: Attack,
    forward: WholeModel,
    where: tuple[PyTree, PyTree, Array, Array],
    images: Array,
    labels: Array,
) -> Array:
    params, batch_stats, key, step = where
    x, y, key = _begun(key, step, images, labels, forward=forward)
    f = Partial(_Logits(forward), params, batch_stats)
    return _sum(x, attack(f, x, key, y))


_moved_compiled = programs.program(_moved, static_argnums=(0, 1))


@functools.partial(programs.program, static_argnames="forward")
def _begun(
    key: Array, step: Array, images: Array, labels: Array, *, forward: WholeModel
) -> tuple[Array, Array, Array]:
    """The pixels that the step would take, one-hot labels, the key of the attack."""
    of_step, of_attack = (
        jax.random.fold_in(jax.random.fold_in(key, stream), step) for stream in (STEP, ATTACK)
    )
    y = jax.nn.one_hot(labels, forward.model.num_classes)
    return forward.pixels(images, of_step), y, of_attack


@programs.program
def _sum(x: Array, delta: Array) -> Array:
    return x + delta
