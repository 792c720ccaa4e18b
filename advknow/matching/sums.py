"""The mergeable sums of a least-squares match and its solution (theory.md sections 3 to 5).

All three distances are the same problem: of responses Y(x) (d, q) and regressors Z(x) (p, q),

    min_A E |Y - A Z|_H^2,   |M|_H^2 = tr(M' H M)

with Y = J_T, Z = J_S for the gradient matching distance, and Y = f_T or y, Z = (f_S, 1) for the
other two. The sums are a pytree that starts at zero, is added to a batch at a time, merges by
addition (`advknow.passes.merge`) in any split and order, and is solved once. Float64 on the
host.
"""

from typing import Any, NamedTuple

import numpy as np

from advknow.gram import rounding_cutoff

# The system of an H that depends on x has (d p)^2 numbers; 2 GiB of them at most.
LARGEST_SYSTEM = 16384


class MatchingSums(NamedTuple):
    """Sums over examples; p regressors, d responses.

    Attributes:
      count: (), examples.
      source: (p, p), of Z Z'.
      cross: (d, p), of Y Z' for a constant H, of H Y Z' for one that depends on x.
      square: (), of tr(Y' H Y).
      hessian: (d, d), of H.
      system: (d, p, d, p), of H_ab (Z Z')_ij at [a, i, b, j]; (0, 0, 0, 0) for a constant H.
    """

    count: Any
    source: Any
    cross: Any
    square: Any
    hessian: Any
    system: Any


class Solution(NamedTuple):
    """The best A and what it leaves.

    Attributes:
      A: (d, p); where it is not unique, the one of least norm (P S^+ for a constant H).
      distance: sqrt(E |Y - A Z|_H^2).
      norm: sqrt(E |Y|_H^2).
      rank: of the system: of S (at most p) for a constant H, else at most d p.
    """

    A: np.ndarray
    distance: float
    norm: float
    rank: int


def zeros(d: int, p: int, *, constant_hessian: bool) -> MatchingSums:
    """The sums over no examples.

    Raises:
      ValueError: the system of an H that depends on x would be too large to hold.
    """
    if not constant_hessian and d * p > LARGEST_SYSTEM:
        raise ValueError(
            f"a loss whose H depends on x needs a system of (d * m)^2 numbers, and d * m = {d} * "
            f"{p} = {d * p} exceeds {LARGEST_SYSTEM}. Use a loss with a constant H: 'l2', "
            "losses.quadratic(H), or losses.from_function(fn, constant_hessian=True)."
        )
    system = np.zeros((0, 0, 0, 0) if constant_hessian else (d, p, d, p))
    return MatchingSums(
        np.zeros(()), np.zeros((p, p)), np.zeros((d, p)), np.zeros(()), np.zeros((d, d)), system
    )


def of_batch(
    source: np.ndarray,
    cross: np.ndarray,
    square: np.ndarray,
    root: np.ndarray,
    *,
    constant_hessian: bool,
) -> MatchingSums:
    """The sums over one batch.

    Args:
      source: (B, p, p), Z Z'.
      cross: (B, d, p), Y Z'.
      square: (B,), tr(Y' H Y).
      root: R' with R R' = H: (1, k, d) for a constant H, else (B, k, d).
      constant_hessian: whether H is the same for all examples of all batches.
    """
    size, d, p = cross.shape
    hessian = root.swapaxes(1, 2) @ root
    if constant_hessian:
        weighted, system = cross, np.zeros((0, 0, 0, 0))
        total_hessian = size * hessian[0]
    else:
        weighted = hessian @ cross
        pairs = hessian.reshape(size, d * d).T @ source.reshape(size, p * p)
        system = pairs.reshape(d, d, p, p).transpose(0, 2, 1, 3)
        total_hessian = hessian.sum(axis=0)
    return MatchingSums(
        np.float64(size),
        source.sum(axis=0),
        weighted.sum(axis=0),
        np.float64(square.sum()),
        total_hessian,
        system,
    )


def pseudo_inverse(matrix: np.ndarray, eps: float) -> tuple[np.ndarray, int]:
    """The pseudo-inverse of a symmetric positive semi-definite matrix, and its rank.

    Eigenvalues that are rounding, of numbers of relative accuracy eps, count as 0; see
    `gram.rounding_cutoff`.
    """
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    kept = (values > rounding_cutoff(len(values), eps) * values[-1]) & (values > 0)
    inverse = np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)
    return (vectors * inverse) @ vectors.T, int(kept.sum())


def is_constant(sums: MatchingSums) -> bool:
    """Whether the sums are those of a constant H."""
    return np.size(sums.system) == 0


def inverse_system(sums: MatchingSums, eps: float) -> tuple[np.ndarray, int]:
    """S^+ (p, p) for a constant H, else the pseudo-inverse (d p, d p) of E[H x Z Z']; its rank."""
    if is_constant(sums):
        return pseudo_inverse(sums.source / sums.count, eps)
    size = np.size(sums.cross)
    return pseudo_inverse(np.reshape(sums.system, (size, size)) / sums.count, eps)


def solve(sums: MatchingSums, *, eps: float) -> Solution:
    """The best A: P S^+ for a constant H, else from the d p x d p system.

    Args:
      sums: over all examples.
      eps: relative accuracy of what was summed: the rounding of the models' dtype.
    """
    inverse, rank = inverse_system(sums, eps)
    cross, square = sums.cross / sums.count, float(sums.square / sums.count)
    if is_constant(sums):
        hessian = sums.hessian / sums.count
        a = cross @ inverse
        image = hessian @ a @ (sums.source / sums.count)
        cross = hessian @ cross
    else:
        a = (inverse @ cross.ravel()).reshape(cross.shape)
        system = np.reshape(sums.system, (cross.size, cross.size)) / sums.count
        image = (system @ a.ravel()).reshape(cross.shape)
    # The quadratic form at this A, not the difference of explained and total: an error of A enters
    # squared.
    residual = square - 2.0 * np.sum(a * cross) + np.sum(a * image)
    return Solution(a, float(max(residual, 0.0)) ** 0.5, max(square, 0.0) ** 0.5, rank)


def solve_affine(sums: MatchingSums, *, eps: float) -> tuple[Solution, np.ndarray]:
    """The best A (d, p - 1) and b (d,) where the last regressor is the constant 1.

    Solved in centred regressors, so that a large mean of f_S costs no digits and the intercept is
    never what a rank-deficient S gives up.
    """
    mean = sums.source[:-1, -1] / sums.count
    spread = np.trace(sums.source[:-1, :-1]) / sums.count - mean @ mean
    unit = np.sqrt(spread / len(mean)) if spread > 0 else 1.0
    to_centred = np.eye(len(mean) + 1)
    to_centred[:-1, -1] = -mean
    to_centred[-1, -1] = unit
    centred = sums._replace(
        source=to_centred @ sums.source @ to_centred.T, cross=sums.cross @ to_centred.T
    )
    if not is_constant(sums):
        system = np.einsum("ip,apbq,jq->aibj", to_centred, sums.system, to_centred, optimize=True)
        centred = centred._replace(system=system)
    solution = solve(centred, eps=eps)
    a = solution.A @ to_centred
    return solution._replace(A=a[:, :-1]), a[:, -1]
