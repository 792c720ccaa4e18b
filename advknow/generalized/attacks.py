"""Generalized adversarial transferability: the measure of all attacks (theory.md section 3).

Of all attacks i = 1..r of the source, with Delta_{S->S}^(i) = J_S delta_S^(i) and Delta_{S->T}^(i)
= J_T delta_S^(i):

    A1^(i)(x) = |Delta_{S->T}^(i)(x)|_{H_T} / |Delta_{T->T}^(1)(x)|_{H_T}
    A2^(i,j)(x1, x2) = cos_{H_T}(Delta_{S->T}^(i)(x1), Delta_{S->T}^(j)(x2))
                       * cos_K(Delta_{S->S}^(i)(x1), Delta_{S->S}^(j)(x2)),    K = S^+
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import jax
import numpy as np

from advknow import gram, losses, passes, validate
from advknow.attacks.singular_vectors import METHODS
from advknow.generalized.matrix_free import TopAttacks, top_attacks
from advknow.generalized.record import Generalized, finalize
from advknow.generalized.sums import summable, sums_of_batch, sums_of_grams, zeros
from advknow.gram import GramsOf
from advknow.inner_product import Loss
from advknow.passes import Batch, Measure, Need, Run, Shapes, Totals, devices
from advknow.passes.apply_fn import outputs
from advknow.passes.batching import Sample
from advknow.typing import ApplyFn, Array


@dataclasses.dataclass(frozen=True)
class TopAttacksOf:
    """Need: the strongest attacks of the source without a Jacobian, and R' of H_T.

    Attributes:
      grams: the models and the losses.
      count: how many; None: all r = min(n, m), at most 10.
      num_steps, tolerance, num_probes: as in `generalized_transferability`.
    """

    grams: GramsOf
    count: int | None = None
    num_steps: int | None = None
    tolerance: float = 1e-3
    num_probes: int = 16
    needs: ClassVar[tuple[Need, ...]] = ()

    def __call__(self, batch: Batch) -> tuple[TopAttacks, np.ndarray | None]:
        loss = self.grams.loss
        f_source, f_target = batch.models[self.grams.source], batch.models[self.grams.target]
        found = top_attacks(
            f_source,
            f_target,
            batch.x,
            batch.keys,
            count=self.count or min(_rank(self.grams, batch.shapes), 10),
            loss=loss,
            source_loss=self.grams.of_source(batch.shapes),
            num_steps=self.num_steps,
            tolerance=self.tolerance,
            num_probes=self.num_probes,
        )
        found = jax.tree.map(lambda a: a[: batch.count], found)
        gram.check_finite("f_source", found.deviations.source)
        gram.check_finite("f_target", found.deviations.target)
        if not _summable(self.grams, batch.shapes):
            return found, None
        y = devices.fetch(outputs(f_target, batch.x))[: 1 if loss.constant_hessian else batch.count]
        return found, gram.host_root(loss, devices.fetch(gram.roots(loss, y)))


def _summable(grams: GramsOf, shapes: Shapes) -> bool:
    return summable(shapes.outputs[grams.target], shapes.outputs[grams.source], grams.loss)


def _rank(grams: GramsOf, shapes: Shapes) -> int:
    return min(shapes.outputs[grams.source], shapes.num_inputs)


def all_attacks(
    grams: GramsOf,
    *,
    count: int | None = None,
    keep_per_example: bool = True,
    iterative: TopAttacksOf | None = None,
) -> Measure:
    """The measure behind `generalized_transferability`.

    Args:
      grams: the models and the losses.
      count: how many attacks k, the strongest; if None all r = min(n, m), or 10 at most where they
        are found by iteration.
      keep_per_example: whether the record has A1 of every example.
      iterative: if given, find them by iteration, not from Gram matrices.
    """
    loss = grams.loss

    def attacks(shapes: Shapes) -> int:
        rank = _rank(grams, shapes)
        if count is not None:
            validate.integer("count", count, minimum=1, maximum=rank)
        return count or (rank if iterative is None else min(rank, 10))

    def zero(shapes: Shapes) -> Totals:
        k = attacks(shapes)
        m, d = shapes.outputs[grams.source], shapes.outputs[grams.target]
        return Totals(zeros(k, m, d, loss=loss), np.zeros((0, k)) if keep_per_example else None)

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        if iterative is None:
            sums, a1 = sums_of_grams(found[grams], loss=loss, count=attacks(batch.shapes))
        else:
            top, root = found[iterative]
            sums, a1 = sums_of_batch(
                top.deviations,
                top.length,
                top.strongest,
                top.square,
                root,
                constant_hessian=loss.constant_hessian,
                variance=top.variance,
                converged=top.converged,
            )
        return Totals(sums, a1 if keep_per_example else None)

    def record(totals: Totals, shapes: Shapes) -> Generalized:
        return finalize(
            totals.sums,
            totals.values,
            eps=shapes.eps,
            rank=_rank(grams, shapes),
            loss=loss.name,
            source_loss=grams.of_source(shapes).name,
            method="exact" if iterative is None else "iterative",
        )

    needs = (grams,) if iterative is None else (iterative,)
    return Measure(needs=needs, zero=zero, of_batch=of_batch, record=record)


def generalized_transferability(
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: Sample,
    *,
    loss: Loss = "l2",
    source_loss: Loss | None = None,
    method: str = "exact",
    count: int | None = None,
    key: Array | None = None,
    num_steps: int | None = None,
    tolerance: float = 1e-3,
    num_probes: int = 16,
    keep_per_example: bool = True,
    **run: Unpack[Run],
) -> Generalized:
    """A1, A2 and rho^2 of all attacks of the source at once (theory.md section 3).

    "exact" costs m + d vector-Jacobian products an example and holds both Jacobians of a batch,
    (m + d) n numbers an example. "iterative" finds the `count` strongest attacks by Lanczos
    iteration, without a Jacobian, and estimates |∇f_T'| by random probes: for many outputs.

    Args:
      f_source: f_S, (B, ...) -> (B, m), each row on its own.
      f_target: f_T, (B, ...) -> (B, d).
      x: (N, ...) floats, or an iterable of such batches (read once).
      loss: the target's adversarial loss, as in `advknow.matching.gradient_matching`.
      source_loss: the loss that the source is attacked with; None: `loss` where it takes the
        source's m outputs, else "l2". It decides which attack is the i-th, not what all r explain.
      method: "exact" or "iterative".
      count: how many attacks k, 1 .. r = min(n, m); all for "exact", at most 10 for "iterative" by
        default. See `Generalized` for what rho^2 is when k < r.
      key: of "iterative", one key, of which example i gets `fold_in(key, i)`; `jax.random.key(0)`
        if None.
      num_steps, tolerance: of "iterative", as in `attacks.singular_directions`.
      num_probes: of "iterative", random probes an example for |∇f_T'|; >= 2.
      keep_per_example: whether to return A1 of every example, (N, k) numbers.
      **run: batch_size, sharding and progress, as in `passes.Run`; progress is called with
        ("attacks", examples done, N or None).

    Raises:
      ValueError, TypeError: a setting out of range; x, models or loss that do not fit each other;
        NaN or infinity.
    """
    grams = GramsOf(losses.get(loss), source_loss)
    validate.choice("method", method, METHODS)
    if count is not None:
        validate.integer("count", count, minimum=1)
    validate.integer("num_probes", num_probes, minimum=2)
    validate.number("tolerance", tolerance, above=0.0)
    iterative = None
    if method == "iterative":
        key = jax.random.key(0) if key is None else key
        iterative = TopAttacksOf(grams, count, num_steps, tolerance, num_probes)
    return passes.run(
        all_attacks(grams, count=count, keep_per_example=keep_per_example, iterative=iterative),
        {"f_source": f_source, "f_target": f_target},
        x,
        key=key if method == "iterative" else None,
        stage="attacks",
        **passes.checked(run),
    )
