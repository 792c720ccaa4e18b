"""Who transfers to whom: all ordered pairs of K models, in one pass over a sample.

groups        a measure by groups of examples: its record, and its records without each group
measure       every pair from one attack and one Jacobian of each model; `matrix`
record        `Matrix`: (K, K) arrays with standard errors, and long records
"""

from advknow.all_pairs.measure import every_pair, matrix
from advknow.all_pairs.record import Matrix

__all__ = ["Matrix", "every_pair", "matrix"]
