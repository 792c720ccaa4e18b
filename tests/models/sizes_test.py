"""Sizes of the five architectures, counted by hand, and the arguments that create refuses."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advknow import models
from advknow.models.layers import scaled

LEAST = {"mlp": 1, "lenet": 16, "alexnet": 29, "resnet18": 1, "resnet50": 1}


def logits_shape(model):
    x = jax.ShapeDtypeStruct((2, *model.input_shape), jnp.float32)
    return jax.eval_shape(model.apply, model.shapes(), x).shape


def _conv(kernel, channels, features, bias=0):
    return kernel * kernel * channels * features + bias * features


def _basic(channels, features, projection):
    # Two 3x3 convolutions and two batch norms (scale and bias: 2 a channel).
    count = _conv(3, channels, features) + _conv(3, features, features) + 4 * features
    return count + (channels * features + 2 * features if projection else 0)


def _bottleneck(channels, features, projection):
    count = channels * features + _conv(3, features, features) + 4 * features * features
    count += 2 * features + 2 * features + 2 * 4 * features
    return count + (channels * 4 * features + 8 * features if projection else 0)


def _resnet(block, expansion, stages, channels):
    count, width = _conv(3, channels, 64) + 2 * 64, 64
    for stage, blocks in enumerate(stages):
        features = 64 * 2**stage
        for i in range(blocks):
            count += block(width, features, i == 0 and width != expansion * features)
            width = expansion * features
    return count + (width + 1) * 10


def by_hand(name, channels):
    """Weights and biases at width 1 on 32 x 32 with ten classes."""
    if name == "mlp":
        sizes = (32 * 32 * channels, 1176, 400, 120, 84, 10)
        return sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    if name == "lenet":
        # 32 -5x5-> 28 -pool-> 14 -5x5-> 10 -pool-> 5
        convolutions = _conv(5, channels, 6, 1) + _conv(5, 6, 16, 1)
        return convolutions + (16 * 5 * 5 + 1) * 120 + 121 * 84 + 85 * 10
    if name == "alexnet":
        # 32 -11x11/4-> 8 -pool-> 4 -pool-> 2 -pool-> 1: 256 features
        first = _conv(11, channels, 64, 1) + _conv(5, 64, 192, 1) + _conv(3, 192, 384, 1)
        return first + _conv(3, 384, 256, 1) + _conv(3, 256, 256, 1) + 257 * 10
    block = (_basic, 1, (2, 2, 2, 2)) if name == "resnet18" else (_bottleneck, 4, (3, 4, 6, 3))
    return _resnet(*block, channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "published", "features"),
    [
        ("mlp", 4_143_782, 84),
        ("lenet", 62_006, 84),
        ("alexnet", 2_472_266, 256),
        ("resnet18", 11_173_962, 512),
        ("resnet50", 23_520_842, 2048),
    ],
)
def test_sizes_of_the_poster(name, published, features, channels):
    assert by_hand(name, 3) == published
    model = models.create(name, num_classes=10, input_shape=(32, 32, channels))
    assert model.num_params() == by_hand(name, channels)
    assert model.feature_dim == features
    assert logits_shape(model) == (2, 10)


def test_width_rounds_and_stays_at_least_one():
    assert [scaled(6, w) for w in (1.0, 0.25, 0.001, 2.0)] == [6, 2, 1, 12]
    model = models.create("mlp", num_classes=4, input_shape=(2, 3, 1), width=0.25)
    # 6-294-100-30-21-4
    assert model.num_params() == 7 * 294 + 295 * 100 + 101 * 30 + 31 * 21 + 22 * 4
    for name, features in zip(LEAST, (1, 1, 1, 1, 4), strict=True):
        thin = models.create(name, num_classes=2, width=1e-3)
        assert thin.feature_dim == features
        assert logits_shape(thin) == (2, 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", LEAST)
def test_least_and_odd_sizes(name, channels):
    least = LEAST[name]
    accepted = (least, least + 7) if channels == 1 else (33, 45)
    model = models.create(
        name, num_classes=1, input_shape=(*accepted, channels), width=np.float32(0.1)
    )
    assert logits_shape(model) == (2, 1)
    if least > 1:
        for shape in [(least - 1, 64), (64, least - 1)]:
            with pytest.raises(ValueError, match=f"input_shape=.*too small for {name}.*{least}"):
                models.create(name, num_classes=2, input_shape=(*shape, channels))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": "resnet19"}, ValueError, "'resnet19' is not known; accepted: mlp.*'resnet18'"),
        ({"name": None}, ValueError, "None is not known; accepted: mlp"),
        ({"num_classes": 0}, ValueError, "num_classes=0 must be .* >= 1"),
        ({"num_classes": -3}, ValueError, "num_classes=-3 must be .* >= 1"),
        ({"num_classes": 2.0}, TypeError, "num_classes=2.0 .*integer"),
        ({"width": 0}, ValueError, "width=0 must be .* > 0"),
        ({"width": -0.5}, ValueError, "width=-0.5 must be .* > 0"),
        ({"width": float("nan")}, ValueError, "width=nan must be a finite number"),
        ({"width": "1"}, TypeError, "width='1' .*number"),
        ({"input_shape": (32, 32)}, ValueError, r"input_shape=\(32, 32\) must be \(height"),
        ({"input_shape": 32}, TypeError, r"input_shape=32 must be \(height"),
        ({"input_shape": (32, 32, 2)}, ValueError, "2 channels; 1 or 3 are accepted"),
        ({"input_shape": (0, 32, 3)}, ValueError, "input_shape=0 must be .* >= 1"),
        ({"input_shape": (32.0, 32, 3)}, TypeError, "input_shape=32.0 .*integer"),
    ],
)
def test_create_refuses(changes, error, message):
    arguments = {"name": "mlp", "num_classes": 3, **changes}
    with pytest.raises(error, match=message):
        models.create(**arguments)
