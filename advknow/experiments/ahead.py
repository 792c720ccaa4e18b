"""Compiles what the coming stages need, in a thread, while the stages before them are at work.

    with Ahead(stages) as ahead:      # (name, function) each, in the order in which they will come
        ...
        ahead.wait("train LeNet")     # its programs are there; or its own call will compile them

Without a cache of programs a run's start spends a third of its time in the compiler, which keeps
one core busy. Results do not depend on it: the programs are those that the stages call.
"""

import collections
import dataclasses
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from advknow import precision, programs
from advknow.experiments import stages
from advknow.experiments.config import ExperimentConfig, Source
from advknow.experiments.quantities import Quantity
from advknow.experiments.stages import Attacked, Setting
from advknow.experiments.tasks import Parts
from advknow.models import Model
from advknow.passes import keys
from advknow.runs.session import session
from advknow.training import TrainConfig, fit

NAME = "compile ahead"

Stage = tuple[str, Callable[[], Any]]


class Ahead:
    """A thread that rehearses stages (`advknow.programs`), one after the other.

    Args:
      stages: what is run in the rehearsal, by the name under which it is waited for. An error in
        one ends it: the stage itself will meet what there is to tell.
    """

    def __init__(self, stages: Sequence[Stage] = ()):
        self._stages = collections.deque(stages)
        self._products = precision.chosen()
        self._over = {name: threading.Event() for name, _ in stages}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=NAME)

    def __enter__(self) -> "Ahead":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def pending(self, name: str) -> bool:
        """Whether the rehearsal of that name is not over."""
        return name in self._over and not self._over[name].is_set()

    def wait(self, name: str) -> None:
        """Returns when the rehearsal of that name is over; at once where there is none."""
        if name in self._over:
            self._over[name].wait()

    def _run(self) -> None:
        # A precision that the caller has chosen holds in its own thread only.
        products = jax.default_matmul_precision(self._products)
        with products, programs.rehearsal(stopped=self._stopped.is_set):
            while self._stages:
                # What a stage holds is let go with it.
                name, run = self._stages.popleft()
                try:
                    if not self._stopped.is_set():
                        run()
                except Exception:
                    pass
                finally:
                    self._over[name].set()


@dataclasses.dataclass(frozen=True)
class Coming:
    """A model and data of a run before they are what they will be.

    Attributes:
      name: of its stages. model: untrained. parts: its images. training: its settings.
      dataset: of its augmentation.
    """

    name: str
    model: Model
    parts: Parts
    training: TrainConfig
    dataset: str

    @functools.cached_property
    def variables(self) -> Any:
        """Of the model's shapes."""
        return self.model.init(jax.random.key(0))


def _nowhere(of: Setting) -> Setting:
    """The setting of stages of which nothing is kept, told or refused."""
    return of._replace(session=session(None, ends_with=""), strict=False)


def of_target(of: Setting, target: Coming, x: np.ndarray) -> list[Stage]:
    """The stages of the target after its training, on a batch x (B, ...) of its images."""

    def attack() -> None:
        f, where = target.model.bind(target.variables), _nowhere(of)
        stages.attacked(where, target.name, f, x)
        stages.audited(where, target.name, f, x)

    return [(f"attack {target.name}", attack)]


def of_source(
    of: Setting,
    config: ExperimentConfig,
    settings: Source,
    source: Coming,
    target: Coming,
    x: np.ndarray,
    *,
    measures: tuple[Quantity, ...],
    trained: bool,
) -> list[Stage]:
    """The stages of a source.

    Args:
      of, config, settings: of the run and the source. measures: as in `stages.measured`.
      source, target: the models.
      x: a batch (B, ...) of the target's images.
      trained: whether the source's training is done already.
    """
    where, name = _nowhere(of), source.name
    one_hot = np.eye(target.model.num_classes)[np.zeros(len(x), int)]
    short = functools.partial(dataclasses.replace, epochs=1)

    def attacked(model: Coming) -> Attacked:
        return Attacked(model.model.bind(model.variables), x, one_hot, np.zeros_like(x))

    def train() -> None:
        fit(
            source.model,
            source.parts.train,
            source.parts.validation,
            config=short(source.training),
            key=keys.of_stage(of.seed, f"train/{name}"),
            augment=stages.augmentation(source.dataset, config.augment),
        )

    def attack() -> None:
        f = source.model.bind(source.variables)
        stages.audited(where, name, f, x)
        stages.attacked(where, name, f, x)

    def measure() -> None:
        stages.measured(
            where,
            name,
            attacked(source),
            attacked(target),
            direction=config.direction,
            measures=measures,
        )

    def transfer() -> None:
        transfer = config.transfer
        once = dataclasses.replace(transfer, repeats=1, training=short(transfer.training))
        stages.transferred(
            where.session,
            dataclasses.replace(config, transfer=once),
            settings,
            source.model,
            source.variables,
            target.parts,
        )

    found: list[Stage] = [] if trained else [(f"train {name}", train)]
    return [
        *found,
        (f"attack {name}", attack),
        (f"measure {name}", measure),
        (f"transfer {name}", transfer),
    ]
