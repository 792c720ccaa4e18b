"""LEEP of the posterior of a Gaussian mixture in the features."""

import warnings

import numpy as np

from advknow import validate
from advknow.scores.expected_prediction import leep
from advknow.scores.given import check_not_constant, examples_of
from advknow.typing import ArrayLike

# Li et al. keep 80 % of the variance and take five components a class.
VARIANCE, COMPONENTS_A_CLASS = 0.8, 5
MOST_STEPS = 10


def n_leep(features: ArrayLike, labels: ArrayLike, *, seed: int) -> float:
    """`leep` of the posterior of a Gaussian mixture (Li et al., CVPR 2021, section 3.2), in nats.

    The features are projected to the principal components with 80 % of the variance; the mixture
    (scikit-learn's, covariances diagonal) has five components a class, and at most N.

    Args:
      features: (N, D). labels: (N,) integers. seed: of the mixture's start, >= 0.

    Returns:
      <= 0; near 0 also where there are as many components as examples: N should be much larger.

    Raises:
      TypeError, ValueError: as the other scores; constant features.
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    f, y = examples_of(features, labels)
    check_not_constant(f)
    seed = validate.integer("seed", seed, minimum=0)
    solver = "covariance_eigh" if len(f) >= f.shape[1] else "full"
    projected = PCA(n_components=VARIANCE, svd_solver=solver).fit_transform(f)
    count = min(COMPONENTS_A_CLASS * int(y.max() + 1), len(y))
    # Of features of any scale: the mixture's least variance is absolute.
    projected = projected / projected.std()
    mixture = GaussianMixture(count, covariance_type="diag", max_iter=MOST_STEPS, random_state=seed)
    with warnings.catch_warnings():
        # A mixture that has not converged still has a posterior.
        warnings.simplefilter("ignore")
        posterior = mixture.fit(projected).predict_proba(projected)
    return leep(posterior / np.sum(posterior, axis=1, keepdims=True), y)
