"""advknow: when does attacking a model tell you what it can teach?

The definitions of Liang et al. (ICML 2021, arXiv 2006.14512) in JAX. The theory:

    losses          adversarial losses l(y, y') and what their Hessian does
    inner_product   <u, v>_H and |v|_H
    attacks         fgsm, pgd, singular: delta
    metrics         alpha1, alpha2, alpha1*alpha2: `transferability`
    small_eps       the same of the small-eps attacks, both directions at once
    generalized     A1, A2 and rho^2 of all attacks of the source: `generalized_transferability`
    matching        gradient matching, function matching and knowledge transfer distances
    theorems        Theorems 2 and 3 as inequalities
    chain           all of it as one call: `chain`
    audit           whether a model's figures can be trusted: `check_model`
    moments         mergeable sums; attack_sums, matching.sums: those of A1, A2 and the distances

and what the experiments need beside it: models, data, training, checkpoints, experiments, report.
"""

from advknow import attacks, inner_product, losses, matching
from advknow.alphas.finite import Transferability, from_deltas, perturb, transferability
from advknow.alphas.small_eps import small_eps_transferability
from advknow.audit import Audit, check_model
from advknow.generalized.measure import Generalized, generalized_transferability
from advknow.links.measure import Chain, chain
from advknow.version import __version__

__all__ = [
    "Audit",
    "Chain",
    "Generalized",
    "Transferability",
    "__version__",
    "attacks",
    "chain",
    "check_model",
    "from_deltas",
    "generalized_transferability",
    "inner_product",
    "losses",
    "matching",
    "perturb",
    "small_eps_transferability",
    "transferability",
]
