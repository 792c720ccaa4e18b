"""Small data sets that a small network can learn, and variables that cost no compilation."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from advknow.data import Dataset


def blobs(n, *, shape=(8, 8, 1), num_classes=3, seed=0, noise=40, name="blobs", prototypes=0):
    """n images of four noisy squares, others for each class; the same for equal `prototypes`."""
    height, width, channels = shape
    squares = np.random.default_rng(prototypes).uniform(40, 215, (num_classes, 2, 2, channels))
    rows, columns = (np.arange(side) * 2 // side for side in (height, width))
    centres = squares[:, rows][:, :, columns]
    rng = np.random.default_rng(1000 + seed)
    labels = rng.integers(num_classes, size=n).astype(np.int32)
    labels[: min(n, num_classes)] = np.arange(min(n, num_classes))
    images = centres[labels] + noise * rng.standard_normal((n, *shape))
    return Dataset(
        images=np.clip(np.round(images), 0, 255).astype(np.uint8),
        labels=labels,
        class_names=tuple(f"class {i}" for i in range(num_classes)),
        ids=np.array([f"{name}/{seed}/{i}" for i in range(n)]),
    )


def random_variables(model, seed=0):
    """Variables as after a training: no zero, no one, variances positive."""
    rng = np.random.default_rng(seed)
    variables = model.shapes()

    def draw(path, leaf):
        normal = rng.standard_normal(leaf.shape)
        if leaf.ndim > 1:
            value = normal * (2 / math.prod(leaf.shape[:-1])) ** 0.5
        else:
            value = 0.1 * normal + ("scale" in str(path[-1]))
        return jnp.asarray(value, leaf.dtype)

    drawn = {"params": jax.tree_util.tree_map_with_path(draw, variables["params"])}
    if "batch_stats" in variables:
        # Means about 0: with all of them positive, every unit of a ResNet would be dead.
        drawn["batch_stats"] = jax.tree_util.tree_map_with_path(
            lambda path, leaf: jnp.asarray(
                rng.uniform(0.5, 1.5, leaf.shape) - ("mean" in str(path[-1])), leaf.dtype
            ),
            variables["batch_stats"],
        )
    return drawn
