"""Numbers of NumPy and JAX as settings, and dtypes: delta has x's dtype, called plainly or jitted."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advknow import attacks, perturb

KEY = jax.random.key(0)
W = jnp.asarray(np.random.default_rng(1).normal(size=(6, 3)))
X = np.random.default_rng(0).uniform(0.3, 0.7, (4, 6))

SETTINGS = {
    "eps of NumPy": lambda: attacks.pgd(eps=np.float64(0.05), num_steps=2),
    "eps of JAX": lambda: attacks.pgd(eps=jnp.float32(0.05), num_steps=2),
    "eps without axes": lambda: attacks.pgd(eps=np.array(0.05), num_steps=2),
    "step_size of NumPy": lambda: attacks.pgd(eps=0.05, step_size=np.float32(0.01), num_steps=2),
    "step_size of JAX": lambda: attacks.pgd(eps=0.05, step_size=jnp.float16(0.01), num_steps=2),
    "steps of NumPy": lambda: attacks.pgd(eps=0.05, num_steps=np.int64(2)),
    "steps of JAX": lambda: attacks.pgd(eps=0.05, num_steps=jnp.int32(2)),
    "ord 2": lambda: attacks.pgd(eps=0.05, ord=2, num_steps=2),
    "ord infinity": lambda: attacks.fgsm(eps=np.float64(0.05), ord=np.inf),
    "singular": lambda: attacks.singular(eps=np.float64(0.05), index=np.int32(1)),
    "iterative": lambda: attacks.singular(eps=jnp.float32(0.05), method="iterative", num_steps=3),
}


def f(x):
    return jnp.tanh(x @ W.astype(x.dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", SETTINGS)
def test_delta_has_the_dtype_of_x(name, dtype):
    with jax.enable_x64(dtype == "float64"), warnings.catch_warnings():
        warnings.simplefilter("ignore", attacks.ConvergenceWarning)
        attack, x = SETTINGS[name](), jnp.asarray(X, dtype)
        for call in (attack, jax.jit(attack, static_argnums=0)):
            delta = call(f, x, KEY)
            assert (str(delta.dtype), delta.shape) == (dtype, x.shape)
            assert 0 < float(jnp.abs(delta.astype(jnp.float32)).max()) <= 0.0501


def test_the_norm_has_its_name_and_its_number():
    x = jnp.asarray(X, jnp.float32)
    for name, number in (("2", 2), ("2", 2.0), ("inf", np.inf), ("inf", float("inf"))):
        pair = (attacks.pgd(eps=0.1, ord=ord, num_steps=3)(f, x, KEY) for ord in (name, number))
        np.testing.assert_array_equal(*pair)
    for other in (1, 3.0, "l2", None, True):
        with pytest.raises(ValueError, match="ord=.* is not known; accepted: inf, 2"):
            attacks.pgd(eps=0.1, ord=other)


def test_a_sweep_of_eps_may_begin_at_zero():
    x = jnp.asarray(X, jnp.float32)
    lengths = [
        float(jnp.abs(attacks.pgd(eps=eps, step_size=eps / 10)(f, x, KEY)).max())
        for eps in np.linspace(0.0, 0.1, 3)
    ]
    assert lengths[0] == 0.0
    assert lengths == sorted(lengths)
    with pytest.raises(ValueError, match=r"step_size=0\.0 must be a finite number > 0"):
        attacks.pgd(eps=0.1, step_size=0.0)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">f2"])
def test_another_byte_order_is_refused_with_its_cure(dtype):
    swapped = X.astype(dtype)
    for call in (
        lambda: perturb(f, swapped, attack=attacks.fgsm(eps=0.1), key=KEY),
        lambda: attacks.singular()(f, swapped, KEY),
    ):
        with pytest.raises(
            TypeError, match=r"another byte order .*newbyteorder\('='\)\) is accepted"
        ):
            call()


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"eps": 1.0}, True),
        ({"eps": 8.0, "bounds": (0.0, 1.0)}, True),
        ({"eps": 255.0, "bounds": (0.0, 255.0)}, True),
        ({"eps": 8.0, "bounds": (0.0, 255.0)}, False),
        ({"eps": 8.0, "bounds": None}, False),
        ({"eps": 1.0, "ord": "2"}, False),
        ({"eps": 0.5}, False),
    ],
)
def test_an_eps_that_covers_the_bounds_deserves_a_word(settings, warned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        attacks.pgd(**settings)
    assert [("covers all of bounds" in str(w.message)) for w in caught] == [True] * warned
