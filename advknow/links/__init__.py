"""The chain between adversarial and knowledge transferability (theory.md section 4).

theorems   Theorems 2 and 3 as inequalities: `path_bound`, `label_gap`
whole      every link in two passes: `chain`
"""

from advknow.links.theorems import Inequality, label_gap, path_bound
from advknow.links.whole import Chain, Paths, assembled, chain, links, second_pass

__all__ = [
    "Chain",
    "Inequality",
    "Paths",
    "assembled",
    "chain",
    "label_gap",
    "links",
    "path_bound",
    "second_pass",
]
