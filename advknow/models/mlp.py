"""The poster's MLP: 3072-1176-400-120-84-k, ReLU between (theory.md section 6)."""

import flax.linen as nn

from advknow.models.layers import dense, flatten, relu, scaled
from advknow.typing import Array


class MLP(nn.Module):
    """Hidden layers of sizes 1176, 400, 120 and 84 times `width`; any input size."""

    width: float = 1.0
    least_size: int = 1

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = flatten(x)
        for size in (1176, 400, 120, 84):
            x = relu(dense(scaled(size, self.width))(x))
        return x
