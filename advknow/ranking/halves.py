"""Half-samples: how far a score of N examples would be another with other examples.

A bootstrap draws with repetition, and then an example is its own nearest neighbour, its own test
example, a pair at distance 0: scores of a resample are not scores of a sample. A half drawn without
repetition is one. For a smooth score its spread about its mean is the standard error of the score
of all N: the delete-half jackknife (Shao, Wu, Annals of Statistics 1989, section 2, d = N / 2).
"""

import numpy as np

from advknow import validate


def half_samples(labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Half of the examples of each class, drawn anew `count` times: (count, N) bool.

    Of a class of three examples or fewer all are taken up to two: no score is defined of one.

    Args:
      labels: (N,) 0 .. C - 1. count: >= 1. seed: >= 0.
    """
    validate.integer("draws", count, minimum=1)
    generator = np.random.default_rng(validate.integer("seed", seed, minimum=0))
    chosen = np.zeros((count, len(labels)), bool)
    classes = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    for draw in chosen:
        for members in classes:
            half = len(members) // 2
            # Of an odd number, one more as often as not.
            half += int(len(members) % 2 == 1 and generator.random() < 0.5)
            size = min(len(members), max(half, 2))
            draw[generator.permutation(members)[:size]] = True
    return chosen
