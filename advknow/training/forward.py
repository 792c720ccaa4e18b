"""What a step of SGD differentiates: the whole model, or a new last layer on a frozen backbone.

Each is a `Forward`, (params, batch_stats, frozen, inputs, key) -> (logits, batch_stats), and equal
by value, so that trainings of equal settings share one compiled step.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol

from advknow.models import Model
from advknow.training.evaluation import pixels
from advknow.typing import Array, PyTree

Augment = Callable[[Array, Array], Array]


class Forward(Protocol):
    """What is trained, hashable by value.

    Equal ones share one compiled step.

    (params, batch_stats, frozen, inputs, key) -> (logits (B, k), batch_stats).
    """

    def __call__(
        self, params: PyTree, batch_stats: PyTree, frozen: PyTree, inputs: Array, key: Array, /
    ) -> tuple[Array, PyTree]: ...


def check_augment(augment: object) -> None:
    """Raises TypeError unless `augment` is None or a hashable function."""
    if augment is None:
        return
    if not callable(augment):
        raise TypeError(f"augment={augment!r} must be None or a function (images, key) -> images.")
    try:
        hash(augment)
    except TypeError as error:
        raise TypeError(f"augment={augment!r} must be hashable, as functions are.") from error


def _augmented(augment: Augment | None, images: Array, key: Array) -> Array:
    x = pixels(images)
    return x if augment is None else augment(x, key)


@dataclasses.dataclass(frozen=True)
class WholeModel:
    """Every parameter is trained, batch norm in training mode; inputs are uint8 images.

    `activations` is the dtype in which the backbone's layers compute (`TrainConfig`).
    """

    model: Model
    augment: Augment | None
    activations: str = "float32"

    @staticmethod
    def variables(params: PyTree, batch_stats: PyTree) -> PyTree:
        """The model's variables: batch_stats are left out where there is no batch norm."""
        return {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}

    def pixels(self, images: Array, key: Array) -> Array:
        """The augmented images, float32 in [0, 1]."""
        return _augmented(self.augment, images, key)

    def logits(self, params: PyTree, batch_stats: PyTree, x: Array) -> tuple[Array, PyTree]:
        """Logits (B, k) of pixels x, and the new batch_stats."""
        variables = self.variables(params, batch_stats)
        return self.model.apply_train(variables, x, activations=self.activations)

    def __call__(
        self, params: PyTree, batch_stats: PyTree, frozen: PyTree, images: Array, key: Array
    ) -> tuple[Array, PyTree]:
        return self.logits(params, batch_stats, self.pixels(images, key))


@dataclasses.dataclass(frozen=True)
class HeadOnFeatures:
    """The last layer alone; inputs are features (B, F), frozen the variables."""

    model: Model

    def __call__(
        self, params: PyTree, batch_stats: PyTree, frozen: PyTree, features: Array, key: Array
    ) -> tuple[Array, PyTree]:
        variables = self.model.with_head(frozen, params["kernel"], params["bias"])
        return self.model.head(variables, features), batch_stats


@dataclasses.dataclass(frozen=True)
class HeadOnImages:
    """The last layer alone; inputs are uint8 images, frozen the variables without batch_stats.

    With `drift` the backbone runs in batch norm's training mode, which moves batch_stats (a slip of
    the authors' code, theory.md section 6); otherwise in evaluation mode, and nothing moves.
    """

    model: Model
    augment: Augment | None
    drift: bool

    def __call__(
        self, params: PyTree, batch_stats: PyTree, frozen: PyTree, images: Array, key: Array
    ) -> tuple[Array, PyTree]:
        x = _augmented(self.augment, images, key)
        variables = WholeModel.variables(frozen["params"], batch_stats)
        variables = self.model.with_head(variables, params["kernel"], params["bias"])
        if self.drift:
            features, batch_stats = self.model.features_train(variables, x)
        else:
            features = self.model.features(variables, x)
        return self.model.head(variables, features), batch_stats
