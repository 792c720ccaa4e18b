"""A data set of arrays in a NumPy archive, as `numpy.savez` writes it.

x, labels                            divided class by class by seed
x, labels, x_test, labels_test       train and test, a tenth of train is validation
.., x_validation, labels_validation  all three parts
class_names                          the classes in the order of integer labels

Nothing in it is unpickled.
"""

import pathlib
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from advknow.data.dataset import Dataset, DatasetSplits, silent
from advknow.data.images import over_white, resize
from advknow.data.parts import SHARES, SPLIT_SEED, arranged

SUFFIXES = {"train": "", "validation": "_validation", "test": "_test"}
KEYS = (*(f"{name}{suffix}" for suffix in SUFFIXES.values() for name in ("x", "labels")),)
ACCEPTED = (
    "x (N, H, W, C) or (N, H, W) and labels (N,) are needed; x_validation, labels_validation, "
    "x_test, labels_test and class_names may be there"
)


def arrays(
    path: pathlib.Path, wanted: Collection[str], *, accepted: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of an archive that are wanted, by name, and all names that it has.

    Args:
      accepted: what is needed, for the message.

    Raises:
      ValueError: no archive, a damaged one, pickled objects.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no .npz archive (numpy.savez): {accepted}.")
    found = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
            for name in set(names) & set(wanted):
                found[name] = archive[name]
    except Exception as error:  # NumPy, zipfile and zlib raise many types
        if "allow_pickle" in str(error):
            raise ValueError(
                f"{path}: {name} holds Python objects, which are never unpickled; arrays of "
                "numbers or strings are needed."
            ) from error
        raise ValueError(f"{path} is truncated or damaged: {error}.") from error
    return found, names


def _arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of a data set by name.

    Raises:
      ValueError: as `arrays`; x or labels are not there.
    """
    found, names = arrays(path, {*KEYS, "class_names"}, accepted=ACCEPTED)
    for key in ("x", "labels"):
        if key not in found:
            raise ValueError(
                f"{path} lacks {key}; it has {', '.join(names) or 'nothing'}. {ACCEPTED}."
            )
    return found


def _images(where: str, x: np.ndarray) -> np.ndarray:
    """(N, H, W, 1 or 3) uint8 of the array.

    Raises:
      ValueError: another shape or dtype, NaN, or values outside [0, 1].
    """
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or 0 in x.shape or x.shape[-1] not in (1, 3, 4):
        first = " (channels come last: x.transpose(0, 2, 3, 1))"
        hint = first if x.ndim == 4 and x.shape[1] in (1, 3, 4) else ""
        raise ValueError(
            f"{where} has shape {x.shape}; (N, H, W) or (N, H, W, C) with C = 1, 3 or 4 is "
            f"needed, none 0{hint}."
        )
    if np.issubdtype(x.dtype, np.floating):
        if not np.isfinite(x).all():
            raise ValueError(f"{where} holds NaN or infinity; finite values are needed.")
        if x.min() < 0 or x.max() > 1:
            raise ValueError(
                f"{where} has values from {x.min():g} to {x.max():g}; floats in [0, 1] or uint8 "
                "are accepted."
            )
        x = np.rint(x * x.dtype.type(255)).astype(np.uint8)
    elif x.dtype != np.uint8:
        raise ValueError(f"{where} has dtype {x.dtype}; uint8, or floats in [0, 1], is accepted.")
    return over_white(x) if x.shape[-1] == 4 else x


def _check_labels(where: str, labels: np.ndarray, count: int) -> None:
    if labels.shape != (count,):
        one_hot = "; of one-hot labels take labels.argmax(1)" * (labels.ndim == 2)
        raise ValueError(
            f"{where} has shape {labels.shape}; ({count},) is needed, a label for each image"
            f"{one_hot}."
        )
    if labels.dtype.kind not in "iuU":
        raise ValueError(f"{where} has dtype {labels.dtype}; integers or strings are accepted.")


def _class_names(
    path: pathlib.Path, found: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """The classes, and the labels of each part as indices into them."""
    kinds = {of.dtype.kind == "U" for of in labels.values()}
    if len(kinds) > 1:
        raise ValueError(f"{path} has integer labels in one part and strings in another.")
    given = found.get("class_names")
    if given is None:
        values = np.unique(np.concatenate(list(labels.values())))
        return tuple(str(value) for value in values), {
            part: np.searchsorted(values, of) for part, of in labels.items()
        }
    names = tuple(str(name) for name in given.ravel())
    if given.ndim != 1 or given.dtype.kind != "U" or len(set(names)) < len(names):
        raise ValueError(
            f"{path}: class_names has shape {given.shape} and dtype {given.dtype}; a list of "
            "different strings is needed."
        )
    if kinds == {True}:
        unknown = sorted({str(v) for of in labels.values() for v in of} - set(names))
        if unknown:
            raise ValueError(f"{path}: the label {unknown[0]!r} is not one of class_names.")
        number = {name: i for i, name in enumerate(names)}
        return names, {p: np.array([number[str(v)] for v in of]) for p, of in labels.items()}
    for of in labels.values():
        if of.min() < 0 or of.max() >= len(names):
            raise ValueError(
                f"{path}: labels go from {of.min()} to {of.max()}; class_names has {len(names)}, "
                f"so 0 to {len(names) - 1} are accepted."
            )
    return names, dict(labels)


def load(
    path: str | pathlib.Path,
    *,
    image_size: int,
    shares: Sequence[float] = SHARES,
    seed: int = SPLIT_SEED,
    on_note: Callable[[str], None] = silent,
) -> DatasetSplits:
    """The archive as a data set, see the module.

    Args:
      path: the file; "~" is the home. x of it is uint8, or floats in [0, 1], which are rounded to
        8 bits; labels are integers or strings. Without class_names, the classes are the values of
        labels, sorted.
      image_size: height and width that every image is resized to.
      shares, seed: as `parts.arranged`.
      on_note: told, a line each, what was found, rounded, resized and split.

    Raises:
      FileNotFoundError: no such file. ValueError: anything else that is not accepted, by name.
    """
    file = pathlib.Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{file} is no file; a .npz archive is needed: {ACCEPTED}.")
    found = _arrays(file)
    images, labels = {}, {}
    for part, suffix in SUFFIXES.items():
        there = [f"{name}{suffix}" in found for name in ("x", "labels")]
        if any(there) and not all(there):
            raise ValueError(f"{file} has one of x{suffix} and labels{suffix}; both are needed.")
        if all(there):
            images[part] = _images(f"{file}: x{suffix}", found[f"x{suffix}"])
            labels[part] = found[f"labels{suffix}"]
            _check_labels(f"{file}: labels{suffix}", labels[part], len(images[part]))
    if len({x.shape[1:] for x in images.values()}) > 1:
        raise ValueError(f"{file} has images of one shape in x, of another in another part.")
    class_names, indices = _class_names(file, found, labels)
    parts = {
        part: Dataset(
            resize(x, image_size),
            indices[part].astype(np.int32),
            class_names,
            np.array([f"npz:{file}/{part}/{i}" for i in range(len(x))]),
        )
        for part, x in images.items()
    }
    splits, said = arranged(parts, where=str(file), shares=shares, seed=seed)
    height, width, channels = images["train"].shape[1:]
    on_note(f"{sum(map(len, images.values()))} images, {'grey' if channels == 1 else 'colour'}")
    if found["x"].dtype != np.uint8:
        on_note(f"{found['x'].dtype} rounded to 8 bits")
    if (height, width) != (image_size, image_size):
        on_note(f"resized all from {height} x {width} to {image_size} x {image_size} pixels")
    on_note(said)
    return splits
