"""What the three distances return."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class AffineMatch:
    """The best affine g(v) = A v + b, and how far g∘f_S stays from what it is to match.

    Attributes:
      distance: what is left, in the units of the loss's norm |.|_H.
      norm: |.|_{D,H} of what is matched, in the same units.
      relative: distance / norm, dimensionless, in [0, 1]; 0 where norm is 0.
      A: (d, m) float64. Where f_S does not determine it (rank-deficient S), the one of least norm;
        where H is singular, right up to what |.|_H ignores.
      b: (d,) float64.
      n: examples.
      rank: of the linear system: of S for a constant H (m when f_S determines A), of the (d m)^2
        system of an H that depends on x otherwise.
      loss: name of the loss whose H is meant.
    """

    distance: float
    norm: float
    relative: float
    A: np.ndarray
    b: np.ndarray
    n: int
    rank: int
    loss: str

    def g(self, outputs: np.ndarray) -> np.ndarray:
        """The affine map itself: (B, m) -> (B, d)."""
        return outputs @ self.A.T + self.b

    def summary(self) -> dict[str, Any]:
        """The scalar fields, ready for JSON."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("A", "b")
        }


@dataclasses.dataclass(frozen=True)
class GradientMatching(AffineMatch):
    """The gradient matching distance (theory.md section 3).

        GMD = min_{g affine} |∇f_T' - ∇(g∘f_S)'|_{D,H_T} = min_A sqrt(E |J_T - A J_S|_{H_T}^2)

    For a constant H_T the minimiser is A = P S^+, P = E[J_T J_S'] (d, m), S = E[J_S J_S'] (m, m),
    and GMD^2 = E|J_T|_{H_T}^2 - tr(P' H_T P S^+); it solves E[H_T A J_S J_S'] = E[H_T J_T J_S'] for
    an H_T that depends on x.

    Attributes, beside those of `AffineMatch` (norm is |∇f_T'|_{D,H_T}, in units of |.|_H per unit
    of x; b, which no gradient determines, matches the means of f_T and g∘f_S):
      rho2: share of the target's gradient that the source explains, 1 - relative^2, in [0, 1].
    """

    rho2: float


@dataclasses.dataclass(frozen=True)
class FunctionMatching(AffineMatch):
    """The function matching distance (theory.md section 4).

        FMD = min_{g affine} |f_T - g∘f_S|_{D,H_T} = min_{A,b} sqrt(E |f_T - A f_S - b|_{H_T}^2)

    Linear least squares with an intercept, in closed form. Attributes as in `AffineMatch`; norm is
    |f_T|_{D,H_T}, not centred.
    """


@dataclasses.dataclass(frozen=True)
class KnowledgeTransfer(AffineMatch):
    """The knowledge transfer distance (theory.md section 4).

        KTD = min_{g affine} |y - g∘f_S|_{D,H} = min_{A,b} sqrt(E |y - A f_S - b|_H^2)

    Linear least squares with an intercept, in closed form: the loss of the best new last layer on
    f_S. Attributes as in `AffineMatch`; norm is |y|_{D,H}, not centred.
    """
