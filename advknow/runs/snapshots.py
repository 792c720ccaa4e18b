"""Arrays and settings in one file that is whole or refused: what unfinished work is kept in.

An .npz without pickle. Its members carry the CRC-32 of the zip format, which every read checks, so
that a truncated or bit-flipped file cannot pass for another result.
"""

import io
import json
import pathlib
import zipfile
from typing import Any, TypeVar

import jax
import numpy as np

from advknow.runs.files import write_atomically

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

Tree = TypeVar("Tree")


def arrays_of(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a pytree on the host as named arrays, for `save`."""
    named = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in named}


def tree_of(arrays: dict[str, np.ndarray], like: Tree, *, where: object = "the snapshot") -> Tree:
    """The pytree that `arrays_of` made the arrays of.

    Args:
      arrays: by name.
      like: of the same structure and shapes; where it has a leading axis of length 0, any length.
      where: the file they are of, for the message.

    Raises:
      ValueError: an array is not there or has another shape.
    """
    refused = f"{where} holds other sums than this pass's (other models, settings or version): "
    cure = "; remove it to begin this part again."
    named = jax.tree_util.tree_leaves_with_path(like)
    leaves = []
    for path, leaf in named:
        name, wanted = jax.tree_util.keystr(path), np.shape(leaf)
        found = arrays.get(name)
        if found is None:
            raise ValueError(f"{refused}{name} is not there{cure}")
        grows = found.ndim > 0 and wanted[:1] == (0,)
        if found.shape[grows:] != wanted[grows:]:
            raise ValueError(f"{refused}{name} has shape {found.shape}, not {wanted}{cure}")
        leaves.append(found)
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


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
