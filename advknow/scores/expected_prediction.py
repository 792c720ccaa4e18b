"""The log expected empirical prediction."""

import numpy as np

from advknow.scores.given import class_sums, labels_of, probabilities_of
from advknow.typing import ArrayLike


def leep(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """The log expected empirical prediction (Nguyen et al., ICML 2020, equation 2), in nats.

    mean_i log sum_z p(y_i | z) theta_i(z),   p(y, z) = mean_i [y_i = y] theta_i(z)

    of the source's probabilities theta; a source class without mass is left out. O(N C C_s).

    Args:
      probabilities: (N, C_s), the source's softmax on the target's images.
      labels: (N,) integers.

    Returns:
      <= 0, and at least -H(y) in the mean of labels that do not depend on the source's classes:
      -log C where these are balanced.

    Raises:
      TypeError, ValueError: no probabilities, no integers, other numbers of examples, one class.
    """
    y = labels_of(labels)
    theta = probabilities_of(probabilities, count=len(y))
    joint = class_sums(theta, y) / len(y)
    mass = joint.sum(axis=0)
    given = joint / np.where(mass > 0, mass, 1.0)
    predicted = np.einsum("nz,nz->n", theta, given[y])
    return float(np.mean(np.log(predicted)))
