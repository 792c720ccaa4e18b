"""Models that commands are told by name.

A name is a checkpoint folder of advknow, or MODULE:CALLABLE: an importable Python module and a
function in it without arguments that returns a model, a function of raw pixels (B, H, W, C) in
[0, 1] to logits (B, d). The module is imported, so it is run: name only code that you trust.
Nothing that is read from data or checkpoints is ever run.
"""

import importlib
import pathlib
from typing import Any, NamedTuple

from advknow.runs import checkpoints
from advknow.typing import ApplyFn


class LoadedModel(NamedTuple):
    """A model as a function of pixels, and what is known of it.

    Attributes:
      f: (B, H, W, C) float32 in [0, 1] -> (B, d) logits.
      input_shape: (H, W, C), or None where it is not known.
      class_names: what its outputs stand for, in order; () where it is not known.
      dataset: what it was trained on, or None.
      features: (B, H, W, C) -> (B, D), the input of the last layer; None where it is not known.
    """

    f: ApplyFn
    input_shape: tuple[int, ...] | None
    class_names: tuple[str, ...]
    dataset: str | None
    features: ApplyFn | None = None


def about(name: str | pathlib.Path) -> dict[str, Any]:
    """The metadata of the checkpoint of that name; {} where there is none that can be read."""
    try:
        return checkpoints.metadata(name)
    except (FileNotFoundError, ValueError):
        return {}


def load_model(name: str | pathlib.Path) -> LoadedModel:
    """The model of a checkpoint folder, or of MODULE:CALLABLE.

    What the callable returns is a function to logits, or has such a one as its `logits`
    (`advknow.Source`). It may have the attributes `class_names`, the names of its outputs in order,
    and `features`, a function of the same pixels to the input of the last layer.

    Raises:
      FileNotFoundError, ValueError: a missing or damaged checkpoint; a module or callable that is
        not there, or does not return a function.
    """
    text = str(name)
    if pathlib.Path(text).exists() or ":" not in text:
        model, variables, metadata = checkpoints.restore_model(name)
        names = tuple(metadata.get("class_names", ()))
        return LoadedModel(
            model.bind(variables),
            model.input_shape,
            names,
            metadata.get("dataset"),
            model.bind_features(variables),
        )
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
    made = make()
    f = getattr(made, "logits", made)
    if not callable(f):
        raise ValueError(
            f"{text}() returned a {type(made).__name__}; a function of a batch (B, H, W, C) to "
            "logits (B, d) is needed."
        )
    features = getattr(made, "features", None)
    if features is not None and not callable(features):
        raise ValueError(
            f"{text}() has features of type {type(features).__name__}; a function of a batch "
            "(B, H, W, C) to features (B, D) is needed."
        )
    return LoadedModel(f, None, tuple(getattr(made, "class_names", ())), None, features)
