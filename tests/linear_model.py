"""A linear model of two classes to train: its losses are known by hand; one of batch norm."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from advknow.models import Model
from advknow.models.batch_norm import BatchNorm
from advknow.training.forward import WholeModel

SHAPE, N = (2, 3, 1), 12


class Flat(nn.Module):
    """No layer: with its head a linear model of 2x - 1."""

    @nn.compact
    def __call__(self, x, train):
        return x.reshape(x.shape[0], -1)


class Normalised(nn.Module):
    """Batch norm alone: no example is on its own."""

    @nn.compact
    def __call__(self, x, train):
        return BatchNorm()(x.reshape(x.shape[0], -1), train)


def linear(seed=0):
    """A linear model of two classes, its parameters, images far from black and white, labels."""
    rng = np.random.default_rng(seed)
    head = {"kernel": rng.standard_normal((6, 2)), "bias": rng.standard_normal(2)}
    params = {"backbone": {}, "head": jax.tree.map(jnp.float32, head)}
    images = rng.integers(80, 170, (N, *SHAPE)).astype(np.uint8)
    forward = WholeModel(Model("linear", 2, SHAPE, 1.0, Flat()), None)
    return forward, params, images, rng.integers(2, size=N).astype(np.int32)
