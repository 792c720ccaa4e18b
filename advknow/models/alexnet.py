"""AlexNet in its CIFAR form: five convolutions and one linear layer (theory.md section 6)."""

import flax.linen as nn

from advknow.models.layers import conv, flatten, max_pool, relu, scaled
from advknow.typing import Array


class AlexNet(nn.Module):
    """conv 64 @ 11x11 / 4, pool, 192 @ 5x5, pool, 384, 256, 256 @ 3x3, pool; times `width`."""

    width: float = 1.0
    least_size: int = 29

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = max_pool(relu(conv(scaled(64, self.width), 11, stride=4, padding=5)(x)))
        x = max_pool(relu(conv(scaled(192, self.width), 5, padding=2)(x)))
        for size in (384, 256, 256):
            x = relu(conv(scaled(size, self.width), 3, padding=1)(x))
        return flatten(max_pool(x))
