"""The data sets by name, and disjoint parts of them.

splits = data.load("fashion_mnist")
splits = data.load("folder:~/photos")  # a folder of images a class
shirts = data.select_classes(splits.train, ("Shirt", "Coat"))
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

from advknow import validate
from advknow.data import digits, fashion_mnist, folder, glyphs, mnist, npz, prepared
from advknow.data.augmentation import augment
from advknow.data.dataset import (
    Dataset,
    DatasetSplits,
    batches,
    check_disjoint,
    concatenate,
    fingerprint,
    match_channels,
    partition,
    select_classes,
    silent,
    take_balanced,
    take_per_class,
    to_grey,
    to_size,
    with_label_noise,
)
from advknow.data.framing import fill_frame

__all__ = [
    "DATASETS",
    "IMAGE_SIZE",
    "KINDS",
    "Dataset",
    "DatasetInfo",
    "DatasetSplits",
    "augment",
    "batches",
    "check_disjoint",
    "concatenate",
    "fill_frame",
    "fingerprint",
    "info",
    "load",
    "match_channels",
    "partition",
    "resolved",
    "select_classes",
    "take_balanced",
    "take_per_class",
    "to_grey",
    "to_size",
    "with_label_noise",
]


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before it is read.

    Attributes:
      class_names: in the order of the labels; None: known when it is read.
      channels: 1 or 3; None: known when it is read.
      flip: whether a mirrored image is still one of its class; False where nobody knows.
      read: (data_dir=..., image_size=...) -> DatasetSplits.
      fixed: whether its name alone says what its images are; where it does not, runs keep their
        fingerprint.
    """

    class_names: tuple[str, ...] | None
    channels: int | None
    flip: bool
    read: Callable[..., DatasetSplits]
    fixed: bool = True


DATASETS: dict[str, DatasetInfo] = {
    "digits": DatasetInfo(digits.CLASS_NAMES, 1, False, digits.load),
    "fashion_mnist": DatasetInfo(fashion_mnist.CLASS_NAMES, 1, True, fashion_mnist.load),
    "cifar10": DatasetInfo(
        prepared.CIFAR10_CLASS_NAMES,
        3,
        True,
        functools.partial(prepared.load, "cifar10", prepared.CIFAR10_CLASS_NAMES),
    ),
    "stl10": DatasetInfo(
        prepared.STL10_CLASS_NAMES,
        3,
        True,
        functools.partial(prepared.load, "stl10", prepared.STL10_CLASS_NAMES),
    ),
    "mnist": DatasetInfo(mnist.CLASS_NAMES, 1, False, mnist.load, fixed=False),
    "glyphs": DatasetInfo(glyphs.LETTERS, 1, False, glyphs.load, fixed=False),
    "glyphs/digits": DatasetInfo(
        glyphs.DIGITS,
        1,
        False,
        functools.partial(glyphs.load, characters=glyphs.DIGITS),
        fixed=False,
    ),
}
IMAGE_SIZE = 32
# Anybody's data, named by what comes before the colon: what comes after it.
KINDS = {"tfds": "NAME", "folder": "PATH", "npz": "PATH"}


def _kind(name: object) -> tuple[str, str] | None:
    """("folder", "photos") of "folder:photos"; None of the name of a data set.

    Raises:
      ValueError: nothing after the colon.
    """
    kind, colon, rest = name.partition(":") if isinstance(name, str) else ("", "", "")
    if not colon or kind not in KINDS:
        return None
    if not rest.strip():
        raise ValueError(f"dataset={name!r} names nothing; {kind}:{KINDS[kind]} is accepted.")
    return kind, rest


def resolved(name: str) -> str:
    """The name with a whole path, the same from every folder; other names as they are.

    Raises:
      ValueError: an unknown name.
    """
    found = _kind(name)
    if found is None:
        forms = [f"{kind}:{rest}" for kind, rest in KINDS.items()]
        validate.choice("dataset", name, (*DATASETS, *forms))
        return name
    kind, rest = found
    return name if kind == "tfds" else f"{kind}:{pathlib.Path(rest).expanduser().resolve()}"


def info(name: str) -> DatasetInfo:
    """Classes, channels and the like of a data set, as far as they are known unread.

    Raises:
      ValueError: an unknown name.
    """
    resolved(name)
    if name in DATASETS:
        return DATASETS[name]
    return DatasetInfo(None, None, False, functools.partial(load, name), fixed=False)


def load(
    name: str,
    *,
    data_dir: str | None = None,
    image_size: int = IMAGE_SIZE,
    skip_damaged: bool = False,
    on_note: Callable[[str], None] = silent,
) -> DatasetSplits:
    """A data set in disjoint train, validation and test parts.

    Args:
      name: one of `DATASETS`, or "tfds:NAME", any image classification set of tensorflow-datasets;
        "folder:PATH", a folder of images a class (`folder.load`); "npz:PATH", arrays x and labels
        (`npz.load`).
      data_dir: folder of fashion_mnist's IDX files, or tensorflow-datasets' data_dir; the usual
        places by default. Others need none.
      image_size: height and width, 8 to 512.
      skip_damaged: of folder:PATH, leave out damaged images in place of an error.
      on_note: told, a line each, what was found in data of one's own, what was resized, what was
        skipped, and how it was split.

    Raises:
      ValueError, TypeError: an unknown name or size; data that are damaged or not accepted, with
        the file's name. FileNotFoundError: the data are not there; says how to get them.
    """
    validate.integer("image_size", image_size, minimum=8, maximum=512)
    name = resolved(name)
    found = _kind(name)
    if found is None:
        return DATASETS[name].read(data_dir=data_dir, image_size=image_size)
    kind, rest = found
    if kind == "tfds":
        return prepared.load_any(rest, data_dir=data_dir, image_size=image_size, on_note=on_note)
    if kind == "npz":
        return npz.load(rest, image_size=image_size, on_note=on_note)
    return folder.load(rest, image_size=image_size, skip_damaged=skip_damaged, on_note=on_note)
