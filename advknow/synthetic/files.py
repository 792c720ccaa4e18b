"""The files of the synthetic experiment: data and weights as plain NumPy arrays in .npz.

    data      X (n, N) and Y (d, N): columns are samples
    weights   target_W1 (m_T, n), target_b1 (m_T, 1), target_W2 (d, m_T), target_b2 (d, 1),
              source_W1 (m_S, n), ... and deviate_* of the source's shapes: D of theory.md section 7

The format of the authors' published data, for any sizes. Nothing in a file is executed: arrays of
Python objects are refused.
"""

import io
import pathlib
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

from advknow.runs.files import write_atomically
from advknow.synthetic.rbf import RbfData
from advknow.synthetic.sigmoid_network import Weights

ROLES = ("target", "source", "deviate")


class Networks(NamedTuple):
    """The weights of f_T and f_S, and the direction D in which f_S is moved."""

    target: Weights
    source: Weights
    deviation: Weights


def _read(path: str | pathlib.Path, names: list[str]) -> dict[str, np.ndarray]:
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    try:
        content = np.load(path, allow_pickle=False)
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is not an .npz file of NumPy arrays: {error}.") from error
    if not isinstance(content, np.lib.npyio.NpzFile):
        raise ValueError(f"{path} is not an .npz file of NumPy arrays: it holds a single array.")
    with content:
        missing = [name for name in names if name not in content.files]
        if missing:
            raise ValueError(
                f"{path} lacks the array{'s' if len(missing) > 1 else ''} {', '.join(missing)}; it "
                f"holds {', '.join(content.files) or 'nothing'}."
            )
        found = {}
        for name in names:
            try:
                found[name] = content[name]
            except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
                raise ValueError(
                    f"{path}: the array {name} cannot be read ({error}); plain numbers are needed."
                ) from error
        return found


def _numbers(path, name: str, array: np.ndarray, shape: tuple, meaning: str) -> np.ndarray:
    """The array in float32, checked: each entry of `shape` is a length or a letter for any."""
    fits = array.ndim == len(shape) and all(
        isinstance(wanted, str) or wanted == given
        for wanted, given in zip(shape, array.shape, strict=False)
    )
    if not fits or 0 in array.shape:
        wanted = ", ".join(str(part) for part in shape)
        raise ValueError(
            f"{path}: the array {name} has shape {array.shape}; ({wanted}) is needed, {meaning}."
        )
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{path}: the array {name} has dtype {array.dtype}; floats are needed.")
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: the array {name} holds NaN or infinity.")
    return array.astype(np.float32)


def read_data(path: str | pathlib.Path) -> RbfData:
    """The data in that file, samples as rows.

    Raises:
      FileNotFoundError: there is none. ValueError: an array is missing, of the wrong shape or type,
        or holds NaN; the message names file and array.
    """
    found = _read(path, ["X", "Y"])
    x = _numbers(path, "X", found["X"], ("n", "N"), "columns are samples")
    y = _numbers(path, "Y", found["Y"], ("d", x.shape[1]), "a column for each of X's")
    return RbfData(np.ascontiguousarray(x.T), np.ascontiguousarray(y.T))


def read_weights(path: str | pathlib.Path, *, num_inputs: int, num_outputs: int) -> Networks:
    """The weights in that file, for data of n inputs and d outputs.

    Raises:
      FileNotFoundError, ValueError: as `read_data`.
    """
    found = _read(path, [f"{role}_{name}" for role in ROLES for name in Weights._fields])
    networks: list[Weights] = []
    for role in ROLES:
        first = _numbers(
            path,
            f"{role}_W1",
            found[f"{role}_W1"],
            ("m", num_inputs) if role != "deviate" else networks[1].W1.shape,
            f"n = {num_inputs} inputs as in the data" if role != "deviate" else "that of source_W1",
        )
        m = first.shape[0]
        meaning = f"m = {m} hidden units as in {role}_W1, d = {num_outputs} outputs as in the data"
        rest = (
            _numbers(path, f"{role}_{name}", found[f"{role}_{name}"], shape, meaning)
            for name, shape in (("b1", (m, 1)), ("W2", (num_outputs, m)), ("b2", (num_outputs, 1)))
        )
        networks.append(Weights(first, *rest))
    return Networks(*networks)


def _write(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())


def write_data(path: str | pathlib.Path, data: RbfData) -> None:
    """Writes a file that `read_data` reads."""
    _write(pathlib.Path(path), {"X": data.x.T, "Y": data.y.T})


def write_weights(path: str | pathlib.Path, networks: Networks) -> None:
    """Writes a file that `read_weights` reads."""
    _write(
        pathlib.Path(path),
        {
            f"{role}_{name}": np.asarray(array)
            for role, weights in zip(ROLES, networks, strict=True)
            for name, array in weights._asdict().items()
        },
    )
