"""The record of A1, A2 and rho^2 (theory.md section 3, Theorem 1).

With v^(i)(x) = A1^(i)(x) |Delta_{T->T}^(1)(x)|_{H_T} |Delta_{S->S}^(i)(x)|_K,

    E_{x1,x2}[v(x1)' A2(x1, x2) v(x2)] = tr(P' H_T P S^+),    GMD = sqrt(1 - rho^2) |∇f_T'|_{D,H_T}

The pairs are never formed: the (i, j) term of the left side is <P_i, P_j>, in the inner product
tr(U' H_T V K), of the means P_i = E[Delta_{S->T}^(i) Delta_{S->S}^(i)']: cost is linear in N.
"""

import dataclasses
from typing import Any

import numpy as np

from advknow.generalized.sums import GeneralizedSums
from advknow.matching import sums as matching_sums


@dataclasses.dataclass(frozen=True)
class Generalized:
    """All attacks of the source on the target (theory.md section 3, Theorem 1).

    rho^2 |∇f_T'|^2 = tr(P' H_T P S^+) = sum_ij A2_ij,   GMD = sqrt(1 - rho^2) |∇f_T'|_{D,H_T}.

    With k < r attacks (the iterative method, or `count`), J_S stands for its restriction to the k
    strongest attacks, J_S Pi_k(x): rho^2 is what those explain. With an H_T that depends on x,
    where cos_{H_T} between two inputs has no meaning, the (i, j) term is the same inner product of
    means, <E[H_T Delta_ST^(i) Delta_SS^(i)'], E[H_T Delta_ST^(j) Delta_SS^(j)']> in the
    pseudo-inverse of E[H_T x J_S J_S'], which for a constant H_T is the theorem's.

    Attributes:
      A1: (N, k) float64, dimensionless, in [0, 1]: per example and attack, the strongest first;
        column 0 is the small-eps alpha1. 0 where the source has no i-th attack or the target no
        gradient. None unless kept.
      A1_mean: (k,), means over the examples where A1^(i) is defined; 0 where it is at none.
      A1_count: (k,) int, how many those are.
      A2: (k, k), E_{x1,x2}[v^(i)(x1) A2^(i,j)(x1, x2) v^(j)(x2)], in the units of |∇f_T'|^2:
        the heat map of Theorem 1. Symmetric; its sum is `explained`. None where H_T depends on x
        and the system of (d m)^2 numbers would be too large.
      A2_mean: (k, k), the same divided by sqrt(E[v^(i)^2] E[v^(j)^2]): the weighted mean of A2, in
        [-1, 1]. None where H_T depends on x.
      explained: sum of A2, tr(P' H_T P S^+). None where A2 is.
      gradient_norm: |∇f_T'|_{D,H_T}, sqrt(E|J_T|_{H_T}^2).
      gradient_norm_se: standard error of its estimate by random probes; 0 where exact.
      rho2: explained / gradient_norm^2, in [0, 1]. None where A2 is.
      shares: (k,), each attack's share of rho2: row sums of A2 / gradient_norm^2. They sum to rho2
        and can be negative: an attack that undoes what the others explain.
      n: examples.
      n_degenerate: examples where no input moves f_T (|Delta_TT^(1)|_{H_T} = 0): A1 is undefined.
      n_A1_above_one: values of A1 above 1 beyond rounding; 0 unless the iterative method has not
        converged on the target.
      n_unconverged: examples with an attack not found to tolerance; 0 for the exact method.
      num_attacks: k. rank: r = min(n, m).
      loss, source_loss: names of the losses whose H is that of f_T and of f_S.
      method: "exact" or "iterative".
    """

    A1: np.ndarray | None
    A1_mean: np.ndarray
    A1_count: np.ndarray
    A2: np.ndarray | None
    A2_mean: np.ndarray | None
    explained: float | None
    gradient_norm: float
    gradient_norm_se: float
    rho2: float | None
    shares: np.ndarray | None
    n: int
    n_degenerate: int
    n_A1_above_one: int
    n_unconverged: int
    num_attacks: int
    rank: int
    loss: str
    source_loss: str
    method: str

    def summary(self) -> dict[str, Any]:
        """Everything but the values per example, ready for JSON."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "A1"}
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}


def _heat_map(sums: GeneralizedSums, eps: float) -> tuple[np.ndarray, np.ndarray | None]:
    """A2 and A2_mean."""
    assert sums.match is not None
    inverse, _ = matching_sums.inverse_system(sums.match, eps)
    means = sums.outer / sums.count
    k = len(means)
    if not matching_sums.is_constant(sums.match):
        flat = means.reshape(k, -1)
        return flat @ inverse @ flat.T, None
    hessian = sums.match.hessian / sums.count
    a2 = (hessian @ means @ inverse).reshape(k, -1) @ means.reshape(k, -1).T
    v = np.sqrt(np.maximum(np.einsum("iab,ab->i", sums.weight / sums.count, inverse), 0.0))
    scale = v[:, None] * v
    return a2, np.where(scale > 0, a2, 0.0) / np.where(scale > 0, scale, 1.0)


def finalize(
    sums: GeneralizedSums,
    a1: np.ndarray | None,
    *,
    eps: float,
    rank: int,
    loss: str,
    source_loss: str,
    method: str,
) -> Generalized:
    """The record of these sums.

    Args:
      sums: over all examples. a1: (N, k) or None.
      eps: rounding of the models' dtype.
      rank: r. loss, source_loss, method: for the record.
    """
    square = float(sums.square / sums.count)
    norm = square**0.5
    a2 = a2_mean = shares = explained = rho2 = None
    if sums.match is not None:
        a2, a2_mean = _heat_map(sums, eps)
        a2 = (a2 + a2.T) / 2
        explained = float(a2.sum())
        shares = a2.sum(axis=1) / square if square > 0 else np.zeros(len(a2))
        rho2 = float(shares.sum())
    spread = float(sums.variance) ** 0.5 / float(sums.count)
    return Generalized(
        A1=a1,
        A1_mean=sums.A1 / np.maximum(sums.A1_count, 1.0),
        A1_count=sums.A1_count.astype(int),
        A2=a2,
        A2_mean=a2_mean,
        explained=explained,
        gradient_norm=norm,
        gradient_norm_se=spread / (2 * norm) if norm > 0 else 0.0,
        rho2=rho2,
        shares=shares,
        n=int(sums.count),
        n_degenerate=int(sums.degenerate),
        n_A1_above_one=int(sums.above_one),
        n_unconverged=int(sums.unconverged),
        num_attacks=len(sums.A1),
        rank=rank,
        loss=loss,
        source_loss=source_loss,
        method=method,
    )
