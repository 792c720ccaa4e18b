"""The data of an experiment: what the sources see, what the target sees, and never both.

    source: train, validation, test of the source's classes
    target: train (of which a few carry labels for the transfer), validation, test

Where a source and the target have classes of one data set in common, the images of that data set
are first divided between them (`source_share`), part by part and class by class, so that no image
serves both, also in testing.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from advknow import data
from advknow.data import Dataset, DatasetSplits
from advknow.experiments.config import ExperimentConfig, Task
from advknow.passes import keys

PARTS = ("train", "validation", "test")


class Origin(NamedTuple):
    """Where images are from.

    Attributes:
      dataset: its name.
      fingerprint: SHA-256 of all its images and labels; None where the name says what they are.
      notes: what was found, resized, skipped and split when it was read.
    """

    dataset: str
    fingerprint: str | None
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """Disjoint train, validation and test images of one task, labels 0 .. k - 1; their origin."""

    train: Dataset
    validation: Dataset
    test: Dataset
    origin: Origin

    def __iter__(self) -> Iterator[Dataset]:
        """The three parts."""
        return iter((self.train, self.validation, self.test))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes by name, in the order of their labels."""
        return self.train.class_names


def fingerprints(origins: Iterable[Origin]) -> dict[str, Any]:
    """The setting by which data that changed under their name are noticed; {} if none can."""
    found = {o.dataset: o.fingerprint for o in origins if o.fingerprint is not None}
    return {"data_sha256": found} if found else {}


def _common(config: ExperimentConfig) -> bool:
    """Whether any source has a class of the target's data set in common with the target."""
    target = set(config.target.classes)
    return any(
        source.task.dataset == config.target.dataset
        and (not target or not source.task.classes or target & set(source.task.classes))
        for source in config.sources
    )


@functools.lru_cache(maxsize=4)
def _registered(name: str, data_dir: str | None, image_size: int) -> DatasetSplits:
    return data.load(name, data_dir=data_dir, image_size=image_size)


def read(
    dataset: str,
    data_dir: str | None,
    *,
    image_size: int = data.IMAGE_SIZE,
    skip_damaged: bool = False,
) -> tuple[DatasetSplits, Origin]:
    """The data set with its origin; files of one's own are read anew, as they may have changed.

    Args, Raises: as `data.load`.
    """
    name, notes = data.resolved(dataset), list[str]()
    if name in data.DATASETS:
        splits = _registered(name, data_dir, image_size)
    else:
        splits = data.load(
            name,
            data_dir=data_dir,
            image_size=image_size,
            skip_damaged=skip_damaged,
            on_note=notes.append,
        )
    changing = not data.info(name).fixed
    return splits, Origin(name, data.fingerprint(splits) if changing else None, tuple(notes))


def _selected(dataset: Dataset, task: Task) -> Dataset:
    return data.select_classes(dataset, task.classes) if task.classes else dataset


def _of_task(
    task: Task,
    config: ExperimentConfig,
    splits: DatasetSplits,
    origin: Origin,
    *,
    role: str,
    channels: int,
    divided: bool,
) -> Parts:
    found = []
    for part in PARTS:
        dataset = getattr(splits, part)
        if divided and task.dataset == config.target.dataset:
            # The same division for all roles: it depends on the seed and the part only.
            for_sources, for_target = data.partition(
                dataset,
                (config.source_share, 1.0 - config.source_share),
                seed=keys.stage_seed(config.seed, f"division/{part}"),
            )
            dataset = for_sources if role == "source" else for_target
        dataset = data.match_channels(_selected(dataset, task), channels)
        found.append(data.fill_frame(dataset) if config.fill_frame else dataset)
    return Parts(found[0], found[1], found[2], origin)


def load(config: ExperimentConfig) -> tuple[Parts, dict[str, Parts]]:
    """The target's parts, and each source's by its name.

    Raises:
      FileNotFoundError: a data set is not there; says how to get it.
      ValueError: source and target share an image.
    """
    names = {config.target.dataset, *(source.task.dataset for source in config.sources)}
    found = {
        name: read(
            name,
            config.data_dir,
            image_size=config.image_size,
            skip_damaged=config.skip_damaged,
        )
        for name in sorted(names)
    }
    channels = max(splits.train.images.shape[-1] for splits, _ in found.values())
    divided = _common(config)

    def of(task: Task, role: str) -> Parts:
        splits, origin = found[task.dataset]
        return _of_task(task, config, splits, origin, role=role, channels=channels, divided=divided)

    target = of(config.target, "target")
    sources = {source.name: of(source.task, "source") for source in config.sources}
    for name, parts in sources.items():
        check_no_common_image(parts, target, source=name)
    return target, sources


def check_no_common_image(source_parts: Parts, target_parts: Parts, *, source: str) -> None:
    """Raises ValueError where any part of the source and any of the target share an image."""
    for of_source in PARTS:
        for of_target in PARTS:
            data.check_disjoint(
                getattr(source_parts, of_source),
                getattr(target_parts, of_target),
                names=(f"source {source} ({of_source})", f"target ({of_target})"),
            )


def of_one(task: Task, data_dir: str | None, *, channels: int | None = None, **how: Any) -> Parts:
    """The parts of one task, undivided.

    Args:
      task: of which the parts are. data_dir: as `data.load`.
      channels: that images get; None: as they have.
      **how: image_size and skip_damaged, as `data.load`.

    Raises:
      FileNotFoundError: the data set is not there; says how to get it.
      ValueError: an unknown class, damaged data, colour images where grey ones are needed.
    """
    splits, origin = read(task.dataset, data_dir, **how)
    found = [_selected(part, task) for part in splits]
    if channels is not None:
        found = [data.match_channels(part, channels) for part in found]
    return Parts(found[0], found[1], found[2], origin)


def labelled(train: Dataset, per_class: int, *, seed: int, draw: str) -> Dataset:
    """One draw of the labelled images: so many a class of the train part, all of it for 0.

    Args:
      train: the target's train part.
      per_class: images a class.
      seed: of the run. draw: its name.
    """
    if per_class == 0:
        return train
    return data.take_per_class(train, per_class, seed=keys.stage_seed(seed, draw))


class NothingCorrectError(ValueError):
    """The target model classifies no test image correctly, so there is nothing to measure on."""


def chosen(correct: np.ndarray, num_examples: int, *, seed: int, cure: str) -> np.ndarray:
    """Which test images are measured: correctly classified ones, at most so many, in order.

    Args:
      correct: (N,) bool. num_examples: at most so many; 0 for all.
      seed: of the run. cure: what to do where there is none, for the message.

    Raises:
      NothingCorrectError: there is none.
    """
    indices = np.flatnonzero(correct)
    if len(indices) == 0:
        raise NothingCorrectError(
            f"the target model classifies 0 of {len(correct)} target test images correctly, and "
            f"only those count; {cure}."
        )
    if 0 < num_examples < len(indices):
        generator = np.random.default_rng(keys.stage_seed(seed, "measured"))
        indices = np.sort(generator.choice(indices, num_examples, replace=False))
    return indices
