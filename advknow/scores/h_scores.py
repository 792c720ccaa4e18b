"""The H-score: between-class variance of the features in units of their covariance."""

import numpy as np

from advknow.scores.given import check_not_constant, class_means, features_of, labels_of
from advknow.typing import ArrayLike


def _centred(features: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) less their mean, and labels (N,)."""
    y = labels_of(labels)
    f = features_of(features, count=len(y))
    check_not_constant(f)
    return f - f.mean(axis=0), y


def h_score(features: ArrayLike, labels: ArrayLike) -> float:
    """tr(cov(F)^+ cov(E[F | y])) (Bao et al., ICIP 2019, definition 2). O(N D min(N, D)).

    Args:
      features: (N, D). labels: (N,) integers.

    Returns:
      in [0, C - 1]; near 0 for features that say nothing, and C - 1 exactly where the centred
      features span all of the examples (N <= D): then it says nothing either.

    Raises:
      TypeError, ValueError: no numbers, NaN, other numbers of examples, one class, constant
        features.
    """
    f, y = _centred(features, labels)
    # With F = U S V', tr((F'F)^+ G'G) = |U'G V S^-1|^2, and G = P F for the projection P on
    # classes, so it is |P U|^2.
    left, values, _ = np.linalg.svd(f, full_matrices=False)
    kept = values > values[0] * max(f.shape) * np.finfo(np.float64).eps
    left = left[:, kept]
    return float(np.sum(class_means(left, y)[y] ** 2))


def h_score_shrunk(features: ArrayLike, labels: ArrayLike) -> float:
    """The H-score with Ledoit and Wolf's shrinkage (Ibrahim et al., ECML 2022, equation 7).

    tr(S_a^-1 (1 - a) cov(E[F | y])), S_a = (1 - a) cov(F) + a tr(cov(F)) / D I. O(N D min(N, D)).

    Args, Raises: as `h_score`.

    Returns:
      in [0, C - 1]; below `h_score`, and meaningful where N < D.
    """
    f, y = _centred(features, labels)
    count, dimensions = f.shape
    means = class_means(f, y)[y]
    _, values, right = np.linalg.svd(f, full_matrices=False)
    eigenvalues = values**2 / count
    shrinkage = _ledoit_wolf(f, eigenvalues)
    spread = eigenvalues.sum() / dimensions
    shrunk = (1 - shrinkage) * eigenvalues + shrinkage * spread
    along = (1 - shrinkage) * np.sum((means @ right.T) ** 2, axis=0) / (count - 1)
    return float(np.sum(along / np.where(shrunk > 0, shrunk, np.inf)))


def _ledoit_wolf(f: np.ndarray, eigenvalues: np.ndarray) -> float:
    """The share of the identity that is expected to err least (Ledoit, Wolf 2004), of centred f."""
    count, dimensions = f.shape
    square = float(np.sum(eigenvalues**2))
    distance = square - eigenvalues.sum() ** 2 / dimensions
    if distance <= 0:
        return 1.0
    of_examples = float(np.sum(np.sum(f**2, axis=1) ** 2)) / count
    return float(np.clip((of_examples - square) / count / distance, 0.0, 1.0))
