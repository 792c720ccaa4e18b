"""The data sets by name, and disjoint parts of them.

splits = data.load("fashion_mnist")
shirts = data.select_classes(splits.train, ("Shirt", "Coat"))
"""

import dataclasses
import functools
from collections.abc import Callable

from advknow import validate
from advknow.data import digits, fashion_mnist, prepared
from advknow.data.augmentation import augment
from advknow.data.dataset import (
    Dataset,
    DatasetSplits,
    batches,
    check_disjoint,
    concatenate,
    match_channels,
    partition,
    select_classes,
    take_per_class,
)

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetInfo",
    "DatasetSplits",
    "augment",
    "batches",
    "check_disjoint",
    "concatenate",
    "info",
    "load",
    "match_channels",
    "partition",
    "select_classes",
    "take_per_class",
]


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before it is read.

    Attributes:
      class_names: in the order of the labels.
      channels: 1 or 3.
      flip: whether a mirrored image is still one of its class.
      read: (data_dir=..., image_size=...) -> DatasetSplits.
    """

    class_names: tuple[str, ...]
    channels: int
    flip: bool
    read: Callable[..., DatasetSplits]


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
}


def info(name: str) -> DatasetInfo:
    """Classes, channels and the like of a data set.

    Raises:
      ValueError: an unknown name.
    """
    validate.choice("dataset", name, DATASETS)
    return DATASETS[name]


def load(name: str, *, data_dir: str | None = None, image_size: int = 32) -> DatasetSplits:
    """A data set in disjoint train, validation and test parts.

    Args:
      name: "digits", "fashion_mnist", "cifar10" or "stl10".
      data_dir: folder of fashion_mnist's IDX files, or tensorflow-datasets' data_dir; the usual
        places by default. digits needs none.
      image_size: height and width, 8 to 512.

    Raises:
      ValueError, TypeError: an unknown name or size. FileNotFoundError: the data are not there;
        says how to get them.
    """
    validate.integer("image_size", image_size, minimum=8, maximum=512)
    return info(name).read(data_dir=data_dir, image_size=image_size)
