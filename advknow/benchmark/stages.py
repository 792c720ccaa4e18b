"""The stages: ours, and who else does the same work (theory.md sections 1 to 4 and 6)."""

import functools
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from advknow.benchmark import bare, ours
from advknow.benchmark.setting import Setting
from advknow.benchmark.timing import Row, Work, compare
from advknow.passes.apply_fn import outputs
from advknow.typing import Progress

if TYPE_CHECKING:
    from advknow.benchmark.theirs import Peers, Way

Ways = tuple[Work, dict[str, Work]]
# The training step without the pipeline that brings it another batch each time.
CONSTANT = "a constant batch"
PYTORCH, PROTOCOL, BARE = "batched PyTorch", "batch size 1 (PyTorch)", "bare compiled passes"


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def _peers(setting: Setting) -> "Peers | None":
    if not has_torch():
        return None
    from advknow.benchmark.theirs import Peers

    return Peers(setting)


def _ways(setting: Setting, method: str) -> dict[str, Work]:
    """The same method of `Peers`, batched and an image at a time."""
    peers = _peers(setting)
    if peers is None:
        return {}

    def run(way: "Way") -> None:
        getattr(peers, method)(way)
        peers.finish()

    share = peers.protocol.examples / peers.batched.examples
    return {
        PYTORCH: Work(functools.partial(run, peers.batched)),
        PROTOCOL: Work(functools.partial(run, peers.protocol), share),
    }


def _batches(setting: Setting) -> list[np.ndarray]:
    size = setting.sizes.batch_size
    return [setting.x[start : start + size] for start in range(0, len(setting.x), size)]


def _attack(setting: Setting) -> Ways:
    steps = setting.sizes.num_steps
    passes = [p for x in _batches(setting) for p in bare.attack_passes(setting.bound[0], x, steps)]
    others = {**_ways(setting, "attack"), BARE: Work(bare.repeated(passes))}
    return Work(lambda: ours.attack(setting)), others


def _metrics(setting: Setting) -> Ways:
    steps, sources = setting.sizes.num_steps, setting.bound[1:]
    passes: list[bare.Pass] = []
    for x in _batches(setting):
        for f in setting.bound:
            passes += bare.attack_passes(f, x, steps)
        for f in sources:
            # f1 at x and x + delta1; f2 at x, x + delta1 and x + delta2.
            passes += [(outputs, (f, x), 2), (outputs, (setting.bound[0], x), 3)]
    others = {**_ways(setting, "alphas"), BARE: Work(bare.repeated(passes))}
    return Work(lambda: ours.alphas(setting)), others


def _singular(setting: Setting) -> Ways:
    models = (setting.bound[1], setting.bound[0])
    passes = [(bare.jacobians, (*models, x), 1) for x in _batches(setting)]
    others = {**_ways(setting, "singular"), BARE: Work(bare.repeated(passes))}
    return Work(lambda: ours.singular(setting)), others


def _distances(setting: Setting) -> Ways:
    target, source = setting.bound[0], setting.bound[1]
    passes: list[bare.Pass] = []
    for x in _batches(setting):
        passes.append((bare.jacobians, (source, target, x), 1))
        # FMD reads both outputs, KTD the source's.
        passes.append((outputs, (source, x), 2))
        passes.append((outputs, (target, x), 1))
    others = {**_ways(setting, "distances"), BARE: Work(bare.repeated(passes))}
    return Work(lambda: ours.distances(setting)), others


def _training(setting: Setting) -> Ways:
    sizes = setting.sizes
    count = sizes.train_steps * sizes.train_batch
    generator = np.random.default_rng(2)
    images = generator.integers(0, 256, (count, 32, 32, 3), np.uint8)
    labels = generator.integers(0, 10, count)
    x = jnp.asarray(images[: sizes.train_batch], jnp.float32) / 255
    gradient = functools.partial(bare.parameter_gradient, setting.model)
    first = jnp.asarray(labels[: sizes.train_batch])
    passes = [(gradient, (setting.variables[0], x, first), sizes.train_steps)]
    others = {}
    peers = _peers(setting)
    if peers is not None:

        def theirs() -> None:
            peers.training(images=images, labels=labels)
            peers.finish()

        others[PYTORCH] = Work(theirs)
    others[BARE] = Work(bare.repeated(passes))
    others[CONSTANT] = Work(ours.training_on_a_constant_batch(setting))

    def run() -> None:
        jax.block_until_ready(ours.training(setting, images=images, labels=labels))

    return Work(run), others


STAGES: dict[str, Callable[[Setting], Ways]] = {
    "attack": _attack,
    "metrics": _metrics,
    "singular": _singular,
    "distances": _distances,
    "training": _training,
}


def measure(stage: str, setting: Setting, *, progress: Progress | None = None) -> list[Row]:
    """The rows of a stage, after both sides were found to compute the same numbers.

    Args:
      stage: a name in `STAGES`.
      setting: the model and sizes.
      progress: called with ("STAGE MODEL", repeats done, repeats).

    Raises:
      DisagreementError: they did not.
    """
    if has_torch():
        from advknow.benchmark import checks

        difference = checks.check(stage, setting)
        if progress is not None:
            progress(f"check {stage} {setting.name}", 1, 1, f"largest difference {difference:.1g}")
    work, others = STAGES[stage](setting)
    repeats = setting.sizes.repeats
    return compare(stage, setting.name, work, others, repeats=repeats, progress=progress)
