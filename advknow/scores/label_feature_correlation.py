"""Label-feature correlation."""

import numpy as np

from advknow.scores.given import class_sums, examples_of
from advknow.typing import ArrayLike


def lfc(features: ArrayLike, labels: ArrayLike) -> float:
    """The label-feature correlation (Deshpande et al. 2021, equation 6).

    The cosine of F F' less its mean with L less its mean; L is 1 for pairs of one class and -1 for
    others. Features are not centred. O(N D min(N, D)).

    Args:
      features: (N, D). labels: (N,) integers.

    Returns:
      in [-1, 1]; about 0 for features that say nothing.

    Raises:
      TypeError, ValueError: no numbers, NaN, other numbers of examples, one class, features with
        equal products for all pairs.
    """
    f, y = examples_of(features, labels)
    count = len(y)
    gram = f.T @ f if f.shape[1] < count else f @ f.T
    total = np.sum(f.sum(axis=0) ** 2)
    square = np.sum(gram**2) - (total / count) ** 2
    # Sums of F F' within classes, without its N^2 entries.
    within, pairs = np.sum(class_sums(f, y) ** 2), np.sum(np.bincount(y).astype(np.float64) ** 2)
    mean = 2 * pairs / count**2 - 1
    of_labels = count**2 * (1 - mean**2)
    if square <= 1e-14 * np.sum(gram**2):
        raise ValueError("features have equal products for all pairs: no score is defined.")
    product = (2 * within - total) - mean * total
    return float(product / np.sqrt(square * of_labels))
