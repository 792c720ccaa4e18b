"""LeNet-5 for 32 x 32 images (LeCun et al. 1998) with ReLU and max pooling."""

import flax.linen as nn

from advknow.models.layers import conv, dense, flatten, max_pool, relu, scaled
from advknow.typing import Array


class LeNet(nn.Module):
    """conv 6 @ 5x5, pool, conv 16 @ 5x5, pool, 120, 84; sizes times `width`."""

    width: float = 1.0
    least_size: int = 16

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        # ReLU of the maximum is the maximum of the ReLUs, of a quarter of the numbers.
        x = relu(max_pool(conv(scaled(6, self.width), 5)(x)))
        x = relu(max_pool(conv(scaled(16, self.width), 5)(x)))
        x = flatten(x)
        x = relu(dense(scaled(120, self.width))(x))
        return relu(dense(scaled(84, self.width))(x))
