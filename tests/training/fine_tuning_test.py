import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import blobs, random_variables

from advknow import data, models
from advknow.training import evaluation, fine_tuning
from advknow.training.config import TrainConfig

CONFIG = TrainConfig(epochs=3, batch_size=16, learning_rate=0.05)
# The target task: other prototypes, and other classes than the source's five.
TARGET = blobs(60, num_classes=3, prototypes=1, noise=20)
AUGMENT = data.augment(random_crop=2, flip=True)


@pytest.fixture(scope="module")
def source():
    model = models.create("resnet18", num_classes=5, input_shape=(8, 8, 1), width=0.05)
    return model, random_variables(model)


@pytest.fixture(scope="module")
def mlp_source():
    model = models.create("mlp", num_classes=5, input_shape=(8, 8, 1), width=0.5)
    return model, random_variables(model)


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def tune(source, **settings):
    settings = {"num_classes": 3, "config": CONFIG, "key": jax.random.key(1), **settings}
    return fine_tuning.fine_tune(*source, TARGET, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "last_layer"},
        {"method": "last_layer", "augment": AUGMENT},
        {"method": "closed_form"},
    ],
)
def test_frozen_source_is_bit_identical(source, settings):
    model, variables = source
    before = bits(variables)
    new_model, tuned = tune(source, **settings)
    assert new_model.num_classes == 3
    assert tuned["params"]["head"]["kernel"].shape == (model.feature_dim, 3)
    assert bits(tuned["params"]["backbone"]) == bits(variables["params"]["backbone"])
    assert bits(tuned["batch_stats"]) == bits(variables["batch_stats"])
    assert bits(variables) == before
    x = TARGET.pixels()
    np.testing.assert_array_equal(new_model.features(tuned, x), model.features(variables, x))


def test_drift_moves_the_statistics_and_nothing_else_of_the_backbone(source):
    _, variables = source
    _, tuned = tune(source, method="last_layer", batch_norm_drift=True)
    assert bits(tuned["params"]["backbone"]) == bits(variables["params"]["backbone"])
    moved = jax.tree.map(
        lambda a, b: bool(np.any(np.asarray(a) != np.asarray(b))),
        tuned["batch_stats"],
        variables["batch_stats"],
    )
    assert all(jax.tree.leaves(moved))


@pytest.mark.parametrize("drift", [False, True])
@pytest.mark.parametrize("method", fine_tuning.METHODS)
def test_which_transfers_keep_the_backbone_is_said(source, method, drift):
    if drift and method != "last_layer":
        with pytest.raises(ValueError, match="batch_norm_drift"):
            tune(source, method=method, batch_norm_drift=drift)
        return
    model, variables = source
    new_model, tuned = tune(source, method=method, batch_norm_drift=drift)
    x = TARGET.pixels()
    same = bits(new_model.features(tuned, x)) == bits(model.features(variables, x))
    assert same == fine_tuning.keeps_backbone(method, batch_norm_drift=drift)


def test_drift_is_nothing_without_batch_norm(mlp_source):
    still, drifting = (tune(mlp_source, batch_norm_drift=drift)[1] for drift in (False, True))
    assert bits(still) == bits(drifting)


def test_head_on_features_equals_head_on_images(mlp_source):
    """An augmentation that does nothing takes the other route to the same head."""
    _, on_features = tune(mlp_source)
    _, on_images = tune(mlp_source, augment=lambda images, key: images)
    # 9 steps of SGD, whose features were computed in batches of another size.
    np.testing.assert_allclose(
        on_features["params"]["head"]["kernel"],
        on_images["params"]["head"]["kernel"],
        rtol=1e-4,
        atol=1e-5,
    )


def test_all_moves_every_parameter(source):
    _, variables = source
    new_model, tuned = tune(source, method="all")
    moved = jax.tree.map(
        lambda a, b: bool(np.any(np.asarray(a) != np.asarray(b))),
        (tuned["params"]["backbone"], tuned["batch_stats"]),
        (variables["params"]["backbone"], variables["batch_stats"]),
    )
    assert all(jax.tree.leaves(moved))
    assert new_model.apply(tuned, TARGET.pixels()).shape == (60, 3)


@pytest.mark.parametrize("method", ["last_layer", "all", "closed_form"])
def test_learns_and_is_deterministic(mlp_source, method):
    config = TrainConfig(epochs=20, batch_size=16, learning_rate=0.05)
    model, tuned = tune(mlp_source, method=method, config=config)
    held_out = blobs(60, num_classes=3, prototypes=1, noise=20, seed=1)
    assert evaluation.evaluate(model, tuned, held_out).accuracy > 0.9
    assert bits(tune(mlp_source, method=method, config=config)[1]) == bits(tuned)


@pytest.mark.parametrize(
    "route",
    [
        {},
        {"augment": AUGMENT},
        {"batch_norm_drift": True},
        {"method": "all"},
    ],
    ids=lambda route: next(iter(route), "plain"),
)
def test_transfer_goes_on_from_a_state_bit_for_bit(source, route):
    states = {}

    def keep(state):
        states[int(state.step)] = jax.tree.map(jnp.copy, state)

    whole = tune(source, **route, on_step=keep)[1]
    middle = sorted(states)[len(states) // 2]
    seen = []
    rest = tune(
        source,
        **route,
        restore=lambda _: states[middle],
        on_step=lambda state: seen.append(int(state.step)),
    )[1]
    assert bits(rest) == bits(whole)
    assert seen == [step for step in sorted(states) if step > middle]


@pytest.mark.parametrize("augment", [None, AUGMENT])
def test_other_key_other_head(source, augment):
    one, two = (tune(source, augment=augment, key=jax.random.key(k))[1] for k in (1, 2))
    assert bits(one) != bits(two)


def independent_ridge(f, labels, num_classes, ridge):
    """The same minimiser as one augmented least-squares problem, in float64.

    Rows sqrt(1/N) [f_i, 1] -> sqrt(1/N) y_i and sqrt(ridge s) [e_j, 0] -> 0.
    """
    n, width = f.shape
    f = f.astype(np.float64)
    scale = np.mean(np.var(f, axis=0))
    top = np.hstack([f, np.ones((n, 1))]) / np.sqrt(n)
    bottom = np.hstack([np.eye(width), np.zeros((width, 1))]) * np.sqrt(ridge * scale)
    one_hot = (labels[:, None] == np.arange(num_classes)) / np.sqrt(n)
    targets = np.vstack([one_hot, np.zeros((width, num_classes))])
    solution = np.linalg.lstsq(np.vstack([top, bottom]), targets, rcond=None)[0]
    return solution[:-1], solution[-1]


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 0.5])
def test_closed_form_equals_independent_least_squares(ridge):
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((6, 6))
    f = (rng.standard_normal((50, 6)) @ mixing + 3.0).astype(np.float32)
    labels = rng.integers(4, size=50)
    kernel, bias = fine_tuning.ridge_head(f, labels, num_classes=4, ridge=ridge)
    expected = independent_ridge(f, labels, 4, ridge)
    np.testing.assert_allclose(kernel, expected[0], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(bias, expected[1], rtol=1e-8, atol=1e-10)
    again = fine_tuning.ridge_head(1024 * f, labels, num_classes=4, ridge=ridge)
    np.testing.assert_allclose(1024 * again[0], kernel, rtol=1e-8, atol=1e-10)


def test_closed_form_head_of_a_model(source):
    model, variables = source
    _, tuned = tune(source, method="closed_form", ridge=0.1, config=None, key=None)
    f = np.asarray(model.features(variables, TARGET.pixels()))
    kernel, bias = independent_ridge(f, TARGET.labels, 3, 0.1)
    # The features of two programs differ in float32's last bits.
    np.testing.assert_allclose(tuned["params"]["head"]["kernel"], kernel, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tuned["params"]["head"]["bias"], bias, rtol=1e-4, atol=1e-5)


def test_closed_form_of_constant_features_predicts_the_frequencies():
    labels = np.array([0, 0, 0, 1])
    kernel, bias = fine_tuning.ridge_head(np.ones((4, 5)), labels, num_classes=3, ridge=0.1)
    np.testing.assert_allclose(kernel, 0, atol=1e-12)
    np.testing.assert_allclose(bias, [0.75, 0.25, 0.0], atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"method": "last"}, ValueError, r"method='last' .*last_layer, all, closed_form"),
        ({"num_classes": 0}, ValueError, r"num_classes=0"),
        ({"num_classes": 2}, ValueError, r"train has labels from 0 to 2; 0 to 1 are accepted"),
        ({"method": "all", "batch_norm_drift": True}, ValueError, r"batch_norm_drift=True"),
        ({"method": "closed_form", "batch_norm_drift": True}, ValueError, r"batch_norm_drift=True"),
        ({"method": "closed_form", "augment": AUGMENT}, ValueError, r"augment must be None"),
        ({"method": "closed_form", "ridge": -1.0}, ValueError, r"ridge=-1\.0 .* >= 0"),
        ({"config": None}, TypeError, r"config=None must be a TrainConfig"),
        ({"key": None}, TypeError, r"key=None"),
        ({"key": 3}, TypeError, r"key=3 must be a JAX key"),
        ({"augment": "flip"}, TypeError, r"augment='flip'"),
        ({"progress_steps": 0}, ValueError, r"progress_steps=0"),
    ],
)
def test_hostile_settings_are_named(source, settings, error, message):
    with pytest.raises(error, match=message):
        tune(source, **settings)


def test_diverged_source_is_refused(source):
    model, variables = source
    broken = jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), variables)
    with pytest.raises(FloatingPointError, match="features of 60 of 60 examples"):
        tune((model, broken))


def test_progress_per_epoch(source):
    events = []
    tune(source, progress=events.append)
    assert [(e["kind"], e["epoch"], e["epochs"]) for e in events] == [
        ("epoch", i, 3) for i in (1, 2, 3)
    ]
