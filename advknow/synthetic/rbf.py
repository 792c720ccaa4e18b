"""The synthetic data: a Gaussian mixture and radial basis features (theory.md section 7).

    x ~ 1/K sum_k N(mu_k, s^2 I),  mu_k ~ N(0, (1 - s^2) I)       K = 10 components in R^50
    y = W phi(x) - mean,  phi_j(x) = exp(-|x - c_j|^2 / (2 n))    100 features in R^10
    c_j ~ N(0, 4 I),  W ~ N(0, I), scaled

The poster fixes the sizes and the two ingredients; means, widths and weights are ours. Every
coordinate of x has variance 1; y has mean 0 and the variance of the authors' data.
"""

from typing import NamedTuple

import numpy as np

from advknow import validate

# Standard deviation of a component, of the centres c_j, and of a coordinate of y.
COMPONENT_STD = 0.7
CENTRE_STD = 2.0
OUTPUT_STD = 0.7


class RbfData(NamedTuple):
    """N samples: x (N, n) and y (N, d), float32."""

    x: np.ndarray
    y: np.ndarray


def generate(
    *,
    seed: int,
    num_inputs: int = 50,
    num_outputs: int = 10,
    num_examples: int = 5000,
    num_components: int = 10,
    num_features: int = 100,
) -> RbfData:
    """A sample of the mixture and its responses; the same for the same arguments.

    Args:
      seed: of everything random; >= 0.
      num_inputs: n. num_outputs: d. num_examples: N.
      num_components: of the mixture. num_features: radial basis functions.

    Raises:
      ValueError, TypeError: a size below 1, or not an integer.
    """
    for name, value in (
        ("num_inputs", num_inputs),
        ("num_outputs", num_outputs),
        ("num_examples", num_examples),
        ("num_components", num_components),
        ("num_features", num_features),
    ):
        validate.integer(name, value, minimum=1)
    validate.integer("seed", seed, minimum=0)
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(num_components, num_inputs)) * np.sqrt(1 - COMPONENT_STD**2)
    centres = rng.normal(size=(num_features, num_inputs)) * CENTRE_STD
    weights = rng.normal(size=(num_features, num_outputs))
    component = rng.integers(num_components, size=num_examples)
    x = means[component] + COMPONENT_STD * rng.normal(size=(num_examples, num_inputs))
    square_distance = np.sum(x**2, axis=1)[:, None] + np.sum(centres**2, axis=1) - 2 * x @ centres.T
    y = np.exp(-square_distance / (2 * num_inputs)) @ weights
    y = y - y.mean(axis=0)
    spread = float(np.sqrt(np.mean(np.var(y, axis=0))))
    if spread > 0:
        y = y * (OUTPUT_STD / spread)
    return RbfData(x.astype(np.float32), y.astype(np.float32))
