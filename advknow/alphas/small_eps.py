"""alpha1, alpha2 and alpha1*alpha2 in the small-eps limit, both directions in one pass.

`transferability(attack=attacks.singular(...), linearize=True)` attacks each model and carries the
attack over; here everything comes from the Gram matrices that A1 and the distances use too. For an
attack i below the top, alpha1 divides by the TOP singular value of the other model's Jacobian, so
that it is A1^(i) (theory.md sections 3 and 7).
"""

from collections.abc import Mapping
from typing import Any, Unpack

import jax
import numpy as np

from advknow import gram, losses, passes, precision, validate
from advknow.alphas import sums
from advknow.alphas.record import Transferability, finalize
from advknow.gram import Grams, GramsOf
from advknow.inner_product import Loss
from advknow.passes import Batch, Measure, Need, Run, Shapes, Totals
from advknow.passes.batching import Sample
from advknow.typing import ApplyFn

_sums = precision.program(sums.of_batch, static_argnames=("vectors",))


def _unit(v: np.ndarray) -> np.ndarray:
    """Unit vectors along v (B, d); zeros where v is."""
    length = np.linalg.norm(v, axis=1, keepdims=True)
    return v / np.where(length > 0, length, 1.0)


def sums_of_grams(
    grams: Grams,
    *,
    index: int = 0,
    start: int = 0,
    size: int | None = None,
    vectors: bool = False,
) -> tuple[sums.TransferSums, sums.TransferValues]:
    """The sums of `advknow.alphas.sums` over one batch, direction S -> T, and its values.

    Args:
      grams: of B examples.
      index: i, counted from 0.
      start: the index of the first example in the whole sample, for its jackknife group.
      size: to which the batch is padded on the device; B by default.
      vectors: as in `sums.of_batch`.

    Returns:
      TransferSums; TransferValues, with alpha1 (B,) = |Delta_ST^(i)|_{H_T} / |Delta_TT^(1)|_{H_T}.
    """
    deviations = gram.source_attacks(grams, count=index + 1)
    target = deviations.target[:, index]
    count = len(target)
    size = max(count, size or count)
    numerator = gram.norms(grams.root_target, target[:, None])[:, 0]
    denominator = gram.strongest(grams.target, grams.root_target)
    defined = denominator > 0
    # Only directions and the ratio count; a flat model's own lengths may be too small for float32.
    parts = (
        _unit(deviations.source[:, index]),
        _unit(target),
        np.where(defined, numerator, 0.0) / np.where(defined, denominator, 1.0),
        defined.astype(np.float64),
    )
    # Padded, so that one program serves all batches.
    padded = (np.pad(a, [(0, size - count)] + [(0, 0)] * (a.ndim - 1)) for a in parts)
    of_batch = _sums(
        *padded, index=start + np.arange(size), mask=np.arange(size) < count, vectors=vectors
    )
    summed, values = jax.device_get(of_batch)
    return summed, jax.tree.map(lambda v: np.asarray(v[:count]), values)


def check_index(index: int, *, inputs: int, outputs: tuple[int, int]) -> None:
    """Raises ValueError unless both models have an attack of that index, counted from 0."""
    most = min(*outputs, inputs) - 1
    if index > most:
        raise ValueError(
            f"index={index} must be at most {most}: of {outputs[0]} and {outputs[1]} outputs and "
            f"{inputs} inputs there are no more attacks."
        )


DIRECTIONS = ("source_to_target", "target_to_source")


def small_eps_direction(
    grams: GramsOf, direction: str, *, index: int = 0, keep_vectors: bool = False
) -> Measure:
    """The alphas of one direction.

    Args:
      grams: the models and the losses.
      direction: one of `DIRECTIONS`.
      index: which attack, counted from 0.
      keep_vectors: whether the values have the unit vectors of all examples, be the matrices
        smaller or not.
    """
    there = direction == DIRECTIONS[0]

    def vectors(shapes: Shapes) -> bool:
        sizes = shapes.outputs[grams.source], shapes.outputs[grams.target]
        return keep_vectors or sums.keeps_vectors(*sizes, shapes.examples)

    def zero(shapes: Shapes) -> Totals:
        m, d = shapes.outputs[grams.source], shapes.outputs[grams.target]
        check_index(index, inputs=shapes.num_inputs, outputs=(m, d))
        sizes = (m, d) if there else (d, m)
        kept = vectors(shapes)
        return Totals(sums.zeros(*sizes, vectors=kept), sums.no_values(*sizes, vectors=kept))

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        return Totals(
            *sums_of_grams(
                found[grams] if there else found[grams].swapped(),
                index=index,
                start=batch.start,
                size=batch.size,
                vectors=vectors(batch.shapes),
            )
        )

    return Measure(
        needs=(grams,),
        zero=zero,
        of_batch=of_batch,
        record=lambda totals, shapes: finalize(*totals),
    )


def small_eps_alphas(grams: GramsOf, *, index: int = 0) -> Measure:
    """The measure behind `small_eps_transferability`: both directions, by their names."""
    return passes.combine({d: small_eps_direction(grams, d, index=index) for d in DIRECTIONS})


def small_eps_transferability(
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: Sample,
    *,
    index: int = 0,
    loss: Loss = "l2",
    source_loss: Loss | None = None,
    **run: Unpack[Run],
) -> tuple[Transferability, Transferability]:
    """The small-eps limits of the directions S -> T and T -> S (theory.md sections 2 and 7).

    Args:
      f_source, f_target, x, loss, source_loss: as in
        `advknow.generalized_transferability`. alpha1 is a ratio of norms |.|_H.
      index: which attack, counted from 0.
      **run: as there; progress is called with ("gradients", examples done, N or None).

    Returns:
      the records of S -> T and T -> S.

    Raises:
      ValueError, TypeError: as there; an index that is not below min(n, m, d); no example with a
        direction.
    """
    validate.integer("index", index, minimum=0)
    found = passes.run(
        small_eps_alphas(GramsOf(losses.get(loss), source_loss), index=index),
        {"f_source": f_source, "f_target": f_target},
        x,
        stage="gradients",
        **passes.checked(run),
    )
    return found["source_to_target"], found["target_to_source"]
