"""What `transferability` must give: closed forms, identities, invariances."""

import functools
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax.tree_util import Partial

import advknow
from advknow import attacks
from advknow.passes import keys

EPS = 0.1
KEY = jax.random.key(0)


def _inputs(count, n, seed=0):
    return np.random.default_rng(seed).uniform(size=(count, n)).astype(np.float32)


# Two of one architecture, which share their programs, and one with fewer outputs.
F1, F2, F3 = (
    oracles.tanh_network(seed, n=10, d=d, scale=2.0) for seed, d in ((1, 4), (2, 4), (3, 3))
)


@functools.cache
def _attack(name):
    """One attack for all tests, so that its programs are compiled once."""
    return {
        "fgsm": attacks.fgsm(eps=EPS),
        "fgsm_2": attacks.fgsm(eps=EPS, ord="2", bounds=None),
        "fgsm_unbounded": attacks.fgsm(eps=EPS, bounds=None),
        "pgd": attacks.pgd(eps=EPS, num_steps=3),
        "pgd_2_output": attacks.pgd(eps=EPS, num_steps=5, ord="2", objective="output_deviation"),
        "singular": attacks.singular(eps=EPS),
    }[name]


# KL at finite eps is a square of deviations near 0.1, which float32 knows to 1e-6 of outputs near 1.
TOLERANCE = {"l2": 1e-5, "kl": 1e-4}


def _assert_record(record, expected, tolerance=1e-5):
    for name, value in expected.items():
        # Relative to 1, or to alpha1 where that is larger.
        atol = tolerance * max(1.0, np.max(np.abs(expected["alpha1"])))
        found = getattr(record, name)
        np.testing.assert_allclose(found, value, rtol=tolerance, atol=atol, err_msg=name)


def _alphas(record):
    names = ("alpha1", "alpha2", "alpha1_alpha2", "alpha2_squared_unbiased")
    return [getattr(record, name) for name in names]


# --- a model against itself --------------------------------------------------------------------


@pytest.mark.parametrize("linearize", [False, True])
@pytest.mark.parametrize("name", ["fgsm", "pgd", "singular"])
def test_a_model_against_itself(name, linearize):
    f, x = F1, _inputs(100, 10)
    record = advknow.transferability(
        f, f, x, attack=_attack(name), key=KEY, linearize=linearize, batch_size=64
    )
    np.testing.assert_array_equal(record.alpha1_per_example, np.ones(100))
    assert (record.alpha1, record.n_alpha1_above_one, record.n_degenerate) == (1.0, 0, 0)
    delta = advknow.perturb(f, x, attack=_attack(name), key=KEY, batch_size=64)
    if linearize:
        deviation = np.einsum("bdn,bn->bd", oracles.jacobian(f, x), delta.astype(np.float64))
    else:
        deviation = oracles.outputs(f, x + delta) - oracles.outputs(f, x)
    # alpha2^2 is the mean squared cosine over all pairs (theory.md section 2).
    cosine = oracles.unit(deviation) @ oracles.unit(deviation).T
    np.testing.assert_allclose(record.alpha2_squared, np.mean(cosine**2), atol=1e-5)
    np.testing.assert_allclose(record.alpha1_alpha2_squared, np.mean(cosine**2), atol=1e-5)


# --- against the definitions -------------------------------------------------------------------


@pytest.mark.parametrize("linearize", [False, True])
@pytest.mark.parametrize("loss", ["l2", "kl"])
def test_two_networks_against_pairwise_float64(loss, linearize):
    f1, f2, x = F3, F1, _inputs(100, 10)
    arguments = {"eval_loss": loss, "linearize": linearize, "batch_size": 64}
    record = advknow.transferability(f1, f2, x, attack=_attack("singular"), key=KEY, **arguments)
    delta1, delta2 = (
        advknow.perturb(f, x, attack=_attack("singular"), key=KEY, batch_size=64) for f in (f1, f2)
    )
    y2 = oracles.outputs(f2, x)

    def deviation(f, delta):
        if linearize:
            return np.einsum("bdn,bn->bd", oracles.jacobian(f, x), delta.astype(np.float64))
        return oracles.outputs(f, x + delta) - oracles.outputs(f, x)

    def value(v):
        return oracles.leading_term(loss, y2, v) if linearize else oracles.loss(loss, y2, y2 + v)

    expected = oracles.transferability(
        deviation(f1, delta1),
        deviation(f2, delta1),
        value(deviation(f2, delta1)),
        value(deviation(f2, delta2)),
    )
    _assert_record(record, expected, TOLERANCE[loss])
    again = advknow.from_deltas(f1, f2, x, delta1, delta2, **arguments)
    _assert_record(again, expected, TOLERANCE[loss])
    assert 0 < record.alpha1 < 1
    assert record.valid.all()


def _linear(w):
    """f(x) = W x."""
    return Partial(jnp.matmul, b=jnp.asarray(w.T, jnp.float32))


def _linear_delta(name, w, x):
    """The attack's delta in closed form."""
    if name == "singular":
        return np.broadcast_to(EPS * np.linalg.svd(w)[2][0], x.shape)
    y = x.astype(np.float64) @ w.T
    difference = w[None] - w[np.argmax(y, axis=1)][:, None]
    # The gradient of the cross-entropy: sum over classes of p_j (w_j - w_label).
    gradient = np.einsum("bj,bjn->bn", oracles.softmax(y), difference)
    return EPS * (oracles.unit(gradient) if name == "fgsm_2" else np.sign(gradient))


@pytest.mark.parametrize("linearize", [False, True])
@pytest.mark.parametrize("loss", ["l2", "squared_l2"])
@pytest.mark.parametrize("name", ["fgsm_unbounded", "fgsm_2", "singular"])
def test_linear_models_equal_their_closed_form(name, loss, linearize):
    rng = np.random.default_rng(7)
    w1, w2 = rng.normal(size=(4, 8)), rng.normal(size=(4, 8))
    w1, w2 = (w.astype(np.float32).astype(np.float64) for w in (w1, w2))
    x = rng.normal(size=(30, 8)).astype(np.float32)
    record = advknow.transferability(
        _linear(w1),
        _linear(w2),
        x,
        attack=_attack(name),
        key=KEY,
        eval_loss=loss,
        linearize=linearize,
        batch_size=30,
    )
    delta1, delta2 = _linear_delta(name, w1, x), _linear_delta(name, w2, x)

    def value(delta):
        v = delta @ w2.T
        return oracles.leading_term(loss, v, v) if linearize else oracles.loss(loss, 0 * v, v)

    expected = oracles.transferability(delta1 @ w1.T, delta1 @ w2.T, value(delta1), value(delta2))
    if name == "singular":
        # One direction for all x: alpha2 = 1, alpha1 = |W2 v1| / s1(W2) or its square.
        np.testing.assert_allclose(expected["alpha2"], 1.0)
        ratio = np.linalg.norm(w2 @ np.linalg.svd(w1)[2][0]) / np.linalg.norm(w2, 2)
        np.testing.assert_allclose(expected["alpha1"], ratio if loss == "l2" else ratio**2)
    _assert_record(record, expected)


@pytest.mark.parametrize("ord", ["inf", "2"])
def test_pgd_on_linear_models_of_two_classes(ord):
    rng = np.random.default_rng(8)
    w1, w2 = rng.normal(size=(2, 8)), rng.normal(size=(2, 8))
    x = rng.normal(size=(20, 8)).astype(np.float32)
    attack = attacks.pgd(eps=EPS, step_size=EPS / 2, num_steps=40, ord=ord, bounds=None)
    record = advknow.transferability(_linear(w1), _linear(w2), x, attack=attack, key=KEY)
    # Up to the label's sign one direction for all x: the optimum along w_other - w_label.
    s1, s2 = (
        np.sign(d) if ord == "inf" else oracles.unit(d) for d in (w1[1] - w1[0], w2[1] - w2[0])
    )
    alpha1 = np.linalg.norm(w2 @ s1) / np.linalg.norm(w2 @ s2)
    np.testing.assert_allclose(record.alpha1_per_example, alpha1, rtol=1e-5)
    np.testing.assert_allclose(record.alpha2, 1.0, atol=1e-5)
    np.testing.assert_allclose(record.alpha1_alpha2, alpha1, rtol=1e-5)
    np.testing.assert_allclose(record.alpha2_squared_unbiased, 1.0, atol=1e-5)
    # PGD maximises the cross-entropy, not |Delta|, so alpha1 > 1 may come, and is counted.
    assert record.n_alpha1_above_one == (20 if alpha1 > 1 else 0)


# --- invariances -------------------------------------------------------------------------------


def _rotated(network, seed):
    """Q f: the same program with other weights."""
    w1, b1, w2, b2 = network.args[0]
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(b2.size, b2.size)))[0]
    w2, b2 = (jnp.asarray(np.asarray(w, np.float64) @ q, jnp.float32) for w in (w2, b2))
    return Partial(network.func, oracles.Weights(w1, b1, w2, b2))


@pytest.mark.parametrize("linearize", [False, True])
@pytest.mark.parametrize("name", ["singular", "pgd_2_output"])
def test_rotating_the_outputs_changes_no_alpha(name, linearize):
    g1, g2, x = _rotated(F1, 0), _rotated(F2, 1), _inputs(64, 10)
    measure = functools.partial(
        advknow.transferability, attack=_attack(name), key=KEY, linearize=linearize, batch_size=64
    )
    plain = measure(F1, F2, x)
    for pair in ((g1, F2), (F1, g2), (g1, g2)):
        rotated = measure(*pair, x)
        np.testing.assert_allclose(_alphas(rotated), _alphas(plain), atol=1e-5)
        np.testing.assert_allclose(rotated.alpha1_per_example, plain.alpha1_per_example, atol=3e-5)
    delta1, delta2 = (
        advknow.perturb(f, x, attack=_attack("fgsm"), key=KEY, batch_size=64) for f in (F1, F2)
    )
    measure = functools.partial(advknow.from_deltas, linearize=linearize, batch_size=64)
    records = [measure(*pair, x, delta1, delta2) for pair in ((F1, F2), (g1, g2))]
    np.testing.assert_allclose(_alphas(records[0]), _alphas(records[1]), atol=1e-5)


def _ragged(x, sizes):
    start = 0
    for size in sizes:
        yield x[start : start + size]
        start += size


def test_batch_size_order_and_iterables_change_nothing():
    x, attack = _inputs(64, 10), _attack("pgd")
    measure = functools.partial(advknow.transferability, F1, F2, attack=attack)
    whole = measure(x, key=KEY, batch_size=64)
    example_keys = keys.per_example(KEY, 64)
    others = [measure(x, key=KEY, batch_size=size) for size in (1, 7)]
    others += [measure(x, key=example_keys, batch_size=7)]
    others += [measure(_ragged(x, (3, 20, 1, 40)), key=KEY, batch_size=7)]
    others += [measure([x[:20], jnp.asarray(x[20:])], key=example_keys, batch_size=7)]
    delta1, delta2 = (advknow.perturb(f, x, attack=attack, key=KEY, batch_size=7) for f in (F1, F2))
    others += [advknow.from_deltas(F1, F2, x, delta1, delta2, batch_size=7)]
    for other in others:
        _assert_record(other, whole.summary())
        np.testing.assert_allclose(other.alpha1_per_example, whole.alpha1_per_example, atol=1e-5)
    order = np.random.default_rng(0).permutation(64)
    shuffled = measure(x[order], key=example_keys[order], batch_size=7)
    np.testing.assert_allclose(_alphas(shuffled), _alphas(whole), atol=1e-5)
    np.testing.assert_allclose(
        shuffled.alpha1_per_example, whole.alpha1_per_example[order], atol=1e-5
    )
    # The key matters, so that the agreement above is one of keys, too.
    assert abs(measure(x, key=jax.random.key(1)).alpha1 - whole.alpha1) > 1e-4


def test_images_and_float64_input():
    x, attack = _inputs(64, 10), _attack("singular")
    flat = advknow.transferability(F1, F2, x, attack=attack, key=KEY)
    images = x.reshape(64, 5, 2, 1).astype(np.float64)
    record = advknow.transferability(F1, F2, images, attack=attack, key=KEY)
    np.testing.assert_allclose(_alphas(record), _alphas(flat), atol=1e-6)


# --- programs, progress, record ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["pgd", "singular"])
def test_one_program_for_all_batches_and_weights_of_an_architecture(name):
    traces = []

    def apply(weights, x):
        traces.append(x.shape)
        return jnp.tanh(x @ weights[0]) @ weights[1]

    def network(seed):
        a, b = jax.random.split(jax.random.key(seed))
        return Partial(apply, (jax.random.normal(a, (6, 8)), jax.random.normal(b, (8, 3))))

    x = _inputs(61, 6)
    measure = functools.partial(
        advknow.transferability, attack=_attack(name), key=KEY, batch_size=8
    )
    measure(network(0), network(1), x[:8])
    first = len(traces)
    measure(network(2), network(3), x)
    # Eight batches, the last of five: what is left is the check of either model's shapes.
    assert len(traces) - first <= 2 < first
    assert {shape[1:] for shape in traces} == {(6,)}
    assert {shape[0] for shape in traces} <= {8, 16, 24}


def test_progress_is_told_after_each_batch():
    told = []

    def progress(stage, done, total, note=""):
        told.append((stage, done, total))

    x, attack = _inputs(150, 10), _attack("singular")
    measure = functools.partial(
        advknow.transferability, F1, F2, attack=attack, key=KEY, batch_size=64, progress=progress
    )
    measure(x)
    assert told == [("measure", 64, 150), ("measure", 128, 150), ("measure", 150, 150)]
    told.clear()
    measure([x[:64], x[64:80]])
    assert told == [("measure", 64, None), ("measure", 80, None)]
    told.clear()
    advknow.perturb(F1, x, attack=attack, key=KEY, batch_size=64, progress=progress)
    assert told == [("attack", 64, 150), ("attack", 128, 150), ("attack", 150, 150)]


def test_perturb_gives_the_deltas_of_the_attack():
    x, attack = _inputs(64, 10), _attack("pgd")
    delta = advknow.perturb(F1, x, attack=attack, key=KEY, batch_size=7)
    assert isinstance(delta, np.ndarray)
    np.testing.assert_allclose(delta, attack(F1, x, KEY), atol=1e-6)


def test_record_is_json_and_keeps_both_conventions():
    record = advknow.transferability(F1, F2, _inputs(64, 10), attack=_attack("singular"), key=KEY)
    summary = json.loads(json.dumps(record.summary()))
    assert {"alpha1", "alpha2", "alpha2_squared", "n", "n_alpha1_above_one"} <= set(summary)
    assert not {"valid", "alpha1_per_example"} & set(summary)
    np.testing.assert_allclose(record.alpha2**2, record.alpha2_squared)
    np.testing.assert_allclose(record.alpha1_alpha2**2, record.alpha1_alpha2_squared)
    np.testing.assert_allclose(record.alpha1, record.alpha1_per_example.mean())
    assert record.alpha1_per_example.dtype == np.float64
    chex.assert_shape(record.valid, (64,))
