"""Attacks by name, in the form of the poster's experiments (theory.md section 6)."""

import dataclasses
from collections.abc import Callable
from typing import Any

from advknow import validate
from advknow.attacks.gradient import fgsm, pgd
from advknow.attacks.singular_vectors import singular
from advknow.typing import AttackFn

ATTACKS: dict[str, Callable[..., AttackFn]] = {
    "fgsm": lambda *, eps, objective="cross_entropy", **_: fgsm(
        eps=eps, random_start=True, objective=objective
    ),
    "pgd": lambda *, eps, num_steps, step_size, objective="cross_entropy", **_: pgd(
        eps=eps, num_steps=num_steps, step_size=step_size, objective=objective
    ),
    "singular": lambda *, index, **_: singular(index=index),
}


def named(name: str, **settings: Any) -> AttackFn:
    """The attack of that name; fgsm and pgd start at random in the eps-ball.

    Args:
      name: "fgsm", "pgd" or "singular".
      **settings: eps and objective (fgsm, pgd), num_steps and step_size (pgd), index (singular);
        an attack ignores those of the others.

    Raises:
      ValueError, TypeError: an unknown name or a setting that is not accepted.
    """
    validate.choice("attack", name, ATTACKS)
    return ATTACKS[name](**settings)


@dataclasses.dataclass(frozen=True)
class Named:
    """An attack by its name, with pgd's steps of eps / 10: what a command line says.

    Attributes:
      name: "fgsm", "pgd" or "singular".
      eps: radius of fgsm and pgd in [0, 1] pixel units; 0 moves nothing.
      num_steps: of pgd, each of eps / 10.
      index: which one of singular, from 0, in the small-eps limit.
      objective: what fgsm and pgd raise, "cross_entropy" or "output_deviation".
    """

    name: str = "pgd"
    eps: float = 0.1
    num_steps: int = 50
    index: int = 0
    objective: str = "cross_entropy"

    def make(self) -> AttackFn:
        """The attack function.

        Raises:
          ValueError, TypeError: an unknown name or a setting that is not accepted.
        """
        validate.number("eps", self.eps, minimum=0.0)
        return named(
            self.name,
            eps=self.eps,
            num_steps=self.num_steps,
            step_size=self.eps / 10 if self.eps > 0 else None,
            index=self.index,
            objective=self.objective,
        )

    @property
    def linearize(self) -> bool:
        """Whether it is measured in the small-eps limit."""
        return self.name == "singular"
