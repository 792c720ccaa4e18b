"""The models and images that `launch.measure` and `launch.chain` are told by name.

A model is a checkpoint folder of advknow, or MODULE:CALLABLE: an importable Python module and a
function in it without arguments that returns a model, a function of raw pixels (B, H, W, C) in
[0, 1] to logits (B, d). The module is imported, so it is run: name only code that you trust.
Nothing that is read from data or checkpoints is ever run.
"""

import importlib
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from advknow import data, validate
from advknow.data import Dataset
from advknow.experiments import tasks
from advknow.passes.apply_fn import as_pytree, output_spec
from advknow.runs import checkpoints
from advknow.training.evaluation import map_batches
from advknow.typing import ApplyFn, Array


class LoadedModel(NamedTuple):
    """A model as a function of pixels, and what is known of it.

    Attributes:
      f: (B, H, W, C) float32 in [0, 1] -> (B, d) logits.
      input_shape: (H, W, C), or None where it is not known.
      class_names: what its outputs stand for, in order; () where it is not known.
      dataset: what it was trained on, or None.
    """

    f: ApplyFn
    input_shape: tuple[int, ...] | None
    class_names: tuple[str, ...]
    dataset: str | None


class Pair(NamedTuple):
    """Two models as functions of pixels, and the test images to measure them on."""

    f_source: ApplyFn
    f_target: ApplyFn
    num_outputs: int
    images: Dataset
    dataset: str


def load_model(name: str | pathlib.Path) -> LoadedModel:
    """The model of a checkpoint folder, or of MODULE:CALLABLE.

    A returned function may have the attribute `class_names`, the names of its outputs in order.

    Raises:
      FileNotFoundError, ValueError: a missing or damaged checkpoint; a module or callable that is
        not there, or does not return a function.
    """
    text = str(name)
    if pathlib.Path(text).exists() or ":" not in text:
        model, variables, metadata = checkpoints.restore_model(name)
        names = tuple(metadata.get("class_names", ()))
        return LoadedModel(model.bind(variables), model.input_shape, names, metadata.get("dataset"))
    module_name, _, attribute = text.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{text}: no module {error.name!r}; an importable module (PYTHONPATH, or the folder "
            "you are in) or a checkpoint folder is needed."
        ) from error
    except ValueError as error:
        raise ValueError(f"{text}: {error}; MODULE:CALLABLE is needed.") from error
    if not hasattr(module, attribute):
        raise ValueError(f"{text}: the module {module_name!r} has no {attribute!r}.")
    make = getattr(module, attribute)
    if not callable(make):
        raise ValueError(
            f"{text} is a {type(make).__name__}; a function without arguments that returns a model "
            "is needed."
        )
    f = make()
    if not callable(f):
        raise ValueError(
            f"{text}() returned a {type(f).__name__}; a function of a batch (B, H, W, C) to logits "
            "(B, d) is needed."
        )
    return LoadedModel(f, None, tuple(getattr(f, "class_names", ())), None)


@jax.jit
def _outputs(f: ApplyFn, x: Array) -> Array:
    return f(x)


def _same_shape(source: LoadedModel, target: LoadedModel) -> tuple[int, ...] | None:
    known = [m.input_shape for m in (source, target) if m.input_shape is not None]
    if len(set(known)) > 1:
        raise ValueError(
            f"source takes inputs of shape {known[0]}, target of shape {known[1]}; models of the "
            "same input shape are needed."
        )
    return known[0] if known else None


def load_pair(
    source: str | pathlib.Path,
    target: str | pathlib.Path,
    *,
    dataset: str | None = None,
    classes: tuple[str, ...] | None = None,
    data_dir: str | None = None,
    num_examples: int = 0,
    correct_only: bool = True,
    seed: int = 0,
) -> Pair:
    """Reads two models and chooses test images.

    Args:
      source, target: as `load_model`.
      dataset, classes: what to measure on; by default what the target was trained on.
      data_dir: where the data set lies.
      num_examples: at most so many test images; 0 for all.
      correct_only: only images that the target classifies correctly; needs the target's classes.
      seed: of the choice of images.

    Raises:
      FileNotFoundError, ValueError: a model or data set that is missing or damaged, models of
        different input shapes or that do not take the images, no correctly classified image.
    """
    validate.integer("num_examples", num_examples, minimum=0)
    of_source, of_target = load_model(source), load_model(target)
    shape = _same_shape(of_source, of_target)
    dataset = of_target.dataset if dataset is None else dataset
    if dataset is None:
        raise ValueError(f"dataset=None: {target} does not name one; name it (--dataset).")
    own_classes = of_target.class_names
    known = data.info(dataset).class_names
    if classes is None:
        classes = own_classes if set(own_classes) <= set(known) and own_classes else known
    test = data.select_classes(data.load(dataset, data_dir=data_dir).test, classes)
    if shape is not None:
        test = data.match_channels(test, shape[-1])
    for name, model in ((source, of_source), (target, of_target)):
        output_spec(as_pytree(model.f), test.pixels(slice(0, 2)), name=str(name))
    num_outputs = output_spec(as_pytree(of_target.f), test.pixels(slice(0, 2))).shape[1]
    indices = np.arange(len(test))
    if correct_only:
        if tuple(classes) != own_classes:
            raise ValueError(
                f"correct_only=True needs the target's classes {own_classes}, not {classes}; use "
                "--nocorrect_only to count all images."
            )
        f = as_pytree(of_target.f)
        logits = map_batches(lambda x: _outputs(f, x), test.pixels(), 256)
        indices = np.flatnonzero(logits.argmax(axis=1) == test.labels)
        if len(indices) == 0:
            raise ValueError(
                f"the target model classifies 0 of {len(test)} test images correctly, and only "
                "those count; use --nocorrect_only to count all images."
            )
    if 0 < num_examples < len(indices):
        generator = np.random.default_rng(tasks.stage_seed(seed, "measured"))
        indices = np.sort(generator.choice(indices, num_examples, replace=False))
    return Pair(of_source.f, of_target.f, num_outputs, test.take(indices), dataset)
