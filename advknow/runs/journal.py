"""metrics.jsonl: what happened in a run, a JSON object a line, in order of time.

    {"time": 1760000000.0, "kind": "start", "command": ...}
    {"time": ..., "kind": "epoch", "stage": "train LeNet", "epoch": 3, "loss": ..., ...}
    {"time": ..., "kind": "stage", "stage": "train LeNet", "seconds": 12.3}
    {"time": ..., "kind": "row", "source": "LeNet", "alpha1": ..., ...}
    {"time": ..., "kind": "end"}

Lines are only appended; a run that goes on goes on in the same file. The seconds of a stage are the
sum of its lines.
"""

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from advknow.passes import devices

FILE = "metrics.jsonl"


class Journal:
    """Appends events to `workdir/metrics.jsonl`.

    Args:
      workdir: of the run; None: nothing is kept.
      on_event: told every event as well, such as a writer of TensorBoard's files.
    """

    def __init__(
        self, workdir: pathlib.Path | None, on_event: Callable[[dict[str, Any]], None] | None = None
    ):
        self._path = None if workdir is None else workdir / FILE
        self._on_event = on_event
        self._stage, self._since = "", 0.0
        if self._path is not None and devices.is_main():
            _end_half_a_line(self._path)

    def write(self, kind: str, **values: Any) -> None:
        """Appends an event.

        Raises:
          ValueError: NaN or infinity.
        """
        if not devices.is_main():
            return
        event = {"time": round(time.time(), 3), "kind": kind, **values}
        line = json.dumps(event, allow_nan=False) + "\n"
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        if self._on_event is not None:
            self._on_event(event)

    def lap(self) -> None:
        """Writes the seconds of the stage since its last such line, so that a kill loses few."""
        if not self._stage:
            return
        now = time.perf_counter()
        self.write("stage", stage=self._stage, seconds=round(now - self._since, 3))
        self._since = now

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage; stages do not nest."""
        self._stage, self._since = name, time.perf_counter()
        try:
            yield
        finally:
            self.lap()
            self._stage = ""

    def seconds(self) -> dict[str, float]:
        """Seconds of every stage, over all sessions of the run."""
        path = self._path
        return {} if path is None else seconds(devices.agreed("seconds", lambda: read(path)))


def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The events of a journal; a line that a kill cut short is left out."""
    events = []
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            events.append(json.loads(line))
    return events


def seconds(events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds of every stage of a journal, over all sessions of the run."""
    found: dict[str, float] = {}
    for event in events:
        if event["kind"] == "stage":
            found[event["stage"]] = found.get(event["stage"], 0.0) + event["seconds"]
    return {stage: round(total, 3) for stage, total in found.items()}


def _end_half_a_line(path: pathlib.Path) -> None:
    if path.exists() and path.stat().st_size:
        with path.open("rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
