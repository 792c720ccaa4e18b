"""What a run keeps of unfinished work, so that it goes on where it was stopped.

    workdir/unfinished/<stage>/      a training: orbax checkpoint of its TrainState, written in the
                                     background; it holds the last state and the best variables
    workdir/unfinished/<stage>.npz   a pass over a sample: the sums (theory.md section 5) and the
                                     values, such as perturbations, of the examples done so far

Each is whole or not there, is read once at the start of its stage, and is removed when the run is
finished. Work goes on at the last one written; what came after it is done again, to the same bits.
"""

import concurrent.futures
import pathlib
import re
import shutil
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from advknow.passes import State, devices
from advknow.runs import checkpoints, snapshots
from advknow.training.state import TrainState
from advknow.typing import PyTree

FOLDER = "unfinished"


class StoppedError(Exception):
    """The caller asked to stop; what was done is saved, and the same command goes on."""


def file_name(stage: str) -> str:
    """A stage's name as a file's: letters, digits and underscores, other characters spelt out."""
    return re.sub(r"[^A-Za-z0-9]+", lambda found: f"_{found.group().encode().hex()}_", stage)


class Unfinished:
    """Snapshots of the stages of a run, at most one every `interval` seconds.

    Args:
      workdir: of the run; None: nothing is kept.
      interval: seconds between two snapshots of a stage; 0 for one after every step and batch.
      stop: asked after every step and batch; when it returns True, the work so far is saved and
        StoppedError is raised.
      on_save: called with the stage's name after each snapshot.
    """

    def __init__(
        self,
        workdir: pathlib.Path | None,
        *,
        interval: float = 30.0,
        stop: Callable[[], bool] = lambda: False,
        on_save: Callable[[str], None] = lambda stage: None,
    ):
        self._kept = workdir is not None
        self._folder = (workdir or pathlib.Path()) / FOLDER
        self._interval, self._stop, self._on_save = interval, stop, on_save
        self._last = time.monotonic()
        self._writer = concurrent.futures.ThreadPoolExecutor(1, "snapshots")
        self._pending: concurrent.futures.Future | None = None

    def begin(self) -> None:
        """Starts a stage's clock."""
        self._last = time.monotonic()

    def wait(self) -> None:
        """Waits for the snapshot that is being written; raises what went wrong with it."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _at(self, stage: str, write: Callable[[], None], *, last: bool = False) -> None:
        """Writes where a snapshot is due; then stops where that is asked for."""
        # Asked once: a request between two questions would stop without a snapshot.
        stopping = devices.any_process(self._stop())
        if last or stopping or time.monotonic() - self._last >= self._interval:
            if self._kept and devices.is_main():
                write()
            self._last = time.monotonic()
            self._on_save(stage)
        if stopping:
            self.wait()
            raise StoppedError(f"stopped in {stage!r}, on request")

    def _path(self, stage: str) -> pathlib.Path:
        return self._folder / f"{file_name(stage)}.npz"

    def has(self, stage: str) -> bool:
        """Whether something was saved of a pass or of other work."""
        return devices.agreed(stage, lambda: self._kept and self._path(stage).exists())

    def load(self, stage: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """The arrays and values last saved of a pass or of other work."""
        path = self._path(stage)

        def read() -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
            return snapshots.load(path) if self._kept and path.exists() else None

        return devices.agreed(stage, read)

    def state(self, stage: str, start: State) -> State:
        """The state of a pass last saved, or the one before its first example.

        Raises:
          ValueError: what is saved is of another pass; names the file.
        """
        found = self.load(stage)
        if found is None:
            return start
        saved = snapshots.tree_of(found[0], start.saved(), where=self._path(stage))
        return start.restored(saved)

    def save(
        self,
        stage: str,
        arrays: Callable[[], dict[str, np.ndarray]],
        values: dict[str, Any],
        *,
        last: bool = False,
    ) -> None:
        """Saves the state of a pass or of other work where one is due, or `last`."""

        def write() -> None:
            self._folder.mkdir(exist_ok=True)
            snapshots.save(self._path(stage), arrays(), values)

        self._at(stage, write, last=last)

    def restore_training(self, stage: str) -> Callable[[TrainState], TrainState | None]:
        """The `restore` of `training.fit` and `fine_tune` for that stage."""
        folder = self._folder / file_name(stage)

        def restore(start: TrainState) -> TrainState | None:
            def read() -> TrainState | None:
                if not (self._kept and (folder / checkpoints.METADATA_FILE).exists()):
                    return None
                stored, _ = checkpoints.load(folder)
                return state_from_arrays(stored, start, folder)

            return devices.agreed(stage, read)

        return restore

    def save_training(self, stage: str) -> Callable[[TrainState], None]:
        """The `on_step` of `training.fit` and `fine_tune` for that stage."""
        folder = self._folder / file_name(stage)

        def save(state: TrainState) -> None:
            def write() -> None:
                self.wait()
                # Fetched here: the next step takes the arrays' memory. Written in the background.
                arrays = arrays_of_state(state)
                self._pending = self._writer.submit(checkpoints.save, folder, arrays, {})

            self._at(stage, write)

        return save

    def clear(self, stage: str | None = None) -> None:
        """Removes a training's states, or everything."""
        self.wait()
        path = self._folder if stage is None else self._folder / file_name(stage)
        if self._kept and devices.is_main():
            shutil.rmtree(path, ignore_errors=True)


def arrays_of_state(state: TrainState) -> PyTree:
    """A TrainState as a checkpoint's dict of host arrays."""
    state = state._replace(key=jax.random.key_data(state.key))
    leaves = devices.fetch(jax.tree.leaves(state))
    return {"state": {f"{i:05d}": np.array(leaf) for i, leaf in enumerate(leaves)}}


def state_from_arrays(stored: PyTree, start: TrainState, folder: pathlib.Path) -> TrainState:
    """The TrainState of the structure of `start` that `arrays_of_state` made the arrays of.

    Raises:
      ValueError: they are those of another training; names the folder.
    """
    leaves = [stored.get("state", {})[name] for name in sorted(stored.get("state", {}))]
    needed = len(jax.tree.leaves(start))
    if len(leaves) != needed:
        raise ValueError(
            f"{folder} holds another training's state ({len(leaves)} arrays, {needed} are needed); "
            "remove it to begin this training again."
        )
    state = jax.tree.unflatten(jax.tree.structure(start), leaves)
    return state._replace(
        key=jax.random.wrap_key_data(state.key, impl=jax.random.key_impl(start.key))
    )
