"""TransRate: how much of the features' coding rate the labels explain."""

import numpy as np

from advknow import validate
from advknow.scores.given import examples_of
from advknow.typing import ArrayLike

WEIGHTS = ("equal", "frequency")
# The distortion, as the authors set it.
EPS = 1e-4


def _rate(f: np.ndarray) -> float:
    """1/2 log det(I + F' F / (N eps)), by the smaller of F' F and F F'."""
    gram = f @ f.T if len(f) < f.shape[1] else f.T @ f
    return 0.5 * float(np.linalg.slogdet(np.eye(len(gram)) + gram / (len(f) * EPS))[1])


def transrate(features: ArrayLike, labels: ArrayLike, *, weights: str = "equal") -> float:
    """R(F) - R(F | y), in nats (Huang et al., ICML 2022, equation 5).

    R(F) = 1/2 log det(I + F' F / (N eps)) of the centred features, eps = 1e-4; R(F | y) its mean
    over the classes' own. O(N D min(N, D)).

    Args:
      features: (N, D). labels: (N,) integers.
      weights: of the classes, "equal" (the authors' code) or "frequency" (their formula).

    Returns:
      >= 0 with "frequency"; it depends on the features' scale, and grows with D.

    Raises:
      TypeError, ValueError: no numbers, NaN, other numbers of examples, one class, unknown weights.
    """
    validate.choice("weights", weights, WEIGHTS)
    f, y = examples_of(features, labels)
    f -= f.mean(axis=0)
    counts = np.bincount(y)
    share = counts / len(y) if weights == "frequency" else np.full(len(counts), 1 / len(counts))
    of_classes = [_rate(f[y == c]) for c in range(len(counts))]
    return _rate(f) - float(share @ of_classes)
