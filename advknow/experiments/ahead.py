"""Compiles what the coming stages need, in a thread, while the stages before them are at work.

    with Ahead(stages) as ahead:      # (name, function) each, in the order in which they will come
        ...
        ahead.wait("train LeNet")     # its programs are there; or its own call will compile them

Without a cache of programs a run's start spends a quarter of its time in the compiler, which keeps
one core busy. Results do not depend on it: the programs are those that the stages call.
"""

import collections
import dataclasses
import functools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from advknow import data, precision, programs
from advknow.data import Dataset
from advknow.experiments import stages, tasks
from advknow.experiments.config import ExperimentConfig
from advknow.experiments.quantities import Quantity
from advknow.experiments.stages import Attacked, Setting
from advknow.experiments.tasks import Parts
from advknow.models import Model
from advknow.runs.session import session
from advknow.training import TrainConfig, predict, sgd
from advknow.training.evaluation import batch_size_of
from advknow.training.forward import WholeModel
from advknow.training.state import create_state

NAME = "compile ahead"

Stage = tuple[str, Callable[[], Any]]


class Ahead:
    """A thread that rehearses stages (`advknow.programs`), one after the other.

    Args:
      stages: what is run in the rehearsal, by the name under which it is waited for. An error in
        one ends it: the stage itself will meet what there is to tell.
      stop: asked while `wait` waits; when it returns True, `wait` returns.
    """

    def __init__(self, stages: Sequence[Stage] = (), *, stop: Callable[[], bool] = lambda: False):
        self._stages = collections.deque(stages)
        self._products = precision.chosen()
        self._over = {name: threading.Event() for name, _ in stages}
        self._stop, self._stopped = stop, threading.Event()
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)

    def __enter__(self) -> "Ahead":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._stopped.set()
        # A program that is being compiled cannot be left; whoever wants to end at once need not
        # wait for it.
        if kind is not KeyboardInterrupt:
            self._thread.join()

    def pending(self, name: str) -> bool:
        """Whether the rehearsal of that name is not over."""
        return name in self._over and not self._over[name].is_set()

    def wait(self, name: str) -> None:
        """Returns when the rehearsal of that name is over; at once where there is none."""
        while self.pending(name) and not self._stop():
            self._over[name].wait(timeout=0.2)

    def _run(self) -> None:
        try:
            # A precision that the caller has chosen holds in its own thread only.
            products = jax.default_matmul_precision(self._products)
            with products, programs.rehearsal(stopped=self._stopped.is_set):
                while self._stages and not self._stopped.is_set():
                    self._rehearse(*self._stages.popleft())
        finally:
            for event in self._over.values():
                event.set()

    def _rehearse(self, name: str, run: Callable[[], Any]) -> None:
        try:
            run()
        except Exception:
            logging.getLogger(__name__).debug("the rehearsal of %s ended", name, exc_info=True)
        self._over[name].set()


@dataclasses.dataclass(frozen=True)
class Coming:
    """A model that is to be trained.

    Attributes:
      name: of its stages. model: the architecture. parts: its images. training: its settings.
      dataset: of its augmentation.
    """

    name: str
    model: Model
    parts: Parts
    training: TrainConfig
    dataset: str

    @functools.cached_property
    def variables(self) -> Any:
        """Variables of the model, of no training."""
        return self.model.init(jax.random.key(0))


def _nowhere(of: Setting) -> Setting:
    """The setting of stages of which nothing is kept, told or refused."""
    kept_nowhere = session(None, ends_with="")._replace(sharding=of.session.sharding)
    return of._replace(session=kept_nowhere, strict=False)


def _one_step(config: ExperimentConfig, of: Coming) -> None:
    """A step of the training, and the model's predictions as after each epoch."""
    training, train = of.training, of.parts.train
    size = min(training.batch_size, len(train))
    state = create_state(
        of.variables["params"], of.variables.get("batch_stats", {}), training, jax.random.key(0)
    )
    augment = stages.augmentation(of.dataset, config.augment)
    sgd.take_step(
        state,
        {},
        jax.device_put((train.images[:size], train.labels[:size].astype(np.int32))),
        (jnp.float32(training.learning_rate), jnp.float32(1)),
        forward=WholeModel(of.model, augment, training.activations),
        config=training,
    )
    parts = of.parts
    _predictions(of, parts.test if config.checkpoint_on_test else parts.validation)


def _predictions(of: Coming, *parts: Dataset) -> None:
    """What the model says of parts: of a few images, in batches of their sizes."""
    few = data.take_balanced(of.parts.train, 1, seed=0)
    for size in sorted({batch_size_of(len(part)) for part in parts}):
        predict(of.model, of.variables, few, batch_size=size)


def of_target(of: Setting, target: Coming, x: np.ndarray) -> list[Stage]:
    """The stages of the target after its training, on a batch x (B, ...) of its images."""

    def attack() -> None:
        _predictions(target, target.parts.test)
        f, where = target.model.bind(target.variables), _nowhere(of)
        stages.attacked(where, target.name, f, x)
        stages.audited(where, target.name, f, x)

    return [(f"attack {target.name}", attack)]


def of_source(
    of: Setting,
    config: ExperimentConfig,
    source: Coming,
    target: Coming,
    x: np.ndarray,
    *,
    measures: tuple[Quantity, ...],
) -> list[Stage]:
    """The stages of a source.

    Args:
      of, config: of the run. measures: as in `stages.measured`.
      source, target: the models.
      x: a batch (B, ...) of the target's images.
    """
    where, name = _nowhere(of), source.name
    one_hot = np.eye(target.model.num_classes)[np.zeros(len(x), int)]

    def attacked(model: Coming) -> Attacked:
        return Attacked(model.model.bind(model.variables), x, one_hot, np.zeros_like(x))

    def attack() -> None:
        f = source.model.bind(source.variables)
        stages.audited(where, name, f, x)
        stages.attacked(where, name, f, x)

    def measure() -> None:
        on = attacked(target)
        direction = config.direction
        stages.measured(where, name, attacked(source), on, direction=direction, measures=measures)

    def transfer() -> None:
        settings = config.transfer
        training = settings.training
        per_class = settings.labelled_per_class
        few = tasks.labelled(target.parts.train, per_class, seed=of.seed, draw="labelled/0")
        stages.fine_tuned(
            where.session,
            f"transfer {name}",
            source.model,
            source.variables,
            data.take_balanced(few, training.batch_size, seed=0),
            transfer=dataclasses.replace(
                settings, training=dataclasses.replace(training, epochs=1)
            ),
            dataset=config.target.dataset,
            key=jax.random.key(0),
        )
        _predictions(source, few, target.parts.test, source.parts.test)

    return [
        (f"train {name}", lambda: _one_step(config, source)),
        (f"attack {name}", attack),
        (f"measure {name}", measure),
        (f"transfer {name}", transfer),
    ]
