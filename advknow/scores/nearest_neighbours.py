"""The accuracy of nearest neighbours."""

import numpy as np

from advknow import validate
from advknow.scores.given import examples_of
from advknow.typing import ArrayLike

# Distances at once: 16 MiB of them, memory that is used again for the next.
PAIRS_AT_ONCE = 2**21


def knn(features: ArrayLike, labels: ArrayLike, *, k: int) -> float:
    """The leave-one-out accuracy of the k nearest neighbours, Euclidean. O(N^2 D).

    Votes that tie go to the lower label, distances that tie to the earlier example.

    Args:
      features: (N, D). labels: (N,) integers. k: neighbours, 1 .. N - 1.

    Returns:
      in [0, 1]; about the share of the most frequent class for features that say nothing.

    Raises:
      TypeError, ValueError: no numbers, NaN, other numbers of examples, one class, k out of range.
    """
    f, y = examples_of(features, labels)
    k = validate.integer("k", k, minimum=1, maximum=len(y) - 1)
    # Distances from a common centre lose fewer digits.
    f -= f.mean(axis=0)
    squares = np.sum(f**2, axis=1)
    one_hot, right = np.eye(y.max() + 1), 0
    step = max(1, PAIRS_AT_ONCE // len(y))
    for start in range(0, len(y), step):
        rows = slice(start, start + step)
        distances = (-2.0 * f[rows]) @ f.T
        distances += squares
        distances[np.arange(len(distances)), start + np.arange(len(distances))] = np.inf
        nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
        votes = one_hot[y[nearest]].sum(axis=1)
        right += int((votes.argmax(axis=1) == y[rows]).sum())
    return right / len(y)
