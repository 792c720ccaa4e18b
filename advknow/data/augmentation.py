"""Random crop and flip, each example by its own key (theory.md section 6)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from advknow import validate
from advknow.passes import keys
from advknow.typing import Array


def augment(*, random_crop: int = 4, flip: bool = True) -> Callable[[Array, Array], Array]:
    """A function (images, key) -> images that shifts and mirrors each example at random.

    Args:
      random_crop: zeros padded on every side before a window of the old size is cut out, uniformly
        among the (2 * random_crop + 1)^2; 0 for none.
      flip: mirror left and right with probability 1/2.

    Returns:
      augmented(images, key): images (B, H, W, C) float, key one key (example i gets
      `fold_in(key, i)`) or one per example; pure, may be jitted.

    Raises:
      ValueError, TypeError: random_crop is no integer >= 0.
    """
    validate.integer("random_crop", random_crop, minimum=0)

    def of_one(image: Array, key: Array) -> Array:
        key_crop, key_flip = jax.random.split(key)
        if random_crop:
            height, width, channels = image.shape
            pad = (random_crop, random_crop)
            padded = jnp.pad(image, (pad, pad, (0, 0)))
            top, left = jax.random.randint(key_crop, (2,), 0, 2 * random_crop + 1)
            image = jax.lax.dynamic_slice(padded, (top, left, 0), (height, width, channels))
        if flip:
            image = jnp.where(jax.random.bernoulli(key_flip), image[:, ::-1], image)
        return image

    def augmented(images: Array, key: Array) -> Array:
        return jax.vmap(of_one)(images, keys.per_example(key, images.shape[0]))

    return augmented
