"""Fashion-MNIST (Xiao et al. 2017): 70,000 grey images of 28 x 28 pixels in IDX files."""

import gzip
import pathlib
import zlib

import numpy as np

from advknow.data.dataset import Dataset, DatasetSplits, partition
from advknow.data.images import pad_or_resize

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
DEBIAN_FOLDER = pathlib.Path("/usr/share/datasets/fashion-mnist")
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
HOW_TO_GET_IT = (
    "Debian and Ubuntu: apt-get install dataset-fashion-mnist; elsewhere put the four files "
    "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
    "t10k-labels-idx1-ubyte.gz (or unpacked) into a folder and pass --data_dir=FOLDER"
)
VALIDATION_SHARE = 0.1
SPLIT_SEED = 0


def read_idx(path: pathlib.Path, *, ndim: int) -> np.ndarray:
    """The array of bytes in an IDX file, plain or gzip.

    Args:
      path: the file.
      ndim: the number of axes that it must have.

    Raises:
      ValueError: truncated, damaged, or another kind of file; names it.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or damaged: {error}.") from error
    header = 4 + 4 * ndim
    if len(content) < header or content[:4] != bytes([0, 0, 8, ndim]):
        raise ValueError(f"{path} is no IDX file of bytes with {ndim} axes.")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", ndim, offset=4))
    expected = header + int(np.prod(shape, dtype=np.int64))
    if len(content) != expected:
        raise ValueError(
            f"{path} is truncated or damaged: {len(content)} bytes, but its header {shape} needs "
            f"{expected}."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _find(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.is_file():
            return candidate
    return None


def _read_part(folder: pathlib.Path, part: str, image_size: int) -> Dataset:
    paths = [_find(folder, name) for name in FILES[part]]
    if paths[0] is None or paths[1] is None:
        missing = [n for n, p in zip(FILES[part], paths, strict=True) if p is None]
        raise FileNotFoundError(
            f"{folder} lacks {' and '.join(f'{n}[.gz]' for n in missing)}. {HOW_TO_GET_IT}."
        )
    images = read_idx(paths[0], ndim=3)
    labels = read_idx(paths[1], ndim=1)
    if len(images) != len(labels):
        raise ValueError(
            f"{paths[0]} has {len(images)} images, {paths[1]} {len(labels)} labels; equal numbers "
            "are needed."
        )
    if len(labels) and labels.max() >= len(CLASS_NAMES):
        raise ValueError(f"{paths[1]} has the label {labels.max()}; 0 to 9 are accepted.")
    ids = np.array([f"fashion_mnist/{part}/{i}" for i in range(len(images))])
    return Dataset(
        pad_or_resize(images[..., None], image_size), labels.astype(np.int32), CLASS_NAMES, ids
    )


def load(*, data_dir: str | None, image_size: int) -> DatasetSplits:
    """Fashion-MNIST from `data_dir` or Debian's folder; a tenth of train is validation.

    28 x 28 gets a margin of zeros to 32 x 32. Where the folder does not hold the files,
    tensorflow-datasets' copy is read, and prepared first where there is TensorFlow and a network.

    Raises:
      FileNotFoundError: no files; says how to get them. ValueError: damaged files, by name.
    """
    folder = DEBIAN_FOLDER if data_dir is None else pathlib.Path(data_dir)
    if all(_find(folder, name) is None for names in FILES.values() for name in names):
        from advknow.data import prepared

        try:
            return prepared.load(
                "fashion_mnist", CLASS_NAMES, data_dir=data_dir, image_size=image_size
            )
        except (FileNotFoundError, ImportError) as error:
            raise FileNotFoundError(
                f"fashion_mnist is not in {folder}. {HOW_TO_GET_IT}. Through tensorflow-datasets: "
                f"{error}"
            ) from error
    train = _read_part(folder, "train", image_size)
    test = _read_part(folder, "test", image_size)
    shares = (1.0 - VALIDATION_SHARE, VALIDATION_SHARE)
    train, validation = partition(train, shares, seed=SPLIT_SEED)
    return DatasetSplits(train, validation, test)
