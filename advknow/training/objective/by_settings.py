"""The objective that the settings of a training name."""

import dataclasses
import functools

from advknow import attacks
from advknow.training.config import Adversarial, TrainConfig
from advknow.training.objective.perturbed import adversarial
from advknow.training.objective.record import Objective, cross_entropy


def check(objective: object, config: TrainConfig) -> None:
    """Raises unless `objective` is None, or an Objective where the settings name none.

    Raises:
      TypeError: no Objective. ValueError: one is given, and the settings name another.
    """
    if objective is None:
        return
    if not isinstance(objective, Objective):
        raise TypeError(
            f"objective={objective!r} must be an Objective, such as objective.cross_entropy()."
        )
    if config.adversarial.eps > 0:
        raise ValueError(
            f"objective is given, and config.adversarial.eps={config.adversarial.eps:g} names "
            "another: one of them is accepted."
        )


def chosen(objective: Objective | None, config: TrainConfig) -> Objective:
    """The objective that is given, or where None the one that the settings name."""
    return _of(config.adversarial) if objective is None else objective


@functools.lru_cache(maxsize=32)
def _of(settings: Adversarial) -> Objective:
    # One object for equal settings: the attack's programs are shared.
    if settings.eps == 0:
        return cross_entropy()
    return adversarial(attack=attacks.pgd(**dataclasses.asdict(settings)))
