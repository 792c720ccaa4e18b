"""Self-challenging Fisher discriminant analysis."""

import numpy as np
import scipy.linalg
import scipy.special

from advknow.scores.given import check_not_constant, class_means, examples_of
from advknow.typing import ArrayLike

# Steps of the power iteration that estimates the largest eigenvalue, as the authors take.
POWER_STEPS = 3
LEAST_SHRINKAGE = 1e-10


def _largest_eigenvalue(matrix: np.ndarray) -> float:
    """An estimate from three double steps of the power iteration, from the sums of the rows."""
    x = matrix.sum(axis=1)
    y = x
    for _ in range(POWER_STEPS):
        y = matrix @ x
        y = y / np.linalg.norm(y)
        x = matrix @ y
        x = x / np.linalg.norm(x)
    return float(x @ matrix @ y)


def _probabilities(
    f: np.ndarray, y: np.ndarray, shrinkage: float | None
) -> tuple[np.ndarray, float]:
    """Softmax of the regularised discriminant (N, C), and the shrinkage of the scatter in it."""
    count, dimensions = f.shape
    means, priors = class_means(f, y), np.bincount(y) / count
    within = f - means[y]
    within = within.T @ within / count
    if shrinkage is None:
        shrinkage = max(float(np.exp(-5.0 * _largest_eigenvalue(within))), LEAST_SHRINKAGE)
    regularised = (1 - shrinkage) * within
    regularised.flat[:: dimensions + 1] += shrinkage * np.trace(within) / dimensions
    # All generalised eigenvectors E together satisfy E E' = S_w^-1: no decomposition is needed.
    try:
        coefficients = scipy.linalg.solve(regularised, means.T, assume_a="pos").T
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "features do not vary within their classes: the discriminant is not defined."
        ) from error
    intercept = -0.5 * np.sum(means * coefficients, axis=1) + np.log(priors)
    return scipy.special.softmax(f @ coefficients.T + intercept, axis=1), shrinkage


def sfda(features: ArrayLike, labels: ArrayLike) -> float:
    """Self-challenging Fisher discriminant analysis (Shao et al., ECCV 2022, section 3).

    The mean probability of the right class by a regularised Fisher discriminant, after each example
    was moved towards the mean of the other classes' means by as much as a first discriminant was
    unsure of it. O(N D^2 + D^3).

    Args:
      features: (N, D), not changed in place (the authors' code changes them).
      labels: (N,) integers.

    Returns:
      in [0, 1]; near 1 in many dimensions whatever the labels, where N is not much larger than D.

    Raises:
      TypeError, ValueError: no numbers, NaN, other numbers of examples, one class, features that
        are constant, or constant within their classes.
    """
    f, y = examples_of(features, labels)
    check_not_constant(f)
    first, shrinkage = _probabilities(f, y, None)
    # A softmax of the probabilities again, as the authors do.
    sure = scipy.special.softmax(first, axis=1)[np.arange(len(y)), y][:, None]
    means = class_means(f, y)
    others = (means.sum(axis=0) - means) / (len(means) - 1)
    mixed = sure * f + (1 - sure) * others[y]
    second, _ = _probabilities(mixed, y, shrinkage)
    return float(second[np.arange(len(y)), y].mean())
