"""Image classification sets of tensorflow-datasets: CIFAR-10, STL-10 and any other by name.

Reading what is prepared (array_record files, `tfds.data_source`) needs no TensorFlow. Preparing
does: the builders of these data sets open and encode files through it.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from advknow.data.dataset import Dataset, DatasetSplits, partition, silent
from advknow.data.images import eight_bits, over_white, pad_or_resize, resize_one, to_channels
from advknow.data.parts import SPLIT_SEED, VALIDATION_SHARE, arranged

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


def _features(builder: Any) -> tuple[str, str]:
    """The names of the image and of the label among the features.

    Raises:
      ValueError: there is not exactly one of each that could be meant; lists them.
    """
    tfds, features = _tfds(), builder.info.features
    meant = builder.info.supervised_keys or ()
    found = []
    for kind in (tfds.features.Image, tfds.features.ClassLabel):
        names = [name for name, feature in features.items() if type(feature) is kind]
        names = [name for name in names if name in meant] or names
        if len(names) != 1:
            raise ValueError(
                f"{builder.info.full_name} has the features {', '.join(features)}; one Image and "
                f"one ClassLabel are needed, but {kind.__name__} could be {names}."
            )
        found.append(names[0])
    return found[0], found[1]


def _of_one_size(name: str, images: list[np.ndarray], size: int) -> np.ndarray:
    """(n, size, size, 1 or 3) uint8 of images (H, W, C) of any shapes."""
    for image in images:
        if image.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"{name} has images of {image.dtype}; 8 or 16 bits are accepted.")
    images = [eight_bits(image) for image in images]
    images = [over_white(image) if image.shape[-1] == 4 else image for image in images]
    if len({image.shape for image in images}) == 1:
        return pad_or_resize(np.stack(images), size)
    channels = max(image.shape[-1] for image in images)
    return np.stack([to_channels(resize_one(image, size, size), channels) for image in images])


def _read_part(
    builder: Any, name: str, part: str, class_names: tuple[str, ...] | None, image_size: int
) -> Dataset:
    """The part; of any classes where class_names is None."""
    image_key, label_key = _features(builder)
    source = builder.as_data_source(split=part)
    names = tuple(builder.info.features[label_key].names)
    if class_names is not None and names != class_names:
        raise ValueError(f"{builder.data_dir} has the classes {names}; {class_names} are needed.")
    images, labels = [], []
    for start in range(0, len(source), 1024):
        chunk = [source[i] for i in range(start, min(start + 1024, len(source)))]
        images.append(_of_one_size(name, [e[image_key] for e in chunk], image_size))
        labels.append(np.array([e[label_key] for e in chunk], np.int32))
    if not images:
        raise ValueError(f"{name} has no images in {part}.")
    channels = max(chunk.shape[-1] for chunk in images)
    every = np.concatenate([to_channels(chunk, channels) for chunk in images])
    ids = np.array([f"{name}/{part}/{i}" for i in range(len(source))])
    return Dataset(every, np.concatenate(labels), names, ids)


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


def load_any(
    name: str,
    *,
    data_dir: str | None,
    image_size: int,
    on_note: Callable[[str], None] = silent,
) -> DatasetSplits:
    """Any image classification set: one Image and one ClassLabel, or those that it names itself.

    Images of several sizes are stretched to one, 28 x 28 gets a margin of zeros to 32 x 32; 16 bits
    become 8, what is transparent is put before white. Parts as `parts.arranged` makes them of
    train, validation and test; others, such as STL-10's unlabelled, are left alone.

    Args:
      name: as `tfds.builder` takes it: "mnist", "mnist_corrupted/spatter", "cifar10:3.0.2".
      data_dir: of tfds; its usual place by default.
      image_size: height and width.
      on_note: told which parts were read and how they were split.

    Raises:
      FileNotFoundError: not prepared and not to be prepared here; says what is missing.
      ValueError: no such features or parts.
    """
    builder = _prepared_builder(name, data_dir)
    there = list(builder.info.splits)
    wanted = [part for part in ("train", "validation", "test") if part in there]
    if not wanted:
        wanted = there[:1] if len(there) == 1 else []
    if not wanted:
        raise ValueError(f"{name} has the parts {', '.join(there)}; a part train is needed.")
    parts = {part: _read_part(builder, name, part, None, image_size) for part in wanted}
    splits, said = arranged(parts, where=f"tfds:{name}")
    on_note(f"of {', '.join(there)}: {said}")
    return splits
