"""The accuracy of a linear classifier on the features."""

import numpy as np
import scipy.linalg

from advknow import validate
from advknow.scores.given import examples_of
from advknow.typing import ArrayLike

FOLDS = 5
# In units of the mean variance of a feature.
STRENGTHS = (1e-3, 1e-2, 1e-1)


def linear_probe(features: ArrayLike, labels: ArrayLike, *, seed: int) -> float:
    """The cross-validated accuracy of a ridge classifier: what linear fine-tuning would give.

    That of scikit-learn's RidgeClassifier on centred features, over five folds (as many as the
    smallest class has examples, and at least 2), stratified; the best of three strengths. The
    products of features are summed once for all folds and strengths, which each fit of
    scikit-learn's would sum again. O(N D min(N, D)) in all, and O(min(N, D)^3) a fold.

    Args:
      features: (N, D). labels: (N,) integers. seed: of the folds, >= 0.

    Returns:
      in [0, 1].

    Raises:
      TypeError, ValueError: no numbers, NaN, other numbers of examples, one class, a class of one
        example.
    """
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import label_binarize

    f, y = examples_of(features, labels)
    seed = validate.integer("seed", seed, minimum=0)
    smallest = int(np.bincount(y).min())
    if smallest < 2:
        raise ValueError("a class has 1 example; cross-validation needs at least 2 of each.")
    folds = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=seed)
    responses = label_binarize(y, classes=np.arange(y.max() + 1), neg_label=-1).astype(np.float64)
    dimensions = f.shape[1]
    f = _of_fewest_dimensions(f - f.mean(axis=0))
    gram, cross = f.T @ f, f.T @ responses
    right = np.zeros(len(STRENGTHS))
    for train, test in folds.split(f, y):
        count, held_out = len(train), f[test]
        # All features together have mean 0.
        mean, mean_response = -held_out.sum(axis=0) / count, responses[train].mean(axis=0)
        learned = gram - held_out.T @ held_out - count * np.outer(mean, mean)
        towards = cross - held_out.T @ responses[test] - count * np.outer(mean, mean_response)
        variance = np.trace(learned) / (count * dimensions) or 1.0
        for i, strength in enumerate(STRENGTHS):
            penalised = learned + strength * count * variance * np.eye(f.shape[1])
            weights = scipy.linalg.solve(penalised, towards, overwrite_a=True, assume_a="pos")
            said = (held_out - mean) @ weights + mean_response
            predicted = said.argmax(axis=1) if said.shape[1] > 1 else (said[:, 0] > 0).astype(int)
            right[i] += np.sum(predicted == y[test])
    return float(right.max()) / len(y)


def _of_fewest_dimensions(f: np.ndarray) -> np.ndarray:
    """(N, D) with the same products between examples in (N, min(N, D)).

    A ridge classifier depends on nothing else.
    """
    if f.shape[1] <= len(f):
        return f
    values, vectors = np.linalg.eigh(f @ f.T)
    return vectors * np.sqrt(np.maximum(values, 0.0))
