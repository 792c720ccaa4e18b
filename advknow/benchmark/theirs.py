"""The stages in PyTorch: batched, or as the published protocol does them, an image at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
import torch
from torch import Tensor

from advknow.benchmark import torch_models, torch_peer
from advknow.benchmark.setting import EPS, Setting
from advknow.benchmark.torch_models import Classifier


class Way(NamedTuple):
    """How many images, how many at a time, and whether a target is attacked once for all."""

    examples: int
    batch: int
    shared: bool


class Peers:
    """The models and data of a setting in PyTorch."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.dtype = getattr(torch, setting.dtype)
        # Where JAX computes, and with products as exact as those of the measures.
        self.device = "cuda" if jax.default_backend() == "gpu" else "cpu"
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self.models = [self.classifier(variables) for variables in setting.variables]
        self.frozen = [torch_peer.freeze(model) for model in self.models]
        self.images = self.put(setting.images.transpose(0, 3, 1, 2).copy())
        self.x = self.images.to(self.dtype) / 255
        self.batched = Way(len(self.x), setting.sizes.batch_size, shared=True)
        self.protocol = Way(setting.sizes.one_by_one, 1, shared=False)

    def put(self, array: np.ndarray) -> Tensor:
        """The array on the device."""
        return torch.from_numpy(array).to(self.device)

    def classifier(self, variables) -> Classifier:
        """Our model with these weights."""
        return torch_models.classifier(self.setting.model, variables).to(self.device)

    def finish(self) -> None:
        """Waits for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _parts(self, way: Way) -> Iterator[slice]:
        for start in range(0, way.examples, way.batch):
            yield slice(start, min(start + way.batch, way.examples))

    def attack(self, way: Way, of: int = 0) -> Tensor:
        """Perturbations of the model `of`."""
        found = []
        for part in self._parts(way):
            x = self.x[part]
            found.append(
                torch_peer.pgd(
                    self.frozen[of],
                    x,
                    eps=EPS,
                    step_size=EPS / 10,
                    num_steps=self.setting.sizes.num_steps,
                    start=None if self.setting.random_start else torch.zeros_like(x),
                )
            )
        return torch.cat(found)

    def alphas(self, way: Way) -> list[dict[str, float]]:
        """Of every source to the target."""
        target, found = self.frozen[0], []
        of_target = self.attack(way) if way.shared else None
        for index in range(1, len(self.frozen)):
            d1 = self.attack(way, index)
            d2 = of_target if of_target is not None else self.attack(way)
            parts = [
                torch_peer.alpha_sums(self.frozen[index], target, self.x[p], d1[p], d2[p])
                for p in self._parts(way)
            ]
            found.append(torch_peer.alphas(parts))
        return found

    def singular(self, way: Way) -> dict[str, float]:
        """All attacks of the first source on the target."""
        return torch_peer.generalized(
            [
                torch_peer.gradient_sums(self.frozen[1], self.frozen[0], self.x[p], attacks=True)
                for p in self._parts(way)
            ]
        )

    def distances(self, way: Way) -> dict[str, float]:
        """GMD, FMD and KTD of the target and the first source."""
        target, source = self.frozen[0], self.frozen[1]
        parts = list(self._parts(way))
        sums = [torch_peer.gradient_sums(source, target, self.x[p], attacks=False) for p in parts]
        of_source, of_target = (
            torch.cat([torch_peer.outputs(f, self.x[p]) for p in parts]) for f in (source, target)
        )
        classes = self.setting.model.num_classes
        y = torch.eye(classes, dtype=torch.float64, device=self.device)
        labels = self.put(self.setting.labels[: way.examples])
        return torch_peer.distances(sums, of_source, of_target, y[labels])

    def training(self, *, images: np.ndarray, labels: np.ndarray) -> Classifier:
        """One epoch over these images in their order, from the target's variables."""
        model = self.classifier(self.setting.variables[0]).train()
        given, classes = self.put(images.transpose(0, 3, 1, 2).copy()), self.put(labels)
        size = self.setting.sizes.train_batch
        count = len(images) // size
        sgd, schedule = torch_peer.optimizer(model, total=count)
        for step in range(count):
            part = slice(step * size, (step + 1) * size)
            torch_peer.train_step(model, sgd, schedule, given[part], classes[part])
        return model
