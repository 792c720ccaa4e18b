"""Attacks: factories of pure functions `attack(f, x, key) -> delta` (theory.md section 1).

    fgsm(eps=...)       one signed gradient step
    pgd(eps=...)        projected gradient steps in the inf or 2 norm
    singular(index=...) the index-th right singular vector of H^{1/2} J: the eps -> 0 optimum
    named("pgd", ...)   one of them by its name, as the poster's experiments take it

`delta` has x's shape. Example i of a batch gets the key `fold_in(key, i)`, or its own where a key
per example (B,) is given, so that no result depends on the batch size or the order. No attack
stops early. With eps = 0 every attack returns zeros.
"""

from advknow.attacks.by_name import ATTACKS, Named, named
from advknow.attacks.gradient import fgsm, pgd
from advknow.attacks.objectives import OBJECTIVES, cross_entropy, output_deviation
from advknow.attacks.singular_vectors import (
    ConvergenceWarning,
    SingularDirections,
    singular,
    singular_directions,
)

__all__ = [
    "ATTACKS",
    "OBJECTIVES",
    "ConvergenceWarning",
    "Named",
    "SingularDirections",
    "cross_entropy",
    "fgsm",
    "named",
    "output_deviation",
    "pgd",
    "singular",
    "singular_directions",
]
