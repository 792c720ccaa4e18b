"""CIFAR-10 and STL-10 (and Fashion-MNIST without its files) through tensorflow-datasets.

Reading what is prepared (array_record files, `tfds.data_source`) needs no TensorFlow. Preparing
does: the builders of these data sets open and encode files through it.
"""

import logging
from typing import Any

import numpy as np

from advknow.data.dataset import Dataset, DatasetSplits, partition
from advknow.data.images import pad_or_resize

CIFAR10_CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
STL10_CLASS_NAMES = (
    "airplane",
    "bird",
    "car",
    "cat",
    "deer",
    "dog",
    "horse",
    "monkey",
    "ship",
    "truck",
)
VALIDATION_SHARE = 0.1
SPLIT_SEED = 0


def _tfds() -> Any:
    # Its set-up logs a warning for every missing optional package; what matters raises.
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"tensorflow-datasets cannot be imported ({error}); pip install tensorflow-datasets "
            "array_record importlib_resources."
        ) from error
    return tfds


def _in_short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def _prepared_builder(name: str, data_dir: str | None) -> Any:
    tfds = _tfds()
    try:
        builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except Exception as error:  # tfds raises many types, for other versions' folders too
        raise FileNotFoundError(f"{name} cannot be opened: {_in_short(error)}") from error
    if builder.info.splits.total_num_examples > 0:
        return builder
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise FileNotFoundError(
            f"{name} is not prepared in {builder.data_dir}, and preparing it needs TensorFlow: pip "
            "install 'advknow[tfds]', or pass --data_dir of a folder where it is prepared."
        ) from error
    try:
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:  # tfds raises many types where a download fails
        raise FileNotFoundError(
            f"{name} could not be downloaded and prepared in {builder.data_dir}: {_in_short(error)}"
        ) from error
    return builder


def _read_part(
    builder: Any, name: str, part: str, class_names: tuple[str, ...], image_size: int
) -> Dataset:
    source = builder.as_data_source(split=part)
    names = tuple(builder.info.features["label"].names)
    if names != class_names:
        raise ValueError(f"{builder.data_dir} has the classes {names}; {class_names} are needed.")
    images, labels = [], []
    for start in range(0, len(source), 1024):
        chunk = [source[i] for i in range(start, min(start + 1024, len(source)))]
        images.append(pad_or_resize(np.stack([e["image"] for e in chunk]), image_size))
        labels.append(np.array([e["label"] for e in chunk], np.int32))
    ids = np.array([f"{name}/{part}/{i}" for i in range(len(source))])
    return Dataset(np.concatenate(images), np.concatenate(labels), class_names, ids)


def load(
    name: str, class_names: tuple[str, ...], *, data_dir: str | None, image_size: int
) -> DatasetSplits:
    """The data set as tfds has prepared it, prepared now where it is not; a tenth validation.

    Raises:
      FileNotFoundError: not prepared and not to be prepared here; says what is missing.
      ValueError: the folder holds a data set of other classes.
    """
    builder = _prepared_builder(name, data_dir)
    train = _read_part(builder, name, "train", class_names, image_size)
    test = _read_part(builder, name, "test", class_names, image_size)
    shares = (1.0 - VALIDATION_SHARE, VALIDATION_SHARE)
    train, validation = partition(train, shares, seed=SPLIT_SEED)
    return DatasetSplits(train, validation, test)
