"""The mergeable sums behind A1, A2 and rho^2 (theory.md sections 3 and 5)."""

from typing import Any, NamedTuple

import numpy as np

from advknow import gram
from advknow.alphas.sums import ALPHA1_ROUNDING
from advknow.gram import Deviations, Grams
from advknow.losses import AdversarialLoss
from advknow.matching import sums as matching_sums
from advknow.matching.sums import MatchingSums


class GeneralizedSums(NamedTuple):
    """Sums over examples, of k attacks; they merge by addition.

    Attributes:
      count: (), examples.
      outer: (k, d, m), of Delta_ST^(i) Delta_SS^(i)' (of H_T times it where H_T depends on x).
      weight: (k, m, m), of |Delta_ST^(i)|_{H_T}^2 Delta_SS^(i) Delta_SS^(i)'; (0,) where H_T
        depends on x.
      match: Y = J_T, Z = J_S restricted to the k attacks; None, and outer (0,), where H_T depends
        on x and the system would be too large.
      square: (), of |J_T|_{H_T}^2. variance: (), of the variances of its estimates; 0 where exact.
      A1: (k,), of A1^(i). A1_count: (k,), examples where it is defined.
      degenerate: (), examples where |J_T|_{H_T} is 0.
      above_one: (), values of A1 above 1 beyond rounding.
      unconverged: (), examples with an attack that the iterative method has not found to tolerance.
    """

    count: Any
    outer: Any
    weight: Any
    match: MatchingSums | None
    square: Any
    variance: Any
    A1: Any
    A1_count: Any
    degenerate: Any
    above_one: Any
    unconverged: Any


def summable(d: int, m: int, loss: AdversarialLoss) -> bool:
    """Whether A2 can be summed: H is constant, or its system of (d m)^2 numbers can be held."""
    return loss.constant_hessian or d * m <= matching_sums.LARGEST_SYSTEM


def zeros(k: int, m: int, d: int, *, loss: AdversarialLoss) -> GeneralizedSums:
    """The sums over no examples; the source has m outputs and k attacks, the target d outputs."""
    constant, scalar = loss.constant_hessian, np.zeros(())
    held = summable(d, m, loss)
    return GeneralizedSums(
        count=scalar,
        outer=np.zeros((k, d, m) if held else 0),
        weight=np.zeros((k, m, m) if constant else 0),
        match=matching_sums.zeros(d, m, constant_hessian=constant) if held else None,
        square=scalar,
        variance=scalar,
        A1=np.zeros(k),
        A1_count=np.zeros(k),
        degenerate=scalar,
        above_one=scalar,
        unconverged=scalar,
    )


def sums_of_batch(
    deviations: Deviations,
    length: np.ndarray,
    strongest: np.ndarray,
    square: np.ndarray,
    root: np.ndarray | None,
    *,
    constant_hessian: bool,
    variance: np.ndarray | float = 0.0,
    converged: np.ndarray | bool = True,
) -> tuple[GeneralizedSums, np.ndarray]:
    """The sums over one batch, and its A1.

    Args:
      deviations: of k attacks of the source.
      length: (B, k), |Delta_ST^(i)|_{H_T}.
      strongest: (B,), |Delta_TT^(1)|_{H_T}.
      square: (B,), |J_T|_{H_T}^2. variance: that of its estimate. converged: (B,) bool.
      root: R' of H_T, (B or 1, l, d), or None to leave out A2.
      constant_hessian: whether H_T is the same for all examples.

    Returns:
      the sums and A1 (B, k), 0 where it is not defined.
    """
    size = len(strongest)
    defined = deviations.present & (strongest > 0)[:, None]
    a1 = np.where(defined, length, 0.0) / np.where(strongest > 0, strongest, 1.0)[:, None]
    outer, weight, match = np.zeros(0), np.zeros(0), None
    if root is not None:
        # (k, d, B) @ (k, B, m): the sum over the batch without its B outer products.
        by_attack = deviations.source.transpose(1, 0, 2)
        carried = deviations.target.transpose(1, 2, 0)
        across = deviations.source.swapaxes(1, 2)
        match = matching_sums.of_batch(
            across @ deviations.source,
            deviations.target.swapaxes(1, 2) @ deviations.source,
            square,
            root,
            constant_hessian=constant_hessian,
        )
        if constant_hessian:
            scaled = by_attack * length.T[:, :, None] ** 2
            weight = scaled.swapaxes(1, 2) @ by_attack
        else:
            hessian = root.swapaxes(1, 2) @ root
            carried = (deviations.target @ hessian).transpose(1, 2, 0)
        outer = carried @ by_attack
    return (
        GeneralizedSums(
            count=np.float64(size),
            outer=outer,
            weight=weight,
            match=match,
            square=np.float64(square.sum()),
            variance=np.float64(np.sum(variance)),
            A1=a1.sum(axis=0),
            A1_count=defined.sum(axis=0).astype(np.float64),
            degenerate=np.float64((strongest <= 0).sum()),
            above_one=np.float64((a1 > 1 + ALPHA1_ROUNDING).sum()),
            unconverged=np.float64(size - np.sum(np.broadcast_to(converged, size))),
        ),
        a1,
    )


def sums_of_grams(
    grams: Grams, *, loss: AdversarialLoss, count: int | None = None
) -> tuple[GeneralizedSums, np.ndarray]:
    """`sums_of_batch` of Gram matrices: the exact method; `count` attacks, or all."""
    deviations = gram.source_attacks(grams, count=count)
    _, d, m = grams.cross.shape
    return sums_of_batch(
        deviations,
        gram.norms(grams.root_target, deviations.target),
        gram.strongest(grams.target, grams.root_target),
        grams.target_square(),
        grams.root_target if summable(d, m, loss) else None,
        constant_hessian=loss.constant_hessian,
    )
