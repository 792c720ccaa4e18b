"""A labelled set of images, and ways to take parts of it that stay disjoint."""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from advknow import validate
from advknow.data.images import resize
from advknow.typing import Array


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images with labels.

    Attributes:
      images: (N, H, W, C) uint8.
      labels: (N,) int32, indices into class_names.
      class_names: the classes in the order of their labels.
      ids: (N,) strings that name each image for good, such as "fashion_mnist/train/123".
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    ids: np.ndarray

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ValueError(
                f"images has shape {self.images.shape} and dtype {self.images.dtype}; (N, H, W, C) "
                "uint8 is needed."
            )
        n = len(self.images)
        if self.labels.shape != (n,) or self.ids.shape != (n,):
            raise ValueError(
                f"images, labels and ids have {n}, {self.labels.shape} and {self.ids.shape} "
                "entries; equal numbers are needed."
            )
        if n and not (self.labels.min() >= 0 and self.labels.max() < len(self.class_names)):
            raise ValueError(
                f"labels go from {self.labels.min()} to {self.labels.max()}; 0 to "
                f"{len(self.class_names) - 1} are accepted."
            )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: np.ndarray) -> "Dataset":
        """The images at these indices, in their order."""
        return Dataset(
            self.images[indices], self.labels[indices], self.class_names, self.ids[indices]
        )

    def pixels(self, indices: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(n, H, W, C) float32 in [0, 1]."""
        return self.images[indices].astype(np.float32) / np.float32(255)


class DatasetSplits(NamedTuple):
    """Disjoint parts: validation is carved out of train, never of test."""

    train: Dataset
    validation: Dataset
    test: Dataset


def silent(note: str) -> None:
    """An `on_note` that tells nobody."""


def select_classes(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The images of these classes, labels renumbered in the order of `names`.

    Raises:
      ValueError: no name, one that is not a class (lists them), or one named twice.
      TypeError: a string in place of a list of names.
    """
    if isinstance(names, str):
        raise TypeError(f"classes={names!r} must be a list of names, not a string.")
    names = tuple(names)
    if not names:
        raise ValueError(f"classes=() is empty; accepted: {', '.join(dataset.class_names)}.")
    for name in names:
        validate.choice("class", name, dataset.class_names)
    if len(set(names)) != len(names):
        raise ValueError(f"classes={names} names a class twice.")
    new_label = np.full(len(dataset.class_names), -1, np.int32)
    for label, name in enumerate(names):
        new_label[dataset.class_names.index(name)] = label
    labels = new_label[dataset.labels]
    chosen = labels >= 0
    return Dataset(dataset.images[chosen], labels[chosen], names, dataset.ids[chosen])


def _by_class(dataset: Dataset, seed: int) -> list[np.ndarray]:
    """Shuffled indices of each class; what is drawn of one does not depend on the others."""
    found = []
    for label in range(len(dataset.class_names)):
        indices = np.flatnonzero(dataset.labels == label)
        found.append(np.random.default_rng([seed, label]).permutation(indices))
    return found


def take_balanced(dataset: Dataset, count: int, *, seed: int) -> Dataset:
    """`count` images, as evenly of all classes as these allow, in the data set's order.

    Args:
      count: at least 0; all images where it is 0 or there are no more. seed: of the choice.
    """
    validate.integer("count", count, minimum=0)
    validate.integer("seed", seed, minimum=0)
    if count == 0 or count >= len(dataset):
        return dataset
    turn = np.zeros(len(dataset), int)
    for indices in _by_class(dataset, seed):
        turn[indices] = np.arange(len(indices))
    # Of the last turn, which is not whole, classes in a drawn order.
    drawn = np.random.default_rng([seed, len(dataset)]).permutation(len(dataset))
    chosen = drawn[np.argsort(turn[drawn], kind="stable")][:count]
    return dataset.take(np.sort(chosen))


def take_per_class(dataset: Dataset, count: int, *, seed: int) -> Dataset:
    """`count` images of each class, drawn without replacement, in the data set's order.

    Raises:
      ValueError: a class has fewer; says which and how many.
    """
    validate.integer("count", count, minimum=1)
    validate.integer("seed", seed, minimum=0)
    chosen = []
    for name, indices in zip(dataset.class_names, _by_class(dataset, seed), strict=True):
        if len(indices) < count:
            raise ValueError(
                f"count={count} images a class were asked for; class {name!r} has {len(indices)}."
            )
        chosen.append(indices[:count])
    return dataset.take(np.sort(np.concatenate(chosen)))


def partition(dataset: Dataset, fractions: Sequence[float], *, seed: int) -> tuple[Dataset, ...]:
    """Disjoint parts of these shares, class by class, each in the data set's order.

    Args:
      dataset: what is divided.
      fractions: a share a part, > 0, together at most 1; together 1 uses every image.
      seed: of the division.

    Raises:
      ValueError: shares that are not accepted.
    """
    validate.integer("seed", seed, minimum=0)
    if not len(fractions):
        raise ValueError("fractions=() is empty; a share for each part is needed.")
    for fraction in fractions:
        validate.number("fractions", fraction, above=0.0, maximum=1.0)
    if sum(fractions) > 1 + 1e-9:
        raise ValueError(f"fractions={tuple(fractions)} add up to more than 1.")
    ends = np.minimum(np.concatenate([[0.0], np.cumsum(fractions)]), 1.0)
    parts: list[list[np.ndarray]] = [[] for _ in fractions]
    for indices in _by_class(dataset, seed):
        cuts = np.rint(ends * len(indices)).astype(int)
        for part, start, end in zip(parts, cuts[:-1], cuts[1:], strict=True):
            part.append(indices[start:end])
    return tuple(dataset.take(np.sort(np.concatenate(part))) for part in parts)


def check_disjoint(
    a: Dataset, b: Dataset, *, names: tuple[str, str] = ("source", "target")
) -> None:
    """Raises ValueError where an image is in both."""
    common = np.intersect1d(a.ids, b.ids)
    if len(common):
        raise ValueError(
            f"overlapping source and target images: {len(common)} are in both {names[0]} and "
            f"{names[1]}, such as {common[0]!r}; disjoint images are needed."
        )


def concatenate(*datasets: Dataset) -> Dataset:
    """One data set of several with the same classes and image shape.

    Raises:
      ValueError: other classes or shapes.
    """
    first = datasets[0]
    for other in datasets[1:]:
        if (
            other.class_names != first.class_names
            or other.images.shape[1:] != (first.images.shape[1:])
        ):
            raise ValueError(
                f"data sets of classes {first.class_names} and {other.class_names}, image shapes "
                f"{first.images.shape[1:]} and {other.images.shape[1:]}; equal ones are needed."
            )
    return Dataset(
        np.concatenate([d.images for d in datasets]),
        np.concatenate([d.labels for d in datasets]),
        first.class_names,
        np.concatenate([d.ids for d in datasets]),
    )


def match_channels(dataset: Dataset, channels: int) -> Dataset:
    """The same images with 1 or 3 channels; grey becomes colour by repetition.

    Raises:
      ValueError: another number, or colour to grey.
    """
    have = dataset.images.shape[-1]
    if channels == have:
        return dataset
    if (have, channels) != (1, 3):
        raise ValueError(
            f"channels={channels}: images of {have} channels cannot have so many; 1 becomes 3, and "
            "colour becomes grey by data.to_grey only."
        )
    return dataclasses.replace(dataset, images=np.repeat(dataset.images, 3, axis=-1))


def to_grey(dataset: Dataset) -> Dataset:
    """The same images with one channel, the luma of ITU-R BT.601; grey ones as they are."""
    if dataset.images.shape[-1] == 1:
        return dataset
    luma = dataset.images @ np.array([0.299, 0.587, 0.114])
    return dataclasses.replace(dataset, images=np.rint(luma).astype(np.uint8)[..., None])


def to_size(dataset: Dataset, image_size: int) -> Dataset:
    """The same images of image_size x image_size pixels, bilinear (`images.resize`)."""
    validate.integer("image_size", image_size, minimum=1)
    return dataclasses.replace(dataset, images=resize(dataset.images, image_size))


def with_label_noise(dataset: Dataset, share: float, *, seed: int) -> Dataset:
    """The same images, a share of each class's labels replaced by another class's.

    Args:
      dataset: of at least two classes.
      share: 0 to 1, of the images of every class, rounded to whole images.
      seed: of which they are, and of their new labels, uniform over the other classes. With one
        seed, what a smaller share changes a larger one changes too, to the same label.

    Raises:
      ValueError, TypeError: a share outside [0, 1]; one class only.
    """
    validate.number("share", share, minimum=0.0, maximum=1.0)
    validate.integer("seed", seed, minimum=0)
    classes = len(dataset.class_names)
    if classes < 2:
        raise ValueError(f"class_names={dataset.class_names}: label noise needs two classes.")
    labels = dataset.labels.copy()
    for label, indices in enumerate(_by_class(dataset, seed)):
        steps = np.random.default_rng([seed, label, 1]).integers(1, classes, len(indices))
        changed = round(share * len(indices))
        labels[indices[:changed]] = (label + steps[:changed]) % classes
    return dataclasses.replace(dataset, labels=labels)


def fingerprint(splits: DatasetSplits) -> str:
    """SHA-256 over classes, images and labels of all parts: equal where the data are."""
    digest = hashlib.sha256()
    for part in splits:
        for about in (part.class_names, part.images.shape):
            digest.update(repr(about).encode())
        digest.update(np.ascontiguousarray(part.images).tobytes())
        digest.update(part.labels.astype("<i4").tobytes())
    return digest.hexdigest()


def batches(dataset: Dataset, batch_size: int, *, key: Array | None = None) -> Iterator[np.ndarray]:
    """Index arrays that cover the data set once, the last one shorter; shuffled with a key."""
    validate.integer("batch_size", batch_size, minimum=1)
    order = np.arange(len(dataset))
    if key is not None:
        order = np.asarray(jax.random.permutation(key, len(dataset)))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
