"""Degenerate examples, weak attacks, and input that must be refused by name."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import advknow
from advknow import attacks

KEY = jax.random.key(0)


@functools.cache
def _attack(name):
    return {
        "fgsm": attacks.fgsm(eps=0.05, bounds=(-1.0, 1.0)),
        "singular": attacks.singular(eps=0.05),
        "zero": attacks.pgd(eps=0.0, bounds=(-1.0, 1.0)),
    }[name]


def _inputs(count=64, n=10, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, size=(count, n)).astype(np.float32)


F1, F2 = (oracles.tanh_network(seed, n=10, d=4, scale=2.0) for seed in (1, 2))


def _dead_below_zero(x):
    """A ReLU network whose units are all dead at negative inputs."""
    return jax.nn.relu(x) @ jnp.arange(1.0, 31.0).reshape(10, 3) + jnp.array([[1.0, 0.0, 0.0]])


# --- degenerate examples -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "f1", "f2", "linearize"),
    [
        ("fgsm", _dead_below_zero, F2, False),
        ("singular", F1, _dead_below_zero, False),
        ("singular", _dead_below_zero, F2, True),
    ],
)
def test_dead_relus_are_counted_and_left_out(name, f1, f2, linearize):
    x = _inputs()
    x[[1, 4, 9]] *= -1.0
    keys = jax.random.split(KEY, 64)
    alive = np.flatnonzero(x[:, 0] > 0)
    measure = functools.partial(
        advknow.transferability, f1, f2, attack=_attack(name), linearize=linearize
    )
    record = measure(x, key=keys)
    assert (record.n, record.n_degenerate) == (61, 3)
    np.testing.assert_array_equal(np.flatnonzero(record.valid), alive)
    assert all(np.isfinite(value) for value in record.summary().values())
    only_alive = measure([x[alive]], key=keys[alive])  # padded to the same program
    assert only_alive.n_degenerate == 0
    for field in ("alpha1", "alpha2", "alpha1_alpha2_squared_unbiased", "alpha1_se"):
        np.testing.assert_allclose(
            getattr(record, field), getattr(only_alive, field), atol=1e-5, err_msg=field
        )
    np.testing.assert_allclose(record.alpha1_per_example, only_alive.alpha1_per_example, atol=1e-5)


def test_deviations_within_rounding_are_no_direction():
    # Outputs near 1e6 carry a rounding of 0.06: their deviations of 0.01 are noise.
    record_of = functools.partial(
        advknow.transferability, F1, lambda x: F2(x) + 1e6, attack=_attack("fgsm"), key=KEY
    )
    with pytest.raises(ValueError, match="all 64 of x are degenerate"):
        record_of(_inputs())
    assert record_of(_inputs(), linearize=True).n == 64


@pytest.mark.parametrize("linearize", [False, True])
@pytest.mark.parametrize("name", ["fgsm", "singular"])
def test_all_degenerate(name, linearize):
    with pytest.raises(
        ValueError, match=r"no example has a direction: all 64 .*saturated or const"
    ):
        advknow.transferability(
            _dead_below_zero, F2, -_inputs(), attack=_attack(name), key=KEY, linearize=linearize
        )


def test_eps_zero():
    x = _inputs()
    delta = advknow.perturb(F1, x, attack=_attack("zero"), key=KEY)
    np.testing.assert_array_equal(delta, np.zeros_like(x))
    with pytest.raises(ValueError, match=r"all 64 of x are degenerate .*eps=0"):
        advknow.transferability(F1, F2, x, attack=_attack("zero"), key=KEY)


@pytest.mark.parametrize(("bad", "linearize"), [(np.nan, False), (np.inf, True)])
def test_models_that_return_no_number(bad, linearize):
    def broken(x):
        return jnp.where(x[:, :1] > 1.0, bad, 1.0) * F2(x)

    x = _inputs()
    x[[2, 5, 8], 0] = 1.5
    pair = (F1, broken) if linearize else (broken, F1)
    with pytest.raises(ValueError, match="NaN or infinity for 3 of 64 examples"):
        advknow.transferability(*pair, x, attack=_attack("singular"), key=KEY, linearize=linearize)


# --- alpha1 above 1 ----------------------------------------------------------------------------


def test_a_weak_attack_on_f2_shows_as_alpha1_above_one():
    x = _inputs()
    delta1 = advknow.perturb(F1, x, attack=_attack("singular"), key=KEY)
    weak = delta1.copy()
    weak[:5] *= 0.1  # of these alpha1 is 10, of the others 1
    record = advknow.from_deltas(F1, F2, x, delta1, weak, linearize=True)
    assert record.n_alpha1_above_one == 5
    np.testing.assert_allclose(record.alpha1_per_example, [10.0] * 5 + [1.0] * 59, rtol=1e-4)
    np.testing.assert_allclose(record.alpha1, (5 * 10 + 59) / 64, rtol=1e-4)
    strong = advknow.from_deltas(F1, F2, x, delta1, delta1)
    assert strong.n_alpha1_above_one == 0


def test_the_maximiser_is_never_exceeded():
    record = advknow.transferability(
        F1, F2, _inputs(), attack=_attack("singular"), key=KEY, linearize=True
    )
    assert record.n_alpha1_above_one == 0
    assert record.alpha1_per_example.max() <= 1 + 1e-5
    assert record.alpha1_per_example.min() >= 0


# --- refused by name ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size=0 must be a finite number >= 1"),
        ({"batch_size": 2.0}, TypeError, r"batch_size=2\.0 \(float\) must be an integer"),
        ({"eval_loss": "l1"}, ValueError, "eval_loss='l1' is not known; accepted: squared_l2, kl"),
        ({"eval_loss": 2}, TypeError, r"eval_loss=2 must be a name \(squared_l2, kl, l2\) or"),
        ({"key": 0}, TypeError, "key=0 must be a JAX key"),
        ({"key": jax.random.split(KEY, 5)}, ValueError, r"key has shape \(5,\); .* each of the 64"),
        ({"f1": "resnet18"}, TypeError, "f1='resnet18' must be a function of a batch"),
        (
            {"f1": oracles.tanh_network(0, n=5, d=3)},
            ValueError,
            r"f1 does not accept .* \(64, 10\)",
        ),
        (
            {"f2": oracles.tanh_network(0, n=5, d=3)},
            ValueError,
            r"f2 does not accept .* \(64, 10\)",
        ),
        ({"f1": lambda x: x[:, 0]}, ValueError, r"f1 returns \(64,\) for .*\(64, d\) is needed"),
        ({"f2": lambda x: x[:, :, None]}, ValueError, r"f2 returns \(64, 10, 1\) for"),
        ({"x": 5}, TypeError, r"x=5 \(int\) must be an array \(N, \.\.\.\) or an iterable"),
        ({"x": None}, TypeError, "x=None .* must be an array"),
        ({"x": []}, ValueError, "x holds no examples; at least one is needed"),
        ({"x": np.float32(0.5)}, ValueError, r"x has shape \(\); a batch of rank >= 2"),
        ({"x": np.zeros(10, np.float32)}, ValueError, r"x has shape \(10,\); .*use x\[None\]"),
        (
            {"x": np.zeros((0, 10), np.float32)},
            ValueError,
            r"x has shape \(0, 10\); at least one ex",
        ),
        ({"x": np.zeros((3, 10), int)}, TypeError, "x has dtype int64; a float array is needed"),
        ({"x": [[0.5, 0.5]]}, TypeError, "x is a list; an array"),
        ({"x": np.full((3, 10), np.nan)}, ValueError, "x holds NaN or infinity in 3 of 3 examples"),
        ({"x": 255 * _inputs()}, ValueError, r"x has values from .*bounds=\(-1, 1\) are accepted"),
        (
            {"x": [_inputs(2), np.full((3, 10), np.nan)]},
            ValueError,
            "batch 1 of x holds NaN or infinity in 3 of 3 examples",
        ),
        (
            {"x": iter([_inputs(2), _inputs(3)]), "key": jax.random.split(KEY, 6)},
            ValueError,
            r"key has shape \(6,\); one key, or one for each of the 5 examples",
        ),
    ],
)
def test_transferability_refuses(changed, error, message):
    arguments = {"f1": F1, "f2": F2, "x": _inputs(), "attack": _attack("fgsm"), "key": KEY}
    arguments["batch_size"] = 64
    with pytest.raises(error, match=message):
        advknow.transferability(**{**arguments, **changed})


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"x": [0.5]}, TypeError, "x is a list; an array"),
        ({"x": np.zeros((0, 10), np.float32)}, ValueError, r"x has shape \(0, 10\)"),
        ({"batch_size": 0}, ValueError, "batch_size=0 must be"),
        ({"key": jax.random.split(KEY, 5)}, ValueError, r"key has shape \(5,\)"),
        ({"f": 3}, TypeError, "f=3 must be a function"),
    ],
)
def test_perturb_refuses(changed, error, message):
    arguments = {"f": F1, "x": _inputs(), "attack": _attack("fgsm"), "key": KEY}
    with pytest.raises(error, match=message):
        advknow.perturb(**{**arguments, **changed})


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"delta1": _inputs(11)},
            ValueError,
            r"delta1 has shape \(11, 10\); that of x, \(64, 10\),",
        ),
        ({"delta2": np.full((64, 10), np.nan)}, ValueError, "delta2 holds NaN or infinity in 64"),
        ({"delta2": [0.1]}, TypeError, "delta2 is a list; an array"),
        ({"x": np.zeros(10, np.float32)}, ValueError, r"x has shape \(10,\)"),
        ({"batch_size": -1}, ValueError, "batch_size=-1 must be a finite number >= 1"),
        ({"f2": oracles.tanh_network(0, n=5, d=3)}, ValueError, "f2 does not accept"),
        ({"eval_loss": "lp"}, ValueError, "eval_loss='lp' is not known"),
    ],
)
def test_from_deltas_refuses(changed, error, message):
    x = _inputs()
    arguments = {"f1": F1, "f2": F2, "x": x, "delta1": 0.1 * x, "delta2": 0.1 * x}
    with pytest.raises(error, match=message):
        advknow.from_deltas(**{**arguments, **changed})
