"""alpha1, alpha2 and alpha1*alpha2 of attacks at finite eps (theory.md section 2).

One pass over the examples, cost linear in N, memory constant but for alpha1 of every example; for
models of many outputs, also the directions of every example, where they are smaller than the matrix
of all pairs of outputs (`advknow.alphas.sums`).
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from advknow import inner_product, losses, passes, precision, validate
from advknow.alphas import sums
from advknow.alphas.record import NONFINITE_GRADIENT, Transferability, finalize
from advknow.inner_product import Loss
from advknow.losses import AdversarialLoss
from advknow.passes import Batch, Measure, Need, Run, Shapes, Totals, devices
from advknow.passes.apply_fn import outputs
from advknow.passes.batching import Sample
from advknow.typing import ApplyFn, Array, ArrayLike, AttackFn


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """Need: delta of a model, (size, ...): by its attack, or for None as given to the pass."""

    model: str
    attack: AttackFn | None = None
    needs: ClassVar[tuple[Need, ...]] = ()

    def __call__(self, batch: Batch) -> Array:
        if self.attack is None:
            if self.model not in batch.deltas:
                raise ValueError(
                    f"the deltas of {self.model} are needed: it has no attack; deltas of "
                    f"{', '.join(batch.deltas) or 'no model'} were given."
                )
            return batch.deltas[self.model]
        delta = self.attack(batch.models[self.model], batch.x, batch.keys)
        if getattr(delta, "shape", None) != batch.x.shape:
            found = tuple(delta.shape) if hasattr(delta, "shape") else type(delta).__name__
            raise ValueError(
                f"attack returns {found} for a batch of shape {tuple(batch.x.shape)}; a delta of "
                "that shape is needed."
            )
        return delta


def _finite(delta: Array) -> Array:
    return jnp.isfinite(delta).all(axis=tuple(range(1, delta.ndim)))


@dataclasses.dataclass(frozen=True)
class Moved:
    """Need: what a model returns at x + delta, (size, d), of a perturbation; at x of None."""

    model: str
    by: Perturbation | None = None

    @property
    def needs(self) -> tuple[Need, ...]:
        return () if self.by is None else (self.by,)

    def __call__(self, batch: Batch, delta: Array | None = None) -> Array:
        return outputs(batch.models[self.model], batch.x if delta is None else batch.x + delta)


def _terms(y1, moved_11, y2, moved_12, moved_22, *, loss: AdversarialLoss) -> sums.Terms:
    noise_11, noise_12 = sums.rounding(y1), sums.rounding(y2)
    y1, moved_11, y2, moved_12, moved_22 = map(sums.wide, (y1, moved_11, y2, moved_12, moved_22))
    # Both by the same instructions, to the last bit: alpha1 of a model and itself is 1.
    moved = jnp.concatenate([moved_12, moved_22])
    of_both = jax.lax.optimization_barrier(loss(jnp.concatenate([y2, y2]), moved))
    of_12, of_22 = jnp.split(of_both, 2)
    # A deviation that is only rounding is no maximum.
    maximum = jnp.where(sums.length(moved_22 - y2) > noise_12, of_22, 0.0)
    return sums.Terms(moved_11 - y1, moved_12 - y2, of_12, maximum, noise_11, noise_12)


def _linear_terms(f1, f2, x, delta1, delta2, *, loss: AdversarialLoss) -> sums.Terms:
    y2, forward2 = jax.linearize(f2, x)
    deviation_11 = jax.jvp(f1, (x,), (delta1,))[1]
    deviation_12, deviation_22 = (sums.wide(forward2(delta)) for delta in (delta1, delta2))
    of_12, of_22 = (
        inner_product.leading_term(loss, sums.wide(y2), v) for v in (deviation_12, deviation_22)
    )
    return sums.Terms(deviation_11, deviation_12, of_12, of_22, 0.0, 0.0)


@functools.partial(precision.program, static_argnames=("terms", "loss", "vectors"))
def _sums(
    *of_models: Any,
    deltas: tuple[Array, Array],
    index: Array,
    mask: Array,
    terms: Callable[..., sums.Terms],
    loss: AdversarialLoss,
    vectors: bool,
) -> tuple[sums.TransferSums, sums.TransferValues]:
    """The sums of one batch, direction f1 -> f2."""
    finite_delta = _finite(deltas[0]) & _finite(deltas[1])
    return sums.of_batch(
        *terms(*of_models, loss=loss),
        index=index,
        mask=mask,
        finite_delta=finite_delta,
        vectors=vectors,
    )


def finite_alphas(
    first: Perturbation,
    second: Perturbation,
    *,
    eval_loss: Loss = "l2",
    linearize: bool = False,
    keep_vectors: bool = False,
) -> Measure:
    """The measure behind `transferability`, of the direction first -> second.

    Args:
      first: the attack on f1, carried to f2. second: the attack on f2.
      eval_loss, linearize: as in `transferability`.
      keep_vectors: as in `small_eps_direction`.
    """
    loss = losses.get(eval_loss, argument="eval_loss")
    f1, f2 = first.model, second.model

    def vectors(shapes: Shapes) -> bool:
        sizes = shapes.outputs[f1], shapes.outputs[f2]
        return keep_vectors or sums.keeps_vectors(*sizes, shapes.examples)

    # Shared with the other direction, and with whatever else reads them.
    at = (Moved(f1), Moved(f1, first), Moved(f2), Moved(f2, first), Moved(f2, second))

    def zero(shapes: Shapes) -> Totals:
        sizes = shapes.outputs[f1], shapes.outputs[f2]
        return Totals(
            sums.zeros(*sizes, vectors=vectors(shapes)),
            sums.no_values(*sizes, vectors=vectors(shapes)),
        )

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        shapes = batch.shapes
        deltas = found[first], found[second]
        if linearize:
            of_models = (batch.models[f1], batch.models[f2], batch.x, *deltas)
        else:
            of_models = tuple(found[need] for need in at)
        of_sums, values = devices.fetch(
            _sums(
                *of_models,
                deltas=deltas,
                index=batch.start + np.arange(batch.size),
                mask=np.arange(batch.size) < batch.count,
                terms=_linear_terms if linearize else _terms,
                loss=loss,
                vectors=vectors(shapes),
            )
        )
        values = jax.tree.map(lambda v: np.asarray(v)[: batch.count], values)
        return Totals(of_sums, values._replace(alpha1=values.alpha1.astype(np.float64)))

    return Measure(
        needs=(first, second) if linearize else (first, second, *at),
        zero=zero,
        of_batch=of_batch,
        record=lambda totals, shapes: finalize(*totals),
    )


def both_directions(source: Perturbation, target: Perturbation, **settings: Any) -> Measure:
    """The records of S -> T and T -> S, as "source_to_target" and "target_to_source".

    Args:
      source, target: the attacks on the two models. settings: of `finite_alphas`.
    """
    return passes.combine(
        {
            "source_to_target": finite_alphas(source, target, **settings),
            "target_to_source": finite_alphas(target, source, **settings),
        }
    )


def perturbations(of: Perturbation) -> Measure:
    """The measure behind `perturb`: delta of every example."""

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        delta = devices.fetch(found[of])[: batch.count]
        bad = int((~np.isfinite(delta.reshape(len(delta), -1)).all(axis=1)).sum())
        if bad:
            raise ValueError(
                f"the attack on {of.model} gives NaN or infinity for {bad} of {len(delta)} "
                f"examples of a batch: {NONFINITE_GRADIENT}"
            )
        return Totals((), delta)

    return Measure(
        needs=(of,),
        zero=lambda shapes: Totals((), np.zeros((0, *shapes.inputs), shapes.dtype)),
        of_batch=of_batch,
        record=lambda totals, shapes: totals.values,
    )


def checked_attack(attack: AttackFn) -> AttackFn:
    """The attack as a hashable function; TypeError where it cannot be called."""
    if not callable(attack):
        raise TypeError(
            f"attack={attack!r} must be a function (f, x, key) -> delta, such as "
            "attacks.pgd(eps=0.1)."
        )
    try:
        hash(attack)
    except TypeError:
        # Equal needs are computed once; a bound method goes by its object's identity.
        return attack.__call__
    return attack


def transferability(
    f1: ApplyFn,
    f2: ApplyFn,
    x: Sample,
    *,
    attack: AttackFn,
    key: Array,
    eval_loss: Loss = "l2",
    linearize: bool = False,
    **run: Unpack[Run],
) -> Transferability:
    """alpha1, alpha2 and alpha1*alpha2 of the direction f1 -> f2 (theory.md section 2).

    Args:
      f1: the attacked model, a function of a batch (B, ...) -> (B, m), each row on its own.
      f2: the model that the attack is carried to, (B, ...) -> (B, d).
      x: (N, ...) floats, or an iterable of such batches.
      attack: from `advknow.attacks`; both models are attacked with the same keys.
      key: one key, of which example i gets `fold_in(key, i)`, or a key per example (N,).
      eval_loss: l of alpha1: "l2" (the poster's), "squared_l2", "kl", an AdversarialLoss or a
        function (y, y') -> (B,).
      linearize: take deviations as J delta and l by its leading term: the small-eps limit.
      **run: batch_size, sharding and progress, as in `passes.Run`; progress is called with
        ("measure", examples done, N or None).

    Raises:
      ValueError: x empty, of wrong rank, with NaN or out of the attack's bounds; models that do
        not take x; non-finite outputs; no example with a direction.
    """
    first, second = (Perturbation(name, checked_attack(attack)) for name in ("f1", "f2"))
    measure = finite_alphas(first, second, eval_loss=eval_loss, linearize=linearize)
    models = {"f1": f1, "f2": f2}
    return passes.run(measure, models, x, key=key, stage="measure", **passes.checked(run))


def perturb(
    f: ApplyFn,
    x: ArrayLike,
    *,
    attack: AttackFn,
    key: Array,
    **run: Unpack[Run],
) -> np.ndarray:
    """delta of every example of x, on the host, with the keys of `transferability`: (N, ...).

    For `from_deltas`: a model attacked once serves every pair that it is in.

    Args:
      f, x, attack, key: as in `transferability`.
      **run: as there; progress is called with ("attack", examples done, N).

    Raises:
      ValueError: as `transferability`.
    """
    validate.inputs("x", x)
    measure = perturbations(Perturbation("f", checked_attack(attack)))
    return passes.run(measure, {"f": f}, x, key=key, stage="attack", **passes.checked(run))


def from_deltas(
    f1: ApplyFn,
    f2: ApplyFn,
    x: ArrayLike,
    delta1: ArrayLike,
    delta2: ArrayLike,
    *,
    eval_loss: Loss = "l2",
    linearize: bool = False,
    **run: Unpack[Run],
) -> Transferability:
    """`transferability` f1 -> f2 from perturbations at hand: delta1 of f1, delta2 of f2.

    Args:
      f1, f2, eval_loss, linearize, **run: as in `transferability`.
      x: (N, ...) floats.
      delta1, delta2: of x's shape.

    Raises:
      ValueError: as `transferability`; deltas that are not of x's shape.
    """
    validate.inputs("x", x)
    for name, delta in (("delta1", delta1), ("delta2", delta2)):
        validate.inputs(name, delta)
        if delta.shape != x.shape:
            raise ValueError(f"{name} has shape {delta.shape}; that of x, {x.shape}, is needed.")
    first, second = Perturbation("f1"), Perturbation("f2")
    measure = finite_alphas(first, second, eval_loss=eval_loss, linearize=linearize)
    models, deltas = {"f1": f1, "f2": f2}, {"f1": delta1, "f2": delta2}
    return passes.run(measure, models, x, deltas=deltas, stage="measure", **passes.checked(run))
