"""Nothing is pending of a model of another library once its function is not held any more.

JAX returns before its programs have ended, and those of such a model ask for it by name.
"""

import gc
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advknow import adapters, attacks

torch = pytest.importorskip("torch")

KEY = jax.random.key(0)
DIRECTIONS = {
    "pgd": attacks.pgd(eps=0.1, num_steps=3),
    "fgsm": attacks.fgsm(eps=0.1),
    "singular": attacks.singular(eps=0.1),
    "directions": lambda f, x, key: attacks.singular_directions(f, x),
    "iterative": lambda f, x, key: attacks.singular_directions(f, x, method="iterative", key=key),
}


class Slow(torch.nn.Module):
    """A network whose outputs take their time."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(72, 5)

    def forward(self, x):
        time.sleep(0.2)
        return self.linear(x.flatten(1))


@pytest.mark.parametrize("name", DIRECTIONS)
def test_nothing_is_pending(name):
    # So many numbers that JAX does not wait for the programs as it does for trifles.
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(64, 6, 6, 2)), jnp.float32)
    f = adapters.from_torch(Slow().eval())
    for _ in range(2):  # The first call compiles, which gives the programs time.
        found = DIRECTIONS[name](f, x, KEY)
    del f
    gc.collect()
    assert np.isfinite(jax.tree.leaves(found)[0]).all()
