import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from advknow import losses


def test_squared_l2_and_l2_by_hand():
    y, y_prime = jnp.array([[1.0, 2.0], [0.0, 0.0]]), jnp.array([[4.0, 6.0], [0.0, 2.0]])
    # (3, 4) has length 5, (0, 2) has length 2.
    np.testing.assert_allclose(losses.squared_l2(y, y_prime), [25.0, 4.0], rtol=1e-6)
    np.testing.assert_allclose(losses.l2(y, y_prime), [5.0, 2.0], rtol=1e-6)


def test_kl_by_hand(variant):
    # p = (3/4, 1/4), p' = (1/2, 1/2): 3/4 log(3/2) + 1/4 log(1/2).
    y, y_prime = jnp.array([[math.log(3.0), 0.0]]), jnp.zeros((1, 2))
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    np.testing.assert_allclose(variant(losses.kl)(y, y_prime), [expected], rtol=1e-6)
    # d/dy' = p' - p.
    gradient = jax.grad(lambda y_prime: losses.kl(y, y_prime)[0])(y_prime)
    np.testing.assert_allclose(gradient, [[-0.25, 0.25]], rtol=1e-6)


@pytest.mark.parametrize("deviation", [1e-4, 1e-2, 0.3, 1.0, 3.0, 10.0, 30.0])
@pytest.mark.parametrize("scale", [1.0, 10.0, 40.0])
def test_kl_keeps_its_digits_in_float32(scale, deviation, variant):
    # At scale 40 most outputs are saturated, and the true KL goes down to 1e-40.
    rng = np.random.default_rng(0)
    y = (scale * rng.normal(size=(24, 5))).astype(np.float32)
    y_prime = (y + deviation * rng.normal(size=y.shape)).astype(np.float32)
    expected = oracles.kl(y, y_prime)
    found = np.asarray(variant(losses.kl)(y, y_prime), np.float64)
    # e^-90 in float32 carries 90 times its rounding: 1e-5. Below 1e-36 float32 itself ends.
    representable = expected > 1e-36
    np.testing.assert_allclose(found[representable], expected[representable], rtol=2e-5)
    assert (found[~representable] < 1e-35).all()


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_kl_gradient_is_the_difference_of_probabilities(scale):
    rng = np.random.default_rng(1)
    y = (scale * rng.normal(size=(24, 5))).astype(np.float32)
    gradients = jax.jit(jax.grad(lambda y, y_prime: jnp.sum(losses.kl(y, y_prime)), argnums=1))
    for deviation in (0.0, 1e-3, 1.0, 30.0):
        y_prime = (y + deviation * rng.normal(size=y.shape)).astype(np.float32)
        gradient = gradients(y, y_prime)
        expected = oracles.softmax(y_prime) - oracles.softmax(y)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=3e-6)


def test_kl_ignores_a_common_shift_and_is_never_negative():
    rng = np.random.default_rng(2)
    y = rng.normal(size=(64, 7)).astype(np.float32)
    # y + 100 rounds each logit by up to 4e-6, a KL of the order of its square.
    assert np.abs(losses.kl(y, y + np.float32(100.0))).max() < 1e-10
    y_prime = y + rng.normal(size=y.shape).astype(np.float32) * 10.0 ** rng.uniform(-5, 2, (64, 1))
    assert (np.asarray(losses.kl(y, y_prime.astype(np.float32))) > 0).all()


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_zero_and_finite_gradients_without_deviation(name, variant):
    y = jnp.array([[0.0, 0.0, 0.0], [50.0, 0.0, -50.0], [1.0, -2.0, 0.5]])
    loss = losses.get(name)
    np.testing.assert_array_equal(variant(loss)(y, y), jnp.zeros(3))
    gradients = jax.grad(lambda y, y_prime: jnp.sum(loss(y, y_prime)), argnums=(0, 1))
    for gradient in jax.jit(gradients)(y, y):
        np.testing.assert_allclose(gradient, jnp.zeros_like(y), atol=1e-7)


@pytest.mark.parametrize("name", ["squared_l2", "kl"])
def test_quadratic_near_zero(name):
    rng = np.random.default_rng(3)
    y, v = rng.normal(size=(8, 4)), rng.normal(size=(8, 4))
    t = 2.0**-10
    y32, v32 = y.astype(np.float32), v.astype(np.float32)
    y_prime = y32 + np.float32(t) * v32
    moved = (y_prime.astype(np.float64) - y32) / t
    # The third-order term of KL is of relative order t = 1e-3.
    expected = oracles.leading_term(name, y32, moved)
    np.testing.assert_allclose(losses.get(name)(y32, y_prime) / t**2, expected, rtol=3e-3)


def test_user_function_keeps_name_and_identity():
    def cosh(y, y_prime):
        return jnp.sum(jnp.cosh(y_prime - y) - 1.0, axis=-1)

    loss = losses.from_function(cosh)
    assert loss.name == "cosh"
    assert losses.from_function(cosh, name="mine").name == "mine"
    # Equal and of one hash: `jax.jit` compiles for it once.
    assert losses.get(cosh) == loss
    assert hash(losses.get(cosh)) == hash(loss)
    assert losses.get(loss) is loss
    chex.assert_shape(loss(jnp.zeros((3, 2)), jnp.ones((3, 2))), (3,))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("kll", ValueError, r"loss='kll' is not known; accepted: squared_l2, kl, l2.*mean 'kl'"),
        (3, TypeError, r"loss=3 must be a name \(squared_l2, kl, l2\) or a function"),
        (None, TypeError, "loss=None must be a name"),
    ],
)
def test_hostile_loss(given, error, message):
    with pytest.raises(error, match=message):
        losses.get(given)


def test_hostile_function():
    with pytest.raises(TypeError, match="fn='kl' must be a function"):
        losses.from_function("kl")
