"""The five architectures of the poster, by name; the only package that imports flax.

model = models.create("resnet18", num_classes=10, input_shape=(32, 32, 3), width=1.0)
variables = model.init(jax.random.key(0))
f = model.bind(variables)          # x -> logits, what attacks and metrics take
"""

import functools
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn

from advknow import validate
from advknow.models.alexnet import AlexNet
from advknow.models.lenet import LeNet
from advknow.models.mlp import MLP
from advknow.models.model import Model, Variables
from advknow.models.resnet import BasicBlock, Bottleneck, ResNet

__all__ = ["MODELS", "Model", "Variables", "create"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "lenet": LeNet,
    "alexnet": AlexNet,
    "resnet18": functools.partial(ResNet, BasicBlock, (2, 2, 2, 2)),
    "resnet50": functools.partial(ResNet, Bottleneck, (3, 4, 6, 3)),
}


@functools.cache
def _create(name: str, num_classes: int, input_shape: tuple[int, int, int], width: float) -> Model:
    return Model(name, num_classes, input_shape, width, MODELS[name](width=width))


def create(
    name: str,
    *,
    num_classes: int,
    input_shape: tuple[int, ...] = (32, 32, 3),
    width: float = 1.0,
) -> Model:
    """The model of that architecture and size; equal arguments give the identical object.

    Args:
      name: "mlp", "lenet", "alexnet", "resnet18" or "resnet50".
      num_classes: outputs, >= 1.
      input_shape: (H, W, C), one or three channels, any size that the architecture allows.
      width: multiplier of the hidden sizes, > 0; 1 is the poster's size.

    Raises:
      ValueError, TypeError: an argument that is not accepted, by name; for a too small input, the
        least size.
    """
    validate.choice("model", name, MODELS)
    validate.integer("num_classes", num_classes, minimum=1)
    validate.number("width", width, above=0.0)
    if not isinstance(input_shape, (tuple, list)):
        raise TypeError(f"input_shape={input_shape!r} must be (height, width, channels).")
    shape = tuple(input_shape)
    if len(shape) != 3:
        raise ValueError(f"input_shape={input_shape} must be (height, width, channels).")
    for size in shape:
        validate.integer("input_shape", size, minimum=1)
    if shape[2] not in (1, 3):
        raise ValueError(f"input_shape={input_shape} has {shape[2]} channels; 1 or 3 are accepted.")
    least = cast(Any, MODELS[name](width=float(width))).least_size
    if min(shape[:2]) < least:
        raise ValueError(
            f"input_shape={input_shape} is too small for {name}; height and width >= {least} are "
            "accepted."
        )
    height, breadth, channels = (int(size) for size in shape)
    return _create(name, int(num_classes), (height, breadth, channels), float(width))
