"""The outputs of a batch that the function matching and knowledge transfer distances read."""

import dataclasses
import functools
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np

from advknow import gram, precision
from advknow.losses import AdversarialLoss
from advknow.passes import Batch, Need, devices
from advknow.typing import ApplyFn, Array, PyTree


class Outputs(NamedTuple):
    """Of B examples, on the host; S has m outputs, T has d. The names are those of `gram.Grams`.

    Attributes:
      output_source: (B, m), f_S(x); None where it was not asked for.
      output_target: (B, d), f_T(x); None likewise.
      root_target: (B or 1, k, d) float64, R' with R R' = H(x); 1 where H is constant.
    """

    output_source: np.ndarray | None
    output_target: np.ndarray | None
    root_target: np.ndarray


@functools.partial(precision.program, static_argnames=("loss",))
def _outputs(models: dict[str, ApplyFn], x: Array, *, loss: AdversarialLoss) -> PyTree:
    found = {name: f(x) for name, f in models.items()}
    return found, (gram.roots(loss, found["target"]) if "target" in found else None)


@dataclasses.dataclass(frozen=True)
class OutputsOf:
    """Need: outputs of a pass's models, without a gradient.

    Attributes:
      loss: whose H is meant: at f_T(x), or at y where no target is named.
      source, target: the models' names in the pass, None to leave one out.
    """

    loss: AdversarialLoss
    source: str | None = "f_source"
    target: str | None = "f_target"
    needs: ClassVar[tuple[Need, ...]] = ()

    def __call__(self, batch: Batch) -> Outputs:
        names = {"source": self.source, "target": self.target}
        models = {role: batch.models[name] for role, name in names.items() if name is not None}
        found, root = _outputs(models, batch.x, loss=self.loss)
        if self.target is None:
            assert batch.y is not None, "H at y needs y"
            root = gram.roots(self.loss, jnp.asarray(batch.y))
        found, root = devices.fetch((found, root))
        outputs = {role: np.asarray(y)[: batch.count] for role, y in found.items()}
        for role, y in outputs.items():
            gram.check_finite(f"f_{role}", y)
        return Outputs(
            outputs.get("source"),
            outputs.get("target"),
            gram.host_root(self.loss, np.asarray(root)[: batch.count]),
        )
