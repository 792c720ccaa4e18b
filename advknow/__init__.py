"""advknow: when does attacking a model tell you what it can teach?

The definitions of Liang et al. (ICML 2021, arXiv 2006.14512) in JAX; theory.md beside this file has
every equation, and which function computes it. The package's top level is the paper's table of
contents:

    losses          adversarial losses l(y, y') and what their Hessian does
    inner_product   <u, v>_H and |v|_H
    gram            J_S J_S', J_T J_S', J_T J_T': what all attacks and distances are made of
    attacks         fgsm, pgd, singular: attack(f, x, key) -> delta                    section 1
    alphas          alpha1, alpha2, alpha1*alpha2, at finite eps and in its limit      section 2
    generalized     A1, A2 and rho^2 of all attacks of the source                      section 3
    matching        gradient matching, function matching, knowledge transfer distances 3 and 4
    links           the chain of them, the theorems as inequalities                    section 4
    all_pairs       all of these for every ordered pair of K models, in one pass
    audit           whether a model's figures can be trusted
    scores          what others rank sources by
    ranking         which source to fine-tune: every score, with intervals of its ranks

and folders for what is not in the paper: passes (one pass over a sample), convolution, models,
data, training, runs (what a workdir keeps), statistics, experiments, synthetic, report, benchmark.
"""

import importlib
from typing import Any

from advknow import alphas, attacks, inner_product, losses, matching, passes
from advknow.all_pairs import Matrix, matrix
from advknow.alphas import (
    Transferability,
    from_deltas,
    perturb,
    small_eps_transferability,
    transferability,
)
from advknow.audit import Audit, check_model, check_record
from advknow.generalized import Generalized, generalized_transferability
from advknow.links import Chain, Paths, chain
from advknow.version import __version__

__all__ = [
    "Audit",
    "Chain",
    "Generalized",
    "Matrix",
    "Paths",
    "Ranking",
    "Source",
    "Transferability",
    "__version__",
    "adapters",
    "alphas",
    "attacks",
    "chain",
    "check_model",
    "check_record",
    "from_deltas",
    "generalized_transferability",
    "inner_product",
    "losses",
    "matching",
    "matrix",
    "passes",
    "perturb",
    "rank",
    "ranking",
    "small_eps_transferability",
    "transferability",
]


# Imported when they are first asked for: they bring flax, or scipy's statistics.
_LATER = {
    "adapters": "advknow.models.adapters",
    "ranking": "advknow.ranking",
    "rank": "advknow.ranking:rank",
    "Ranking": "advknow.ranking:Ranking",
    "Source": "advknow.ranking:Source",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'advknow' has no attribute {name!r}")
    module, _, attribute = _LATER[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found
