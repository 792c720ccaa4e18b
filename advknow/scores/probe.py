"""The accuracy of a linear classifier on the features."""

import numpy as np

from advknow import validate
from advknow.scores.given import features_of, labels_of
from advknow.typing import ArrayLike

FOLDS = 5
# Of the mean variance of a feature; the best of them by the accuracy of an inner validation.
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def linear_probe(features: ArrayLike, labels: ArrayLike, *, seed: int) -> float:
    """The cross-validated accuracy of a ridge classifier: what linear fine-tuning would give.

    scikit-learn's, on centred features, over five folds (as many as the smallest class has
    examples, and at least 2), stratified. The strength is chosen within each fold, by generalised
    cross-validation. O(N D min(N, D)) a fold.

    Args:
      features: (N, D). labels: (N,) integers. seed: of the folds, >= 0.

    Returns:
      in [0, 1].

    Raises:
      TypeError, ValueError: no numbers, NaN, other numbers of examples, one class, a class of one
        example.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.model_selection import StratifiedKFold

    y = labels_of(labels)
    f = features_of(features, count=len(y))
    seed = validate.integer("seed", seed, minimum=0)
    smallest = int(np.bincount(y).min())
    if smallest < 2:
        raise ValueError("a class has 1 example; cross-validation needs at least 2 of each.")
    folds = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=seed)
    right = 0
    for train, test in folds.split(f, y):
        mean = f[train].mean(axis=0)
        scale = np.sqrt(np.mean((f[train] - mean) ** 2)) or 1.0
        strengths = [ridge * len(train) for ridge in RIDGES]
        classifier = RidgeClassifierCV(alphas=strengths)
        classifier.fit((f[train] - mean) / scale, y[train])
        right += int((classifier.predict((f[test] - mean) / scale) == y[test]).sum())
    return right / len(y)
