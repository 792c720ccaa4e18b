"""Checkpoints: a model's variables by orbax, and what they are in JSON beside them.

A checkpoint is a folder:

    metadata.json    format, the caller's metadata, which arrays folder holds, the tree of the
                     arrays with dtype, shape and CRC-32 of each: enough to restore without a model;
                     and a CRC-32 of all that
    arrays-<hex>/    the arrays, written by orbax

A save writes a new arrays folder first, and then renames a new metadata.json over the old one;
that rename is the only moment at which the checkpoint changes, so an interrupted save leaves the
old checkpoint whole. The CRCs tell arrays that are not the saved ones, whatever the array store
makes of damaged files.
"""

import json
import os
import re
import secrets
import shutil
import sys
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from advknow import models
from advknow.typing import PyTree

METADATA_FILE = "metadata.json"
_FORMAT = "advknow checkpoint"
# Version 1 had no CRC-32 of the record itself.
_VERSIONS, _VERSION = (1, 2), 2
_ARRAYS = re.compile(r"arrays-[0-9a-f]{16}")


def save(
    path: str | os.PathLike[str],
    variables: PyTree,
    metadata: dict[str, Any],
    *,
    beside: Collection[str] = (),
) -> None:
    """Writes a checkpoint, in place of one that is already there; atomic (see the module).

    Args:
      path: the checkpoint's folder, new, empty or an earlier checkpoint's.
      variables: nested dicts with string keys of arrays, of any numeric dtype, none empty.
      metadata: a JSON object. Tuples come back as lists. `restore_model` needs the entries of
        `model_metadata`.
      beside: names of other files that the folder may hold.

    Raises:
      TypeError: variables are no such tree, or metadata is not JSON.
      ValueError: an array without elements, NaN in metadata, or a path that holds something else.
    """
    folder = Path(path).absolute()
    _check_spelling(folder)
    if not isinstance(variables, dict) or not jax.tree.leaves(variables):
        raise TypeError(f"variables is a {type(variables).__name__}; a dict of arrays is needed.")
    host = _to_host(variables, "variables")
    if not isinstance(metadata, dict):
        raise TypeError(f"metadata is a {type(metadata).__name__}; a dict is needed.")
    arrays = f"arrays-{secrets.token_hex(8)}"
    record = {
        "format": _FORMAT,
        "version": _VERSION,
        "arrays": arrays,
        "tree": jax.tree.map(_describe, host),
        "metadata": metadata,
    }
    try:
        record["crc32"] = _record_crc(record)
        text = json.dumps(record, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"metadata is not JSON: {error}.") from error
    _check_destination(folder, beside)
    folder.mkdir(parents=True, exist_ok=True)
    with _checkpointer() as checkpointer:
        checkpointer.save(folder / arrays, args=ocp.args.PyTreeSave(_without_empty(host)))
    draft = folder / f"{METADATA_FILE}.{arrays}"
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, folder / METADATA_FILE)
    for entry in folder.iterdir():
        if _is_ours(entry) and entry.name not in (arrays, METADATA_FILE):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def load(path: str | os.PathLike[str]) -> tuple[PyTree, dict[str, Any]]:
    """The variables (bit for bit, on the default device) and the metadata of a checkpoint.

    Raises:
      FileNotFoundError: there is nothing at `path`.
      ValueError: what is there is no checkpoint, is truncated or was changed, or holds 64-bit
        arrays while JAX runs in 32 bits. Every message names the path.
    """
    folder = Path(path).absolute()
    _check_spelling(folder)
    record = _read_record(folder)
    tree = record["tree"]
    restore_args = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), _without_empty(tree), is_leaf=_is_leaf
    )
    try:
        with _checkpointer() as checkpointer:
            stored = checkpointer.restore(
                folder / record["arrays"], args=ocp.args.PyTreeRestore(restore_args=restore_args)
            )
    except Exception as error:  # the array store raises many types for a damaged file
        raise ValueError(
            f"The checkpoint {folder} is truncated or damaged: its arrays cannot be read "
            f"({type(error).__name__})."
        ) from error
    return _from_host(tree, stored, folder, ()), record["metadata"]


def metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The metadata of a checkpoint, without its variables.

    Raises:
      FileNotFoundError, ValueError: as `load`.
    """
    folder = Path(path).absolute()
    _check_spelling(folder)
    return _read_record(folder)["metadata"]


def _check_spelling(folder: Path) -> None:
    """Raises ValueError where the array store could not be told of the path."""
    try:
        str(folder).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"path={os.fsencode(folder).decode('utf-8', 'replace')} has letters that this process "
            f"cannot spell: its file names are {sys.getfilesystemencoding()}; set PYTHONUTF8=1 or "
            "LC_ALL=C.UTF-8."
        ) from error


def _checkpointer() -> ocp.Checkpointer:
    """One that waits for no other process: one process writes, each reads on its own."""
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(), active_processes={jax.process_index()}
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def model_metadata(model: models.Model) -> dict[str, Any]:
    """The entries of a checkpoint's metadata from which `restore_model` makes the model."""
    return {
        "model": model.name,
        "num_classes": model.num_classes,
        "input_shape": list(model.input_shape),
        "width": model.width,
    }


def restore_model(path: str | os.PathLike[str]) -> tuple[models.Model, PyTree, dict[str, Any]]:
    """The model, its variables and the metadata of a checkpoint saved with `model_metadata`.

    Raises:
      FileNotFoundError, ValueError: as `load`; ValueError also where the metadata names no model of
        advknow, or the variables are not that model's.
    """
    variables, metadata = load(path)
    folder = Path(path).absolute()
    try:
        model = models.create(
            metadata["model"],
            num_classes=metadata["num_classes"],
            input_shape=tuple(metadata["input_shape"]),
            width=metadata["width"],
        )
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"The checkpoint {folder} describes no model of advknow: {what}"
        ) from error
    expected = model.shapes()
    if _shapes(expected) != _shapes(variables):
        raise ValueError(
            f"The checkpoint {folder} does not fit its own description: its arrays are not those "
            f"of {model.name} with num_classes={model.num_classes}, "
            f"input_shape={model.input_shape}, width={model.width:g}."
        )
    return model, variables, metadata


def _shapes(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda a: (tuple(a.shape), str(a.dtype)), tree)


def _to_host(tree: PyTree, name: str) -> PyTree:
    if isinstance(tree, dict):
        for key in tree:
            if not isinstance(key, str):
                raise TypeError(f"{name} has the key {key!r}; strings are needed.")
        return {key: _to_host(value, f"{name}[{key!r}]") for key, value in tree.items()}
    if not isinstance(tree, (jax.Array, np.ndarray)) or jax.dtypes.issubdtype(
        tree.dtype, jax.dtypes.prng_key
    ):
        raise TypeError(f"{name} is a {type(tree).__name__}; dicts of numeric arrays are needed.")
    if tree.size == 0:
        raise ValueError(f"{name} has shape {tree.shape}; orbax saves no array without elements.")
    return np.asarray(tree)


def _record_crc(record: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(record, sort_keys=True, allow_nan=False).encode())


def _crc(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def _describe(array: np.ndarray) -> list[Any]:
    return [str(array.dtype), list(array.shape), _crc(array)]


def _is_leaf(value: object) -> bool:
    return not isinstance(value, dict)


def _without_empty(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree without dicts that hold no array: orbax knows no such dicts."""
    kept = {k: _without_empty(v) if isinstance(v, dict) else v for k, v in tree.items()}
    return {k: v for k, v in kept.items() if not (isinstance(v, dict) and not v)}


def _is_ours(entry: Path) -> bool:
    return entry.name.startswith(METADATA_FILE) or bool(_ARRAYS.match(entry.name))


def _check_destination(folder: Path, beside: Collection[str]) -> None:
    """Refuses to write into a file or into somebody else's folder."""
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise ValueError(f"path={str(folder)!r}: {part} is a file; a folder is needed.")
    if not folder.is_dir():
        return
    foreign = sorted(
        entry.name for entry in folder.iterdir() if not _is_ours(entry) and entry.name not in beside
    )
    if foreign:
        raise ValueError(
            f"path={str(folder)!r} holds other things than a checkpoint ({foreign[0]}); a new or "
            "empty folder, or an earlier checkpoint's, is needed."
        )


def _read_record(folder: Path) -> dict[str, Any]:
    if not folder.exists():
        raise FileNotFoundError(f"There is no checkpoint at {folder}: no such folder.")
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; a checkpoint is a folder.")
    file = folder / METADATA_FILE
    if not file.is_file():
        unfinished = any(_is_ours(entry) for entry in folder.iterdir())
        why = " (its first save was interrupted)" if unfinished else ""
        raise ValueError(f"{folder} is no advknow checkpoint: it has no {METADATA_FILE}{why}.")
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"The checkpoint {folder} is truncated or damaged: {METADATA_FILE} is not JSON "
            f"({error})."
        ) from error
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise ValueError(f"{folder} is no advknow checkpoint: {METADATA_FILE} is of another kind.")
    version = record.get("version")
    if version not in _VERSIONS:
        raise ValueError(
            f"The checkpoint {folder} has version {version!r}; this advknow reads version "
            f"{' and '.join(map(str, _VERSIONS))}."
        )
    if version > 1 and record.pop("crc32", None) != _record_crc(record):
        raise ValueError(
            f"The checkpoint {folder} is damaged: {METADATA_FILE} is not the one that was saved."
        )
    arrays, tree, metadata = (record.get(k) for k in ("arrays", "tree", "metadata"))
    if (
        not (isinstance(arrays, str) and _ARRAYS.fullmatch(arrays))
        or not (isinstance(tree, dict) and isinstance(metadata, dict))
        or not all(_is_description(v) for v in jax.tree.leaves(tree, is_leaf=_is_leaf))
    ):
        raise ValueError(f"The checkpoint {folder} is damaged: {METADATA_FILE} lacks entries.")
    return record


def _is_description(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and isinstance(value[1], list)


def _from_host(tree: Any, stored: Any, folder: Path, where: tuple[str, ...]) -> PyTree:
    """Arrays on the device, each compared with what metadata.json says of it."""
    if isinstance(tree, dict):
        stored = stored if isinstance(stored, dict) else {}
        return {k: _from_host(v, stored.get(k), folder, (*where, k)) for k, v in tree.items()}
    name = "/".join(where)
    if not isinstance(stored, np.ndarray) or _describe(stored) != tree:
        raise ValueError(
            f"The checkpoint {folder} is truncated or damaged: the array {name} is not the one "
            "that was saved."
        )
    array = jnp.asarray(stored)
    if array.dtype != stored.dtype:
        raise ValueError(
            f"The checkpoint {folder} holds {name} as {stored.dtype}; set JAX_ENABLE_X64=1 to "
            "read it."
        )
    return array
