"""Other people's models: linen, nnx, functions, and a model named on the command line."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax_models import Linen, Nnx, X, linen
from launching import launch

from advknow import attacks, check_model, transferability
from advknow.models import adapters

KEY = jax.random.key(0)
ATTACK = attacks.fgsm(eps=0.05)


def alpha1(f, g):
    return transferability(f, g, X, attack=ATTACK, key=KEY).alpha1


def test_linen_gives_what_a_plain_function_gives_and_is_in_evaluation_mode():
    f, g = (adapters.from_linen(Linen(), linen(seed), train=False) for seed in (0, 1))
    plain = [lambda x, s=s: Linen().apply(linen(s), x, train=False) for s in (0, 1)]
    np.testing.assert_allclose(alpha1(f, g), alpha1(*plain), rtol=1e-6)
    assert check_model(f, X, key=KEY).flags == ()


def test_other_weights_share_one_program():
    traced = []

    class Counted(nn.Module):
        @nn.compact
        def __call__(self, x):
            traced.append(1)
            return nn.Dense(3)(x)

    first = Counted().init(jax.random.key(0), X[:1])
    call = jax.jit(lambda f, x: f(x))
    call(adapters.from_linen(Counted(), first), X)
    before = len(traced)
    other = jax.tree.map(lambda a: a + 1, first)
    moved = call(adapters.from_linen(Counted(), other), X)
    assert len(traced) == before
    np.testing.assert_allclose(moved, Counted().apply(other, X), rtol=1e-6)


def test_nnx_takes_the_weights_of_now():
    module = Nnx(nnx.Rngs(0))
    module.eval()
    f, x = adapters.from_nnx(module), jnp.asarray(X)
    before = f(x)
    np.testing.assert_allclose(before, module(x), rtol=1e-6)
    module.last.bias[...] = module.last.bias[...] + 1.0
    np.testing.assert_array_equal(f(x), before)
    again = adapters.from_nnx(module)
    np.testing.assert_allclose(again(x), before + 1.0, rtol=1e-5)
    assert alpha1(f, again) > 0
    assert check_model(f, X, key=KEY).flags == ()


def test_nnx_in_train_mode_is_seen():
    module = Nnx(nnx.Rngs(0))
    module.train()
    # Every call begins with the same stream, so that a row's mask depends on the row's place.
    assert check_model(adapters.from_nnx(module), X, key=KEY).flags == ("batch_dependent",)


class Nested(nnx.Module):
    """Layers in a list, and one inside another module."""

    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(6, 8, rngs=rngs), nnx.Linear(8, 8, rngs=rngs)])
        self.inner = Nnx(rngs)
        self.out = nnx.Linear(8, 6, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = nnx.tanh(layer(x))
        return self.inner(self.out(x))


def test_features_are_what_the_last_layer_is_given():
    variables, module = linen(0), Nnx(nnx.Rngs(0))
    module.eval()
    head = variables["params"]["Dense_1"]
    pairs = (
        (
            adapters.from_linen(Linen(), variables, train=False),
            adapters.from_linen(Linen(), variables, features="Dense_1", train=False),
            lambda features: features @ head["kernel"] + head["bias"],
        ),
        (adapters.from_nnx(module), adapters.from_nnx(module, features="last"), module.last),
    )
    for logits, features, last in pairs:
        for way in (features, jax.jit(features)):
            assert way(X).shape == (20, 8)
            np.testing.assert_allclose(last(way(X)), logits(X), atol=1e-6)
    # The module itself is as it was.
    assert isinstance(module.last, nnx.Linear)


def test_layers_inside_layers():
    module, x = Nested(nnx.Rngs(0)), jnp.asarray(X)
    module.eval()
    first = nnx.tanh(module.layers[0](x))
    np.testing.assert_allclose(adapters.from_nnx(module, features="layers.1")(x), first, atol=1e-6)
    inner = adapters.from_nnx(module, features="inner.last")
    np.testing.assert_allclose(module.inner.last(inner(x)), module(x), atol=1e-6)

    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Linen(name="block")(x.reshape(x.shape[0], 3, 2)[:, :, 0], train=False)

    outer = Outer()
    variables = outer.init(jax.random.key(0), x)
    f = adapters.from_linen(outer, variables, features="block.Dense_1")
    head = variables["params"]["block"]["Dense_1"]
    expected = adapters.from_linen(outer, variables)(x)
    np.testing.assert_allclose(f(x) @ head["kernel"] + head["bias"], expected, atol=1e-6)
    # Other features are another program.
    assert f(x).shape != adapters.from_linen(outer, variables, features="block.Dense_0")(x).shape


@pytest.mark.parametrize("name", ["nowhere", "layers.7", "layers.x", "inner.nowhere", ""])
def test_a_layer_that_is_not_there(name):
    message = f"features='{name}': the module"
    module = Nested(nnx.Rngs(0))
    module.eval()
    with pytest.raises(ValueError, match=message):
        adapters.from_nnx(module, features=name)(X)
    if name:
        with pytest.raises(ValueError, match=message):
            adapters.from_linen(Linen(), linen(0), features=name, train=False)(X)


def test_hostile_input():
    with pytest.raises(TypeError, match="has no apply; a flax.linen.Module is needed"):
        adapters.from_linen(3, {})
    with pytest.raises(ValueError, match="mutable is not accepted"):
        adapters.from_linen(Linen(), linen(0), train=True, mutable=["batch_stats"])
    with pytest.raises(TypeError, match="module is a int; a flax.nnx.Module is needed"):
        adapters.from_nnx(3)


MODELS = """
import jax, jax.numpy as jnp

def make(seed=0):
    w = jax.random.normal(jax.random.key(seed), (1024, 10)) / 32
    return lambda x: x.reshape(x.shape[0], -1) @ w

def other():
    return make(1)

def wrong():
    return lambda x: x

number = 3
"""


@pytest.mark.slow
def test_a_model_on_the_command_line(tmp_path):
    (tmp_path / "theirs.py").write_text(MODELS)
    flags = ["--dataset=digits", "--nocorrect_only", "--num_examples=40", "--num_steps=3"]
    measured = ["--source=theirs:make", "--target=theirs:other", "--workdir=m"]
    done = launch("measure", *measured, *flags, cwd=tmp_path)
    assert "source_to_target" in done.stdout
    found = json.loads((tmp_path / "m" / "measure.json").read_text())
    assert found["source_to_target"]["n"] == 40
    assert found["audit"]["source"]["flags"] == []
    for source, message in (
        ("nowhere:make", "no module 'nowhere'"),
        ("theirs:absent", "module 'theirs' has no 'absent'"),
        ("theirs:number", "theirs:number is a int; a function without arguments"),
        ("theirs:wrong", "(batch, outputs)"),
    ):
        flawed = [f"--source={source}", "--target=theirs:other"]
        failed = launch("measure", *flawed, *flags, cwd=tmp_path, check=False)
        assert failed.returncode == 2, source
        assert failed.stderr.startswith("error: ")
        assert message in failed.stderr, failed.stderr


class Scaled(nn.Module):
    """Holds an array, which cannot be compared by value."""

    scale: object

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x * jnp.asarray(self.scale))


class Around(nn.Module):
    """Holds a module that does."""

    inner: nn.Module

    @nn.compact
    def __call__(self, x):
        return nn.tanh(self.inner(x))


class Listed(nn.Module):
    """Holds arrays in a tuple."""

    shifts: tuple

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x + self.shifts[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda k: Scaled(np.full((1, 6), 1.0 + k, np.float32)),
        lambda k: Scaled(jnp.full((1, 6), 1.0 + k)),
        lambda k: Around(Scaled(np.full((1, 6), 1.0 + k, np.float32))),
        lambda k: Listed((np.full((1, 6), 0.1 * k, np.float32), "name")),
    ],
    ids=["NumPy", "JAX", "inside a module", "in a tuple"],
)
def test_modules_that_hold_arrays_keep_their_own(make):
    modules = [make(k) for k in range(3)]
    variables = modules[0].init(jax.random.key(0), X[:1])
    bound = [adapters.from_linen(module, variables) for module in modules]
    for f, module in zip(bound, modules, strict=True):
        np.testing.assert_allclose(jax.jit(lambda f, x: f(x))(f, X), module.apply(variables, X),
                                   rtol=1e-6)  # fmt: skip
    assert alpha1(bound[0], bound[1]) != alpha1(bound[0], bound[2])
    # Nor do they spoil modules of other kinds that come later.
    assert np.isfinite(alpha1(bound[0], adapters.from_linen(Linen(), linen(0), train=False)))
