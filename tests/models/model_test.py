"""The five architectures against NumPy, and what a Model promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from architectures import ORACLES
from small_models import NAMES, RESNETS, living_variables, small

from advknow import models
from advknow.models import initial


@functools.cache
def example(name):
    """Model, variables, five images of random pixels, and (features, logits) compiled."""
    model = small(name)
    x = np.random.default_rng(0).uniform(size=(5, *model.input_shape)).astype(np.float32)
    run = jax.jit(lambda v, x: (model.features(v, x), model.apply(v, x)))
    return model, living_variables(model), x, run


def in_float64(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def close(actual, expected, tolerance=1e-4):
    """Within `tolerance` of the largest expected number, which float32 layers keep at 1e-5."""
    assert np.shape(actual) == np.shape(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def abstract_variables(model):
    return model.shapes()


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_mode_equals_numpy(name):
    model, variables, x, run = example(name)
    expected_features, expected, _ = ORACLES[name](in_float64(variables), x)
    features, logits = run(variables, x)
    assert features.shape == (5, model.feature_dim)
    assert features.dtype == logits.dtype == jnp.float32
    assert expected.std(axis=0).min() > 1e-2
    assert expected_features.std(axis=0).max() > 1e-2
    close(features, expected_features)
    close(logits, expected)
    np.testing.assert_allclose(model.head(variables, features), logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_each_row_is_on_its_own(name):
    _, variables, x, run = example(name)
    logits = run(variables, x)[1]
    for i in range(len(x)):
        close(run(variables, x[i : i + 1])[1][0], logits[i], 1e-5)
    # Neighbours far from the batch's mean would show in any statistic of the batch.
    among_others = np.concatenate([x[:1], np.zeros_like(x[:2]), np.ones_like(x[:2])])
    close(run(variables, among_others)[1][0], logits[0], 1e-5)
    order = np.array([3, 0, 4, 1, 2])
    close(run(variables, x[order])[1], np.asarray(logits)[order], 1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_input_derivatives(name):
    model, variables, x, _ = example(name)
    rng = np.random.default_rng(1)
    direction = rng.standard_normal(x.shape).astype(np.float32)
    weights = rng.standard_normal((5, 3)).astype(np.float32)
    weights[2] = 0

    @jax.jit
    def derivatives(x, direction, weights):
        f = model.bind(variables)
        return jax.jvp(f, (x,), (direction,))[1], jax.vjp(f, x)[1](weights)[0]

    forward, backward = derivatives(x, direction, weights)
    oracle = functools.partial(ORACLES[name], in_float64(variables))
    # In float64 a step of 1e-6 meets a kink of a ReLU only by rare accident.
    step = 1e-6 * direction.astype(np.float64)
    expected = (oracle(x + step)[1] - oracle(x - step)[1]) / 2e-6
    # 1e-3: float32 may choose the other of two nearly equal numbers in a pool or at a ReLU.
    close(forward, expected, 1e-3)
    pulled = (np.asarray(backward) * direction).sum(axis=(1, 2, 3))
    close(pulled, (weights * expected).sum(axis=1), 1e-3)
    assert not np.asarray(backward[2]).any()
    assert all(np.asarray(backward[i]).any() for i in (0, 1, 3, 4))


@pytest.mark.parametrize("name", NAMES)
def test_training_mode(name):
    model, variables, x, run = example(name)
    before = in_float64(variables)
    features, (logits, batch_stats), again = jax.jit(
        lambda v, x: (model.features_train(v, x)[0], model.apply_train(v, x), model.apply(v, x))
    )(variables, x)
    jax.tree.map(np.testing.assert_array_equal, in_float64(variables), before)
    expected_features, expected, expected_stats = ORACLES[name](before, x, train=True)
    # 1e-3: sums of squares minus a squared mean, in float32, over as few as ten numbers.
    close(features, expected_features, 1e-3)
    close(logits, expected, 1e-3)
    close(again, run(variables, x)[1], 1e-5)
    if name not in RESNETS:
        assert batch_stats == {}
        return
    jax.tree.map(functools.partial(close, tolerance=1e-3), batch_stats, expected_stats)
    for old, new in zip(
        jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(batch_stats), strict=True
    ):
        assert (np.asarray(old) != np.asarray(new)).any()
    moved = run({**variables, "batch_stats": batch_stats}, x)[1]
    assert np.abs(np.asarray(moved) - run(variables, x)[1]).max() > 1e-3
    assert np.abs(np.asarray(logits) - run(variables, x)[1]).max() > 1e-3


@pytest.mark.parametrize("method", ["apply", "features", "apply_train", "features_train"])
def test_inputs_of_another_shape_or_type_are_refused(method):
    model, variables, x, _ = example("mlp")
    call = functools.partial(getattr(model, method), variables)
    for wrong in (x[0], x[..., 0], x[:, :, :6], np.repeat(x, 3, axis=-1), np.swapaxes(x, 1, 2)):
        with pytest.raises(ValueError, match=r"x has shape .*mlp takes \(batch, 5, 7, 1\)") as info:
            call(wrong)
        assert str(wrong.shape) in str(info.value)
    with pytest.raises(TypeError, match="dtype uint8; an array of float pixels"):
        call((255 * x).astype(np.uint8))
    with pytest.raises(TypeError, match="x is a list"):
        call(x.tolist())


def test_an_empty_batch_gives_no_rows():
    model, variables, x, _ = example("mlp")
    assert model.apply(variables, x[:0]).shape == (0, 3)


def test_equal_arguments_give_the_identical_model():
    model = models.create("resnet18", num_classes=4, width=1)
    same = models.create("resnet18", num_classes=4, input_shape=[32, 32, 3], width=1.0)
    assert model is same
    assert model.replace_classes(4) is model
    assert (model.name, model.num_classes, model.width) == ("resnet18", 4, 1.0)
    others = [
        models.create("resnet50", num_classes=4),
        models.create("resnet18", num_classes=4, width=0.5),
        models.create("resnet18", num_classes=4, input_shape=(32, 32, 1)),
        model.replace_classes(7),
    ]
    assert len({model, same, *others}) == 5
    assert others[-1] is models.create("resnet18", num_classes=7)
    with pytest.raises(ValueError, match="num_classes=0"):
        model.replace_classes(0)


def test_bind_shares_one_program_and_passes_through_jax():
    model, one, x, _ = example("mlp")
    two = living_variables(model, seed=1)
    traces = 0

    @jax.jit
    def total(f, x):
        nonlocal traces
        traces += 1
        return f(x).sum()

    for variables in (one, two, one):
        np.testing.assert_allclose(
            total(model.bind(variables), x), model.apply(variables, x).sum(), rtol=1e-5
        )
    # An equal model made anew is the same function too.
    total(small("mlp").bind(two), x)
    assert traces == 1
    f = model.bind(one)
    leaves = zip(jax.tree.leaves(f), jax.tree.leaves(one), strict=True)
    assert all(mine is theirs for mine, theirs in leaves)
    halved = jax.tree.map(lambda leaf: leaf / 2, f)
    assert not np.allclose(halved(x), f(x))
    gradient = jax.grad(total)(f, x)
    np.testing.assert_allclose(gradient.args[0]["params"]["head"]["bias"], [5, 5, 5], rtol=1e-6)


def test_another_head_on_the_same_backbone():
    model, variables, x, _ = example("mlp")
    wider = model.replace_classes(5)
    assert wider.feature_dim == model.feature_dim == 8
    kernel, bias = np.full((8, 5), 2.0, np.float32), np.arange(5, dtype=np.float32)
    replaced = wider.with_head(variables, kernel, bias)
    features = model.features(variables, x)
    expected = 2 * np.asarray(features).sum(axis=1, keepdims=True) + bias
    np.testing.assert_allclose(wider.apply(replaced, x), expected, rtol=1e-5)
    assert variables["params"]["head"]["kernel"].shape == (8, 3)
    assert replaced["params"]["backbone"] is variables["params"]["backbone"]
    resnet = small("resnet18")
    stats = abstract_variables(resnet)
    assert resnet.with_head(stats, kernel, bias)["batch_stats"] is stats["batch_stats"]


@pytest.mark.parametrize("name", [*NAMES[:4], pytest.param("resnet50", marks=pytest.mark.slow)])
def test_initial_variables(name):
    model, drawn, x, run = example(name)
    first, again, other = (model.init(jax.random.key(seed)) for seed in (0, 0, 1))
    assert jax.tree.structure(first) == jax.tree.structure(drawn)
    assert set(first["params"]) == {"backbone", "head"}
    assert ("batch_stats" in first) == (name in RESNETS)
    assert first["params"]["head"]["kernel"].shape == (model.feature_dim, 3)
    assert not np.asarray(first["params"]["head"]["bias"]).any()
    assert {leaf.dtype for leaf in jax.tree.leaves(first)} == {jnp.dtype(jnp.float32)}
    assert sum(leaf.size for leaf in jax.tree.leaves(first["params"])) == model.num_params()
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert (first["params"]["head"]["kernel"] != other["params"]["head"]["kernel"]).all()
    for path, leaf in jax.tree_util.tree_leaves_with_path(first.get("batch_stats", {})):
        assert (np.asarray(leaf) == ("var" in str(path[-1]))).all()
    for variables in (first, other):
        logits = np.asarray(run(variables, x)[1])
        assert np.isfinite(logits).all()
        assert 0.05 < logits.std() < 20


@pytest.mark.parametrize("name", [*NAMES[:4], pytest.param("resnet50", marks=pytest.mark.slow)])
def test_initial_variables_are_those_of_the_modules_initializers(name):
    """Constants equal flax's; kernels have its distribution: He's, cut at two deviations."""
    model = small(name)
    spec = jnp.zeros((1, *model.input_shape))
    theirs = jax.jit(lambda key: model.backbone.init(key, spec, train=False))(
        jax.random.key(0, impl="unsafe_rbg")
    )
    ours = model.init(jax.random.key(0))
    ours = {**ours, "params": ours["params"]["backbone"]}
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)

    def compare(path, mine, other):
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
        if path[-1].key != "kernel":
            np.testing.assert_array_equal(mine, other)
            return
        deviation = np.sqrt(2 / np.prod(mine.shape[:-1]))
        mine, n = np.asarray(mine, np.float64), mine.size
        assert abs(mine.mean()) < 5 * deviation / n**0.5
        # The variance of a cut normal's squares: below that of an uncut one's, 2.
        assert abs((mine**2).mean() / deviation**2 - 1) < 5 * (2 / n) ** 0.5
        assert np.abs(mine).max() <= 2 * deviation / 0.879

    jax.tree_util.tree_map_with_path(compare, ours, theirs)


def test_initial_numbers_are_scipys_truncated_normal():
    drawn = initial.truncated_normal(jax.random.key(3), "a/kernel", (200, 101), deviation=2.0)
    scale = 2.0 / initial.DEVIATION_OF_CUT
    law = scipy.stats.truncnorm(-2, 2, scale=scale)
    assert scipy.stats.kstest(drawn.ravel(), law.cdf).pvalue > 0.01
    assert law.std() == pytest.approx(2.0, rel=1e-6)
    assert drawn.dtype == np.float32


@pytest.mark.parametrize("other", ["key", "path", "kind of key", "order"])
def test_initial_numbers_depend_on_key_and_path_alone(other):
    draw = functools.partial(initial.truncated_normal, shape=(40, 3), deviation=1.0)
    first = draw(jax.random.key(0), "a")
    if other == "order":
        draw(jax.random.key(9), "b")
        np.testing.assert_array_equal(first, draw(jax.random.key(0), "a"))
        return
    second = {
        "key": lambda: draw(jax.random.key(1), "a"),
        "path": lambda: draw(jax.random.key(0), "b"),
        "kind of key": lambda: draw(jax.random.key(0, impl="rbg"), "a"),
    }[other]()
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.4


def test_init_compiles_nothing_and_names_a_traced_key():
    model = small("resnet18")
    programs = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **about: programs.append(event)
    )
    key = jax.random.key(0)
    before = sum("backend_compile" in event for event in programs)
    model.init(key)
    assert sum("backend_compile" in event for event in programs) == before
    with pytest.raises(TypeError, match="key is traced: .*outside jax.jit, or take shapes"):
        jax.jit(model.init)(key)
    assert jax.tree.map(lambda a: a.shape, model.init(key)) == jax.tree.map(
        lambda a: a.shape, model.shapes()
    )


def test_shapes_are_the_callers_to_change():
    model = models.create("lenet", num_classes=3)
    first = model.shapes()
    del first["params"]["head"], first["params"]["backbone"]
    assert jax.tree.structure(model.shapes()) == jax.tree.structure(model.init(jax.random.key(0)))
