"""PGD on a PyTorch module: `adapters.from_torch` against PyTorch's own loop, in turns.

    python -m advknow.benchmark.torch_adapter --models lenet resnet18 --repeats 5

Both attack the same module; timed only where their perturbations agree in float64. A ratio above 1
says that advknow is faster.
"""

import argparse
import dataclasses

import jax
import numpy as np
import torch

from advknow import adapters
from advknow.alphas import perturb
from advknow.benchmark import checks, torch_models, torch_peer
from advknow.benchmark.setting import EPS, Setting, Sizes
from advknow.benchmark.timing import Row, Work, compare, table


class Ways:
    """Both ways of one attack on the first module of a setting."""

    def __init__(self, setting: Setting):
        self._setting = setting
        self._module = torch_models.classifier(setting.model, setting.variables[0]).eval()
        self._module = self._module.to(torch.from_numpy(setting.x[:1]).dtype)
        self._f = adapters.from_torch(self._module)

    def ours(self) -> np.ndarray:
        """Perturbations (N, H, W, C)."""
        return perturb(
            self._f,
            self._setting.x,
            attack=self._setting.attack,
            key=jax.random.key(0),
            batch_size=self._setting.sizes.batch_size,
        )

    def theirs(self) -> np.ndarray:
        """Perturbations (N, H, W, C), the batches one after the other."""
        x = torch.from_numpy(self._setting.x).permute(0, 3, 1, 2).contiguous()
        found = [
            torch_peer.pgd(
                self._module,
                batch,
                eps=EPS,
                step_size=EPS / 10,
                num_steps=self._setting.sizes.num_steps,
                start=None if self._setting.random_start else torch.zeros_like(batch),
            )
            for batch in x.split(self._setting.sizes.batch_size)
        ]
        return torch.cat(found).permute(0, 2, 3, 1).numpy()


def measure(setting: Setting) -> list[Row]:
    """The row of a model.

    Raises:
      DisagreementError: the two ways find other perturbations.
    """
    sizes = dataclasses.replace(
        setting.sizes, num_examples=8, num_steps=2, batch_size=8, one_by_one=1
    )
    with jax.enable_x64(True):
        exact = Ways(dataclasses.replace(setting, sizes=sizes, dtype="float64", random_start=False))
        checks.agree("from_torch", {"delta": exact.ours()}, {"delta": exact.theirs()})
    ways = Ways(setting)
    against = {"PyTorch's own loop": Work(ways.theirs)}
    return compare(
        "from_torch", setting.name, Work(ways.ours), against, repeats=setting.sizes.repeats
    )


def main() -> None:
    """Prints a line a model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=["lenet"])
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--num_steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--width", type=float, default=1.0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    sizes = Sizes(
        num_examples=given.examples, num_steps=given.num_steps, repeats=given.repeats, one_by_one=1
    )
    rows = [
        row for name in given.models for row in measure(Setting(name, sizes, width=given.width))
    ]
    print(table(rows))


if __name__ == "__main__":
    main()
