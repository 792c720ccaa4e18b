"""The H-score: between-class variance of the features in units of their covariance."""

import numpy as np

from advknow.scores.given import check_not_constant, class_means, examples_of, spectrum
from advknow.typing import ArrayLike


def _between(features: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centred F (N, D), the eigenvalues of F' F (k,), and v' G' G v along its eigenvectors (k,).

    G (N, D) are the means of the examples' classes.
    """
    f, y = examples_of(features, labels)
    check_not_constant(f)
    f -= f.mean(axis=0)
    values, along = spectrum(f, class_means(f, y))
    return f, values, np.bincount(y) @ along**2


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
    _, values, between = _between(features, labels)
    return float(np.sum(between / values))


def h_score_shrunk(features: ArrayLike, labels: ArrayLike) -> float:
    """The H-score with Ledoit and Wolf's shrinkage (Ibrahim et al., ECML 2022, equation 7).

    tr(S_a^-1 (1 - a) cov(E[F | y])), S_a = (1 - a) cov(F) + a tr(cov(F)) / D I. O(N D min(N, D)).

    Args, Raises: as `h_score`.

    Returns:
      in [0, C - 1]; below `h_score`, and meaningful where N < D.
    """
    f, values, between = _between(features, labels)
    count, dimensions = f.shape
    values = values / count
    shrinkage = _ledoit_wolf(f, values)
    shrunk = (1 - shrinkage) * values + shrinkage * values.sum() / dimensions
    return float(np.sum((1 - shrinkage) * between / (count - 1) / shrunk))


def _ledoit_wolf(f: np.ndarray, eigenvalues: np.ndarray) -> float:
    """The share of the identity that is expected to err least (Ledoit, Wolf 2004), of centred f."""
    count, dimensions = f.shape
    square = float(np.sum(eigenvalues**2))
    distance = square - eigenvalues.sum() ** 2 / dimensions
    if distance <= 0:
        return 1.0
    of_examples = float(np.sum(np.sum(f**2, axis=1) ** 2)) / count
    return float(np.clip((of_examples - square) / count / distance, 0.0, 1.0))
