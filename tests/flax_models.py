"""Small models of Flax, linen and nnx, with dropout and batch norm."""

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

X = np.random.default_rng(0).uniform(size=(20, 6)).astype(np.float32)


class Linen(nn.Module):
    width: int = 8

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(self.width)(x))
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(nn.tanh(x)))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.first, self.last = nnx.Linear(6, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.tanh(self.first(x))))


def linen(seed):
    return Linen().init(jax.random.key(seed), X[:1], train=False)
