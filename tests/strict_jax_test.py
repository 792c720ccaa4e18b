"""The whole theory under JAX's strict modes: no rank and no dtype is promoted by itself."""

import jax
import jax.numpy as jnp
import matching_oracles
import numpy as np
import oracles
import pytest

import advknow
from advknow import attacks, losses, matching
from advknow.links import label_gap

F, G = (oracles.tanh_network(seed, n=6, d=d, scale=2.0) for seed, d in ((0, 4), (1, 3)))
X = np.random.default_rng(0).uniform(0.1, 0.9, (10, 6)).astype(np.float32)
Y = np.eye(3, dtype=np.float32)[np.arange(10) % 3]
KEY = jax.random.key(0)
MODELS = {"f_source": F, "f_target": G}


def quartic(y, y_prime):
    return jnp.sum((y - y_prime) ** 2 + (y - y_prime) ** 4, axis=-1)


LOSSES = {
    "l2": "l2",
    "kl": "kl",
    "given": losses.quadratic(matching_oracles.random_hessian(0, 3)),
    "user's": quartic,
}


def _alphas(attack, *, linearize, loss="l2"):
    return advknow.transferability(
        F, G, X, attack=attack, key=KEY, linearize=linearize, eval_loss=loss, batch_size=4
    )


CALLS = {
    "fgsm": lambda loss: _alphas(attacks.fgsm(eps=0.1), linearize=False, loss=loss),
    "pgd in 2": lambda loss: _alphas(attacks.pgd(eps=0.1, ord="2"), linearize=False, loss=loss),
    "pgd of deviations": lambda loss: _alphas(
        attacks.pgd(eps=0.1, objective="output_deviation"), linearize=False, loss=loss
    ),
    "singular": lambda loss: _alphas(attacks.singular(), linearize=True, loss=loss),
    "small eps": lambda loss: advknow.small_eps_transferability(F, G, X, loss=loss),
    "A1, A2": lambda loss: advknow.generalized_transferability(F, G, X, loss=loss),
    "A1, A2 by iteration": lambda loss: advknow.generalized_transferability(
        F, G, X, loss=loss, method="iterative", count=1
    ),
    "GMD": lambda loss: matching.gradient_matching(**MODELS, x=X, loss=loss),
    "FMD": lambda loss: matching.function_matching(**MODELS, x=X, loss=loss),
    "KTD": lambda loss: matching.knowledge_transfer(f_source=F, x=X, y=Y, loss=loss),
    "gap": lambda loss: label_gap(f_target=G, x=X, y=Y, loss=loss),
    "chain": lambda loss: advknow.chain(F, G, X, y=Y, loss=loss),
    "audit": lambda loss: advknow.check_model(F, X, num_steps=2),
}
MODES = {"rank": lambda: jax.numpy_rank_promotion("raise"),
         "dtype": lambda: jax.numpy_dtype_promotion("strict")}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_is_promoted(loss, mode):
    for name, call in CALLS.items():
        with MODES[mode]():
            try:
                call(LOSSES[loss])
            except (ValueError, TypeError) as error:
                raise AssertionError(f"{name} promotes: {error}") from error
