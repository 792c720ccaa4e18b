import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax.tree_util import Partial

from advknow import attacks, check_model, perturb

EPS = 0.1


@pytest.fixture(scope="module")
def network():
    return oracles.tanh_network(0, n=12, d=4, scale=3.0)


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(1)
    # Images with many pixels at the bounds themselves.
    return np.clip(rng.uniform(-0.3, 1.3, size=(20, 3, 2, 2)), 0.0, 1.0).astype(np.float32)


def _linear(w):
    return Partial(jnp.matmul, b=jnp.asarray(w, jnp.float32))


def _length(delta, ord="2"):
    flat = np.asarray(delta, np.float64).reshape(len(delta), -1)
    return np.linalg.norm(flat, axis=1, ord={"2": 2, "inf": np.inf}[ord])


def _objective(name, f, x, delta):
    return np.asarray(attacks.OBJECTIVES[name](f(x), f(x + delta)))


FACTORIES = {
    "fgsm": attacks.fgsm,
    "fgsm_unbounded": functools.partial(attacks.fgsm, bounds=None),
    "fgsm_from_random": functools.partial(attacks.fgsm, random_start=True),
    "pgd": functools.partial(attacks.pgd, num_steps=5),
    "pgd_output": functools.partial(attacks.pgd, num_steps=5, objective="output_deviation"),
}


@functools.cache
def _attack(name, ord="inf"):
    """One attack for all tests, so that its programs are compiled once."""
    return FACTORIES[name](eps=EPS, ord=ord)


@pytest.mark.parametrize(
    ("name", "ord"),
    [
        ("fgsm", "inf"),
        ("fgsm", "2"),
        ("fgsm_from_random", "inf"),
        ("pgd", "inf"),
        ("pgd", "2"),
        ("pgd_output", "2"),
    ],
)
def test_guarantees(name, ord, network, x):
    delta = np.asarray(_attack(name, ord)(network, x, jax.random.key(0)))
    assert (delta.shape, delta.dtype) == (x.shape, x.dtype)
    if ord == "inf":
        assert np.abs(delta).max() <= np.float32(EPS)
    else:
        # The float32 square root and quotient may round up by one or two parts in 1e7.
        assert _length(delta).max() <= EPS * (1 + 5e-7)
    assert (x + delta).min() >= 0.0
    assert (x + delta).max() <= 1.0
    objective = "output_deviation" if name == "pgd_output" else "cross_entropy"
    gain = _objective(objective, network, x, delta) - _objective(objective, network, x, 0 * delta)
    assert gain.mean() > 0.01 * EPS


@pytest.mark.parametrize(("name", "ord"), [("pgd", "inf"), ("pgd_output", "2")])
def test_jit_changes_nothing(name, ord, network, x):
    attack, key = _attack(name, ord), jax.random.key(2)
    inside = jax.jit(lambda f, x, key: attack(f, x, key))(network, x, key)
    np.testing.assert_allclose(inside, attack(network, x, key), atol=1e-6)


def test_example_i_is_its_own_run_with_its_folded_key(network, x):
    attack, key = _attack("pgd", "2"), jax.random.key(3)
    together = attack(network, x, key)
    for i in (0, 7, 19):
        alone = attack(network, x[i : i + 1], jax.random.fold_in(key, i)[None])
        np.testing.assert_allclose(together[i], alone[0], atol=1e-6)
    order = np.random.default_rng(0).permutation(20)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.asarray(order))
    np.testing.assert_allclose(attack(network, x[order], keys), together[order], atol=1e-6)


def test_the_key_matters_with_a_random_start_only(network, x):
    one, other = jax.random.key(0), jax.random.key(1)
    started = _attack("fgsm_from_random")
    chex.assert_trees_all_equal(started(network, x, one), started(network, x, one))
    assert np.abs(started(network, x, one) - started(network, x, other)).max() > 0.01
    fixed = _attack("fgsm")
    chex.assert_trees_all_equal(fixed(network, x, one), fixed(network, x, other))


def test_loss_rises_with_the_steps(network, x):
    def reached(num_steps):
        attack = attacks.pgd(eps=0.5, step_size=0.02, num_steps=num_steps, random_start=False)
        return _objective("cross_entropy", network, x, attack(network, x, jax.random.key(0)))

    # No early stopping either: the loss goes on rising in examples long misclassified.
    five, twenty = reached(5), reached(20)
    assert (twenty > five).all()
    assert (five > _objective("cross_entropy", network, x, 0 * x)).all()


@pytest.mark.parametrize("ord", ["inf", "2"])
def test_pgd_reaches_the_optimum_of_a_linear_model(ord):
    rng = np.random.default_rng(4)
    w, x = rng.normal(size=(10, 2)), rng.normal(size=(30, 10)).astype(np.float32)
    # Two classes: the cross-entropy grows with (w_other - w_label)'delta alone.
    label = np.argmax(x @ w, axis=1)
    slope = (w[:, 1] - w[:, 0]) * np.where(label == 0, 1.0, -1.0)[:, None]
    expected = EPS * (np.sign(slope) if ord == "inf" else oracles.unit(slope))
    attack = attacks.pgd(eps=EPS, step_size=EPS / 2, num_steps=40, ord=ord, bounds=None)
    np.testing.assert_allclose(attack(_linear(w), x, jax.random.key(0)), expected, atol=1e-6)


def _cross_entropy_slope(w, x):
    """W (p - e_label) in float64 without cancellation: sum over j of p_j (w_j - w_label)."""
    y = x.astype(np.float64) @ w
    label = np.argmax(y, axis=1)
    return np.einsum("bj,nbj->bn", oracles.softmax(y), w[:, None, :] - w[:, label][:, :, None])


@pytest.mark.parametrize("scale", [1.0, 10.0, 25.0])
def test_fgsm_of_a_confident_model(scale):
    rng = np.random.default_rng(5)
    w = np.asarray(scale * rng.normal(size=(6, 4)), np.float32).astype(np.float64)
    x = rng.uniform(size=(40, 6)).astype(np.float32)
    slope = _cross_entropy_slope(w, x)
    top = np.sort(oracles.softmax(x @ w), axis=1)
    if scale == 25.0:  # beyond float32: p_label - 1 rounds to 0
        assert (1 - top[:, -1] < 1e-9).sum() > 10
    key = jax.random.key(0)
    # The rounding of the logits, 1e-7 of 100, is the relative error of their e^z.
    straight = _attack("fgsm_unbounded", "2")(_linear(w), x, key)
    np.testing.assert_allclose(straight, EPS * oracles.unit(slope), atol=1e-5 * scale * EPS)
    signed = _attack("fgsm_unbounded")(_linear(w), x, key)
    clear = np.abs(oracles.unit(slope)) > 1e-3
    np.testing.assert_allclose(signed[clear], EPS * np.sign(slope)[clear], rtol=1e-6)


def test_fgsm_by_hand():
    # Outputs (x1 - x2, 0) at (0.6, 0.2): label 0, so x1 goes down and x2 up, to the bound if near.
    f = _linear([[1.0, 0.0], [-1.0, 0.0]])
    key = jax.random.key(0)
    delta = _attack("fgsm")(f, jnp.array([[0.6, 0.2], [1.0, 0.95]]), key)
    np.testing.assert_allclose(delta, [[-0.1, 0.1], [-0.1, 0.05]], atol=1e-7)
    delta = _attack("fgsm", "2")(f, jnp.array([[0.6, 0.2], [0.6, 0.2]]), key)
    np.testing.assert_allclose(delta, [[-0.1 / 2**0.5, 0.1 / 2**0.5]] * 2, atol=1e-7)


def test_a_step_has_its_length_at_any_scale_of_the_gradient():
    w = np.random.default_rng(6).normal(size=(5, 1))
    attack = attacks.pgd(
        eps=1.0,
        step_size=0.25,
        num_steps=2,
        ord="2",
        random_start=False,
        bounds=None,
        objective=lambda y, y_prime: y_prime[:, 0],
    )
    expected = np.broadcast_to(0.5 * oracles.unit(w[:, 0]), (2, 5))
    for scale in (1.0, 1e-15, 1e-25, 1e25):
        delta = attack(_linear(scale * w), np.zeros((2, 5), np.float32), jax.random.key(0))
        np.testing.assert_allclose(delta, expected, rtol=1e-5)


def test_default_step_size(network, x):
    key = jax.random.key(0)
    explicit = attacks.pgd(eps=EPS, num_steps=5, step_size=2.5 * EPS / 5)
    chex.assert_trees_all_equal(_attack("pgd")(network, x, key), explicit(network, x, key))


@pytest.mark.parametrize("ord", ["inf", "2"])
@pytest.mark.parametrize("random_start", [False, True])
def test_eps_zero_gives_zeros(ord, random_start, network, x, variant):
    for attack in (
        attacks.fgsm(eps=0.0, ord=ord, random_start=random_start),
        attacks.pgd(eps=0, ord=ord, random_start=random_start),
    ):
        delta = variant(lambda x, attack=attack: attack(network, x, jax.random.key(0)))(x)
        np.testing.assert_array_equal(delta, np.zeros_like(x))


def _constant(x):
    return 0.0 * x.reshape(x.shape[0], -1)[:, :2] + jnp.array([[1.0, 2.0]])


@pytest.mark.parametrize("ord", ["inf", "2"])
def test_without_a_gradient_delta_stays_at_its_start(ord):
    x = np.full((400, 8), 0.5, np.float32)
    if ord == "2":  # where a gradient of length 0 is divided by its length
        still = _attack("fgsm", ord)
        np.testing.assert_array_equal(still(_constant, x, jax.random.key(0)), np.zeros_like(x))
    start = np.asarray(_attack("pgd", ord)(_constant, x, jax.random.key(0)))
    # Uniform in the ball: 400 * 8 numbers give the mean of each to about 2 %.
    assert len(np.unique(start[:, 0])) > 390
    assert np.abs(start.mean(axis=0)).max() < 0.15 * EPS
    if ord == "inf":
        np.testing.assert_allclose(start.std(), EPS / 3**0.5, rtol=0.05)
        assert np.abs(start).max() > 0.99 * EPS
    else:
        np.testing.assert_allclose(_length(start).mean(), EPS * 8 / 9, rtol=0.02)
        assert _length(start).max() <= EPS * (1 + 5e-7)


def test_output_deviation_beats_random_deltas(network, x):
    delta = _attack("pgd_output", "2")(network, x, jax.random.key(0))
    reached = _objective("output_deviation", network, x, delta)
    rng = np.random.default_rng(0)
    for _ in range(100):
        random = EPS * oracles.unit(rng.normal(size=(20, 12))).reshape(x.shape)
        random = np.clip(x + random, 0.0, 1.0).astype(np.float32) - x
        beaten = _objective("output_deviation", network, x, random) < reached
        assert beaten.mean() >= 0.9  # five steps need not find every example's optimum


def test_cross_entropy_objective_by_hand(variant):
    # Predictions 1 and 0; -log softmax(y')[label] = log(1 + e^(other - label)).
    y, y_prime = jnp.array([[0.0, 1.0], [2.0, 0.0]]), jnp.array([[3.0, 1.0], [50.0, 0.0]])
    expected = [np.log1p(np.exp(2.0)), np.exp(-50.0)]
    np.testing.assert_allclose(variant(attacks.cross_entropy)(y, y_prime), expected, rtol=1e-5)
    tie = attacks.cross_entropy(jnp.zeros((1, 3)), jnp.array([[0.0, 200.0, 0.0]]))
    np.testing.assert_allclose(tie, [200.0])


def test_inputs_a_rounding_error_outside_the_bounds(network):
    x = np.full((2, 12), 1 + 1e-5, np.float32)
    delta = np.asarray(_attack("pgd")(network, x, jax.random.key(0)))
    assert np.isfinite(delta).all()
    assert np.abs(delta).max() <= np.float32(EPS)
    assert (x + delta <= x).all()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"eps": -0.1}, ValueError, r"eps=-0\.1 must be a finite number >= 0"),
        ({"eps": float("nan")}, ValueError, "eps=nan must be a finite number >= 0"),
        ({"eps": True}, TypeError, r"eps=True \(bool\) must be a finite number >= 0"),
        ({"eps": "0.1"}, TypeError, r"eps='0\.1' \(str\) must be"),
        ({"num_steps": 0}, ValueError, "num_steps=0 must be a finite number >= 1"),
        ({"num_steps": 2.5}, TypeError, r"num_steps=2\.5 \(float\) must be an integer"),
        ({"step_size": 0.0}, ValueError, r"step_size=0\.0 must be a finite number > 0"),
        ({"ord": 3}, ValueError, "ord=3 is not known; accepted: inf, 2"),
        ({"ord": "linf"}, ValueError, "ord='linf' is not known; accepted: inf, 2"),
        (
            {"objective": "crossentropy"},
            ValueError,
            "objective='crossentropy' .*accepted: cross_entropy, output_deviation.*'cross_entropy'",
        ),
        ({"objective": 3}, TypeError, r"objective=3 must be a name \(cross_entropy, output_dev"),
        ({"bounds": (1.0, 0.0)}, ValueError, r"bounds=\(1\.0, 0\.0\) must have low < high"),
        ({"bounds": 1.0}, TypeError, r"bounds=1\.0 must be None or a pair"),
        (
            {"objective": "output_deviation", "random_start": False},
            ValueError,
            "random_start=False with objective='output_deviation'.*accepted: random_start=True",
        ),
    ],
)
def test_hostile_settings(settings, error, message):
    with pytest.raises(error, match=message):
        attacks.pgd(**{"eps": EPS, **settings})
    if "num_steps" not in settings and "step_size" not in settings:
        with pytest.raises(error, match=message):
            attacks.fgsm(**{"eps": EPS, **settings})


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.full((2, 12), 3.0, np.float32), ValueError, r"x has values from 3 to 3; bounds=\(0, 1"),
        (np.full((2, 12), np.nan, np.float32), ValueError, "x holds NaN .* in 2 of 2 examples"),
        (np.zeros(12, np.float32), ValueError, r"x has shape \(12,\); a batch of rank >= 2"),
        (np.zeros((2, 12), int), TypeError, "x has dtype int64; a float array"),
        (np.zeros((0, 12), np.float32), ValueError, "at least one example"),
        (np.zeros((2, 5), np.float32), ValueError, r"f does not accept a batch of shape \(2, 5\)"),
    ],
)
def test_hostile_inputs(x, error, message, network):
    with pytest.raises(error, match=message):
        _attack("fgsm")(network, x, jax.random.key(0))


def test_hostile_models_and_keys(network):
    x = np.zeros((3, 12), np.float32)
    attack, key = _attack("fgsm"), jax.random.key(0)
    with pytest.raises(ValueError, match="f returns 1 output; objective='cross_entropy' needs at"):
        attack(oracles.tanh_network(0, n=12, d=1), x, key)
    with pytest.raises(ValueError, match=r"f returns \(3,\) for a batch"):
        attack(lambda x: x[:, 0], x, key)
    with pytest.raises(
        ValueError, match=r"key has shape \(2,\); one key, or one for each of the 3"
    ):
        attack(network, x, jax.random.split(key, 2))
    with pytest.raises(TypeError, match="key=0 must be a JAX key"):
        attack(network, x, 0)


def test_given_labels_take_the_place_of_the_prediction():
    """f = xW: away from label k the inf-attack is eps sign(sum_j p_j (w_j - w_k))."""
    rng = np.random.default_rng(3)
    w, x = rng.standard_normal((6, 3)), rng.uniform(0.3, 0.7, (20, 6)).astype(np.float32)
    labels = np.arange(20) % 3
    delta = attacks.fgsm(eps=EPS)(_linear(w), x, jax.random.key(0), np.eye(3)[labels])
    e = np.exp(x.astype(np.float64) @ w)
    p = e / e.sum(axis=1, keepdims=True)
    expected = EPS * np.sign(p @ w.T - w.T[labels])
    np.testing.assert_allclose(delta, expected, rtol=1e-6)
    own = attacks.fgsm(eps=EPS)(_linear(w), x, jax.random.key(0))
    same = np.all(np.asarray(delta) == np.asarray(own), axis=1)
    np.testing.assert_array_equal(same[e.argmax(axis=1) == labels], True)
    assert not same.all()


@pytest.mark.parametrize("y", [np.zeros(20), np.zeros((3, 4)), [0.0]])
def test_labels_of_another_shape_are_refused(y, network, x):
    with pytest.raises(ValueError, match=r"y has shape .*; \(20, d\) is needed"):
        _attack("fgsm")(network, x, jax.random.key(0), y)


def test_norms_steps_and_the_audit_share_the_costly_program(network, x, compiled):
    """A model's input gradient is compiled once; what is done with it is of no model."""
    f = Partial(lambda scale, x: scale * network(x), jnp.float32(1.0))
    other = Partial(f.func, jnp.float32(2.0))
    how = {"key": jax.random.key(0), "batch_size": len(x)}
    perturb(f, x, attack=attacks.pgd(eps=EPS, num_steps=2), **how)
    assert compiled.count("jit(gradient)") == 1
    perturb(f, x, attack=attacks.pgd(eps=2 * EPS, num_steps=3, ord="2", bounds=None), **how)
    perturb(other, x, attack=attacks.fgsm(eps=EPS), **how)
    check_model(other, x, **how)
    assert compiled.count("jit(gradient)") == 1
