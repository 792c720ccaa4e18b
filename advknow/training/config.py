"""The settings of a training."""

import dataclasses
import math

from advknow import validate
from advknow.attacks.gradient import ORDS
from advknow.models.model import ACTIVATIONS

SCHEDULES = ("cosine", "constant")
PRECISIONS = ("default", "high", "highest")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversarial:
    """The attack of adversarial training (`advknow.training.objective.adversarial`): PGD.

    Attributes:
      eps: radius in [0, 1] pixel units; 0 for training on the images as they are.
      num_steps: of each attack; training takes about num_steps + 1 times as long.
      step_size: length of a step in the same norm; None for 2.5 * eps / num_steps.
      ord: "inf" or "2".
      random_start: start uniformly in the ball instead of at the image.
    """

    eps: float = 0.0
    num_steps: int = 7
    step_size: float | None = None
    ord: str = "inf"
    random_start: bool = True

    def __post_init__(self) -> None:
        validate.number("adversarial.eps", self.eps, minimum=0)
        validate.integer("adversarial.num_steps", self.num_steps, minimum=1)
        if self.step_size is not None:
            validate.number("adversarial.step_size", self.step_size, above=0)
        validate.choice("adversarial.ord", self.ord, ORDS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of SGD; the defaults are the poster's (theory.md section 6).

    Attributes:
      epochs: passes over the data.
      batch_size: examples a step. What is left of an epoch after the last whole batch is dropped
        (other examples in every epoch); a smaller data set gives one batch of all.
      learning_rate: at the first step.
      momentum: in [0, 1).
      weight_decay: added to the gradient, before the momentum, for every parameter.
      schedule: "cosine", from learning_rate to 0 over all steps, or "constant".
      activations: "float32" or "bfloat16", the dtype in which a backbone's layers compute while it
        is trained. Parameters, batch norm's statistics, features, logits, loss and everything
        in evaluation mode are float32 either way.
      matmul_precision: of float32 products while it is trained: "default" is JAX's, fewer bits on
        GPUs and TPUs and float32's on CPUs; "high", "highest" as `jax.default_matmul_precision`.
      adversarial: the attack of adversarial training; none by default. Of `fit` and of
        `fine_tune(method="all")`.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    activations: str = "float32"
    matmul_precision: str = "default"
    adversarial: Adversarial = Adversarial()

    def __post_init__(self) -> None:
        validate.integer("epochs", self.epochs, minimum=1)
        validate.integer("batch_size", self.batch_size, minimum=1)
        validate.number("learning_rate", self.learning_rate, above=0)
        validate.number("momentum", self.momentum, minimum=0, maximum=math.nextafter(1, 0))
        validate.number("weight_decay", self.weight_decay, minimum=0)
        validate.choice("schedule", self.schedule, SCHEDULES)
        validate.choice("activations", self.activations, ACTIVATIONS)
        validate.choice("matmul_precision", self.matmul_precision, PRECISIONS)
        if not isinstance(self.adversarial, Adversarial):
            raise TypeError(f"adversarial={self.adversarial!r} must be a training.Adversarial.")
