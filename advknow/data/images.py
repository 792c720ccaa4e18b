"""Images of one size, depth or number of channels to another."""

import jax
import numpy as np
from PIL import Image


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


def resize_one(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, C) uint8 to (height, width, C) as `resize` does, by Pillow: no program a shape."""
    if image.shape[:2] == (height, width):
        return image
    flat = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    resized = np.asarray(flat.resize((width, height), Image.Resampling.BILINEAR))
    return resized.reshape(height, width, image.shape[-1])


def eight_bits(image: np.ndarray) -> np.ndarray:
    """Integers of 16 bits to uint8, white to white; uint8 as it is."""
    if image.dtype == np.uint8:
        return image
    return np.rint(np.clip(image, 0, 65535) / 257).astype(np.uint8)


def over_white(images: np.ndarray) -> np.ndarray:
    """(..., 4) uint8, colour and opacity, to (..., 3): what is seen before a white ground."""
    colour, opacity = images[..., :3].astype(np.float32), images[..., 3:] / np.float32(255)
    return np.rint(colour * opacity + 255 * (1 - opacity)).astype(np.uint8)


def is_grey(image: np.ndarray) -> bool:
    """Whether every pixel of (..., 1 or 3) has equal channels."""
    return bool((image[..., :1] == image).all())


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """(..., 1 or 3) as 3 channels, or as 1 where `is_grey`."""
    if channels == 1:
        return image[..., :1]
    return image if image.shape[-1] == channels else np.repeat(image, channels, axis=-1)
