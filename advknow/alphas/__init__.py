"""alpha1, alpha2 and alpha1*alpha2 of a pair of models (theory.md section 2).

sums        the equations, on arrays, and what is summed of a batch
record      `Transferability`: the numbers, with unbiased squares and standard errors
finite      of attacks at finite eps: `transferability`, `perturb`, `from_deltas`
small_eps   in the small-eps limit: `small_eps_transferability`
"""

from advknow.alphas.finite import (
    Perturbation,
    both_directions,
    finite_alphas,
    from_deltas,
    perturb,
    perturbations,
    transferability,
)
from advknow.alphas.record import Transferability
from advknow.alphas.small_eps import (
    small_eps_alphas,
    small_eps_direction,
    small_eps_transferability,
)

__all__ = [
    "Perturbation",
    "Transferability",
    "both_directions",
    "finite_alphas",
    "from_deltas",
    "perturb",
    "perturbations",
    "small_eps_alphas",
    "small_eps_direction",
    "small_eps_transferability",
    "transferability",
]
