"""gallery.npz: what a run keeps of single examples, for its page.

Of each attack that was carried from one model to another: alpha1 of every example, and of a few
examples, chosen by their alpha1, the image, the perturbation and both models' predictions.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from advknow.runs import snapshots

FILE = "gallery.npz"
_FORMAT = "advknow gallery 1"
# At which quantiles of alpha1 the examples lie that are kept, and that sentence for the reader.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
RULE = (
    "the examples at the 5, 25, 50, 75 and 95 % quantiles of alpha1, whatever they look like: of "
    "the n examples in order of alpha1, number 1 + q (n - 1), rounded"
)
_ARRAYS = ("alpha1", "indices", "x", "delta", "label", "predicted")


class Carried(NamedTuple):
    """One attack carried from a model to another; k examples are kept, none of a small-eps attack.

    Attributes:
      name: of the row, or of the direction. attacked, receiving: the two models' names.
      classes: names of the outputs of the model attacked, of the receiving one, and of the labels;
        () where they are not known.
      alpha1: (N,) float64, of every example; NaN where it is not defined.
      indices: (k,) which examples are kept, alpha1 ascending.
      x, delta: (k, ...) float32, image and perturbation.
      label: (k,) the images' classes.
      predicted: (k, 2, 2) the largest output: of the model attacked and the receiving one, before
        and after the attack.
    """

    name: str
    attacked: str
    receiving: str
    classes: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    alpha1: np.ndarray
    indices: np.ndarray
    x: np.ndarray
    delta: np.ndarray
    label: np.ndarray
    predicted: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """What is not a name, for a file."""
        return {name: getattr(self, name) for name in _ARRAYS}

    def names(self) -> dict[str, Any]:
        """What is no array, ready for JSON."""
        return {
            "name": self.name,
            "attacked": self.attacked,
            "receiving": self.receiving,
            "classes": [list(names) for names in self.classes],
        }


def of_every_example(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(N,) with NaN where it is not valid, from the (n,) values of the examples that are."""
    found = np.full(len(valid), np.nan)
    found[np.asarray(valid, bool)] = values
    return found


def at_quantiles(alpha1: np.ndarray) -> np.ndarray:
    """The indices of the examples at `QUANTILES`, ascending in alpha1, each once.

    Args:
      alpha1: (N,); NaN where it is not defined: these are never chosen.
    """
    order = np.argsort(alpha1, kind="stable")[: int(np.isfinite(alpha1).sum())]
    places = [round(q * (len(order) - 1)) for q in QUANTILES] if len(order) else []
    return order[list(dict.fromkeys(places))].astype(np.int64)


def restored(names: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Carried:
    """From what `Carried.names` and `Carried.arrays` gave."""
    first, second, labels = (tuple(found) for found in names["classes"])
    return Carried(
        names["name"],
        names["attacked"],
        names["receiving"],
        (first, second, labels),
        **{name: arrays[name] for name in _ARRAYS},
    )


def save(folder: pathlib.Path, carried: Sequence[Carried]) -> None:
    """Writes the file into the folder, atomic."""
    arrays = {
        f"{i}/{name}": array
        for i, one in enumerate(carried)
        for name, array in one.arrays().items()
    }
    values = {"format": _FORMAT, "carried": [one.names() for one in carried]}
    snapshots.save(folder / FILE, arrays, values)


def load(folder: pathlib.Path) -> tuple[Carried, ...]:
    """What was kept, () where a run kept nothing, such as one of an earlier version.

    Raises:
      ValueError: the file is damaged or of another kind; the message names it.
    """
    path = folder / FILE
    if not path.exists():
        return ()
    arrays, values = snapshots.load(path)
    try:
        if values["format"] != _FORMAT:
            raise KeyError(values["format"])
        return tuple(
            restored(names, {name: arrays[f"{i}/{name}"] for name in _ARRAYS})
            for i, names in enumerate(values["carried"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no gallery of this version of advknow; remove it.") from error
