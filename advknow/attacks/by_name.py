"""Attacks by name, in the form of the poster's experiments (theory.md section 6)."""

from collections.abc import Callable
from typing import Any

from advknow import validate
from advknow.attacks.gradient import fgsm, pgd
from advknow.attacks.singular_vectors import singular
from advknow.typing import AttackFn

ATTACKS: dict[str, Callable[..., AttackFn]] = {
    "fgsm": lambda *, eps, **_: fgsm(eps=eps, random_start=True),
    "pgd": lambda *, eps, num_steps, step_size, **_: pgd(
        eps=eps, num_steps=num_steps, step_size=step_size
    ),
    "singular": lambda *, index, **_: singular(index=index),
}


def named(name: str, **settings: Any) -> AttackFn:
    """The attack of that name; fgsm and pgd start at random in the eps-ball.

    Args:
      name: "fgsm", "pgd" or "singular".
      **settings: eps (fgsm, pgd), num_steps and step_size (pgd), index (singular); an attack
        ignores those of the others.

    Raises:
      ValueError, TypeError: an unknown name or a setting that is not accepted.
    """
    validate.choice("attack", name, ATTACKS)
    return ATTACKS[name](**settings)
