"""The five architectures at sizes that compile within seconds, with variables full of life."""

import jax
from blobs import random_variables

from advknow import models

# Odd sizes, one and three channels, and widths that compile within seconds.
SMALL = {
    "mlp": ((5, 7, 1), 0.1),
    "lenet": ((17, 19, 1), 0.3),
    "alexnet": ((29, 33, 3), 1 / 32),
    "resnet18": ((7, 9, 3), 1 / 16),
    "resnet50": ((7, 9, 1), 1 / 16),
}
NAMES = tuple(SMALL)
RESNETS = ("resnet18", "resnet50")


def small(name, num_classes=3):
    shape, width = SMALL[name]
    return models.create(name, num_classes=num_classes, input_shape=shape, width=width)


def living_variables(model, seed=0):
    """Random ones, running means about 0: a mean of 1 leaves a ReLU nothing to pass on."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf - 1 if "mean" in str(path[-1]) else leaf,
        random_variables(model, seed),
    )
