"""The settings of a training."""

import dataclasses
import math

from advknow import validate
from advknow.models.model import ACTIVATIONS

SCHEDULES = ("cosine", "constant")
PRECISIONS = ("default", "high", "highest")


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
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    activations: str = "float32"
    matmul_precision: str = "default"

    def __post_init__(self) -> None:
        validate.integer("epochs", self.epochs, minimum=1)
        validate.integer("batch_size", self.batch_size, minimum=1)
        validate.number("learning_rate", self.learning_rate, above=0)
        validate.number("momentum", self.momentum, minimum=0, maximum=math.nextafter(1, 0))
        validate.number("weight_decay", self.weight_decay, minimum=0)
        validate.choice("schedule", self.schedule, SCHEDULES)
        validate.choice("activations", self.activations, ACTIVATIONS)
        validate.choice("matmul_precision", self.matmul_precision, PRECISIONS)
