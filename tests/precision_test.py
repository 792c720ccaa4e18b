"""Whose products are of float32's precision, read off the programs that are lowered."""

import dataclasses
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from blobs import blobs
from flax import nnx
from small_models import NAMES, SMALL, living_variables, small

import advknow
from advknow import adapters, attacks, inner_product, losses, matching, precision, training
from advknow.convolution import winograd
from advknow.training import sgd
from advknow.training.forward import WholeModel
from advknow.training.state import create_state

KEY = jax.random.key(0)
# One a line of StableHLO, with the precision of both operands.
PRODUCT = re.compile(r"stablehlo\.(?:dot_general|convolution)")


@pytest.fixture
def lowered(tmp_path):
    """A function: the precisions of all products in the programs lowered so far, by program."""
    jax.clear_caches()
    jax.config.update("jax_dump_ir_to", str(tmp_path))
    jax.config.update("jax_dump_ir_modes", "stablehlo")
    jax.config.update("jax_disable_most_optimizations", True)

    def found():
        precisions = {}
        for path in tmp_path.glob("*.mlir"):
            # jax_ir12_jit__sums_compile.mlir
            program = re.sub(r"^jax_ir\d+_|_compile$", "", path.stem)
            for line in path.read_text().splitlines():
                if PRODUCT.search(line):
                    asked = re.findall(r"\b(HIGHEST|HIGH|DEFAULT)\b", line) or ["none"]
                    precisions.setdefault(program, []).extend(asked)
        return precisions

    yield found
    jax.config.update("jax_disable_most_optimizations", False)
    jax.config.update("jax_dump_ir_to", None)
    jax.clear_caches()


def _measure(f_source, f_target, x, d):
    """Everything that measures, attacks or audits."""
    y = np.eye(d, dtype=np.float32)[np.arange(len(x)) % d]
    models = {"f_source": f_source, "f_target": f_target}
    for attack, linearize in (
        (attacks.pgd(eps=0.1, num_steps=2), False),
        (attacks.singular(), True),
    ):
        advknow.transferability(
            f_source, f_target, x, attack=attack, key=KEY, linearize=linearize, eval_loss="kl"
        )
    attacks.singular(method="iterative")(f_source, x, KEY)
    attacks.pgd(eps=0.1, ord="2", objective="output_deviation")(f_source, x, KEY)
    advknow.generalized_transferability(
        f_source, f_target, x, method="iterative", count=1, tolerance=1.0
    )
    advknow.chain(f_source, f_target, x, y=y, loss="kl")
    matching.knowledge_transfer(f_source=f_source, x=x, y=y)
    matching.function_matching(**models, x=x)
    advknow.check_model(f_source, x, num_steps=2)


def _measure_in_every_mode(f_source, f_target, x, d):
    """What the gradients, Jacobians and forward mode of a model are asked for."""
    attack = attacks.pgd(eps=0.1, num_steps=2)
    advknow.transferability(f_source, f_target, x, attack=attack, key=KEY)
    advknow.small_eps_transferability(f_source, f_target, x)
    attacks.singular(method="iterative", num_steps=2)(f_source, x, KEY)


def _images(name, size=4):
    shape, _ = SMALL[name]
    return np.random.default_rng(0).uniform(0.1, 0.9, (size, *shape)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_all_that_measures_one_of_the_architectures(name, lowered, monkeypatch):
    if name == "alexnet":
        # Winograd's filtering for small images too.
        for limit in ("LEAST_TILES", "LEAST_PRODUCTS", "LEAST_CHANNELS"):
            monkeypatch.setattr(winograd, limit, 1)
    model = small(name)
    f_source, f_target = (model.bind(living_variables(model, seed)) for seed in (0, 1))
    x = _images(name)
    measure = _measure if name in ("mlp", "lenet") else _measure_in_every_mode
    measure(f_source, f_target, x, 3)
    images = blobs(4, shape=model.input_shape)
    training.evaluate(model, living_variables(model), images)
    found = lowered()
    assert sum(map(len, found.values())) > 50
    assert {asked for of in found.values() for asked in of} == {"HIGHEST"}, found


class _Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), strides=2)(x))
        return nn.Dense(3)(x.reshape(len(x), -1))


class _Nnx(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(4 * 35, 3, rngs=rngs)

    def __call__(self, x):
        return self.dense(nnx.relu(self.conv(x)).reshape(len(x), -1))


def _of_linen(seed, x):
    return adapters.from_linen(_Linen(), _Linen().init(jax.random.key(seed), x))


def _of_apply(variables, x):
    return jnp.tanh(x.reshape(len(x), -1) @ variables)


ADAPTED = {
    "linen": _of_linen,
    "nnx": lambda seed, x: adapters.from_nnx(_Nnx(nnx.Rngs(seed))),
    "function": lambda seed, x: adapters.from_function(
        _of_apply, jax.random.normal(jax.random.key(seed), (70, 3)) / 8
    ),
    "a jit of the user's": lambda seed, x: jax.jit(
        lambda x: _of_apply(jax.random.normal(jax.random.key(seed), (70, 3)) / 8, x)
    ),
}


@pytest.mark.parametrize("name", ADAPTED)
def test_all_that_measures_an_adapted_model(name, tmp_path, lowered):
    x = np.random.default_rng(0).uniform(0.1, 0.9, (4, 5, 7, 2)).astype(np.float32)
    f_source, f_target = (ADAPTED[name](seed, x) for seed in (0, 1))
    # What the models themselves needed to be initialised.
    for path in tmp_path.glob("*.mlir"):
        path.unlink()
    _measure(f_source, f_target, x, 3)
    found = lowered()
    assert sum(map(len, found.values())) > 60
    assert {asked for of in found.values() for asked in of} == {"HIGHEST"}, found


@pytest.mark.parametrize(("name", "eps"), [("lenet", 0.0), ("resnet18", 0.0), ("lenet", 0.1)])
@pytest.mark.parametrize(
    ("asked", "expected"), [("default", "DEFAULT"), ("high", "HIGH"), ("highest", "HIGHEST")]
)
def test_training_is_as_precise_as_it_is_told(name, eps, asked, expected, lowered):
    model = small(name)
    variables = living_variables(model)
    config = training.TrainConfig(epochs=1, batch_size=4, matmul_precision=asked)
    config = dataclasses.replace(config, adversarial=training.Adversarial(eps=eps))
    state = create_state(
        variables["params"], variables.get("batch_stats", {}), config, jax.random.key(1)
    )
    images = (255 * _images(name)).astype(np.uint8)
    steps = sgd.epochs(state, WholeModel(model, None), {}, images, np.arange(4) % 3, config)
    for _ in steps:
        pass
    found = lowered()
    assert sum(map(len, found.values())) > 10
    assert {asked for of in found.values() for asked in of} == {expected}, found


@pytest.mark.parametrize("asked", ["tensorfloat32", "bfloat16", "float32"])
def test_a_precision_that_the_user_chose_is_kept(asked, lowered):
    f, g = (oracles.tanh_network(seed, n=6, d=3, scale=2.0) for seed in (0, 1))
    x = np.random.default_rng(0).uniform(size=(4, 6)).astype(np.float32)
    with jax.default_matmul_precision(asked):
        advknow.transferability(f, g, x, attack=attacks.fgsm(eps=0.1), key=KEY)
    expected = {"tensorfloat32": "HIGH", "bfloat16": "DEFAULT", "float32": "HIGHEST"}[asked]
    assert {asked for of in lowered().values() for asked in of} >= {expected}
    before = precision.chosen()
    assert before is None, "nothing is left of it"


@pytest.mark.parametrize("call", ["hvp", "hessian", "root", "norm"])
@pytest.mark.parametrize("loss", ["given", "user's"])
def test_the_inner_product_called_by_itself(call, loss, lowered):
    matrix = np.diag([1.0, 2.0, 3.0])
    of = {"given": losses.quadratic(matrix), "user's": lambda y, z: ((y - z) @ matrix) @ np.ones(3)}
    y = jnp.ones((2, 3))
    arguments = (of[loss], y) if call == "hessian" else (of[loss], y, y + 1.0)
    getattr(inner_product, call)(*arguments)
    assert {asked for of in lowered().values() for asked in of} == {"HIGHEST"}


def test_no_state_is_left_where_a_model_raises():
    def broken(x):
        raise RuntimeError("no")

    with pytest.raises(ValueError, match="does not accept"):
        advknow.check_model(broken, np.ones((2, 3), np.float32) / 2)
    with pytest.raises(RuntimeError):
        precision.measured(broken)(1)
    assert precision.chosen() is None
