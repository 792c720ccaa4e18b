"""The presets of both experiments, by name."""

from collections.abc import Callable

from advknow import validate
from advknow.experiments import adv2know, know2adv
from advknow.experiments.config import ExperimentConfig

PRESETS: dict[str, dict[str, Callable[..., ExperimentConfig]]] = {
    module.NAME: {
        "digits": module.digits,
        "mnist": module.mnist,
        "fashion": module.fashion,
        "poster": module.poster,
    }
    for module in (adv2know, know2adv)
}


def preset(experiment: str, name: str, **slips: bool) -> ExperimentConfig:
    """The configuration of that experiment and name.

    Args:
      experiment: "adv2know" or "know2adv". name: "digits", "mnist", "fashion" or "poster".
      **slips: of the authors, `know2adv.poster`'s; False for none.

    Raises:
      ValueError: an unknown name; a slip that the preset does not know.
    """
    validate.choice("experiment", experiment, PRESETS)
    validate.choice("preset", name, PRESETS[experiment])
    wanted = [slip for slip, made in slips.items() if made]
    if wanted and (experiment, name) != ("know2adv", "poster"):
        raise ValueError(
            f"{wanted[0]} goes with preset='poster' of know2adv, not with {name!r} of {experiment}."
        )
    return PRESETS[experiment][name](**{slip: True for slip in wanted})
