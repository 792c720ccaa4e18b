"""Adversarial training against closed forms of linear models, and what an attack may touch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import blobs, random_variables
from linear_model import SHAPE, N, Normalised, linear

from advknow import attacks, data, models, training
from advknow.models import Model
from advknow.models.batch_norm import MOMENTUM
from advknow.passes import loops
from advknow.training import objective, sgd
from advknow.training.forward import WholeModel
from advknow.training.state import STEP, copy, create_state

EPS = 0.1
CONFIG = training.TrainConfig(epochs=1, learning_rate=0.5, momentum=0.0, weight_decay=0.0)
AUGMENT = data.augment(random_crop=1, flip=False)


def stepped(forward, params, images, labels, config, objective=None, batch_stats=None):
    """The state after one step on all images, and the record."""
    state = create_state(params, batch_stats or {}, config, jax.random.key(0))
    *_, (state, record) = sgd.epochs(
        state, forward, {}, images, labels, config, objective=objective
    )
    return state, record


@pytest.mark.parametrize("ord", ["inf", "2"])
def test_loss_and_step_of_a_linear_model_are_those_of_the_smaller_margin(ord):
    """l = log(1 + exp(-(m - 2 eps |w|_*))), |.|_* the dual norm; 2 is the model's own scaling."""
    forward, params, images, labels = linear()
    # From 0: of a random start in the 2 norm a part across w stays.
    attack = training.Adversarial(eps=EPS, ord=ord, random_start=ord == "inf")
    config = dataclasses.replace(CONFIG, adversarial=attack)
    state, record = stepped(forward, params, images, labels, config)

    kernel, bias = (np.asarray(params["head"][name], np.float64) for name in ("kernel", "bias"))
    w, z = kernel[:, 1] - kernel[:, 0], images.reshape(N, -1) / 127.5 - 1
    sign = 2.0 * labels - 1
    dual = np.abs(w).sum() if ord == "inf" else np.linalg.norm(w)
    margin = sign * (z @ w + bias[1] - bias[0]) - 2 * EPS * dual
    np.testing.assert_allclose(record.loss, np.log1p(np.exp(-margin)).mean(), rtol=1e-5)
    assert record.train_accuracy == pytest.approx((margin > 0).mean())
    worst = np.sign(w) if ord == "inf" else w / np.linalg.norm(w)
    z = z - 2 * EPS * sign[:, None] * worst
    # dl/dlogit_k = p_k - [k is the label], p of the other class is 1 / (1 + e^margin).
    wrong = 1 / (1 + np.exp(margin))
    slope = np.stack([wrong * sign, -wrong * sign], axis=1) / N
    found = state.params["head"]
    np.testing.assert_allclose(found["kernel"], kernel - 0.5 * z.T @ slope, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["bias"], bias - 0.5 * slope.sum(0), rtol=1e-5, atol=1e-6)


def mlp(augment=None):
    model = models.create("mlp", num_classes=3, input_shape=(8, 8, 1), width=0.1)
    return WholeModel(model, augment), random_variables(model)["params"]


def naive(forward, params, images, labels):
    """The loss after one step of length eps along the gradient, differentiable throughout."""
    x, one_hot = jnp.asarray(images, jnp.float32) / 255, jax.nn.one_hot(labels, 3)

    def mean_loss(x):
        logits = jax.nn.log_softmax(forward.logits(params, {}, x)[0])
        return -jnp.mean(jnp.sum(one_hot * logits, axis=1))

    g = jax.grad(mean_loss)(x)
    return mean_loss, x + EPS * g / jnp.sqrt(jnp.sum(g**2, axis=(1, 2, 3), keepdims=True))


def test_no_gradient_goes_through_delta():
    forward, params = mlp()
    set_ = blobs(16)
    attack = attacks.fgsm(eps=EPS, ord="2", bounds=None)
    state, _ = stepped(
        forward, params, set_.images, set_.labels, CONFIG, objective.adversarial(attack=attack)
    )
    moved = jax.tree.map(lambda a, b: (a - b) / 0.5, params, state.params)

    def fixed(p, delta_of):
        _, x = naive(forward, delta_of, set_.images, set_.labels)
        return naive(forward, p, set_.images, set_.labels)[0](x)

    held = jax.jit(jax.grad(lambda p: fixed(p, params)))(params)
    through = jax.jit(jax.grad(lambda p: fixed(p, p)))(params)
    a, b, c = (
        np.concatenate([np.ravel(v) for v in jax.tree.leaves(t)]) for t in (moved, held, through)
    )
    # Of a difference of parameters: their rounding over the learning rate.
    np.testing.assert_allclose(a, b, atol=3e-6)
    assert np.abs(b - c).max() > 1e-2 * np.abs(b).max()


def perturbed(forward, params, images, labels, *, seed=0, step=0, batch_stats=None, **settings):
    settings = {"eps": EPS, "num_steps": 3, "ord": "2", **settings}
    state = create_state(params, batch_stats or {}, CONFIG, jax.random.key(seed))
    state = state._replace(step=jnp.int32(step))
    found = objective.adversarial(attack=attacks.pgd(**settings))
    return np.asarray(found.perturb(forward, state, jnp.asarray(images), jnp.asarray(labels)))


def test_every_example_has_its_own_key_and_the_augmented_pixels_of_the_step():
    forward, params = mlp(AUGMENT)
    images, labels = blobs(16).images, blobs(16).labels
    whole = perturbed(forward, params, images, labels)
    # Smooth in the last bits, which matrix products of other shapes differ in.
    np.testing.assert_allclose(
        perturbed(forward, params, images[:5], labels[:5]), whole[:5], atol=1e-5
    )
    for other in ({"seed": 1}, {"step": 1}):
        found = perturbed(forward, params, images, labels, **other)
        assert np.abs(found - whole).max(axis=(1, 2, 3)).min() > 1e-3
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), STEP), 0)
    x = np.asarray(forward.pixels(jnp.asarray(images), key))
    signed = perturbed(forward, params, images, labels, ord="inf")
    assert 0.9 * EPS < np.abs(signed - x).max() <= EPS * (1 + 1e-6)
    assert signed.min() >= 0
    assert signed.max() <= 1
    # The augmentation's zeros are at the lower bound.
    assert (x == 0).any()


def test_batch_norm_is_in_training_mode_and_moves_once_by_the_adversarial_batch():
    _, params, images, labels = linear()
    forward = WholeModel(Model("normalised", 2, SHAPE, 1.0, Normalised()), None)
    scale = {"scale": jnp.linspace(0.5, 2.0, 6), "bias": jnp.zeros(6)}
    params = {**params, "backbone": {"BatchNorm_0": scale}}
    stats = {"BatchNorm_0": {"mean": jnp.full(6, 0.3), "var": jnp.full(6, 2.0)}}
    other = {"BatchNorm_0": {"mean": jnp.full(6, -5.0), "var": jnp.linspace(1.0, 90.0, 6)}}
    x = perturbed(forward, params, images, labels, batch_stats=stats)
    np.testing.assert_array_equal(x, perturbed(forward, params, images, labels, batch_stats=other))
    attack = attacks.pgd(eps=EPS, num_steps=3, ord="2")
    state = sgd.take_step(
        create_state(params, stats, CONFIG, jax.random.key(0)),
        {},
        (jnp.asarray(images), jnp.asarray(labels)),
        (jnp.float32(0.1), jnp.float32(1)),
        forward=forward,
        config=CONFIG,
        objective=objective.adversarial(attack=attack),
    )
    z = 2 * x.reshape(N, -1).astype(np.float64) - 1
    found = state.batch_stats["BatchNorm_0"]
    expected = MOMENTUM * 0.3 + (1 - MOMENTUM) * z.mean(axis=0)
    np.testing.assert_allclose(found["mean"], expected, rtol=1e-5)
    expected = MOMENTUM * 2.0 + (1 - MOMENTUM) * z.var(axis=0)
    np.testing.assert_allclose(found["var"], expected, rtol=1e-5)


def test_one_program_as_on_accelerators_gives_the_same(monkeypatch):
    forward, params, images, labels = linear()
    expected = perturbed(forward, params, images, labels)
    monkeypatch.setattr(loops, "on_cpu", lambda leaves: False)
    found = perturbed(forward, params, images, labels)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_eps_0_is_the_plain_objective():
    forward, params = mlp()
    set_ = blobs(40)
    config = training.TrainConfig(epochs=3, batch_size=16, learning_rate=0.05)
    plain, record = stepped(forward, params, set_.images, set_.labels, config)
    assert objective.chosen(None, config) == objective.chosen(None, config)
    assert objective.chosen(None, config).perturb is None
    none = objective.adversarial(attack=attacks.pgd(eps=0.0))
    found, other = stepped(forward, params, set_.images, set_.labels, config, none)
    # Pixels are computed in a program of their own, whose division may round otherwise.
    assert other.loss == pytest.approx(record.loss, rel=1e-5)
    for a, b in zip(jax.tree.leaves(plain.params), jax.tree.leaves(found.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_equal_settings_share_all_programs(compiled):
    set_ = blobs(20)

    def run(**settings):
        forward, params = mlp()
        config = dataclasses.replace(CONFIG, adversarial=training.Adversarial(**settings))
        stepped(forward, params, set_.images, set_.labels, config)

    run(eps=EPS)
    compiled.clear()
    run(eps=EPS)
    # The ball's radius is an argument, and the compiled step knows of no attack.
    run(eps=EPS / 2, num_steps=3)
    assert compiled == []


def test_a_last_layer_is_not_trained_so():
    model = models.create("mlp", num_classes=3, input_shape=(8, 8, 1), width=0.1)
    config = dataclasses.replace(CONFIG, adversarial=training.Adversarial(eps=EPS))
    given = {"num_classes": 3, "config": config, "key": jax.random.key(0)}
    variables = random_variables(model)
    with pytest.raises(ValueError, match=r"config\.adversarial\.eps=0\.1 goes with method='all'"):
        training.fine_tune(model, variables, blobs(20), **given)
    _, tuned = training.fine_tune(model, variables, blobs(20), method="all", **given)
    plain = {**given, "config": CONFIG}
    _, other = training.fine_tune(model, variables, blobs(20), method="all", **plain)
    assert np.any(np.asarray(tuned["params"]["head"]["bias"]) != other["params"]["head"]["bias"])
    state = copy(create_state({"kernel": jnp.ones((4, 3))}, {}, CONFIG, jax.random.key(0)))
    found = objective.adversarial(attack=attacks.pgd(eps=EPS))
    with pytest.raises(ValueError, match="needs a training of all layers on images"):
        found.perturb(lambda *_: None, state, jnp.ones((2, 4)), jnp.zeros(2, jnp.int32))


@pytest.mark.parametrize("attack", [attacks.singular(), lambda f, x, key: x, 3])
def test_attacks_without_labels_are_refused(attack):
    with pytest.raises(TypeError, match=r"attack=.* takes no labels; attacks\.pgd\(\.\.\.\) and"):
        objective.adversarial(attack=attack)
