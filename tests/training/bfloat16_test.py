"""Training with bfloat16 activations: what is bfloat16, what stays float32, and that it learns."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import living_variables, small

from advknow import data, models, training
from advknow.experiments.config import ADDED, scaled
from advknow.experiments.presets import preset
from advknow.runs import files
from advknow.training.forward import WholeModel

KEY = jax.random.key(0)


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for parameter in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
        ):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)


def _dtypes(function, *arguments, names):
    """The dtypes of the operands of every equation of these names."""
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    return [
        {str(v.aval.dtype) for v in equation.invars if v.aval.ndim > 1}
        for equation in _equations(jaxpr)
        if equation.primitive.name in names
    ]


PRODUCTS = ("conv_general_dilated", "dot_general", "advknow_convolution")


@pytest.mark.parametrize("name", models.MODELS)
def test_layers_are_bfloat16_the_head_and_sums_are_not(name):
    model = small(name)
    variables = living_variables(model)
    x = jnp.ones((3, *model.input_shape))

    def logits(variables, activations):
        return model.apply_train(variables, x, activations=activations)[0]

    found = _dtypes(lambda v: logits(v, "bfloat16"), variables, names=PRODUCTS)
    assert found[-1] == {"float32"}
    assert len(found) > 2
    assert all(dtypes == {"bfloat16"} for dtypes in found[:-1])
    sums = _dtypes(lambda v: logits(v, "bfloat16"), variables, names=("reduce_sum", "mean"))
    if "batch_stats" in variables:
        assert all(dtypes <= {"float32", "bfloat16"} for dtypes in sums)
        assert {"float32"} in sums
    plain = _dtypes(lambda v: logits(v, "float32"), variables, names=PRODUCTS)
    assert all(dtypes == {"float32"} for dtypes in plain)
    # In evaluation mode, and so in every measure, there is no such choice.
    measured = _dtypes(lambda v: model.apply(v, x), variables, names=PRODUCTS)
    assert all(dtypes == {"float32"} for dtypes in measured)


@pytest.mark.parametrize("name", ["mlp", "resnet18"])
def test_parameters_stay_float32_and_gradients_point_the_same_way(name):
    model = small(name)
    variables = living_variables(model)
    images = np.random.default_rng(0).integers(0, 256, (24, *model.input_shape), np.uint8)

    def gradient(activations):
        forward = WholeModel(model, None, activations)

        def loss(params):
            logits, stats = forward(params, variables.get("batch_stats", {}), {}, images, KEY)
            return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits[:, 0]), stats

        return jax.jit(jax.grad(loss, has_aux=True))(variables["params"])

    (narrow, stats), (wide, _) = gradient("bfloat16"), gradient("float32")
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((narrow, stats)))
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(g)]) for g in (narrow, wide))
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    # Rounding by 2^-9 in each of two layers, and in each of eighteen, where it also turns ReLUs.
    assert cosine > (0.999 if name == "mlp" else 0.9)
    assert not np.array_equal(a, b)


@pytest.mark.slow
def test_it_learns_digits_as_well():
    splits = data.load("digits")
    model = models.create("mlp", num_classes=10, input_shape=(32, 32, 1), width=0.2)
    accuracy = {}
    for activations in ("float32", "bfloat16"):
        config = training.TrainConfig(epochs=15, learning_rate=0.02, activations=activations)
        found = training.fit(model, splits.train, splits.validation, config=config, key=KEY)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(found.variables))
        accuracy[activations] = training.evaluate(model, found.variables, splits.test).accuracy
    assert accuracy["float32"] > 0.9
    # Two standard errors of the difference at 300 test images.
    assert accuracy["bfloat16"] > accuracy["float32"] - 0.05


def test_a_configuration_says_so_and_older_ones_stay_valid(tmp_path):
    digits = preset("adv2know", "digits")
    config = json.loads(json.dumps(digits.to_dict()))
    older = json.loads(json.dumps(config).replace('"activations": "float32", ', ""))
    older = json.loads(json.dumps(older).replace(', "activations": "float32"', ""))
    assert "activations" not in json.dumps(older)
    (tmp_path / "config.json").write_text(json.dumps(older))
    files.claim(tmp_path, config, ADDED)
    narrow = scaled(digits, bfloat16=True)
    assert narrow.target_training.activations == "bfloat16"
    assert {source.training.activations for source in narrow.sources} == {"bfloat16"}
    with pytest.raises(ValueError, match=r"activations: 'float32' -> 'bfloat16'"):
        files.claim(tmp_path, narrow.to_dict(), ADDED)
    with pytest.raises(ValueError, match="activations='half' is not known; accepted: float32, b"):
        dataclasses.replace(digits.target_training, activations="half")
