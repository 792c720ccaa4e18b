"""Files that are whole or not there: written beside their place, then renamed."""

import json
import os
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

CONFIG = "config.json"


def write_atomically(path: str | pathlib.Path, content: str | bytes) -> None:
    """Writes a file so that a reader, or a crash, sees the old one or the new one, never half.

    Raises:
      OSError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    path = pathlib.Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: str | pathlib.Path, content: Any) -> None:
    """`write_atomically` of JSON.

    Raises:
      ValueError, TypeError: NaN, infinity, or what is not JSON: none may reach a file of results.
      OSError: as `write_atomically`.
    """
    write_atomically(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(
    path: pathlib.Path, *needed: str, cure: str = "remove it, or choose another workdir"
) -> dict[str, Any]:
    """The content of a file of JSON, an object.

    Args:
      path: the file. *needed: names that the object must hold.
      cure: what to do where it does not, for the message.

    Raises:
      FileNotFoundError: there is none. ValueError: it is damaged, or no such object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(f"{path} is damaged, not valid JSON ({error}); {cure}.") from error
    missing = [name for name in needed if not isinstance(found, dict) or name not in found]
    if missing or not isinstance(found, dict):
        raise ValueError(f"{path} does not hold {', '.join(missing) or 'an object'}; {cure}.")
    return found


def make_workdir(path: str | pathlib.Path) -> pathlib.Path:
    """The folder, made if it is not there.

    Raises:
      ValueError: the path is empty, a file, or cannot be made.
    """
    if not str(path):
        raise ValueError("workdir='' is empty; a folder, such as runs/digits, is needed.")
    folder = pathlib.Path(path).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(
            f"workdir={str(path)!r} is a file or lies in one; a folder is needed."
        ) from (error)
    except OSError as error:
        raise ValueError(f"workdir={str(path)!r} cannot be made: {error.strerror}.") from error
    return folder


def claim(
    workdir: pathlib.Path, config: dict[str, Any], added: Mapping[str, Any] | None = None
) -> None:
    """Writes config.json, or checks that the one in the folder says the same.

    Args:
      workdir: the folder.
      config: the settings.
      added: settings that configurations of earlier versions lack: name -> the value in force then.

    Raises:
      ValueError: the folder holds a run with other settings; the message shows the difference.
    """
    path = workdir / CONFIG
    wanted = json.loads(json.dumps(config, allow_nan=False))
    if not path.exists():
        write_json(path, wanted)
        return
    # Without its settings nobody could tell what the rest of the folder belongs to.
    found = read_json(path, cure="choose another workdir")
    different = _differences(found, wanted, added or {})
    if different:
        shown = "; ".join(different[:6]) + (" ..." if len(different) > 6 else "")
        raise ValueError(
            f"workdir={str(workdir)!r} holds a run with other settings: {shown} (there -> now). "
            "Choose another workdir, or the same settings to continue."
        )


def _differences(a: Any, b: Any, added: Mapping[str, Any], at: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        names = sorted(set(a) | set(b))
        return [
            difference
            for name in names
            for difference in _differences(
                a.get(name, added.get(name)),
                b.get(name, added.get(name)),
                added,
                f"{at}.{name}".strip("."),
            )
        ]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [d for i, (u, v) in pairs for d in _differences(u, v, added, f"{at}[{i}]")]
    return [] if a == b else [f"{at}: {a!r} -> {b!r}"]
