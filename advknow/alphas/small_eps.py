"""alpha1, alpha2 and alpha1*alpha2 in the small-eps limit, both directions in one pass.

`transferability(attack=attacks.singular(...), linearize=True)` needs an attack a model and then
carries it over; here all of it comes from the Gram matrices that A1 and the distances use too. For
the attack i below the top, alpha1 divides by the TOP singular value of the other model's Jacobian
(theory.md section 7), so that it is A1^(i) of section 3.
"""

import jax
import numpy as np

from advknow import gram, losses, validate
from advknow.alphas import finite as metrics
from advknow.alphas import sums as moments
from advknow.alphas.finite import Transferability
from advknow.gram import Grams
from advknow.inner_product import Loss
from advknow.passes.batching import Sample
from advknow.typing import ApplyFn, Progress, Sharding

_sums = jax.jit(moments.of_batch)


def _unit(v: np.ndarray) -> np.ndarray:
    """Unit vectors along v (B, d); zeros where v is."""
    length = np.linalg.norm(v, axis=1, keepdims=True)
    return v / np.where(length > 0, length, 1.0)


def sums_of_grams(
    grams: Grams, *, index: int = 0, start: int = 0, size: int | None = None
) -> tuple[moments.TransferSums, np.ndarray, np.ndarray]:
    """The sums of `advknow.alphas.sums` over one batch, direction S -> T.

    Args:
      grams: of B examples.
      index: i, counted from 0.
      start: the index of the first example in the whole sample, for its jackknife group.
      size: to which the batch is padded on the device; B by default.

    Returns:
      the sums; alpha1 (B,), |Delta_ST^(i)|_{H_T} / |Delta_TT^(1)|_{H_T}; (B,) bool, where defined.
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
    of_batch = _sums(*padded, index=start + np.arange(size), mask=np.arange(size) < count)
    sums, alpha1, used = jax.device_get(of_batch)
    return sums, alpha1[:count], used[:count]


class Accumulator:
    """`sums_of_grams` over batches, in order."""

    def __init__(self, index: int = 0):
        self._index, self._done, self._size = index, 0, 0
        self._sums: moments.TransferSums | None = None
        self._alpha1: list[np.ndarray] = []
        self._used: list[np.ndarray] = []

    def add(self, grams: Grams) -> None:
        """Adds a batch."""
        self._size = max(self._size, len(grams.source))
        sums, alpha1, used = sums_of_grams(
            grams, index=self._index, start=self._done, size=self._size
        )
        self._sums = moments.merge(*(s for s in (self._sums, sums) if s is not None))
        self._alpha1.append(alpha1)
        self._used.append(used)
        self._done += len(used)

    def record(self) -> Transferability:
        """The record of all batches so far."""
        if self._sums is None:
            raise ValueError("x holds no examples; at least one is needed.")
        return metrics.finalize(
            self._sums, np.concatenate(self._alpha1), np.concatenate(self._used)
        )


def check_index(index: int, grams: Grams) -> None:
    """Raises ValueError unless both models have an attack of that index, counted from 0."""
    _, d, m = grams.cross.shape
    most = min(d, m, grams.num_inputs) - 1
    if index > most:
        raise ValueError(
            f"index={index} must be at most {most}: of {m} and {d} outputs and {grams.num_inputs} "
            "inputs there are no more attacks."
        )


def small_eps_transferability(
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: Sample,
    *,
    index: int = 0,
    loss: Loss = "l2",
    source_loss: Loss | None = None,
    batch_size: int = 64,
    sharding: Sharding = None,
    progress: Progress | None = None,
) -> tuple[Transferability, Transferability]:
    """The small-eps limits of the directions S -> T and T -> S (theory.md sections 2 and 7).

    Args:
      f_source, f_target, x, loss, source_loss, batch_size, sharding, progress: as in
        `advknow.generalized_transferability`. alpha1 is a ratio of norms |.|_H.
      index: which attack, counted from 0.

    Returns:
      the records of S -> T and T -> S.

    Raises:
      ValueError, TypeError: as there; an index that is not below min(n, m, d); no example with a
        direction.
    """
    validate.integer("index", index, minimum=0)
    forward, backward = Accumulator(index), Accumulator(index)
    for grams in gram.of_sample(
        f_source,
        f_target,
        x,
        loss=losses.get(loss),
        source_loss=source_loss,
        batch_size=batch_size,
        sharding=sharding,
        progress=progress,
    ):
        check_index(index, grams)
        forward.add(grams)
        backward.add(grams.swapped())
    return forward.record(), backward.record()
