"""A folder of images a class, in PNG, JPEG or WebP.

PATH/cat/1.png, PATH/dog/a.jpg, ...             split class by class by seed
PATH/train/cat/1.png, PATH/test/cat/2.png, ...  with validation (or val) or without

Classes are the folders' names, sorted. Nothing is taken for what its name says: Pillow tells
whether a file is an image. An image is turned as its EXIF orientation says, put before white where
it is transparent, taken from 16 bits to 8, and stretched to the size that is asked for. The set is
colour if any pixel of any image is, and grey otherwise, whatever the files' own modes.
"""

import io
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from advknow.data.dataset import Dataset, DatasetSplits, silent
from advknow.data.images import eight_bits, is_grey, over_white, resize_one, to_channels
from advknow.data.parts import SHARES, SPLIT_SEED, arranged

FORMATS = ("PNG", "JPEG", "WEBP")
# A file of such a name that is no image is damaged; another is something else.
SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp")
PARTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


class NoImageError(ValueError):
    """The file is something else than an image."""


class DamagedError(ValueError):
    """The file was to be an image and cannot be read as one."""


class _Read(NamedTuple):
    """One part as it is read: images (size, size, 1 or 3), their shapes in the files, labels."""

    images: list[np.ndarray]
    shapes: list[tuple[int, int]]
    labels: list[int]
    paths: list[pathlib.Path]


class _Skipped(NamedTuple):
    """What is left out: hidden files, other files and folders, damaged images and why."""

    hidden: list[str]
    others: list[str]
    damaged: list[str]


def decode(path: pathlib.Path) -> np.ndarray:
    """The image in a file, upright, (H, W, 1 or 3) uint8.

    Raises:
      NoImageError: it is none, by content and by name. DamagedError: it is damaged, empty, or of
        more pixels than `PIL.Image.MAX_IMAGE_PIXELS`. OSError: the file cannot be read.
    """
    if not path.is_file():
        raise (NoImageError if path.exists() else DamagedError)(f"{path} is no file")
    content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return _pixels(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        if path.suffix.lower() not in SUFFIXES:
            raise NoImageError(f"{path} is no {', '.join(FORMATS)}") from error
        kind = "is empty" if not content else f"is no {', '.join(FORMATS)}, whatever its name"
        raise DamagedError(f"{path} {kind}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DamagedError(
            f"{path} is too large: more than PIL.Image.MAX_IMAGE_PIXELS={Image.MAX_IMAGE_PIXELS} "
            "pixels"
        ) from error
    except Exception as error:  # Pillow raises many types, and so do the decoders below it
        raise DamagedError(f"{path} is damaged: {error}") from error


def _pixels(image: Image.Image) -> np.ndarray:
    if image.has_transparency_data:
        return over_white(np.asarray(image.convert("RGBA")))
    if image.mode.startswith("I"):
        return eight_bits(np.asarray(image))[..., None]
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


def _is_hidden(path: pathlib.Path) -> bool:
    return path.name.startswith(".")


def _folders(folder: pathlib.Path) -> list[pathlib.Path]:
    found = sorted(p for p in folder.iterdir() if p.is_dir() and not _is_hidden(p))
    for path in found:
        try:
            path.name.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{str(path)!r}: the name of a class must be UTF-8.") from error
    return found


def _read(
    folders: Sequence[pathlib.Path], size: int, skip_damaged: bool, skipped: _Skipped
) -> _Read:
    """The images of one part; each folder is a class, and what is left out goes to `skipped`."""
    found = _Read([], [], [], [])
    for label, folder in enumerate(folders):
        for path in sorted(folder.iterdir()):
            if _is_hidden(path):
                skipped.hidden.append(path.name)
                continue
            try:
                image = decode(path)
            except NoImageError:
                skipped.others.append(path.name)
                continue
            except DamagedError as error:
                if not skip_damaged:
                    raise ValueError(
                        f"{error}. Mend or remove it, or leave out what is damaged with "
                        "skip_damaged=True (--skip_damaged)."
                    ) from error
                skipped.damaged.append(str(error))
                continue
            found.images.append(resize_one(image, size, size))
            found.shapes.append(image.shape[:2])
            found.labels.append(label)
            found.paths.append(path)
        if not found.labels or found.labels[-1] != label:
            why = "; those there are damaged" * bool(skipped.damaged)
            raise ValueError(
                f"{folder} has no images ({', '.join(FORMATS)}){why}. Every folder is a class: add "
                "images or remove it. Parts are recognised where all folders are named train, "
                "validation (val) or test."
            )
    return found


def _parts(root: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """The class folders of each part; "all" where there is one part.

    Raises:
      ValueError: no folder of a class, or parts of other classes.
    """
    folders = _folders(root)
    if not folders:
        raise ValueError(
            f"{root} has no folders; a folder of images for each class is needed, named after it."
        )
    names = {PARTS.get(folder.name) for folder in folders}
    if None in names or "train" not in names:
        return {"all": folders}
    if len(names) < len(folders):
        raise ValueError(f"{root} has both validation and val; one of them is needed.")
    found = {PARTS[folder.name]: _folders(folder) for folder in folders}
    classes = {part: tuple(f.name for f in folders) for part, folders in found.items()}
    if not classes["train"]:
        raise ValueError(f"{root / 'train'} has no folders; one for each class is needed.")
    for part, names_of_part in classes.items():
        odd = sorted(set(names_of_part) ^ set(classes["train"]))
        if odd:
            raise ValueError(
                f"{root}: train and {part} have other classes, such as {odd[0]!r}; a folder for "
                "each class is needed in both."
            )
    return found


def _named(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(map(repr, names[:most])) + ", ..." * (len(names) > most)


def _notes(parts: dict[str, _Read], size: int, channels: int, skipped: _Skipped) -> Iterator[str]:
    shapes = [shape for part in parts.values() for shape in part.shapes]
    yield f"{len(shapes)} images, {'grey' if channels == 1 else 'colour'}"
    other = sorted(
        (shape for shape in shapes if shape != (size, size)), key=lambda s: (s[0] * s[1], s)
    )
    if other:
        (height, width), (most_height, most_width) = other[0], other[-1]
        stretched = sum(h != w for h, w in other)
        yield (
            f"resized {len(other)} of {len(shapes)} images to {size} x {size}, from {height} x "
            f"{width} to {most_height} x {most_width} pixels"
            + f"; {stretched} are not square and were stretched"
            * bool(stretched)
        )
    for what, names in (("hidden", skipped.hidden), ("no image", skipped.others)):
        if names:
            yield f"skipped as {what}: {len(names)}, {_named(names)}"
    for damaged in skipped.damaged:
        yield f"skipped as damaged: {damaged}"


def load(
    path: str | pathlib.Path,
    *,
    image_size: int,
    skip_damaged: bool = False,
    shares: Sequence[float] = SHARES,
    seed: int = SPLIT_SEED,
    on_note: Callable[[str], None] = silent,
) -> DatasetSplits:
    """The folder as a data set, see the module.

    Args:
      path: the folder; "~" is the home.
      image_size: height and width that every image is resized to.
      skip_damaged: leave out images that cannot be read, and say so, in place of an error.
      shares, seed: of a folder without parts, as `parts.arranged`; seed also of the validation part
        where there is none.
      on_note: told, a line each, what was found, resized, skipped and split.

    Raises:
      FileNotFoundError: no such folder.
      ValueError: a damaged image, by name; a class without images; fewer than two classes; parts of
        other classes.
    """
    root = pathlib.Path(path).expanduser()
    if not root.exists():
        raise FileNotFoundError(f"{root} is not there; a folder of class folders is needed.")
    if not root.is_dir():
        raise ValueError(f"{root} is a file; a folder of class folders is needed.")
    skipped = _Skipped([], [], [])
    folders = _parts(root)
    found = {part: _read(of, image_size, skip_damaged, skipped) for part, of in folders.items()}
    every = [image for part in found.values() for image in part.images]
    channels = 1 if all(map(is_grey, every)) else 3
    class_names = tuple(folder.name for folder in next(iter(folders.values())))
    parts = {
        part: Dataset(
            np.stack([to_channels(image, channels) for image in read.images]),
            np.array(read.labels, np.int32),
            class_names,
            np.array([f"folder:{file}" for file in read.paths]),
        )
        for part, read in found.items()
    }
    splits, said = arranged(parts, where=str(root), shares=shares, seed=seed)
    for note in (*_notes(found, image_size, channels, skipped), said):
        on_note(note)
    return splits
