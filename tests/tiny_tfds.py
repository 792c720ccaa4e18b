"""Small CIFAR-10 and STL-10 of the real names and features, prepared by a real tfds builder.

PNG bytes in array_record files: neither preparing nor reading them needs TensorFlow. The images
are separable, so that a small model learns something.
"""

import io
import pathlib
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from advknow.data.prepared import CIFAR10_CLASS_NAMES, STL10_CLASS_NAMES

PER_CLASS = {"train": 24, "test": 8}


def image(label: int, index: int, size: int) -> np.ndarray:
    """A noisy image whose colours and stripes tell its class."""
    generator = np.random.default_rng([label, index])
    colour = np.array([(label * 67) % 200, (label * 31 + 90) % 200, (label * 113) % 200]) + 30.0
    stripes = 25.0 * np.sin(np.arange(size) * (label + 1) * 6.3 / size)[:, None, None]
    noisy = colour + stripes + generator.normal(0, 20, (size, size, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


class _Builder(tfds.core.GeneratorBasedBuilder):
    SIZE: int
    CLASS_NAMES: tuple[str, ...]
    CHANNELS = 3
    # Features beside image and label.
    BESIDE: ClassVar[dict] = {}

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            **self.BESIDE,
            "image": tfds.features.Image(shape=(self.SIZE, self.SIZE, self.CHANNELS)),
            "label": tfds.features.ClassLabel(names=list(self.CLASS_NAMES)),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in PER_CLASS}

    def _generate_examples(self, split):
        offset = 0 if split == "train" else 1000
        for i in range(PER_CLASS[split]):
            for label in range(len(self.CLASS_NAMES)):
                pixels = image(label, offset + i, self.SIZE)
                pixels = pixels[..., 0] if self.CHANNELS == 1 else pixels
                example = {"image": _png(pixels), "label": label}
                if "id" in self.info.features:
                    example["id"] = f"{split}_{i}_{label}"
                yield f"{i}_{label}", example


class Cifar10(_Builder):
    VERSION = tfds.core.Version("3.0.2")
    SIZE = 32
    CLASS_NAMES = CIFAR10_CLASS_NAMES
    BESIDE: ClassVar = {"id": tfds.features.Text()}


class Stl10(_Builder):
    VERSION = tfds.core.Version("1.0.0")
    SIZE = 96
    CLASS_NAMES = STL10_CLASS_NAMES


class Mnist(_Builder):
    VERSION = tfds.core.Version("3.0.1")
    SIZE = 28
    CLASS_NAMES = tuple("0123456789")
    CHANNELS = 1


def prepare(data_dir: str | pathlib.Path) -> str:
    """Prepares both into data_dir and returns it."""
    for builder_class in (Cifar10, Stl10):
        builder = builder_class(data_dir=str(data_dir), file_format="array_record")
        builder.download_and_prepare(file_format="array_record")
    return str(data_dir)


def photo(label: int, index: int) -> np.ndarray:
    """Like `image`, of many sizes."""
    return image(label, index, 24 + index % 5 * 4)[:, : 20 + label]


class TinyPhotos(tfds.core.GeneratorBasedBuilder):
    """A set of nobody's: images of many sizes, features of other names."""

    VERSION = tfds.core.Version("1.0.0")
    CLASS_NAMES = ("<b>zebra</b>", "ant", "猫")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "photo": tfds.features.Image(shape=(None, None, 3)),
            "animal": tfds.features.ClassLabel(names=list(self.CLASS_NAMES)),
            "mask": tfds.features.Image(shape=(None, None, 1)),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("photo", "animal"),
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in PER_CLASS}

    def _generate_examples(self, split):
        offset = 0 if split == "train" else 1000
        for i in range(PER_CLASS[split]):
            for label in range(len(self.CLASS_NAMES)):
                pixels = photo(label, offset + i)
                mask = _png(pixels[..., 0])
                yield f"{i}_{label}", {"photo": _png(pixels), "animal": label, "mask": mask}


class TinyScores(tfds.core.GeneratorBasedBuilder):
    """Images without classes."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(shape=(4, 4, 1)), "score": np.float32}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(4):
            yield i, {"image": _png(np.full((4, 4), i, np.uint8)), "score": float(i)}


def prepare_others(data_dir: str | pathlib.Path) -> str:
    """Prepares MNIST and the sets that no name is registered for, and returns data_dir."""
    for builder_class in (Mnist, TinyPhotos, TinyScores):
        builder = builder_class(data_dir=str(data_dir), file_format="array_record")
        builder.download_and_prepare(file_format="array_record")
    return str(data_dir)
