"""Small data sets that a small network can learn: four noisy squares, other ones for each class."""

import numpy as np

from advknow.data import Dataset


def blobs(n, *, shape=(8, 8, 1), num_classes=3, seed=0, noise=40, name="blobs", prototypes=0):
    """n images; sets of equal `prototypes` share the classes' prototypes."""
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
