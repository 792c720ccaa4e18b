"""ResNet18 and ResNet50 in their CIFAR form: a 3x3 stem of stride 1 (He et al. 2016)."""

import flax.linen as nn
import jax

from advknow.models.batch_norm import BatchNorm
from advknow.models.layers import conv, global_mean, pointwise, relu, scaled
from advknow.typing import Array


def _last_batch_norm() -> BatchNorm:
    # Scale 0: a new block is the identity, so that 50 layers keep their scale (Goyal et al. 2017).
    return BatchNorm(scale_init=nn.initializers.zeros)


class _Block(nn.Module):
    """Of a block: the features of its 3x3 convolutions, and the stride of the first of them."""

    features: int
    stride: int


class BasicBlock(_Block):
    """Two 3x3 convolutions beside the identity, or beside a 1x1 projection where shapes change."""

    expansion = 1
    last_norm = "BatchNorm_1"

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        y = conv(self.features, 3, stride=self.stride, padding=1, use_bias=False)(x)
        y = relu(BatchNorm()(y, train))
        y = conv(self.features, 3, padding=1, use_bias=False)(y)
        return _joined(self, x, _last_batch_norm()(y, train), train)


class Bottleneck(_Block):
    """1x1, 3x3 and 1x1 convolutions to four times the features, beside identity or projection."""

    expansion = 4
    last_norm = "BatchNorm_2"

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        y = pointwise(self.features)(x)
        y = relu(BatchNorm()(y, train))
        y = conv(self.features, 3, stride=self.stride, padding=1, use_bias=False)(y)
        y = relu(BatchNorm()(y, train))
        y = pointwise(self.features * self.expansion)(y)
        return _joined(self, x, _last_batch_norm()(y, train), train)


def _joined(block: BasicBlock | Bottleneck, x: Array, y: Array, train: bool) -> Array:
    if x.shape != y.shape:
        if block.stride > 1:
            # XLA's GPU compiler aborts where it fuses a strided slice into the product after it
            # (jaxlib 0.11.2 on an H100; openxla/xla#47381).
            x = jax.lax.optimization_barrier(x[:, :: block.stride, :: block.stride])
        x = pointwise(y.shape[-1])(x)
        x = BatchNorm()(x, train)
    return relu(x + y)


class ResNet(nn.Module):
    """Four stages of 64, 128, 256 and 512 features times `width`, then the mean over the image."""

    block: type[BasicBlock] | type[Bottleneck]
    stages: tuple[int, ...]
    width: float = 1.0
    least_size: int = 1

    @property
    def last_norm(self) -> str:
        """The name of a block's last batch norm, whose scale starts at 0."""
        return self.block.last_norm

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = conv(scaled(64, self.width), 3, padding=1, use_bias=False)(x)
        x = relu(BatchNorm()(x, train))
        for stage, count in enumerate(self.stages):
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                x = self.block(scaled(64 * 2**stage, self.width), stride)(x, train)
        return global_mean(x)
