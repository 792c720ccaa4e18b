"""advknow: when does attacking a model tell you what it can teach?

The definitions of Liang et al. (ICML 2021, arXiv 2006.14512) in JAX. The theory:

    losses          adversarial losses l(y, y') and what their Hessian does
    inner_product   <u, v>_H and |v|_H
    attacks         fgsm, pgd, singular: delta
    metrics         alpha1, alpha2, alpha1*alpha2: `transferability`
    moments         the mergeable sums behind them

and what the experiments need beside it: models, data, training, checkpoints, experiments, report.
"""

from advknow import attacks, inner_product, losses
from advknow.metrics import Transferability, from_deltas, perturb, transferability
from advknow.version import __version__

__all__ = [
    "Transferability",
    "__version__",
    "attacks",
    "from_deltas",
    "inner_product",
    "losses",
    "perturb",
    "transferability",
]
