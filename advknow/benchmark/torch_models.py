"""The five architectures in PyTorch, with the weights of ours: what a stage is compared with.

Written as a PyTorch user would: `torch.nn` modules, images (B, C, H, W), eager mode. Attributes
bear the lower-case names of flax's modules, so that the weights carry over by name.
"""

import itertools
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from advknow.models import Model, Variables
from advknow.models.layers import scaled


class _Block(nn.Module):
    """A basic block (`expansion` 1) or a bottleneck (4) of a ResNet."""

    def __init__(self, inputs: int, features: int, stride: int, expansion: int):
        super().__init__()
        outputs = features * expansion
        three = nn.Conv2d(
            inputs if expansion == 1 else features, features, 3, stride, 1, bias=False
        )
        if expansion == 1:
            self.conv_0, self.batchnorm_0 = three, nn.BatchNorm2d(features)
            self.conv_1 = nn.Conv2d(features, features, 3, 1, 1, bias=False)
            self.batchnorm_1 = nn.BatchNorm2d(features)
            order = ["conv_0", "batchnorm_0", "conv_1", "batchnorm_1"]
        else:
            self.dense_0 = nn.Conv2d(inputs, features, 1, bias=False)
            self.batchnorm_0 = nn.BatchNorm2d(features)
            self.conv_0, self.batchnorm_1 = three, nn.BatchNorm2d(features)
            self.dense_1 = nn.Conv2d(features, outputs, 1, bias=False)
            self.batchnorm_2 = nn.BatchNorm2d(outputs)
            order = ["dense_0", "batchnorm_0", "conv_0", "batchnorm_1", "dense_1", "batchnorm_2"]
        self._order, self._shortcut = order, []
        if stride != 1 or inputs != outputs:
            dense = "dense_0" if expansion == 1 else "dense_2"
            norm = "batchnorm_2" if expansion == 1 else "batchnorm_3"
            self.add_module(dense, nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.add_module(norm, nn.BatchNorm2d(outputs))
            self._shortcut = [dense, norm]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for i, name in enumerate(self._order):
            y = getattr(self, name)(y)
            if i % 2 == 1 and i + 1 < len(self._order):
                y = functional.relu(y)
        for name in self._shortcut:
            x = getattr(self, name)(x)
        return functional.relu(x + y)


class _ResNet(nn.Module):
    def __init__(self, channels: int, width: float, stages: tuple[int, ...], expansion: int):
        super().__init__()
        inputs = scaled(64, width)
        self.conv_0 = nn.Conv2d(channels, inputs, 3, 1, 1, bias=False)
        self.batchnorm_0 = nn.BatchNorm2d(inputs)
        kind = "basicblock" if expansion == 1 else "bottleneck"
        self._blocks: list[str] = []
        for stage, count in enumerate(stages):
            for i in range(count):
                features = scaled(64 * 2**stage, width)
                stride = 2 if stage > 0 and i == 0 else 1
                name = f"{kind}_{len(self._blocks)}"
                self.add_module(name, _Block(inputs, features, stride, expansion))
                self._blocks.append(name)
                inputs = features * expansion

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.batchnorm_0(self.conv_0(x)))
        for name in self._blocks:
            x = getattr(self, name)(x)
        return x.mean(dim=(2, 3))


class _Plain(nn.Module):
    """Convolutions with ReLU, some followed by pooling, then linear layers with ReLU."""

    def __init__(
        self,
        convolutions: list[nn.Conv2d],
        pooled: tuple[int, ...],
        linear: list[nn.Linear],
    ):
        super().__init__()
        self._count, self._pooled, self._linear = len(convolutions), pooled, len(linear)
        for i, layer in enumerate(convolutions):
            self.add_module(f"conv_{i}", layer)
        for i, dense in enumerate(linear):
            self.add_module(f"dense_{i}", dense)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(self._count):
            x = functional.relu(getattr(self, f"conv_{i}")(x))
            if i in self._pooled:
                x = functional.max_pool2d(x, 2)
        x = x.flatten(1)
        for i in range(self._linear):
            x = functional.relu(getattr(self, f"dense_{i}")(x))
        return x


def _linear(sizes: list[int]) -> list[nn.Linear]:
    return [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]


def _backbone(model: Model) -> tuple[nn.Module, tuple[int, int, int]]:
    """The backbone, and the (H, W, C) of what it flattens."""
    height, breadth, channels = model.input_shape
    sizes = lambda *of: [scaled(size, model.width) for size in of]  # noqa: E731
    if model.name == "mlp":
        linear = _linear([height * breadth * channels, *sizes(1176, 400, 120, 84)])
        return _Plain([], (), linear), model.input_shape
    if model.name == "lenet":
        first, second = sizes(6, 16)
        convolutions = [nn.Conv2d(channels, first, 5), nn.Conv2d(first, second, 5)]
        flat = (((height - 4) // 2 - 4) // 2, ((breadth - 4) // 2 - 4) // 2, second)
        return _Plain(convolutions, (0, 1), _linear([math.prod(flat), *sizes(120, 84)])), flat
    if model.name == "alexnet":
        widths = [channels, *sizes(64, 192, 384, 256, 256)]
        convolutions = [
            nn.Conv2d(widths[0], widths[1], 11, 4, 5),
            nn.Conv2d(widths[1], widths[2], 5, 1, 2),
            *(nn.Conv2d(a, b, 3, 1, 1) for a, b in itertools.pairwise(widths[2:])),
        ]
        side = lambda size: ((size - 1) // 4 + 1) // 8  # noqa: E731
        return _Plain(convolutions, (0, 1, 4), []), (side(height), side(breadth), widths[-1])
    stages, expansion = ((2, 2, 2, 2), 1) if model.name == "resnet18" else ((3, 4, 6, 3), 4)
    return _ResNet(channels, model.width, stages, expansion), (1, 1, model.feature_dim)


class Classifier(nn.Module):
    """(B, C, H, W) pixels in [0, 1] -> (B, k) logits, normalisation inside as in ours."""

    def __init__(self, backbone: nn.Module, head: nn.Linear):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone((x - 0.5) / 0.5))


def _weight(kernel: np.ndarray, target: torch.Tensor, flat: tuple[int, int, int]) -> np.ndarray:
    """A flax kernel in PyTorch's layout; a linear layer after flattening sees (C, H, W)."""
    if kernel.ndim == 4:
        return kernel.transpose(3, 2, 0, 1)
    if target.ndim == 2 and kernel.shape[0] == math.prod(flat):
        kernel = kernel.reshape(*flat, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
    return kernel.T.reshape(tuple(target.shape))


def _named(tree: dict, path: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= _named(value, (*path, name.lower()))
        else:
            found[".".join((*path, name))] = np.asarray(value)
    return found


def classifier(model: Model, variables: Variables) -> Classifier:
    """The model in PyTorch with these weights and their dtype, evaluation mode, on the CPU."""
    backbone, flat = _backbone(model)
    peer = Classifier(backbone, nn.Linear(model.feature_dim, model.num_classes))
    peer.to(torch.from_numpy(np.array(variables["params"]["head"]["bias"])).dtype)
    params, stats = variables["params"], variables.get("batch_stats", {})
    given = _named({"backbone": params["backbone"], "head": params["head"]})
    given |= _named({"backbone": stats})
    renamed = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    wanted, state, first = peer.state_dict(), {}, True
    for path, value in given.items():
        stem, _, leaf = path.rpartition(".")
        name = f"{stem}.{renamed.get(leaf, leaf)}"
        if leaf == "kernel":
            after_flatten = first and value.ndim == 2
            first = first and value.ndim != 2
            value = _weight(value, wanted[name], flat if after_flatten else (0, 0, 0))
        state[name] = torch.from_numpy(np.array(value))
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    if missing:
        raise ValueError(f"no weights for {missing} of {model.name}.")
    peer.load_state_dict(state, strict=False)
    return peer.eval()
