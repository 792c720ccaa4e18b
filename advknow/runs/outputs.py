"""Outputs of a model as a file: what any framework can write of the labelled examples.

An .npz without pickle with `features` (N, D) or `logits` (N, C) or both, `labels` (N,) and, if the
writer knows them, `ids` (N,), the names of the examples.
"""

import pathlib
from typing import NamedTuple

import numpy as np

from advknow.data import npz

ENDING = ".npz"
ARRAYS = ("features", "logits", "labels", "ids")


class Outputs(NamedTuple):
    """Of N examples; None where the file has none.

    Attributes:
      features: (N, D). logits: (N, C). labels: (N,) integers. ids: (N,) strings.
    """

    features: np.ndarray | None
    logits: np.ndarray | None
    labels: np.ndarray
    ids: np.ndarray | None


def read_outputs(path: str | pathlib.Path) -> Outputs:
    """The arrays of the file.

    Raises:
      FileNotFoundError: there is none. ValueError: no .npz, pickled objects in it, no labels,
        neither features nor logits, arrays of other lengths.
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; an .npz with {', '.join(ARRAYS)} is needed.")
    try:
        found, there = npz.arrays(path, ARRAYS, accepted=f"{', '.join(ARRAYS)} may be there")
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if "labels" not in found or not {"features", "logits"} & set(found):
        raise ValueError(
            f"{path} holds {', '.join(there) or 'nothing'}; labels and features or logits or both "
            "are needed."
        )
    labels = found["labels"]
    for name, array in found.items():
        if array.ndim < 1 or len(array) != len(labels):
            raise ValueError(
                f"{path}: {name} has shape {array.shape}, labels {labels.shape}; equally many "
                "examples are needed."
            )
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: labels have shape {labels.shape} and dtype {labels.dtype}; (N,) integers are "
            "needed."
        )
    return Outputs(found.get("features"), found.get("logits"), labels, found.get("ids"))
