"""The accuracy of a linear classifier on the features."""

import numpy as np

from advknow import validate
from advknow.scores.given import examples_of
from advknow.typing import ArrayLike

FOLDS = 5
# In units of the mean variance of a feature.
STRENGTHS = (1e-3, 1e-2, 1e-1)


def linear_probe(features: ArrayLike, labels: ArrayLike, *, seed: int) -> float:
    """The cross-validated accuracy of a ridge classifier: what linear fine-tuning would give.

    scikit-learn's, on centred features, over five folds (as many as the smallest class has
    examples, and at least 2), stratified; the best of three strengths. O(N D min(N, D)) a fold.

    Args:
      features: (N, D). labels: (N,) integers. seed: of the folds, >= 0.

    Returns:
      in [0, 1].

    Raises:
      TypeError, ValueError: no numbers, NaN, other numbers of examples, one class, a class of one
        example.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedKFold

    f, y = examples_of(features, labels)
    seed = validate.integer("seed", seed, minimum=0)
    smallest = int(np.bincount(y).min())
    if smallest < 2:
        raise ValueError("a class has 1 example; cross-validation needs at least 2 of each.")
    folds = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=seed)
    right = np.zeros(len(STRENGTHS))
    for train, test in folds.split(f, y):
        mean = f[train].mean(axis=0)
        scale = np.sqrt(np.mean((f[train] - mean) ** 2)) or 1.0
        learned, held_out = ((f[rows] - mean) / scale for rows in (train, test))
        for i, strength in enumerate(STRENGTHS):
            classifier = RidgeClassifier(strength * len(train), solver="cholesky")
            classifier.fit(learned, y[train])
            right[i] += np.sum(classifier.predict(held_out) == y[test])
    return float(right.max()) / len(y)
