"""Arrays and settings in one file that is whole or refused: what unfinished work is kept in.

An .npz without pickle. Its members carry the CRC-32 of the zip format, which every read checks, so
that a truncated or bit-flipped file cannot pass for another result.
"""

import io
import json
import pathlib
import zipfile
from typing import Any

import numpy as np

from advknow.files import write_atomically

_VALUES = "values.json"
# What the readers of zip and .npy raise, bit for bit through such a file.
_DAMAGE = (
    ValueError,
    KeyError,
    EOFError,
    OSError,
    AttributeError,
    RuntimeError,
    zipfile.BadZipFile,
)


def save(
    path: str | pathlib.Path, arrays: dict[str, np.ndarray], values: dict[str, Any] | None = None
) -> None:
    """Writes the file, in place of one that is already there; atomic.

    Args:
      path: the file; its folder must be there.
      arrays: of any numeric dtype and shape.
      values: ready for JSON.

    Raises:
      OSError: the disk is full or the folder cannot be written; the old file is untouched.
      ValueError, TypeError: values are not JSON; NaN in them.
    """
    text = json.dumps(values or {}, allow_nan=False)
    buffer = io.BytesIO()
    members = {name: np.asarray(array) for name, array in arrays.items()}
    np.savez(buffer, allow_pickle=False, **members, **{_VALUES: np.asarray(text)})
    write_atomically(path, buffer.getvalue())


def load(path: str | pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and values of a file that `save` wrote.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is truncated, damaged or of another kind; the message names it.
    """
    path = pathlib.Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        values = json.loads(str(arrays.pop(_VALUES)[()]))
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise ValueError(
            f"{path} is truncated, damaged or no snapshot of advknow "
            f"({type(error).__name__}: {error}); remove it to begin this part again."
        ) from error
    return arrays, values
