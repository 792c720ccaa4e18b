"""Alignment of input gradients: by hand, by finite differences, and as the theory's quantities."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import blobs, random_variables
from linear_model import N, linear

import advknow
from advknow import models, training
from advknow.models import Model, layers
from advknow.models.batch_norm import BatchNorm
from advknow.training import objective, sgd
from advknow.training.forward import WholeModel
from advknow.training.objective.alignment import cosines, input_gradients, losses

KEY = jax.random.key(0)


class Convolutional(nn.Module):
    """Convolution, batch norm, pooling: everything whose second derivative is needed."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(BatchNorm()(layers.conv(4, 3, padding=1)(x), train))
        x = layers.max_pool(x)
        return nn.relu(layers.conv(5, 3, stride=2, padding=1)(x)).reshape(x.shape[0], -1)


class Double(WholeModel):
    """Of pixels in float64: the gradient with respect to them is of their dtype."""

    def pixels(self, images, key):
        return super().pixels(images, key).astype(jnp.float64)


def created(name, num_classes=3):
    if name == "convolutional":
        return Model(name, num_classes, (8, 8, 1), 1.0, Convolutional())
    return models.create(name, num_classes=num_classes, input_shape=(8, 8, 1), width=0.1)


def target(num_classes=3, seed=1):
    model = created("mlp", num_classes)
    return model.bind(random_variables(model, seed))


@functools.partial(jax.jit, static_argnames="forward")
def _term(forward, params, batch_stats, images, labels, losses):
    values = (of(forward, params, batch_stats, {}, images, labels, KEY)[0] for of in losses)
    return next(values) - next(values)


def term(forward, params, batch_stats, set_, **settings):
    """|E cos| alone."""
    of = tuple(objective.aligned(weight=w, **settings).loss for w in (0.0, 1.0))
    return _term(forward, params, batch_stats, *map(jnp.asarray, set_), of)


def test_of_linear_models_it_is_one_cosine_whatever_the_images():
    """Two classes: g = +-2 p (w_1 - w_0), the sign by the label, which is the same for both."""
    forward, params, images, labels = linear()
    other, theirs, _, _ = linear(1)
    to = other.model.bind({"params": theirs})
    w, v = (np.diff(np.asarray(p["head"]["kernel"], np.float64))[:, 0] for p in (params, theirs))
    expected = abs(w @ v) / np.sqrt((w @ w) * (v @ v))
    found = term(forward, params, {}, (images, labels), to=to)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    # Against the models' own predictions the sign is that of both agreeing, or not.
    logits = (
        np.asarray(p["head"]["bias"])[None]
        + (images.reshape(N, -1) / 127.5 - 1) @ np.asarray(p["head"]["kernel"])
        for p in (params, theirs)
    )
    agree = np.mean(
        [1.0 if a == b else -1.0 for a, b in zip(*(y.argmax(1) for y in logits), strict=True)]
    )
    assert abs(agree) < 1
    found = term(forward, params, {}, (images, labels), to=to, against="prediction")
    np.testing.assert_allclose(found, abs(agree) * expected, rtol=1e-4)
    # A model turned about, f -> -f, is as aligned: one g for all inputs undoes it.
    turned = {**theirs, "head": jax.tree.map(jnp.negative, theirs["head"])}
    to = other.model.bind({"params": turned})
    found = term(forward, params, {}, (images, labels), to=to)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(("name", "against"), [("mlp", "prediction"), ("convolutional", "label")])
def test_its_gradient_is_that_of_finite_differences(name, against):
    """In float64, along a random direction; the term that is trained is not a constant."""
    with jax.enable_x64(True):
        model = created(name)
        variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), random_variables(model))
        params, stats = variables["params"], variables.get("batch_stats", {})
        to = target()
        set_ = (blobs(9).images, blobs(9).labels)
        forward = Double(model, None)

        def value(params):
            return term(forward, params, stats, set_, to=to, against=against)

        at, gradient = jax.value_and_grad(value)(params)
        rng = np.random.default_rng(0)
        direction = jax.tree.map(lambda a: jnp.asarray(rng.standard_normal(a.shape)), params)
        h = 1e-6
        ahead, behind = (
            float(value(jax.tree.map(lambda p, d, s=s: p + s * h * d, params, direction)))
            for s in (1, -1)
        )
        slope = sum(
            float(jnp.vdot(g, d))
            for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
        )
        assert at.dtype == jnp.float64
        assert abs(slope) > 1e-4
        np.testing.assert_allclose(slope, (ahead - behind) / (2 * h), rtol=1e-5)
        norms = [float(jnp.abs(g).max()) for g in jax.tree.leaves(gradient["backbone"])]
        assert max(norms) > 1e-4


@pytest.mark.parametrize("num_classes", [3, 5])
def test_it_is_alpha1_alpha2_of_both_losses(num_classes):
    """For eps -> 0, of the losses as models of one output, whatever the targets' classes."""
    model = created("mlp")
    params, to = random_variables(model)["params"], target(num_classes)
    set_ = (blobs(30).images, blobs(30).labels)
    found = term(WholeModel(model, None), params, {}, set_, to=to, against="prediction")
    f = model.bind({"params": params})
    x = blobs(30).pixels()
    alphas, _ = advknow.small_eps_transferability(
        lambda x: losses(f(x))[:, None], lambda x: losses(to(x))[:, None], x
    )
    np.testing.assert_allclose(found, alphas.alpha1_alpha2, rtol=1e-4)
    assert found > 1e-2
    each = jax.jit(lambda x: cosines(input_gradients(f, x), input_gradients(to, x)))(x)
    np.testing.assert_allclose(np.abs(each).mean(), alphas.alpha1, rtol=1e-4)


def test_the_given_model_gets_no_gradient():
    model = created("mlp")
    params, to = random_variables(model)["params"], target()
    loss_of = objective.aligned(to=to, weight=1.0).loss
    images, labels = jnp.asarray(blobs(9).images), jnp.asarray(blobs(9).labels)
    gradient = jax.jit(
        jax.grad(lambda loss: loss(WholeModel(model, None), params, {}, {}, images, labels, KEY)[0])
    )(loss_of)
    given = jax.tree.leaves(gradient.keywords["to"])
    assert len(given) > 3
    assert all(np.all(np.asarray(leaf) == 0) for leaf in given)
    assert gradient.keywords["weight"] < 0


def test_cosines_without_a_direction_and_of_tiny_gradients():
    u = jnp.asarray([[3.0, 4.0], [0.0, 0.0], [3e-30, 4e-30], [1.0, 0.0]])
    v = jnp.asarray([[4.0, 3.0], [1.0, 1.0], [4e-25, 3e-25], [0.0, 0.0]])
    np.testing.assert_allclose(cosines(u, v), [0.96, 0.0, 0.96, 0.0], rtol=1e-6)
    gradient = np.asarray(jax.jit(jax.grad(lambda u: cosines(u, v).sum()))(u))
    # d cos / du = (v_ - cos u_) / |u|: (0.8, 0.6) - 0.96 (0.6, 0.8), over 5.
    np.testing.assert_allclose(gradient[0], [0.224 / 5, -0.168 / 5], rtol=1e-5)
    np.testing.assert_array_equal(gradient[[1, 3]], 0)


def fitted(config=None, **settings):
    config = config or training.TrainConfig(epochs=8, batch_size=16, learning_rate=0.05)
    found = objective.aligned(**settings) if settings else None
    return training.fit(
        created("mlp"),
        blobs(70, noise=20),
        blobs(30, noise=20, seed=1),
        config=config,
        key=KEY,
        objective=found,
    )


def test_training_goes_towards_and_away_and_weight_0_is_the_plain_one():
    to, test = target(), blobs(40, noise=20, seed=3)
    mean = {}
    x, y = jnp.asarray(test.pixels()), jnp.asarray(test.labels)
    of = jax.jit(lambda f: cosines(input_gradients(f, x, y), input_gradients(to, x, y)))
    for weight in (-3.0, 0.0, 3.0):
        result = fitted(to=to, weight=weight)
        f = created("mlp").bind(result.variables)
        mean[weight] = abs(float(np.mean(of(f))))
        assert result.best_validation_accuracy > 0.9
    assert mean[3.0] > mean[0.0] + 0.05, mean
    assert mean[-3.0] < mean[0.0], mean
    plain = fitted()
    for a, b in zip(
        jax.tree.leaves(fitted(to=to, weight=0.0).variables),
        jax.tree.leaves(plain.variables),
        strict=True,
    ):
        # 32 steps of another program for the same numbers.
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_targets_and_weights_share_the_compiled_step():
    config = training.TrainConfig(epochs=1, batch_size=16)
    fitted(config, to=target(), weight=1.0)
    compiled = sgd._step._cache_size()
    fitted(config, to=target(seed=2), weight=-0.5)
    assert sgd._step._cache_size() == compiled


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weight": float("nan")}, ValueError, "weight=nan must be a finite number"),
        ({"weight": "1"}, TypeError, "weight='1'"),
        ({"against": "labels"}, ValueError, "against='labels' is not known; accepted: label, pre"),
        ({"to": 3}, TypeError, "to=3 must be a function of a batch"),
        (
            {"to": target(5)},
            ValueError,
            "to returns 5 outputs, the trained model 3: against='label",
        ),
        (
            {"to": target(1), "against": "prediction"},
            ValueError,
            "to returns 1 outputs.*at least 2",
        ),
        ({"to": lambda x: x}, ValueError, r"to returns \(16, 8, 8, 1\) for a batch"),
    ],
)
def test_hostile_settings_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        fitted(**{"to": target(), "weight": 1.0, **settings})


def test_one_objective_at_a_time():
    config = training.TrainConfig(epochs=1, adversarial=training.Adversarial(eps=0.1))
    with pytest.raises(ValueError, match=r"config\.adversarial\.eps=0\.1 names another"):
        fitted(config, to=target(), weight=1.0)
    plain = dataclasses.replace(config, adversarial=training.Adversarial())
    with pytest.raises(TypeError, match="objective='cross_entropy' must be an Objective"):
        training.fit(
            created("mlp"), blobs(20), blobs(9, seed=1), config=plain, key=KEY,
            objective="cross_entropy",
        )  # fmt: skip
