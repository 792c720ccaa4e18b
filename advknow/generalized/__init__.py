"""Generalized adversarial transferability A1, A2 and rho^2 (theory.md section 3).

sums          what is summed of a batch, from Gram matrices
matrix_free   the strongest attacks without a Jacobian, for many outputs
record        `Generalized`: A1, A2, rho^2; Theorem 1
attacks       the measure, and `generalized_transferability`
"""

from advknow.generalized.attacks import TopAttacksOf, all_attacks, generalized_transferability
from advknow.generalized.record import Generalized

__all__ = ["Generalized", "TopAttacksOf", "all_attacks", "generalized_transferability"]
