"""The data of an experiment: what the sources see, what the target sees, and never both.

    source: train, validation, test of the source's classes
    target: train (of which a few carry labels for the transfer), validation, test

Where a source and the target have classes of one data set in common, the images of that data set
are first divided between them (`source_share`), part by part and class by class, so that no image
serves both, also in testing.
"""

import functools
from typing import NamedTuple

import numpy as np

from advknow import data
from advknow.data import Dataset
from advknow.experiments.config import ExperimentConfig, Task
from advknow.passes import keys

PARTS = ("train", "validation", "test")


class Parts(NamedTuple):
    """Disjoint train, validation and test images of one task, labels 0 .. k - 1."""

    train: Dataset
    validation: Dataset
    test: Dataset


def _common(config: ExperimentConfig) -> bool:
    """Whether any source has a class of the target's data set in common with the target."""
    target = set(config.target.class_names)
    return any(
        source.task.dataset == config.target.dataset and target & set(source.task.class_names)
        for source in config.sources
    )


@functools.lru_cache(maxsize=4)
def _load(name: str, data_dir: str | None) -> data.DatasetSplits:
    return data.load(name, data_dir=data_dir)


def _of_task(
    task: Task, config: ExperimentConfig, *, role: str, channels: int, divided: bool
) -> Parts:
    splits = _load(task.dataset, config.data_dir)
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
        selected = data.select_classes(dataset, task.class_names)
        found.append(data.match_channels(selected, channels))
    return Parts(*found)


def load(config: ExperimentConfig) -> tuple[Parts, dict[str, Parts]]:
    """The target's parts, and each source's by its name.

    Raises:
      FileNotFoundError: a data set is not there; says how to get it.
      ValueError: source and target share an image.
    """
    names = {config.target.dataset, *(source.task.dataset for source in config.sources)}
    channels = max(data.info(name).channels for name in names)
    divided = _common(config)
    target = _of_task(config.target, config, role="target", channels=channels, divided=divided)
    sources = {
        source.name: _of_task(
            source.task, config, role="source", channels=channels, divided=divided
        )
        for source in config.sources
    }
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


def of_one(task: Task, data_dir: str | None, *, channels: int | None = None) -> Parts:
    """The parts of one task, undivided; with `channels`, images get so many.

    Raises:
      FileNotFoundError: the data set is not there; says how to get it.
    """
    splits = _load(task.dataset, data_dir)
    found = [data.select_classes(getattr(splits, part), task.class_names) for part in PARTS]
    if channels is not None:
        found = [data.match_channels(part, channels) for part in found]
    return Parts(*found)


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
