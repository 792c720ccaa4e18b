"""Models and labels that a call cannot take: the message says what to do."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from flax import nnx

import advknow
from advknow import attacks, losses, matching
from advknow.links import label_gap

KEY = jax.random.key(0)
X = np.random.default_rng(0).uniform(0.1, 0.9, (12, 6)).astype(np.float32)
Y = np.eye(3, dtype=np.float32)[np.arange(12) % 3]
G = oracles.tanh_network(1, n=6, d=3, scale=2.0)
W = jax.random.normal(jax.random.key(5), (6, 3))


@jax.custom_vjp
def _sine(x):
    return jnp.sin(x @ W)


_sine.defvjp(lambda x: (_sine(x), x), lambda x, ct: ((ct * jnp.cos(x @ W)) @ W.T,))


@jax.custom_vjp
def _clipped(x):
    return x


# Gradients that are cut, as many write them.
_clipped.defvjp(lambda x: (x, None), lambda _, ct: (jnp.clip(ct, -1.0, 1.0),))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _scaled(x, scale):
    return x * scale


_scaled.defvjp(lambda x, scale: (x * scale, None), lambda scale, _, ct: (ct * scale,))

BACKWARD_ONLY = {
    "the whole model": _sine,
    "one layer": lambda x: jnp.tanh(_clipped(x @ W)),
    "with a setting": jax.jit(lambda x: _scaled(x @ W, 2.0) + 0.1 * (x @ W) ** 2),
}
WORKS = {
    "pgd": lambda f: advknow.transferability(f, G, X, attack=attacks.pgd(eps=0.1), key=KEY),
    "fgsm": lambda f: advknow.transferability(G, f, X, attack=attacks.fgsm(eps=0.1), key=KEY),
    "singular": lambda f: attacks.singular()(f, X, KEY),
    "perturb": lambda f: advknow.perturb(f, X, attack=attacks.pgd(eps=0.1), key=KEY),
    "small eps": lambda f: advknow.small_eps_transferability(f, G, X),
    "A1, A2": lambda f: advknow.generalized_transferability(G, f, X),
    "GMD": lambda f: matching.gradient_matching(f_source=f, f_target=G, x=X),
    "FMD": lambda f: matching.function_matching(f_source=G, f_target=f, x=X),
    "KTD": lambda f: matching.knowledge_transfer(f_source=f, x=X, y=Y),
    "gap": lambda f: label_gap(f_target=f, x=X, y=Y),
    "audit": lambda f: advknow.check_model(f, X, num_steps=2),
}
NEEDS_FORWARD = {
    "linearize": lambda f: advknow.transferability(
        f, G, X, attack=attacks.singular(), key=KEY, linearize=True
    ),
    "linearized target": lambda f: advknow.from_deltas(G, f, X, X / 10, X / 10, linearize=True),
    "iterative A1": lambda f: advknow.generalized_transferability(
        f, G, X, method="iterative", count=1
    ),
    "iterative attack": lambda f: attacks.singular(method="iterative")(f, X, KEY),
    "chain": lambda f: advknow.chain(f, G, X),
}


@pytest.mark.parametrize("model", BACKWARD_ONLY)
@pytest.mark.parametrize("call", WORKS)
def test_a_backward_pass_alone_is_enough(call, model):
    WORKS[call](BACKWARD_ONLY[model])


@pytest.mark.parametrize("model", BACKWARD_ONLY)
@pytest.mark.parametrize("call", NEEDS_FORWARD)
def test_where_it_is_not_the_calls_that_work_are_named(call, model):
    with pytest.raises(TypeError, match=r"no forward mode .*These work: transferability, perturb"):
        NEEDS_FORWARD[call](BACKWARD_ONLY[model])


def test_another_type_error_stays_what_it_was():
    def broken(x):
        raise TypeError("no custom_jvp here")

    with pytest.raises(ValueError, match="does not accept a batch .* no custom_jvp here"):
        advknow.small_eps_transferability(broken, G, X)


class _Counts:
    def __init__(self):
        self.seen = 0.0

    def __call__(self, x):
        self.seen = self.seen + x.sum()
        return jnp.sin(x @ W) * self.seen


class _RunningMean:
    def __init__(self):
        self.statistics = {"mean": jnp.zeros(6)}

    def __call__(self, x):
        self.statistics["mean"] = 0.9 * self.statistics["mean"] + 0.1 * x.mean(axis=0)
        return (x - self.statistics["mean"]) @ W


def _a_list_of_activations():
    seen = []

    def f(x):
        seen.append(x @ W)
        return sum(seen)

    return f


class _Nnx(nnx.Module):
    def __init__(self):
        self.norm = nnx.BatchNorm(6, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.norm(x) @ W


class _Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        count = self.variable("state", "count", jnp.zeros, ())
        count.value = count.value + 1
        return x @ W


def _linen():
    variables = _Linen().init(KEY, X)
    return lambda x: _Linen().apply(variables, x)


CHANGES = {
    "counts": _Counts,
    "running mean": _RunningMean,
    "list": _a_list_of_activations,
    "nnx": _Nnx,
    "linen": _linen,
}


def _from_deltas(f):
    moved = np.full_like(X, 0.01)
    return advknow.from_deltas(f, G, X, moved, moved)


def _in_a_precision_of_the_users(f):
    """Where the shapes of a model and its outputs are traced alike."""
    with jax.default_matmul_precision("highest"):
        return _from_deltas(f)


CALLS = {
    "deltas": _from_deltas,
    "deltas, highest": _in_a_precision_of_the_users,
    "transferability": WORKS["pgd"],
    "as the target": WORKS["fgsm"],
    "small eps": WORKS["small eps"],
    "attack": lambda f: attacks.pgd(eps=0.1)(f, X, KEY),
    "audit": WORKS["audit"],
    "chain": NEEDS_FORWARD["chain"],
}


@pytest.mark.parametrize("model", CHANGES)
@pytest.mark.parametrize("call", CALLS)
def test_a_model_that_changes_itself_is_told_of_evaluation_mode(call, model):
    with pytest.raises(ValueError, match="changes itself when it is called .*evaluation mode"):
        CALLS[call](CHANGES[model]())


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
@pytest.mark.parametrize(
    "call",
    [
        lambda y: matching.knowledge_transfer(f_source=G, x=X, y=y),
        lambda y: label_gap(f_target=G, x=X, y=y),
        lambda y: advknow.chain(G, G, X, y=y),
    ],
    ids=["KTD", "gap", "chain"],
)
def test_integer_one_hot_vectors(call, dtype):
    with pytest.raises(TypeError, match=r"y has dtype .*one-hot vectors: y.astype\(numpy.float32"):
        call(Y.astype(dtype))


def test_integer_pixels_are_still_told_of_bytes():
    with pytest.raises(TypeError, match="x has dtype uint8.*divide bytes by 255"):
        advknow.check_model(G, (255 * X).astype(np.uint8))


def _one(x):
    return jnp.sin(x @ W[:, :1])


@pytest.mark.parametrize(
    "call",
    [
        lambda: advknow.transferability(
            G, _one, X, attack=attacks.pgd(eps=0.1, objective="output_deviation"), key=KEY,
            eval_loss="kl",
        ),
        lambda: advknow.small_eps_transferability(_one, _one, X, loss=losses.kl),
        lambda: advknow.generalized_transferability(G, _one, X, loss="kl"),
        lambda: matching.gradient_matching(f_source=G, f_target=_one, x=X, loss="kl"),
        lambda: attacks.singular(loss="kl")(_one, X, KEY),
        lambda: advknow.inner_product.norm("kl", jnp.ones((2, 1)), jnp.ones((2, 1))),
    ],
    ids=["alpha1", "small eps", "A1", "GMD", "attack", "norm"],
)  # fmt: skip
def test_kl_of_one_output_is_told_that_it_is_always_zero(call):
    with pytest.raises(ValueError, match="loss='kl' needs at least 2 outputs"):
        call()


def test_one_output_is_fine_for_other_losses():
    found, _ = advknow.small_eps_transferability(_one, G, X)
    assert 0 < found.alpha1 <= 1
