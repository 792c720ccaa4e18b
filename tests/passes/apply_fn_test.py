import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax.tree_util import Partial

from advknow.passes import apply_fn


def test_partial_stays_and_functions_are_wrapped():
    f = oracles.tanh_network(0, n=3, d=2)
    assert apply_fn.as_pytree(f) is f
    wrapped = apply_fn.as_pytree(jnp.tanh)
    assert isinstance(wrapped, Partial)
    assert jax.tree.leaves(wrapped) == []
    np.testing.assert_array_equal(wrapped(jnp.zeros((1, 2))), jnp.zeros((1, 2)))
    with pytest.raises(TypeError, match=r"f=3 must be a function of a batch"):
        apply_fn.as_pytree(3)


class _Unhashable:
    """As many a module library has it: equality compares arrays, so there is no hash."""

    def __init__(self, weights):
        self.weights = weights

    def __eq__(self, other):
        return self.weights == other.weights

    def __call__(self, x):
        return x @ self.weights


def test_callable_objects_without_hash_pass_through_jit():
    jitted = jax.jit(lambda f, x: f(x))
    for scale in (1.0, 2.0):
        f = _Unhashable(jnp.full((3, 2), scale))
        for _ in range(2):
            found = jitted(apply_fn.as_pytree(f), jnp.ones((1, 3)))
            np.testing.assert_array_equal(found, [[3.0 * scale, 3.0 * scale]])


def test_a_model_is_traced_once_for_its_shape_and_once_for_its_outputs_of_all_weights():
    traced = []

    def apply(weights, x):
        traced.append(x.shape)
        return x @ weights

    x = np.ones((2, 3), np.float32)
    for scale in (1.0, 2.0):
        f = Partial(apply, scale * jnp.ones((3, 4)))
        assert apply_fn.output_spec(f, x).shape == (2, 4)
        np.testing.assert_array_equal(apply_fn.outputs(f, x), np.full((2, 4), 3 * scale))
    assert traced == 2 * [(2, 3)]


def test_output_spec_computes_nothing():
    def f(x):
        assert isinstance(x, jax.core.Tracer)
        return x[:, :2]

    spec = apply_fn.output_spec(f, np.zeros((5, 3), np.float32))
    assert (spec.shape, spec.dtype) == ((5, 2), jnp.float32)


class _OwnError(Exception):
    pass


def _refuses(x):
    raise _OwnError("kernel of shape (4, 2) expected\nlong story")


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: x @ jnp.ones((4, 2)), r"f2 does not accept a batch of shape \(5, 3\): "),
        (_refuses, r"f2 does not accept .* \(5, 3\): kernel of shape \(4, 2\) expected$"),
        (lambda x: x.sum(), r"f2 returns \(\) for .* \(5, 3\); \(batch, outputs\) = \(5, d\) is"),
        (lambda x: x[:, 0], r"f2 returns \(5,\) for"),
        (lambda x: x[:, :, None], r"f2 returns \(5, 3, 1\) for"),
        (lambda x: x[:2], r"f2 returns \(2, 3\) for"),
        (lambda x: (x, x), r"f2 returns tuple for"),
        (lambda x: jnp.argmax(x, axis=-1, keepdims=True), r"f2 returns int32; floats \(logits\)"),
    ],
)
def test_output_spec_refuses(f, message):
    with pytest.raises(ValueError, match=message):
        apply_fn.output_spec(f, np.zeros((5, 3), np.float32), name="f2")


@pytest.mark.parametrize(("n", "d"), [(6, 3), (2, 5), (4, 1)])
def test_vjp_rows_is_the_jacobian(n, d, variant):
    f = oracles.tanh_network(1, n=n, d=d)
    x = np.random.default_rng(0).uniform(size=(4, n)).astype(np.float32)
    y, jacobian = variant(lambda x: apply_fn.vjp_rows(f, x))(x)
    np.testing.assert_allclose(y, oracles.outputs(f, x), atol=2e-6)
    np.testing.assert_allclose(jacobian, oracles.jacobian(f, x), atol=2e-6)
    images = x.reshape(4, n // 2, 2, 1)
    of_images = apply_fn.vjp_rows(f, images)[1]
    np.testing.assert_allclose(of_images, jacobian, atol=1e-6)
