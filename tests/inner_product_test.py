import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from advknow import inner_product, losses

METHODS = ("auto", "closed_form", "jvp", "hessian")


def cosh(y, y_prime):
    return jnp.sum(jnp.cosh(y_prime - y) - 1.0, axis=-1)


MIXING = np.random.default_rng(5).normal(size=(4, 4)).astype(np.float32)


def mixed_cosh(y, y_prime):
    """H depends on y: M diag(1 + y^2) M'."""
    return jnp.sum((1 + y**2) * (jnp.cosh((y_prime - y) @ MIXING) - 1.0), axis=-1)


def _mixed_hessian(y):
    m = MIXING.astype(np.float64)
    return np.einsum("ik,bk,jk->bij", m, 1 + np.asarray(y, np.float64) ** 2, m)


def _everything(loss, method, y, u, v):
    return (
        inner_product.hessian(loss, y, method=method),
        inner_product.hvp(loss, y, v, method=method),
        inner_product.inner(loss, y, u, v, method=method),
        inner_product.norm(loss, y, v, method=method),
    )


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(6, 4)).astype(np.float32) for _ in range(3))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["squared_l2", "kl"])
def test_three_routes_to_h_agree(name, method, batch):
    y, u, v = batch
    expected = oracles.hessian(name, y)
    hessian, product, inner, norm = jax.jit(lambda *batch: _everything(name, method, *batch))(
        *batch
    )
    chex.assert_shape(hessian, (6, 4, 4))
    np.testing.assert_allclose(hessian, expected, atol=1e-6)
    np.testing.assert_allclose(product, np.einsum("bij,bj->bi", expected, v), atol=2e-6)
    np.testing.assert_allclose(inner, np.einsum("bi,bij,bj->b", u, expected, v), atol=5e-6)
    expected_norm = np.sqrt(np.einsum("bi,bij,bj->b", v, expected, v))
    np.testing.assert_allclose(norm, expected_norm, rtol=1e-5)


def test_jit_changes_nothing(batch):
    plain = _everything("kl", "closed_form", *batch)
    jitted = jax.jit(lambda *batch: _everything("kl", "closed_form", *batch))(*batch)
    chex.assert_trees_all_close(plain, jitted, atol=1e-6)


@pytest.mark.parametrize("method", ["auto", "hessian"])
@pytest.mark.parametrize(
    ("loss", "hessian"),
    [
        (cosh, lambda y: np.broadcast_to(np.eye(4), (len(y), 4, 4))),
        (mixed_cosh, _mixed_hessian),
        (
            losses.from_function(losses.kl.value, name="kl_again"),
            lambda y: oracles.hessian("kl", y),
        ),
    ],
    ids=["cosh", "mixed_cosh", "kl"],
)
def test_user_function(loss, hessian, method, batch):
    y, u, v = batch
    expected = hessian(y)
    scale = np.abs(expected).max()
    found, _, inner, _ = jax.jit(lambda *batch: _everything(loss, method, *batch))(*batch)
    np.testing.assert_allclose(found, expected, atol=2e-6 * scale)
    size = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1) * scale
    error = np.abs(inner - np.einsum("bi,bij,bj->b", u, expected, v))
    assert (error <= 1e-6 * size + 1e-6).all()


def test_kl_by_hand():
    # p = (1/2, 1/4, 1/4); v = (1, 0, 0): v'Hv = 1/2 - 1/4 = 1/4; Hv = (1/4, -1/8, -1/8).
    y, v = jnp.log(jnp.array([[0.5, 0.25, 0.25]])), jnp.array([[1.0, 0.0, 0.0]])
    np.testing.assert_allclose(inner_product.hvp("kl", y, v), [[0.25, -0.125, -0.125]], rtol=1e-6)
    np.testing.assert_allclose(inner_product.norm("kl", y, v), [0.5], rtol=1e-6)
    ones = jnp.ones_like(y)
    np.testing.assert_allclose(inner_product.norm("kl", y, ones), [0.0], atol=1e-7)


def _kl_square(y, v):
    """v'Hv = 1/2 sum_ij p_i p_j (v_i - v_j)^2: no cancellation at any saturation."""
    p, v = oracles.softmax(y), np.asarray(v, np.float64)
    return 0.5 * np.einsum("bi,bj,bij->b", p, p, (v[:, :, None] - v[:, None, :]) ** 2)


@pytest.mark.parametrize("margin", [0.0, 10.0, 20.0, 60.0])
def test_kl_norm_of_saturated_outputs(margin):
    rng = np.random.default_rng(4)
    y = rng.normal(size=(16, 5)).astype(np.float32)
    y[:, 2] += np.float32(margin)
    v = (rng.normal(size=(16, 5)) + 3.0).astype(np.float32)
    square = _kl_square(y, v)
    # e^-60 in float32 carries 60 times its rounding.
    norm = inner_product.norm("kl", y, v)
    np.testing.assert_allclose(norm, np.sqrt(square), rtol=1e-5)
    leading = inner_product.leading_term("kl", y, v)
    np.testing.assert_allclose(leading, 0.5 * square, rtol=2e-5)
    product = np.asarray(inner_product.hvp("kl", y, v))
    p = oracles.softmax(y)
    expected = np.einsum("bi,bj,bij->bi", p, p, v[:, :, None].astype(np.float64) - v[:, None, :])
    np.testing.assert_allclose(product, expected, rtol=1e-4, atol=1e-6 * np.exp(-margin))


@pytest.mark.parametrize("loss", ["squared_l2", "l2", "kl", cosh, mixed_cosh])
def test_root_carries_the_inner_product(loss, batch):
    y, u, v = batch
    root = jax.jit(lambda y, v: inner_product.root(loss, y, v))
    np.testing.assert_allclose(
        jnp.sum(root(y, u) * root(y, v), axis=-1),
        inner_product.inner(loss, y, u, v),
        rtol=1e-4,
        atol=1e-4 if loss is mixed_cosh else 1e-5,  # entries of H up to 40
    )
    columns = jnp.stack([u, v, u - v], axis=-1)
    together = jax.jit(lambda y, m: inner_product.root_of_columns(loss, y, m))(y, columns)
    gram = jnp.einsum("bki,bkj->bij", together, together)
    expected = np.einsum(
        "bci,bcd,bdj->bij", columns, np.asarray(inner_product.hessian(loss, y)), columns
    )
    np.testing.assert_allclose(gram, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["squared_l2", "l2", "kl"])
def test_leading_term(name, batch):
    y, _, v = batch
    found = inner_product.leading_term(name, y, v)
    np.testing.assert_allclose(found, oracles.leading_term(name, y, v), rtol=1e-5)
    np.testing.assert_array_equal(inner_product.leading_term(name, y, jnp.zeros_like(v)), 0.0)


def test_l2_takes_the_hessian_of_half_its_square(batch):
    y = batch[0]
    np.testing.assert_array_equal(
        inner_product.hessian("l2", y), np.broadcast_to(np.eye(4), (6, 4, 4))
    )


def test_a_maximum_has_norm_zero_not_nan(batch):
    y, _, v = batch
    upside_down = losses.from_function(lambda y, y_prime: -jnp.sum((y_prime - y) ** 2, axis=-1))
    np.testing.assert_array_equal(inner_product.norm(upside_down, y, v), 0.0)
    np.testing.assert_array_equal(inner_product.root(upside_down, y, v), 0.0)


@pytest.mark.parametrize(
    ("loss", "method", "message"),
    [
        ("kl", "exact", r"method='exact' is not known; accepted: auto, closed_form, jvp, hessian"),
        ("kll", "auto", r"loss='kll' is not known; accepted: squared_l2, kl, l2"),
        (
            cosh,
            "closed_form",
            r"method='closed_form' is not known for the loss 'cosh'; accepted: a",
        ),
        ("l2", "jvp", r"method='jvp' differentiates the loss 'l2'.*accepted: auto, closed_form"),
        ("l2", "hessian", r"method='hessian' differentiates the loss 'l2'"),
    ],
)
def test_hostile(loss, method, message, batch):
    y, _, v = batch
    with pytest.raises(ValueError, match=message):
        inner_product.hvp(loss, y, v, method=method)
    with pytest.raises(ValueError, match=message):
        inner_product.inner(loss, y, v, v, method=method)
    with pytest.raises(ValueError, match=message):
        inner_product.hessian(loss, y, method=method)


def test_gradient_through_the_inner_product_is_finite(batch):
    y, u, v = batch
    gradient = jax.grad(lambda y: jnp.sum(inner_product.inner("kl", y, u, v)))(y)
    chex.assert_tree_all_finite(gradient)
