"""Images of one size to another."""

import jax
import numpy as np


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """(N, H, W, C) uint8 to (N, size, size, C): bilinear, anti-aliased where it shrinks."""
    if images.shape[1:3] == (size, size):
        return images
    resized = []
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        for start in range(0, len(images), 1024):
            part = images[start : start + 1024].astype(np.float32)
            shape = (len(part), size, size, images.shape[-1])
            resized.append(np.asarray(jax.image.resize(part, shape, "linear", antialias=True)))
    return np.clip(np.rint(np.concatenate(resized)), 0, 255).astype(np.uint8)


def pad_or_resize(images: np.ndarray, size: int) -> np.ndarray:
    """Zero margins where they make up the difference of a few pixels, as LeNet took 28 x 28 digits
    to 32 x 32; otherwise `resize`.
    """
    height, width = images.shape[1:3]
    if height == width and 0 < size - height <= 4:
        before = (size - height) // 2
        after = size - height - before
        return np.pad(images, ((0, 0), (before, after), (before, after), (0, 0)))
    return resize(images, size)
