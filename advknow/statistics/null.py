"""What chance alone reaches: the null range of |weighted tau|."""

import numpy as np

from advknow import validate


def null_range(n: int, *, seed: int, level: float = 0.95, num_orders: int = 20_000) -> float:
    """The `level` quantile of |weighted tau| of n sources in random order, without ties.

    Args:
      n: number of sources. seed, num_orders: of the random orders; 20,000 fix it to about 0.005.

    Raises:
      TypeError, ValueError: n < 2, no order, a level outside (0, 1).
    """
    n = validate.integer("n", n, minimum=2)
    level = validate.number("level", level, above=0, maximum=1)
    num_orders = validate.integer("num_orders", num_orders, minimum=1)
    rng, truth = np.random.default_rng(seed), np.arange(n)
    weight = 1.0 / (n - truth)
    found = np.empty(num_orders)
    for i in range(num_orders):
        score = rng.permutation(n)
        # Of each source, the pairs in the same order less those in the other: without ties,
        # weighted tau is one product.
        concordant = np.sum((score[:, None] > score) == (truth[:, None] > truth), axis=1) - 1
        excess = 2 * concordant - (n - 1)
        found[i] = excess @ (weight + weight[score])
    return float(np.quantile(np.abs(found), level)) / (2 * (n - 1) * float(weight.sum()))
