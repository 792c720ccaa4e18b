"""Changing one field of a configuration of dataclasses, by its dotted name.

transfer.repeats            a field of a field
sources.LeNet.width         of the item of that name in a tuple
sources.*.training.epochs   of every item
"""

import ast
import dataclasses
import types
import typing
from typing import Any, TypeVar

from advknow import validate

Config = TypeVar("Config")


def _accepted(text: str, kind: Any, name: str) -> Any:
    """The text read as a value of that type; whether it is allowed is left to the dataclass."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if types.NoneType in kinds and text == "None":
        return None
    if bool in kinds:
        validate.choice(name, text.lower(), ("true", "false"))
        return text.lower() == "true"
    if typing.get_origin(kind) is tuple:
        return tuple(part for part in text.split(",") if part)
    if str in kinds:
        return text
    if not {int, float} & set(kinds):
        raise ValueError(f"{name} has fields of its own; set one of them, {name}.FIELD=VALUE.")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(value, int) and not isinstance(value, bool) and float in kinds:
        return float(value)
    return value


def changed(config: Config, setting: str, *, such_as: str) -> Config:
    """The configuration with a command line's change.

    Args:
      config: a dataclass.
      setting: "NAME=VALUE", the field's dotted name and its value as text, see `replaced`.
      such_as: one that is accepted, for the message.

    Raises:
      ValueError, TypeError: no NAME=VALUE; as `replaced`.
    """
    path, sign, value = setting.partition("=")
    if not sign:
        raise ValueError(f"set={setting!r} must be NAME=VALUE, such as {such_as}.")
    return replaced(config, path, value, text=True)


def replaced(config: Config, path: str, value: Any, *, text: bool = False, at: str = "") -> Config:
    """The configuration with one field changed.

    Args:
      config: a dataclass.
      path: the field's dotted name, see the module.
      value: the new value; with text=True a string as on a command line, "a,b" for a tuple of
        strings and "None" for None.
      text: see there.
      at: the dotted name of `config` itself, for messages.

    Raises:
      ValueError, TypeError: no such field, with those that there are; a value it does not accept.
    """
    field, _, rest = path.partition(".")
    name = f"{at}.{field}".strip(".")
    if not dataclasses.is_dataclass(config):
        raise ValueError(f"{at} has no fields; {at}=VALUE is accepted.")
    kinds = typing.get_type_hints(type(config))
    validate.choice("setting", name, [f"{at}.{known}".strip(".") for known in kinds])
    old = getattr(config, field)
    items = isinstance(old, tuple) and bool(old) and all(map(dataclasses.is_dataclass, old))
    if items and not rest and text:
        raise ValueError(f"{name} has items; set a field of one of them, {name}.NAME.FIELD=VALUE.")
    if not rest:
        new = _accepted(value, kinds[field], name) if text else value
    elif items:
        chosen, _, inner = rest.partition(".")
        validate.choice(name, chosen, ("*", *(item.name for item in old)))
        if not inner:
            raise ValueError(f"{name}.{chosen} is an item; set one of its fields.")
        new = tuple(
            replaced(item, inner, value, text=text, at=f"{name}.{item.name}")
            if chosen in ("*", item.name)
            else item
            for item in old
        )
    else:
        new = replaced(old, rest, value, text=text, at=name)
    return typing.cast(Config, dataclasses.replace(config, **{field: new}))  # type: ignore[type-var]
