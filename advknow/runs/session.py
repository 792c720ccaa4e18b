"""A session: one process at work in a workdir, or in none, where nothing is kept.

session = begin(workdir, settings, ends_with="measure.json", progress=..., stop=...)
done = finished(session, "alphas")                        # what an earlier session ended with
found = measured(session, "measure", measure, models, x)  # goes on where it was stopped
finish(session, {"alphas": found})
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from advknow import passes, validate
from advknow.passes import Measure, devices
from advknow.runs import checkpoints, files, snapshots
from advknow.runs.journal import FILE as JOURNAL
from advknow.runs.journal import Journal
from advknow.runs.unfinished import FOLDER as UNFINISHED
from advknow.runs.unfinished import Unfinished
from advknow.typing import ApplyFn, ArrayLike, Progress, PyTree, Sharding


class Session(NamedTuple):
    """What every stage of the work writes to, and the devices it runs on.

    Attributes:
      folder: the workdir, None where nothing is kept.
      ends_with: name of the file that is written last: where it is there, the run is finished.
      unfinished, journal: its snapshots and its metrics.jsonl.
      progress: the screen.
      sharding: over devices.
    """

    folder: pathlib.Path | None
    ends_with: str
    unfinished: Unfinished
    journal: Journal
    progress: Progress
    sharding: Sharding = None


def silent(stage: str, done: int, total: int | None, note: str = "") -> None:
    """A `progress` that tells nobody."""


def session(
    folder: pathlib.Path | None,
    *,
    ends_with: str,
    progress: Progress | None = None,
    save_interval: float = 30.0,
    stop: Callable[[], bool] = lambda: False,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    num_devices: int | None = None,
) -> Session:
    """A session in a folder that is claimed already.

    Args:
      folder: the workdir; None: nothing is kept.
      ends_with: name of the file that is written last: where it is there, the run is finished.
      progress: told how far each stage is.
      save_interval: seconds between two snapshots of unfinished work.
      stop: asked after every step and batch; when it returns True the work so far is saved, and
        unfinished.StoppedError raised.
      on_event: told every line of metrics.jsonl.
      num_devices: over which every batch is divided; all by default.
    """
    validate.number("save_interval", save_interval, minimum=0.0)
    journal = Journal(folder, on_event)
    unfinished = Unfinished(
        folder, interval=save_interval, stop=stop, on_save=lambda _: journal.lap()
    )
    sharding = devices.data_sharding(num_devices)
    return Session(folder, ends_with, unfinished, journal, progress or silent, sharding)


def claim(
    folder: pathlib.Path, settings: dict[str, Any], added: Mapping[str, Any] | None = None
) -> None:
    """`files.claim` by the main process, refused on all where it is refused there."""
    if devices.is_main():
        files.claim(folder, settings, added)
    devices.agreed("config", lambda: files.claim(folder, settings, added))


def begin(
    workdir: str | pathlib.Path | None,
    settings: dict[str, Any],
    *,
    added: Mapping[str, Any] | None = None,
    **how: Any,
) -> Session:
    """A session in the workdir, which holds nothing or a run of the same settings.

    Args:
      workdir: made if it is not there; None: nothing is kept.
      settings: ready for JSON, all that the results depend on.
      added: as in `files.claim`.
      **how: as in `session`.

    Raises:
      ValueError: a path that cannot be a folder; a run of other settings, with the difference.
    """
    if workdir is None:
        return session(None, **how)
    folder = files.make_workdir(workdir)
    if (folder / checkpoints.METADATA_FILE).exists() and not (folder / files.CONFIG).exists():
        raise ValueError(
            f"workdir={str(workdir)!r} holds a checkpoint of another run; choose another folder."
        )
    claim(folder, settings, added)
    return session(folder, **how)


def finished(session: Session, *needed: str) -> dict[str, Any] | None:
    """The content of the file that a whole run ended with, None where there is none.

    Args:
      session: of the run.
      *needed: names that it must hold.

    Raises:
      ValueError: it holds something else, or is damaged.
    """
    if session.folder is None:
        return None
    path = session.folder / session.ends_with
    return devices.agreed(
        "finished", lambda: files.read_json(path, *needed) if path.exists() else None
    )


def finish(session: Session, found: dict[str, Any]) -> dict[str, Any]:
    """Writes what a run ends with into its workdir, and removes its unfinished work."""
    if session.folder is not None and devices.is_main():
        files.write_json(session.folder / session.ends_with, found)
    session.unfinished.clear()
    return found


def save_checkpoint(
    session: Session, folder: pathlib.Path, variables: PyTree, metadata: dict[str, Any]
) -> None:
    """`checkpoints.save` by the main process; the folder may be the workdir itself."""
    if devices.is_main():
        beside = (files.CONFIG, JOURNAL, UNFINISHED, session.ends_with, "tensorboard")
        checkpoints.save(folder, variables, metadata, beside=beside)


def measured(
    session: Session,
    stage: str,
    measure: Measure,
    models: Mapping[str, ApplyFn],
    x: ArrayLike,
    **sample: Any,
) -> Any:
    """`passes.run` as a stage of a session: it goes on where it was stopped, bit for bit.

    Args:
      session: of the run.
      stage: its name, of the snapshot and on the screen.
      measure, models: as in `passes.states`. x: (N, ...), an array.
      **sample: y, deltas, key and batch_size, as there.

    Raises:
      ValueError: as `passes.states`; a snapshot of another pass. unfinished.StoppedError.
    """
    sample["sharding"] = session.sharding
    with session.journal.stage(stage):
        session.unfinished.begin()
        begun = session.unfinished.state(stage, passes.begin(measure, models, x, **sample))
        state = begun
        for state in passes.states(measure, models, x, state=begun, **sample):
            session.progress(stage, state.done, len(x))
            session.unfinished.save(
                stage,
                lambda state=state: snapshots.arrays_of(state.saved()),  # type: ignore[misc]
                {},
                last=state.done == len(x),
            )
    return passes.record(measure, state)
