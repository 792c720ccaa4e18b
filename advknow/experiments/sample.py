"""Two models and the test images that `launch.measure` and `launch.chain` measure them on."""

import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

import numpy as np

from advknow import data, validate
from advknow.data import Dataset
from advknow.experiments import tasks
from advknow.passes import devices, memory
from advknow.passes.apply_fn import as_pytree, output_spec, outputs
from advknow.runs.by_name import LoadedModel, about, load_model
from advknow.training.evaluation import map_batches
from advknow.typing import ApplyFn, Sharding


class Pair(NamedTuple):
    """Two models as functions of pixels, and the test images to measure them on.

    Attributes:
      source, target: (B, H, W, C) float32 in [0, 1] -> logits.
      num_outputs: of the target.
      images: the examples. origin: where they are from.
      class_names: of the source's outputs and the target's; () where they are not known.
    """

    source: ApplyFn
    target: ApplyFn
    num_outputs: int
    images: Dataset
    origin: tasks.Origin
    class_names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    @property
    def models(self) -> dict[str, ApplyFn]:
        """Both, under the names that measures know them by."""
        return {"f_source": self.source, "f_target": self.target}

    def fitting(
        self, program: Any, batch_size: int, limit_gib: float | None, sharding: Sharding
    ) -> int:
        """The batch size asked for, or the largest that fits (`memory.asked_batch_size`).

        Args:
          program: `memory.jacobians_of` or `memory.gradients_of`.
          batch_size: 0 for the largest that fits. limit_gib: of a device. sharding: over devices.
        """
        shape = self.images.images.shape[1:]
        lower = program(as_pytree(self.source), as_pytree(self.target), shape)
        number = devices.count(sharding)
        return memory.asked_batch_size(lower, batch_size, limit_gib=limit_gib, num_devices=number)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """Which two models are measured on which test images.

    Attributes:
      source, target: as `load_model`.
      dataset, classes: what to measure on; by default what the target was trained on.
      data_dir: where the data set lies.
      image_size: of the images; the models' by default, 32 where that is not known.
      skip_damaged: as `data.load`.
      num_examples: at most so many test images; 0 for all.
      correct_only: only images that the target classifies correctly; needs the target's classes.
      seed: of the choice of images and of attacks.
    """

    source: str | pathlib.Path
    target: str | pathlib.Path
    dataset: str | None = None
    classes: tuple[str, ...] | None = None
    data_dir: str | None = None
    image_size: int | None = None
    skip_damaged: bool = False
    num_examples: int = 0
    correct_only: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for role in ("source", "target"):
            if not getattr(self, role):
                raise ValueError(
                    f"{role}={getattr(self, role)!r}: a checkpoint folder or MODULE:CALLABLE is "
                    "needed."
                )
        validate.integer("num_examples", self.num_examples, minimum=0)
        if self.dataset is not None:
            object.__setattr__(self, "dataset", data.resolved(self.dataset))

    def settings(self) -> dict[str, Any]:
        """The settings by which a later command recognises a workdir's figures, ready for JSON."""
        found = dataclasses.asdict(self)
        del found["data_dir"], found["skip_damaged"]
        if self.image_size is None:
            del found["image_size"]
        found |= {"source": str(self.source), "target": str(self.target)}
        dataset = self._dataset
        if dataset is None or data.info(dataset).fixed:
            return found
        return {**found, **tasks.fingerprints([self._read[1]])}

    @property
    def _dataset(self) -> str | None:
        """What to measure on, where it is named or the target's checkpoint names one."""
        return about(self.target).get("dataset") if self.dataset is None else self.dataset

    @functools.cached_property
    def _read(self) -> tuple[data.DatasetSplits, tasks.Origin]:
        shapes = [about(model).get("input_shape") for model in (self.source, self.target)]
        size = next((shape[0] for shape in shapes if shape), data.IMAGE_SIZE)
        return tasks.read(
            str(self._dataset),
            self.data_dir,
            image_size=size if self.image_size is None else self.image_size,
            skip_damaged=self.skip_damaged,
        )

    def described(self, pair: Pair) -> dict[str, Any]:
        """What was measured, for the file of the figures."""
        return {
            "source": str(self.source),
            "target": str(self.target),
            "dataset": pair.origin.dataset,
            "classes": list(pair.images.class_names),
            "seed": self.seed,
        }

    def load(self) -> Pair:
        """Reads the models and chooses the images.

        Raises:
          FileNotFoundError, ValueError: a model or data set that is missing or damaged, models of
            different input shapes or that do not take the images, no correctly classified image.
        """
        of_source, of_target = load_model(self.source), load_model(self.target)
        shape = _same_shape(of_source, of_target)
        if self._dataset is None:
            raise ValueError(f"dataset=None: {self.target} does not name one; name it (--dataset).")
        own_classes = of_target.class_names
        splits, origin = self._read
        known = splits.test.class_names
        classes = self.classes
        if classes is None:
            classes = own_classes if set(own_classes) <= set(known) and own_classes else known
        test = data.select_classes(splits.test, classes)
        if shape is not None:
            test = data.match_channels(test, shape[-1])
        specs = [
            output_spec(as_pytree(model.f), test.pixels(slice(0, 2)), name=str(name))
            for name, model in ((self.source, of_source), (self.target, of_target))
        ]
        correct = np.ones(len(test), bool)
        if self.correct_only:
            if tuple(classes) != own_classes:
                raise ValueError(
                    f"correct_only=True needs the target's classes {own_classes}, not {classes}; "
                    "use --nocorrect_only to count all images."
                )
            f = as_pytree(of_target.f)
            logits = map_batches(lambda x: outputs(f, x), test.pixels())
            correct = logits.argmax(axis=1) == test.labels
        indices = tasks.chosen(
            correct,
            self.num_examples,
            seed=self.seed,
            cure="use --nocorrect_only to count all images",
        )
        return Pair(
            of_source.f,
            of_target.f,
            specs[1].shape[1],
            test.take(indices),
            origin,
            (of_source.class_names, own_classes),
        )


def _same_shape(source: LoadedModel, target: LoadedModel) -> tuple[int, ...] | None:
    known = [m.input_shape for m in (source, target) if m.input_shape is not None]
    if len(set(known)) > 1:
        raise ValueError(
            f"source takes inputs of shape {known[0]}, target of shape {known[1]}; models of the "
            "same input shape are needed."
        )
    return known[0] if known else None
