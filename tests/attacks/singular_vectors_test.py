import functools
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax.tree_util import Partial

from advknow import losses
from advknow.attacks import ConvergenceWarning, singular_directions
from advknow.attacks import singular as make_singular

COSH = losses.from_function(
    lambda y, y_prime: jnp.sum(jnp.cosh(y_prime - y) - 1.0, axis=-1), name="cosh"
)


def _inputs(count, n, seed=0):
    return np.random.default_rng(seed).uniform(size=(count, n)).astype(np.float32)


def _linear(w):
    """f(x) = W x."""
    return Partial(jnp.matmul, b=jnp.asarray(np.transpose(w), jnp.float32))


def _hessian(loss, y):
    return oracles.hessian("l2" if loss is COSH else loss, y)


def _reached(loss, f, x, delta):
    """|J delta|_H, from the Jacobian written down by hand: (B, k, n) -> (B, k)."""
    moved = np.einsum("bdn,bkn->bkd", oracles.jacobian(f, x), np.asarray(delta, np.float64))
    h = _hessian(loss, oracles.outputs(f, x))
    return np.sqrt(np.einsum("bki,bij,bkj->bk", moved, h, moved))


def _expected(loss, f, x):
    root = oracles.symmetric_root(_hessian(loss, oracles.outputs(f, x)))
    return np.linalg.svd(root @ oracles.jacobian(f, x), compute_uv=False)


def test_by_hand(variant):
    # W = diag(3, 1) on (x1, x2), x3 unused: the first direction is x1, |W v|_H = 3 for H = I.
    f, x = _linear([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), np.zeros((2, 3), np.float32)
    found = variant(lambda x: singular_directions(f, x, count=2, loss="l2"))(x)
    np.testing.assert_allclose(np.abs(found.directions[0]), np.eye(3)[:2], atol=1e-6)
    np.testing.assert_allclose(found.singular_values, [[3.0, 1.0]] * 2, rtol=1e-6)
    assert found.converged.all()
    doubled = singular_directions(f, x, count=2, loss="squared_l2")
    np.testing.assert_allclose(doubled.singular_values, [[18**0.5, 2**0.5]] * 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "n", "d", "count"),
    [("squared_l2", 12, 4, 4), ("kl", 12, 5, 4), (COSH, 6, 9, 6), ("l2", 7, 1, 1)],
    ids=["squared_l2", "kl", "cosh_d_above_n", "one_output"],
)
def test_exact_is_the_singular_value_decomposition(loss, n, d, count):
    f, x = oracles.tanh_network(1, n=n, d=d, h=24), _inputs(8, n)
    found = singular_directions(f, x, count=count, loss=loss)
    expected = _expected(loss, f, x)[:, :count]
    chex.assert_shape(found.directions, (8, count, n))
    # Squares carry float32's 1e-7 of the largest: a small singular value s knows 1e-6 s_1^2 / s.
    error = np.abs(found.singular_values**2 - expected**2)
    assert (error <= 2e-6 * expected[:, :1] ** 2).all()
    error = np.abs(_reached(loss, f, x, found.directions) ** 2 - expected**2)
    assert (error <= 2e-6 * expected[:, :1] ** 2).all()
    gram = np.einsum("bkn,bjn->bkj", found.directions, found.directions)
    # Directions of small singular values are orthogonal to 1e-7 (s_1 / s)^2 only.
    slack = 1e-5 * (expected[:, :1] / expected[:, -1:])[..., None] ** 2
    assert (np.abs(gram - np.eye(count)) <= slack).all()
    np.testing.assert_allclose(np.diagonal(gram, axis1=1, axis2=2), 1.0, rtol=1e-5)


@pytest.mark.parametrize("loss", ["squared_l2", "kl"])
def test_never_beaten_in_the_small_eps_loss(loss):
    f, x = oracles.tanh_network(2, n=10, d=4), _inputs(6, 10)
    delta = make_singular(loss=loss)(f, x, jax.random.key(0))
    np.testing.assert_allclose(np.linalg.norm(delta, axis=1), 1.0, rtol=1e-6)
    best = _reached(loss, f, x, delta[:, None])
    rng = np.random.default_rng(3)
    directions = oracles.unit(rng.normal(size=(6, 1000, 10)))
    assert (_reached(loss, f, x, directions) <= best * (1 + 1e-6)).all()
    nearby = oracles.unit(delta[:, None] + 0.05 * rng.normal(size=(6, 1000, 10)))
    assert (_reached(loss, f, x, nearby) <= best * (1 + 1e-6)).all()


def test_never_beaten_in_the_l2_loss_at_small_eps():
    eps = 1e-3
    f, x = oracles.tanh_network(2, n=10, d=4), _inputs(6, 10)
    delta = np.asarray(make_singular(eps=eps)(f, x, jax.random.key(0)), np.float64)
    np.testing.assert_allclose(np.linalg.norm(delta, axis=1), eps, rtol=1e-6)

    def deviation(delta):
        return np.linalg.norm(oracles.outputs(f, x + delta) - oracles.outputs(f, x), axis=-1)

    best, rng = deviation(delta), np.random.default_rng(4)
    for _ in range(1000):
        assert (deviation(eps * oracles.unit(rng.normal(size=x.shape))) <= best).all()
    # Of the two signs the better one; they differ by the second order, eps, which at this eps is
    # float32's rounding of the loss.
    with jax.enable_x64(True):
        delta = np.asarray(make_singular(eps=eps)(f, x.astype(np.float64), jax.random.key(0)))
    assert delta.dtype == np.float64
    assert (deviation(-delta) < deviation(delta)).all()


@pytest.mark.parametrize(
    ("loss", "n", "d"),
    [("squared_l2", 40, 30), ("kl", 12, 5), (COSH, 6, 12), ("l2", 6, 1)],
)
def test_iterative_agrees_with_exact(loss, n, d):
    f, x = oracles.tanh_network(5, n=n, d=d, h=32), _inputs(8, n).reshape(8, n // 2, 2)
    count = min(n, d, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        attack = make_singular(index=count - 1, loss=loss, method="iterative")
        attack(f, x, jax.random.key(1))
    exact = singular_directions(f, x, count=count, loss=loss)
    iterative = singular_directions(
        f, x, count=count, loss=loss, method="iterative", key=jax.random.key(1)
    )
    assert iterative.converged.all()
    # The demand is 1e-3 in the reached loss, 1/2 |J delta|_H^2, of each index.
    reached = [_reached(loss, f, x, s.directions) ** 2 for s in (exact, iterative)]
    top = reached[0][:, :1]
    assert (np.abs(reached[1] - reached[0]) <= 1e-3 * reached[0] + 2e-6 * top).all()
    error = np.abs(iterative.singular_values**2 - exact.singular_values**2)
    assert (error <= 1e-3 * top + 1e-30).all()


@functools.cache
def _slowly_decaying(n=60, d=50):
    rng = np.random.default_rng(6)
    left, _ = np.linalg.qr(rng.normal(size=(d, d)))
    right, _ = np.linalg.qr(rng.normal(size=(n, d)))
    return left @ np.diag(0.99 ** np.arange(d)) @ right.T


def test_too_few_steps_are_reported():
    w, x = _slowly_decaying(), _inputs(5, 60)
    attack = make_singular(method="iterative", num_steps=4)
    with pytest.warns(ConvergenceWarning, match=r"5 of 5 examples have not .*tolerance=0\.001"):
        attack(_linear(w), x, jax.random.key(0))
    found = singular_directions(_linear(w), x, method="iterative", num_steps=4)
    assert not found.converged.any()
    # The residual it reports is the true one, |W'W v - s^2 v| / s^2 for H = 2 I.
    v = np.asarray(found.directions[:, 0], np.float64)
    square = np.asarray(found.singular_values, np.float64) ** 2
    residual = np.linalg.norm(2 * v @ w.T @ w - square * v, axis=1) / square[:, 0]
    np.testing.assert_allclose(found.residual[:, 0], residual, rtol=1e-3)


def test_enough_steps_are_exact_and_silent():
    w, x = _slowly_decaying(), _inputs(5, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_singular(method="iterative", num_steps=60)(_linear(w), x, jax.random.key(0))
    found = singular_directions(_linear(w), x, count=3, method="iterative", num_steps=60)
    expected = 2**0.5 * 0.99 ** np.arange(3)
    np.testing.assert_allclose(found.singular_values, [expected] * 5, rtol=1e-4)


def test_iterative_finds_repeated_singular_values():
    # W = [I 0] with weaker rows: a single Krylov space holds one direction of all the equal ones.
    w = np.eye(5, 12)
    w[3:] *= [[0.5], [0.1]]
    found = singular_directions(_linear(w), _inputs(8, 12), count=5, method="iterative")
    expected = [[1, 1, 1, 0.5, 0.1]] * 8
    np.testing.assert_allclose(found.singular_values / 2**0.5, expected, rtol=1e-5)
    moved = np.linalg.norm(found.directions @ w.T, axis=-1)
    np.testing.assert_allclose(moved, expected, rtol=1e-4)
    gram = np.einsum("bkn,bjn->bkj", found.directions, found.directions)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(5), (8, 5, 5)), atol=1e-5)


@pytest.mark.parametrize("method", ["exact", "iterative"])
def test_no_direction_gives_zeros(method):
    x, key = _inputs(8, 12), jax.random.key(0)
    # KL is blind to one direction of the outputs: d outputs have d - 1 singular directions.
    f, images = oracles.tanh_network(5, n=12, d=5, h=32), x.reshape(8, 6, 2)
    last = make_singular(index=4, loss="kl", method=method)(f, images, key)
    np.testing.assert_array_equal(last, np.zeros_like(images))
    found = singular_directions(f, images, count=5, loss="kl", method=method, key=key)
    lengths = np.linalg.norm(found.directions, axis=-1)
    np.testing.assert_allclose(lengths, [[1, 1, 1, 1, 0]] * 8, rtol=1e-5)
    # A rank-1 model has no second direction, a constant one none at all.
    rank_one = _linear(np.outer(np.arange(-2.0, 3.0), np.arange(1.0, 13.0)))
    attack = make_singular(index=1, method=method)
    np.testing.assert_array_equal(attack(rank_one, x, key), np.zeros_like(x))
    np.testing.assert_array_equal(attack(_linear(np.zeros((5, 12))), x, key), np.zeros_like(x))


@functools.cache
def _attack(method):
    return make_singular(index=1, loss="kl", method=method, eps=0.25)


@pytest.mark.parametrize("method", ["exact", "iterative"])
def test_jit_batch_and_order_change_nothing(method):
    f, key = oracles.tanh_network(8, n=12, d=5, h=32), jax.random.key(5)
    x = _inputs(8, 12).reshape(8, 6, 2)
    attack = _attack(method)
    delta = np.asarray(attack(f, x, key))
    assert (delta.shape, delta.dtype) == (x.shape, x.dtype)
    np.testing.assert_allclose(np.linalg.norm(delta.reshape(8, -1), axis=1), 0.25, rtol=1e-5)
    # The iterative start depends on the key, so what it converges to does up to rounding.
    inside = jax.jit(lambda f, x, key: attack(f, x, key))(f, x, key)
    np.testing.assert_allclose(inside, delta, atol=1e-5)
    order = np.random.default_rng(0).permutation(8)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.asarray(order))
    np.testing.assert_allclose(attack(f, x[order], keys), delta[order], atol=1e-5)


def test_eps_zero_gives_zeros(variant):
    f, x = oracles.tanh_network(0, n=5, d=3), _inputs(4, 5)
    attack = make_singular(eps=0.0)
    delta = variant(lambda x: attack(f, x, jax.random.key(0)))(x)
    np.testing.assert_array_equal(delta, np.zeros_like(x))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"index": -1}, ValueError, "index=-1 must be a finite number >= 0"),
        ({"index": 1.0}, TypeError, r"index=1\.0 \(float\) must be an integer"),
        ({"loss": "l1"}, ValueError, "loss='l1' is not known; accepted: squared_l2, kl, l2"),
        ({"method": "lanczos"}, ValueError, "method='lanczos' .*accepted: exact, iterative"),
        ({"eps": -1.0}, ValueError, r"eps=-1\.0 must be a finite number >= 0"),
        ({"eps": float("nan")}, ValueError, "eps=nan must be a finite number >= 0"),
        ({"tolerance": 0.0}, ValueError, r"tolerance=0\.0 must be a finite number > 0"),
        ({"index": 2, "num_steps": 2}, ValueError, "num_steps=2 must be a finite number >= 3"),
    ],
)
def test_hostile_settings(settings, error, message):
    with pytest.raises(error, match=message):
        make_singular(**settings)


@pytest.mark.parametrize(("n", "d", "index"), [(5, 3, 3), (2, 6, 2), (4, 1, 1)])
def test_index_beyond_the_rank(n, d, index):
    f, x = oracles.tanh_network(0, n=n, d=d), _inputs(2, n)
    make_singular(index=index - 1)(f, x, jax.random.key(0))
    with pytest.raises(
        ValueError, match=rf"index={index} must be at most {index - 1}: f has {index}"
    ):
        make_singular(index=index)(f, x, jax.random.key(0))
    with pytest.raises(ValueError, match=f"count={index + 1} must be .* <= {index}"):
        singular_directions(f, x, count=index + 1)


def test_hostile_inputs():
    f, attack, key = oracles.tanh_network(0, n=5, d=3), make_singular(), jax.random.key(0)
    with pytest.raises(ValueError, match="x holds NaN or infinity in 1 of 2 examples"):
        attack(f, np.array([[0.0] * 5, [np.nan] * 5]), key)
    with pytest.raises(ValueError, match=r"x has shape \(5,\); a batch of rank >= 2"):
        attack(f, np.zeros(5, np.float32), key)
    with pytest.raises(ValueError, match=r"f does not accept a batch of shape \(2, 4\)"):
        attack(f, np.zeros((2, 4), np.float32), key)
    with pytest.raises(
        ValueError, match=r"key has shape \(3,\); one key, or one for each of the 2"
    ):
        make_singular(method="iterative")(f, _inputs(2, 5), jax.random.split(key, 3))
    # No bounds apply to the small-eps attacks.
    assert np.isfinite(attack(f, np.full((2, 5), 7.0, np.float32), key)).all()
