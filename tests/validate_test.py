import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advknow import validate


def test_choice():
    validate.choice("method", "exact", ("exact", "iterative"))
    with pytest.raises(ValueError, match=r"method='exat' .*accepted: exact, iterative.*'exact'\?"):
        validate.choice("method", "exat", ("exact", "iterative"))
    with pytest.raises(ValueError, match=r"ord=2 is not known; accepted: inf, 2\."):
        validate.choice("ord", 2, ("inf", "2"))


@pytest.mark.parametrize("value", [0, 0.5, np.float32(1), np.int64(1)])
def test_number_accepts(value):
    validate.number("eps", value, minimum=0.0, maximum=1.0)


@pytest.mark.parametrize(
    ("value", "limits", "error", "message"),
    [
        (-0.1, {"minimum": 0.0}, ValueError, r"eps=-0\.1 must be a finite number >= 0\."),
        (1.5, {"minimum": 0, "maximum": 1}, ValueError, r"eps=1\.5 must be .* >= 0 and <= 1\."),
        (0.0, {"above": 0.0}, ValueError, r"eps=0\.0 must be a finite number > 0\."),
        (math.nan, {}, ValueError, r"eps=nan must be a finite number\."),
        (math.inf, {}, ValueError, r"eps=inf must be a finite number\."),
        (True, {}, TypeError, r"eps=True \(bool\) must be a finite number\."),
        ("0.1", {}, TypeError, r"eps='0\.1' \(str\) must be a finite number\."),
        (None, {}, TypeError, r"eps=None \(NoneType\) must be"),
        (1j, {}, TypeError, r"eps=1j \(complex\) must be"),
    ],
)
def test_number_refuses(value, limits, error, message):
    with pytest.raises(error, match=message):
        validate.number("eps", value, **limits)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, r"num_steps=0 must be a finite number >= 1\."),
        (2.0, TypeError, r"num_steps=2\.0 \(float\) must be an integer\."),
        (True, TypeError, r"num_steps=True \(bool\) must be an integer\."),
    ],
)
def test_integer_refuses(value, error, message):
    validate.integer("num_steps", np.int32(3), minimum=1)
    with pytest.raises(error, match=message):
        validate.integer("num_steps", value, minimum=1)


def test_interval():
    validate.interval("bounds", None)
    validate.interval("bounds", (-1, 1))
    for value, error, message in (
        ((1.0, 0.0), ValueError, r"bounds=\(1\.0, 0\.0\) must have low < high"),
        ((0.0, 0.0), ValueError, r"bounds=\(0\.0, 0\.0\) must have low < high"),
        ((0.0, math.nan), ValueError, r"bounds\[1\]=nan must be a finite number"),
        (1.0, TypeError, r"bounds=1\.0 must be None or a pair"),
        ((0.0, 0.5, 1.0), TypeError, r"must be None or a pair \(low, high\)"),
    ):
        with pytest.raises(error, match=message):
            validate.interval("bounds", value)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[0.5]], TypeError, r"x is a list; an array of shape \(batch, \.\.\.\) is needed"),
        (None, TypeError, "x is a NoneType; an array"),
        (
            np.zeros(3, np.float32),
            ValueError,
            r"x has shape \(3,\); a batch of rank >= 2.*x\[None\]",
        ),
        (np.float32(1), ValueError, r"x has shape \(\); a batch of rank >= 2"),
        (np.zeros((0, 3), np.float32), ValueError, r"x has shape \(0, 3\); at least one example"),
        (np.zeros((3, 0), np.float32), ValueError, r"x has shape \(3, 0\); .*one number in each"),
        (np.zeros((2, 3), np.uint8), TypeError, r"x has dtype uint8; .*divide bytes by 255"),
        (np.zeros((2, 3), bool), TypeError, "x has dtype bool; a float array"),
        (
            np.array([[0.5, np.nan], [0.5, 0.5], [np.inf, 0.0]]),
            ValueError,
            "x holds NaN or infinity in 2 of 3 examples; finite values",
        ),
        (
            np.array([[-1.5, 0.5], [0.25, 2.0]]),
            ValueError,
            r"x has values from -1\.5 to 2; bounds=\(0, 1\) are accepted.*normalisation inside",
        ),
    ],
)
def test_inputs_refuses(x, error, message):
    with pytest.raises(error, match=message):
        validate.inputs("x", x, bounds=(0.0, 1.0))


def test_inputs_accepts_rounding_at_the_bounds():
    validate.inputs("x", np.array([[-3e-8, 1 + 1e-6]], np.float32), bounds=(0.0, 1.0))
    validate.inputs("x", jnp.ones((1, 2), jnp.bfloat16), bounds=(0.0, 1.0))
    validate.inputs("x", np.array([[-7.0, 9.0]]), bounds=None)


def test_inside_jit_only_shape_and_type_are_checked():
    def fn(x):
        validate.inputs("x", x, bounds=(0.0, 1.0))
        assert not validate.is_concrete(x)
        assert not validate.is_concrete({"a": (1.0, x)})
        return x

    jax.jit(fn)(jnp.full((2, 3), 7.0))
    with pytest.raises(ValueError, match="rank >= 2"):
        jax.jit(fn)(jnp.zeros(3))
    assert validate.is_concrete(jnp.zeros(3), {"a": 1.0}, None)
