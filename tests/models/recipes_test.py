"""The recipes of advknow/models/README.md, run as they stand there, give logits and features."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from launching import ROOT
from readmes import blocks

import advknow
from advknow import adapters, attacks

X = np.random.default_rng(0).uniform(0.1, 0.9, (12, 6)).astype(np.float32)
KEY = jax.random.key(0)


def torch_model(seed):
    torch = pytest.importorskip("torch")
    torch.manual_seed(seed)
    module = torch.nn.Sequential()
    module.first, module.act, module.fc = (
        torch.nn.Linear(6, 8),
        torch.nn.Tanh(),
        torch.nn.Linear(8, 3),
    )
    module.eval()
    return (
        {"torch_module": module},
        module(torch.from_numpy(X)).detach(),
        _affine(module.fc.weight.detach().numpy().T, module.fc.bias.detach().numpy()),
    )


def keras_model(seed):
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input((6,)),
        keras.layers.Dense(8, activation="tanh"),
        keras.layers.Dropout(0.5),
    ]
    layers += [keras.layers.BatchNormalization(), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    given = {"keras": keras, "keras_model": model}
    return given, model(X, training=False), _affine(*model.layers[-1].get_weights())


def equinox_model(seed):
    eqx = pytest.importorskip("equinox")
    layers = [
        eqx.nn.Linear(6, 8, key=jax.random.key(seed)),
        eqx.nn.Lambda(jnp.tanh),
        eqx.nn.Dropout(0.5),
    ]
    layers += [eqx.nn.Linear(8, 3, key=jax.random.key(seed + 100))]
    model = eqx.nn.Sequential(layers)
    expected = jax.vmap(eqx.nn.inference_mode(model))(X)
    given = {"eqx": eqx, "jax": jax, "equinox_model": model}
    return given, expected, _affine(layers[-1].weight.T, layers[-1].bias)


def haiku_model(seed):
    hk = pytest.importorskip("haiku")

    def forward(x):
        features = jnp.tanh(hk.Linear(8)(x))
        return hk.Linear(3, name="head")(features), features

    transformed = hk.without_apply_rng(hk.transform(forward))
    params = transformed.init(jax.random.key(seed), X)
    head = params["head"]
    given = {"hk": hk, "forward": forward, "params": params}
    return given, transformed.apply(params, X)[0], _affine(head["w"], head["b"])


def _affine(kernel, bias):
    return lambda features: features @ np.asarray(kernel) + np.asarray(bias)


RECIPES = dict(
    zip(
        (torch_model, keras_model, equinox_model, haiku_model),
        blocks(ROOT / "advknow" / "models" / "README.md", "python"),
        strict=True,
    )
)


@pytest.mark.parametrize("make", RECIPES, ids=lambda make: make.__name__)
def test_logits_and_features(make):
    # "At most six lines": what is shown, without blank ones.
    assert len([line for line in RECIPES[make].splitlines() if line.strip()]) <= 6
    models = []
    for seed in (0, 1):
        given, expected, head = make(seed)
        given |= {"adapters": adapters}
        exec(compile(RECIPES[make], "models/README.md", "exec"), given)
        logits, features = given["logits"], given["features"]
        np.testing.assert_allclose(logits(X), expected, atol=1e-5)
        assert features(X).shape == (12, 8)
        np.testing.assert_allclose(head(np.asarray(features(X))), expected, atol=1e-5)
        models.append(logits)
    found = advknow.transferability(*models, X, attack=attacks.fgsm(eps=0.05), key=KEY)
    assert found.n == 12
    assert found.alpha1 > 0
    assert "nondeterministic" not in advknow.check_model(models[0], X, num_steps=2).flags
