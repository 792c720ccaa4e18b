import dataclasses
import inspect
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import blobs, random_variables

from advknow import data, models, training

CONFIG = training.TrainConfig(epochs=4, batch_size=16, learning_rate=0.05)
TRAIN, VALIDATION = blobs(70, noise=20), blobs(30, noise=20, seed=1)
AUGMENT = data.augment(random_crop=1, flip=False)


@pytest.fixture(scope="module")
def mlp():
    return models.create("mlp", num_classes=3, input_shape=(8, 8, 1), width=0.1)


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def fit(model, **settings):
    settings = {"config": CONFIG, "key": jax.random.key(0), **settings}
    return training.fit(model, TRAIN, VALIDATION, **settings)


def test_mlp_learns_digits_within_seconds():
    splits = data.load("digits")
    model = models.create("mlp", num_classes=10, input_shape=(32, 32, 1), width=0.2)
    config = training.TrainConfig(epochs=15, batch_size=64, learning_rate=0.02)
    started = time.perf_counter()
    result = training.fit(
        model, splits.train, splits.validation, config=config, key=jax.random.key(0)
    )
    seconds = time.perf_counter() - started
    assert training.evaluate(model, result.variables, splits.test).accuracy > 0.9
    assert seconds < 30  # about 3 s on two idle cores


def kept(states):
    """An `on_step` that keeps a copy of every state, by its step."""

    def keep(state):
        states[int(state.step)] = jax.tree.map(jnp.copy, state)

    return keep


def assert_goes_on_bit_for_bit(model, config, **settings):
    """A training resumed within and after its second epoch equals one never interrupted."""
    states = {}
    settings = {"config": config, "augment": AUGMENT, **settings}
    whole = fit(model, **settings, on_step=kept(states))
    assert len(states) == 4 * config.epochs
    for step in (7, 8):
        rest = fit(model, **settings, restore=lambda _, at=step: states[at])
        assert bits(rest.variables) == bits(whole.variables)
        assert rest.history == whole.history[step // 4 :]
        assert (rest.best_epoch, rest.best_validation_accuracy) == (
            whole.best_epoch,
            whole.best_validation_accuracy,
        )
        assert int(states[step].step) == step  # the state that was given survives
    return whole


def test_training_goes_on_from_a_state_bit_for_bit(mlp):
    assert_goes_on_bit_for_bit(mlp, CONFIG)


@pytest.mark.parametrize("activations", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["adversarial", "aligned"])
def test_other_objectives_go_on_bit_for_bit(name, activations, mlp):
    config = dataclasses.replace(CONFIG, activations=activations)
    given = None
    if name == "adversarial":
        attack = training.Adversarial(eps=0.05, num_steps=2)
        config = dataclasses.replace(config, adversarial=attack)
    else:
        to = mlp.bind(random_variables(mlp))
        given = training.objective.aligned(to=to, weight=1.0)
    whole = assert_goes_on_bit_for_bit(mlp, config, objective=given)
    assert bits(whole.variables) != bits(fit(mlp, augment=AUGMENT).variables)


@pytest.mark.slow
def test_resnet_learns_with_augmentation_and_goes_on_bit_for_bit():
    model = models.create("resnet18", num_classes=3, input_shape=(8, 8, 1), width=0.05)
    config = training.TrainConfig(epochs=15, batch_size=16, learning_rate=0.05)
    result = assert_goes_on_bit_for_bit(model, config)
    assert result.best_validation_accuracy > 0.9
    for name, leaf in jax.tree_util.tree_leaves_with_path(result.variables["batch_stats"]):
        start = 1.0 if "var" in str(name[-1]) else 0.0
        assert np.all(np.asarray(leaf) != start)


def test_same_key_same_bits_other_key_other_bits(mlp):
    config = dataclasses.replace(CONFIG, epochs=2)
    first, again, other = (
        fit(mlp, config=config, augment=AUGMENT, key=jax.random.key(k)) for k in (0, 0, 1)
    )
    assert bits(first.variables) == bits(again.variables)
    assert first.history == again.history
    assert bits(first.variables) != bits(other.variables)


def test_best_epoch_is_by_validation_and_not_the_last(mlp):
    """Validation labels are swapped, so that learning makes the validation accuracy fall."""
    train = blobs(64, num_classes=2, noise=20)
    validation = blobs(64, num_classes=2, noise=20, seed=1)
    validation = dataclasses.replace(validation, labels=1 - validation.labels)
    model = mlp.replace_classes(2)
    states = {}
    result = training.fit(
        model,
        train,
        validation,
        config=training.TrainConfig(epochs=12, batch_size=16, learning_rate=0.002, momentum=0.5),
        key=jax.random.key(0),
        on_step=kept(states),
    )
    accuracies = [record.validation_accuracy for record in result.history]
    assert max(accuracies) > accuracies[-1]
    latest_best = max(i for i, a in enumerate(accuracies) if a == max(accuracies))
    assert result.best_epoch == latest_best + 1
    assert result.best_validation_accuracy == max(accuracies)
    assert bits(result.variables["params"]) == bits(states[4 * (latest_best + 1)].params)
    measured = training.evaluate(model, result.variables, validation).accuracy
    assert measured == result.best_validation_accuracy


def test_of_equal_epochs_the_later_is_taken(mlp):
    config = training.TrainConfig(epochs=3, batch_size=16, learning_rate=1e-12)
    result = fit(mlp, config=config)
    assert len({record.validation_accuracy for record in result.history}) == 1
    assert result.best_epoch == 3


def test_there_is_no_way_in_for_test_images():
    for function in (training.fit, training.fine_tune):
        assert not [name for name in inspect.signature(function).parameters if "test" in name]


def test_progress_is_one_call_an_epoch(mlp):
    events = []
    result = fit(mlp, progress=events.append)
    assert len(events) == 4
    for event, record in zip(events, result.history, strict=True):
        assert event == {"kind": "epoch", "epochs": 4, **dataclasses.asdict(record)}
    assert events[-1]["steps_per_second"] > 0
    assert events[-1]["learning_rate"] < 0.1 * events[0]["learning_rate"]


def test_divergence_is_an_error(mlp):
    config = training.TrainConfig(epochs=3, batch_size=16, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"in epoch \d of 3 with learning_rate=1e\+30"):
        fit(mlp, config=config)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"validation": TRAIN}, ValueError, r"overlapping .* images: 70 .*train and validation"),
        (
            {"train": blobs(20, shape=(9, 9, 1))},
            ValueError,
            r"train has images of shape \(9, 9, 1\)",
        ),
        ({"validation": blobs(9, num_classes=4, seed=2)}, ValueError, r"validation has labels"),
        ({"config": {"epochs": 3}}, TypeError, r"config=.* must be a TrainConfig"),
        ({"key": 0}, TypeError, r"key=0 must be a JAX key"),
        ({"augment": 3}, TypeError, r"augment=3"),
        ({"progress_steps": 0}, ValueError, r"progress_steps=0"),
    ],
)
def test_hostile_input_is_named(mlp, settings, error, message):
    arguments = {
        "train": TRAIN,
        "validation": VALIDATION,
        "config": CONFIG,
        "key": jax.random.key(0),
        **settings,
    }
    with pytest.raises(error, match=message):
        training.fit(mlp, **arguments)


def test_state_of_another_model_or_a_longer_training_is_refused(mlp):
    states = {}
    fit(mlp, on_step=kept(states))
    other = models.create("mlp", num_classes=3, input_shape=(8, 8, 1), width=0.2)
    with pytest.raises(ValueError, match="restore returned the state of another model"):
        fit(other, restore=lambda _: states[4])
    shorter = dataclasses.replace(CONFIG, epochs=2)
    with pytest.raises(ValueError, match=r"restore returned a state of 16 steps; .* only 8"):
        fit(mlp, config=shorter, restore=lambda _: states[16])
    with pytest.raises(TypeError, match="restore returned a dict; a TrainState is needed"):
        fit(mlp, restore=lambda _: {})
