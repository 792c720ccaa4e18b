"""Both sides compute the same numbers, in float64 on a few images; else nothing is timed.

In float64, since a signed step turns round where rounding moves a gradient across 0.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import numpy as np
import torch

from advknow.benchmark import ours
from advknow.benchmark.setting import Setting, Sizes
from advknow.benchmark.theirs import Peers

# Of the largest value: float64 rounding of a deep network's gradient, and its inverses.
TOLERANCE = 1e-6
# Twice the outputs and an intercept, so that no distance is near 0 for want of images.
NUM_IMAGES = 22


class DisagreementError(ValueError):
    """The two sides differ: a comparison of their times would mean nothing."""


def agree(what: str, own: Mapping[str, object], other: Mapping[str, object]) -> float:
    """The largest relative difference of values of the same names.

    Raises:
      DisagreementError: it is above `TOLERANCE`.
    """
    worst = 0.0
    for name, value in other.items():
        theirs, mine = np.asarray(value, np.float64), np.asarray(own[name], np.float64)
        scale = max(float(np.abs(theirs).max()), np.finfo(np.float64).tiny)
        difference = float(np.abs(mine - theirs).max()) / scale
        if not difference <= TOLERANCE:
            raise DisagreementError(
                f"{what}: {name} differs from PyTorch's by {difference:.2g} of its size; at most "
                f"{TOLERANCE:g} is accepted, and nothing is timed."
            )
        worst = max(worst, difference)
    return worst


def _attack(setting: Setting, peers: Peers) -> float:
    deltas = {f"delta of model {i}": ours.attack(setting, i) for i in range(len(setting.bound))}
    theirs = (peers.attack(peers.batched, i).cpu().numpy() for i in range(len(setting.bound)))
    named = zip(deltas, (d.transpose(0, 2, 3, 1) for d in theirs), strict=True)
    return agree(f"attack on {setting.name}", deltas, dict(named))


def _metrics(setting: Setting, peers: Peers) -> float:
    own = ours.alphas(setting)
    return max(
        agree(f"metrics of {setting.name}", vars(mine), theirs)
        for way in (peers.batched, peers.protocol)
        for mine, theirs in zip(own, peers.alphas(way), strict=True)
    )


def _singular(setting: Setting, peers: Peers) -> float:
    found = ours.singular(setting)
    own = {"A1": float(found.A1_mean.mean()), "rho2": found.rho2}
    return agree(f"singular attacks of {setting.name}", own, peers.singular(peers.batched))


def _distances(setting: Setting, peers: Peers) -> float:
    own = ours.distances(setting)
    return agree(f"distances of {setting.name}", own, peers.distances(peers.batched))


def _training(setting: Setting, peers: Peers) -> float:
    # One batch of all, so that the order of the images does not matter. Black and white: ours
    # turns bytes into float32 pixels, which rounds other quotients by 255.
    black_and_white = np.where(setting.images < 128, 0, 255).astype(np.uint8)
    data = {"images": black_and_white, "labels": setting.labels}
    state = ours.training(setting, **data)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    before = peers.classifier(setting.variables[0]).state_dict()
    after = peers.training(**data).state_dict()
    own = peers.classifier(variables).state_dict()
    # The parameters; running statistics are not used in the step, and PyTorch's variance is the
    # unbiased one, flax's the biased.
    moved = [name for name, _ in peers.classifier(variables).named_parameters()]
    return agree(
        f"a training step of {setting.name}",
        {name: (own[name] - before[name]).detach().cpu() for name in moved},
        {name: (after[name] - before[name]).detach().cpu() for name in moved},
    )


CHECKS: dict[str, Callable[[Setting, Peers], float]] = {
    "attack": _attack,
    "metrics": _metrics,
    "singular": _singular,
    "distances": _distances,
    "training": _training,
}


def check(stage: str, setting: Setting) -> float:
    """The largest relative difference of that stage's numbers from PyTorch's.

    Raises:
      DisagreementError: it is above `TOLERANCE`.
    """
    sizes = Sizes(
        num_examples=NUM_IMAGES,
        batch_size=NUM_IMAGES,
        num_steps=2,
        one_by_one=NUM_IMAGES,
        num_sources=1,
        train_batch=NUM_IMAGES,
    )
    with jax.enable_x64(True):
        exact = dataclasses.replace(
            setting, sizes=sizes, dtype="float64", random_start=False, activations="float32"
        )
        torch.manual_seed(0)
        return CHECKS[stage](exact, Peers(exact))
