"""Any kind of JAX key: no result depends on the batch size, whatever draws the numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import advknow
from advknow import attacks
from advknow.passes import keys

F, G = (oracles.tanh_network(seed, n=8, d=3, scale=2.0) for seed in (0, 1))
X = np.random.default_rng(0).uniform(0.2, 0.8, (30, 8)).astype(np.float32)
ATTACK = attacks.pgd(eps=0.05, num_steps=2)

KEYS = {
    "rbg": lambda: jax.random.key(5, impl="rbg"),
    "unsafe_rbg": lambda: jax.random.key(5, impl="unsafe_rbg"),
    "raw words of rbg": lambda: jax.random.key_data(jax.random.key(5, impl="rbg")),
    "raw words": lambda: jax.random.PRNGKey(5),
    "rbg, split": lambda: jax.random.split(jax.random.key(5, impl="rbg"), 30),
    "rbg, raw and split": lambda: jax.random.key_data(
        jax.random.split(jax.random.key(5, impl="rbg"), 30)
    ),
}


@pytest.mark.parametrize("name", KEYS)
def test_no_result_depends_on_the_batch_size(name):
    found = [
        advknow.transferability(F, G, X, attack=ATTACK, key=KEYS[name](), batch_size=size).alpha1
        for size in (30, 7, 1)
    ]
    np.testing.assert_allclose(found, found[0], rtol=1e-6)


def test_threefry_keys_stay_themselves_and_others_differ_by_every_word():
    key = jax.random.key(5)
    assert (jax.random.key_data(keys.typed(key)) == jax.random.key_data(key)).all()
    words = np.arange(1, 5, dtype=np.uint32)
    made = [keys.typed(jnp.asarray(words))]
    made += [
        keys.typed(jnp.asarray(words + np.uint32(7) * (np.arange(4) == i).astype(np.uint32)))
        for i in range(4)
    ]
    assert len({tuple(np.asarray(jax.random.key_data(k))) for k in made}) == 5
    assert {jax.random.key_impl(k) for k in made} == {keys.IMPL}


def test_a_stage_has_one_key_whatever_jax_takes_by_default():
    plain = jax.random.key_data(keys.of_stage(3, "attack"))
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(jax.random.key_data(keys.of_stage(3, "attack")), plain)


@pytest.mark.parametrize("words", [1, 3, 5])
def test_other_raw_data_is_no_key(words):
    with pytest.raises(TypeError, match="a JAX key, such as jax.random.key"):
        keys.typed(jnp.zeros(words, jnp.uint32))
