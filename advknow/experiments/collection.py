"""Several models by name, and the images that `launch.rank` and `launch.matrix` compare them on."""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advknow import data, validate
from advknow.data import Dataset
from advknow.experiments import tasks
from advknow.passes import devices
from advknow.ranking import Source
from advknow.runs import files, outputs
from advknow.runs.by_name import LoadedModel, about, load_model
from advknow.runs.records import to_csv
from advknow.runs.session import Session

PARTS = ("train", "validation", "test", "all")


def named(places: Sequence[str]) -> dict[str, str]:
    """Models by name: "NAME=PLACE", or the last part of the place, or more of it where needed.

    Args:
      places: checkpoint folders, MODULE:CALLABLE, or .npz files of outputs.

    Raises:
      ValueError: none, an empty one, or a name twice.
    """
    if not places:
        raise ValueError("no model is named; a list with commas is needed.")
    found: dict[str, str] = {}
    pairs = [place.partition("=") if "=" in place else ("", "", place) for place in places]
    short = collections.Counter(_short(place) for name, _, place in pairs if not name)
    for name, _, place in pairs:
        if not place.strip():
            raise ValueError(f"{','.join(places)!r} names nothing between two commas.")
        name = name or (_short(place) if short[_short(place)] == 1 else place)
        if name in found:
            raise ValueError(f"two models are named {name!r}; NAME=PLACE names one otherwise.")
        found[name] = place
    return found


def _short(place: str) -> str:
    path = pathlib.Path(place)
    return path.stem if path.suffix == outputs.ENDING else path.name


def is_outputs(place: str) -> bool:
    """Whether it is a file of outputs, not a model."""
    return place.endswith(outputs.ENDING)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Images:
    """Which images models are compared on.

    Attributes:
      dataset, data_dir, image_size, skip_damaged: as `data.load`; image_size None: the models', 32
        where that is not known.
      part: "train", "validation", "test" or "all" of them together.
      classes: its classes, all by default.
      num_examples: at most so many, as evenly of all classes as these allow; 0 for all.
      seed: of the choice.
    """

    dataset: str
    part: str
    classes: tuple[str, ...] | None = None
    data_dir: str | None = None
    image_size: int | None = None
    skip_damaged: bool = False
    num_examples: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        validate.choice("part", self.part, PARTS)
        validate.integer("num_examples", self.num_examples, minimum=0)
        object.__setattr__(self, "dataset", data.resolved(self.dataset))

    def settings(self) -> dict[str, Any]:
        """What results depend on, ready for JSON."""
        found = dataclasses.asdict(self)
        del found["data_dir"], found["skip_damaged"]
        return found

    def read(self, places: Sequence[str] = ()) -> tuple[Dataset, tasks.Origin]:
        """The images, in the order of their ids, and where they are from.

        Args:
          places: of models, whose input shape the images get.

        Raises:
          ValueError, FileNotFoundError: as `data.load`; models of different input shapes.
        """
        shapes = {
            place: tuple(shape)
            for place in places
            if not is_outputs(place) and (shape := about(place).get("input_shape"))
        }
        if len(set(shapes.values())) > 1:
            listed = "; ".join(f"{place} {shape}" for place, shape in shapes.items())
            raise ValueError(f"models take inputs of different shapes ({listed}); one is needed.")
        shape = next(iter(shapes.values()), None)
        size = self.image_size or (data.IMAGE_SIZE if shape is None else shape[0])
        splits, origin = tasks.read(
            self.dataset, self.data_dir, image_size=size, skip_damaged=self.skip_damaged
        )
        parts = splits if self.part == "all" else [getattr(splits, self.part)]
        whole = data.concatenate(*parts)
        if self.classes:
            whole = data.select_classes(whole, self.classes)
        if shape is not None:
            whole = data.match_channels(whole, shape[-1])
        whole = whole.take(np.argsort(whole.ids, kind="stable"))
        return data.take_balanced(whole, self.num_examples, seed=self.seed), origin


def write_examples(images: Dataset, path: str | pathlib.Path) -> None:
    """The images for other frameworks, .npz: x (N, H, W, C) uint8, labels, ids, class_names."""
    np.savez_compressed(
        pathlib.Path(path).expanduser(),
        x=images.images,
        labels=images.labels,
        ids=images.ids.astype(str),
        class_names=np.array(images.class_names),
    )


def loaded(places: Mapping[str, str]) -> dict[str, LoadedModel | outputs.Outputs]:
    """Every model, or its outputs."""
    return {
        name: outputs.read_outputs(place) if is_outputs(place) else load_model(place)
        for name, place in places.items()
    }


def as_source(name: str, of: LoadedModel | outputs.Outputs, images: Dataset) -> Source:
    """For `advknow.rank`.

    Raises:
      ValueError: outputs of other examples than these.
    """
    if isinstance(of, LoadedModel):
        return Source(logits=of.f, features=of.features)
    if len(of.labels) != len(images):
        raise ValueError(
            f"{name} has outputs of {len(of.labels)} examples, {len(images)} are ranked on; those "
            "of the examples that --export writes are needed, in their order."
        )
    if of.ids is not None and not np.array_equal(of.ids.astype(str), images.ids.astype(str)):
        first = int(np.argmax(of.ids.astype(str) != images.ids.astype(str)))
        raise ValueError(
            f"{name}: example {first} is {of.ids[first]!s}, here {images.ids[first]!s}; the order "
            "of --export is needed."
        )
    if not np.array_equal(of.labels, images.labels):
        first = int(np.argmax(of.labels != images.labels))
        raise ValueError(
            f"{name}: example {first} has label {of.labels[first]}, here {images.labels[first]} "
            f"({images.class_names[images.labels[first]]}); the order of --export is needed."
        )
    return Source(logits=of.logits, features=of.features)


def write_csv(
    session: Session, name: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
) -> None:
    """These columns of the rows, under short names, into the workdir if there is one."""
    if session.folder is not None and devices.is_main():
        renamed = [{short: row[long] for long, short in columns.items()} for row in rows]
        files.write_atomically(session.folder / name, to_csv(renamed))
