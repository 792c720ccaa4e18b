"""The Gaussian Bhattacharyya coefficient."""

import numpy as np

from advknow import validate
from advknow.scores.given import class_means, examples_of
from advknow.typing import ArrayLike

COVARIANCES = ("diagonal", "spherical")
# Of a dimension in a class: a class of one example has none.
LEAST_VARIANCE = 1e-4


def gbc(features: ArrayLike, labels: ArrayLike, *, covariance: str = "diagonal") -> float:
    """The Gaussian Bhattacharyya coefficient (Pandy et al., CVPR 2022, equation 5).

    - sum_{i != j} exp(-BD(i, j)), of Gaussians of the classes,

    BD = 1/8 (mu_i - mu_j)' S^-1 (mu_i - mu_j) + 1/2 log(|S| / sqrt(|S_i| |S_j|)), S their mean.
    Variances are at least 1e-4. O(N D + C^2 D).

    Args:
      features: (N, D). labels: (N,) integers.
      covariance: "diagonal", or "spherical": one variance a class, the mean of its dimensions'.

    Returns:
      in [-C (C - 1), 0]; 0 where no classes overlap, which in many dimensions is soon the case.

    Raises:
      TypeError, ValueError: no numbers, NaN, other numbers of examples, one class, an unknown
        covariance.
    """
    validate.choice("covariance", covariance, COVARIANCES)
    f, y = examples_of(features, labels)
    means = class_means(f, y)
    variances = np.maximum(class_means((f - means[y]) ** 2, y), LEAST_VARIANCE)
    if covariance == "spherical":
        variances = np.broadcast_to(variances.mean(axis=1, keepdims=True), variances.shape)
    logs = np.log(variances).sum(axis=1)
    total = 0.0
    for i in range(len(means) - 1):
        between = (variances[i] + variances[i + 1 :]) / 2
        distance = np.sum((means[i] - means[i + 1 :]) ** 2 / between, axis=1) / 8
        distance += 0.5 * (np.log(between).sum(axis=1) - 0.5 * (logs[i] + logs[i + 1 :]))
        total += 2.0 * float(np.exp(-distance).sum())
    return -total
