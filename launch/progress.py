"""Progress on a terminal as bars, elsewhere as plain lines, with --quiet not at all."""

import sys
import time

from tqdm import tqdm

from advknow.typing import Progress

# Plain lines come at most this often, in seconds, but always at the end of a stage.
LINE_INTERVAL = 20.0


class _Bars:
    def __init__(self) -> None:
        self._stage, self._bar = "", tqdm(disable=True)

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        if total == 0:
            tqdm.write(f"{stage}: {note}", file=sys.stderr)
            return
        if stage != self._stage:
            self._bar.close()
            self._bar = tqdm(total=total, desc=stage, file=sys.stderr, dynamic_ncols=True)
            self._stage = stage
        self._bar.n = done
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.refresh()
        if total is not None and done >= total:
            self._bar.close()
            self._stage = ""


class _Lines:
    def __init__(self) -> None:
        self._last, self._begin = 0.0, time.monotonic()

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last < LINE_INTERVAL and (total is None or done < total):
            return
        self._last = now
        share = f"{done}/{total}" if total is not None else str(done)
        told = note if total == 0 else f"{share}{'  ' + note if note else ''}"
        print(
            f"[{now - self._begin:7.1f} s] {stage}: {told}",
            file=sys.stderr,
            flush=True,
        )


def reporter(*, quiet: bool) -> Progress:
    """The `progress(stage, done, total, note)` function for this terminal; total 0: a note only."""
    if quiet:
        return lambda stage, done, total, note="": None
    return _Bars() if sys.stderr.isatty() else _Lines()
