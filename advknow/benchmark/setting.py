"""What a stage works on: models with weights of every sign and size, images, labels, sizes."""

import dataclasses
import functools
import zlib
from typing import Any

import jax
import numpy as np
from jax.tree_util import Partial

from advknow import attacks, models, validate
from advknow.models import Model, Variables
from advknow.typing import Array, AttackFn

# The poster's radius, in [0, 1] pixel units (theory.md section 6); its steps are eps / 10.
EPS = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much a stage does.

    Attributes:
      num_examples: images. batch_size: of them in one program.
      num_steps: of PGD.
      one_by_one: images that the published protocol's form does; its time is scaled to all.
      num_sources: of the metrics stage.
      train_steps: of the training stage. train_batch: images a step.
      repeats: how often every way is timed.
    """

    num_examples: int = 64
    batch_size: int = 64
    num_steps: int = 10
    one_by_one: int = 4
    num_sources: int = 2
    train_steps: int = 2
    train_batch: int = 64
    repeats: int = 5

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            validate.integer(field.name, getattr(self, field.name), minimum=1)
        validate.integer("one_by_one", self.one_by_one, minimum=1, maximum=self.num_examples)


def live_variables(model: Model, seed: int) -> Variables:
    """New variables without a dead branch: batch norm's scales, means and variances are drawn."""
    key = jax.random.key(seed)
    spread = {"scale": (0.5, 1.5), "var": (0.5, 1.5), "mean": (-0.2, 0.2), "bias": (-0.1, 0.1)}

    def drawn(path: Any, leaf: Array) -> Array:
        name = path[-1].key
        if name not in spread:
            return leaf
        of_leaf = jax.random.fold_in(key, zlib.crc32(jax.tree_util.keystr(path).encode()))
        return jax.random.uniform(of_leaf, leaf.shape, leaf.dtype, *spread[name])

    return jax.tree_util.tree_map_with_path(drawn, model.init(key))


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """A model by name at width 1 and everything that its stages read.

    Attributes:
      name: of the architecture. sizes: how much.
      width: multiplier of the hidden sizes; 1 is the poster's.
      dtype: "float32", or "float64" under `jax.enable_x64`, in which both sides are compared.
      random_start: of the attack; without it both sides can be compared.
      activations: of the training stage, "float32" or "bfloat16".
    """

    name: str
    sizes: Sizes
    width: float = 1.0
    dtype: str = "float32"
    random_start: bool = True
    activations: str = "float32"

    @functools.cached_property
    def model(self) -> Model:
        """Ten outputs, 32 x 32 x 3 inputs."""
        return models.create(self.name, num_classes=10, input_shape=(32, 32, 3), width=self.width)

    @functools.cached_property
    def variables(self) -> list[Variables]:
        """Of the target, then of every source."""
        found = [live_variables(self.model, seed) for seed in range(self.sizes.num_sources + 1)]
        return jax.tree.map(lambda leaf: leaf.astype(self.dtype), found)

    @functools.cached_property
    def bound(self) -> list[Partial]:
        """The functions of `variables`."""
        return [self.model.bind(variables) for variables in self.variables]

    @functools.cached_property
    def images(self) -> np.ndarray:
        """(N, 32, 32, 3) uint8."""
        generator = np.random.default_rng(0)
        return generator.integers(0, 256, (self.sizes.num_examples, 32, 32, 3), np.uint8)

    @functools.cached_property
    def x(self) -> np.ndarray:
        """The images as pixels in [0, 1]."""
        return self.images.astype(self.dtype) / 255

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """(N,) integers."""
        return np.random.default_rng(1).integers(0, 10, self.sizes.num_examples)

    @functools.cached_property
    def attack(self) -> AttackFn:
        """The poster's PGD with this number of steps."""
        return attacks.pgd(
            eps=EPS,
            step_size=EPS / 10,
            num_steps=self.sizes.num_steps,
            random_start=self.random_start,
        )
