"""Checks of arguments; every message names the argument, what was given and what is accepted.

Static settings are checked when a factory is called, arrays when they are concrete: inside
`jax.jit` an array has no values to look at, and only its rank and type are checked.
"""

import difflib
import math
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from advknow.typing import ArrayLike

# A pixel that went through float32 arithmetic can be this far outside its bounds.
BOUNDS_TOLERANCE = 1e-4


def choice(name: str, value: object, accepted: Iterable[str]) -> None:
    """Raises ValueError unless `value` is one of `accepted`; suggests the nearest."""
    accepted = tuple(accepted)
    if isinstance(value, str) and value in accepted:
        return
    near = difflib.get_close_matches(str(value), accepted, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{name}={value!r} is not known; accepted: {', '.join(accepted)}.{hint}")


def number(
    name: str,
    value: object,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
) -> float:
    """The value as a Python float; Python, NumPy and JAX scalars are accepted.

    Raises:
      TypeError, ValueError: it is no finite real number in the range.
    """
    wanted = "a finite number"
    if above is not None:
        wanted += f" > {above:g}"
    if minimum is not None:
        wanted += f" >= {minimum:g}"
    if maximum is not None:
        wanted += f" and <= {maximum:g}"
    value = _scalar(value)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}={value!r} ({type(value).__name__}) must be {wanted}.")
    v = float(value)
    if (
        not math.isfinite(v)
        or (minimum is not None and v < minimum)
        or (maximum is not None and v > maximum)
        or (above is not None and v <= above)
    ):
        raise ValueError(f"{name}={value!r} must be {wanted}.")
    return v


def _scalar(value: object) -> object:
    """The number in an array without axes, if it can be looked at."""
    if getattr(value, "ndim", None) == 0 and is_concrete(value):
        return value.item()  # type: ignore[attr-defined]
    return value


def integer(
    name: str, value: object, *, minimum: int | None = None, maximum: int | None = None
) -> int:
    """The value as a Python integer; Python, NumPy and JAX integers are accepted.

    Raises:
      TypeError, ValueError: it is no integer in the range.
    """
    value = _scalar(value)
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}={value!r} ({type(value).__name__}) must be an integer.")
    number(name, value, minimum=minimum, maximum=maximum)
    return int(value)


def is_concrete(*arrays: object) -> bool:
    """Whether the values of all leaves can be looked at: no tracer, none on another process."""
    return not any(
        isinstance(leaf, jax.core.Tracer)
        or (isinstance(leaf, jax.Array) and not leaf.is_fully_addressable)
        for leaf in jax.tree.leaves(arrays)
    )


@jax.jit
def _range_on_device(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.min(x), jnp.max(x)


def _range(x: ArrayLike) -> tuple[float, float]:
    """The least and the largest value; NaN where there is one."""
    if isinstance(x, jax.Array) and any(device.platform != "cpu" for device in x.devices()):
        # Two numbers travel, not the batch: on an H100 that was a fifth of LeNet's attack.
        low, high = jax.device_get(_range_on_device(x))
    else:
        values = np.asarray(x)
        low, high = values.min(), values.max()
    return float(low), float(high)


def inputs(
    name: str,
    x: ArrayLike,
    *,
    bounds: tuple[float, float] | None = None,
    min_ndim: int = 2,
    advice: str = "pixels: divide bytes by 255",
) -> None:
    """Checks a batch of inputs: rank, float dtype and, where concrete, finite and in bounds.

    Args:
      name: the argument's name, for the message.
      x: (B, ...) batch.
      bounds: (low, high) in the units of x, with a tolerance of `BOUNDS_TOLERANCE`.
      min_ndim: the least rank, the batch axis included.
      advice: how integers become floats of the right meaning, for the message.

    Raises:
      TypeError: x is no array of floats.
      ValueError: wrong rank, empty, NaN or infinity, or values outside the bounds.
    """
    if not hasattr(x, "ndim") or not hasattr(x, "dtype"):
        raise TypeError(
            f"{name} is a {type(x).__name__}; an array of shape (batch, ...) is needed."
        )
    if x.ndim < min_ndim:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}; a batch of rank >= {min_ndim}, (batch, ...), is "
            "needed. For one example use x[None]."
        )
    if 0 in x.shape:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}; at least one example, and one number in each, is "
            "needed."
        )
    if not getattr(x.dtype, "isnative", True):
        raise TypeError(
            f"{name} has dtype {x.dtype.str}, in another byte order than this machine's; "
            f"{name}.astype({name}.dtype.newbyteorder('=')) is accepted."
        )
    if not np.issubdtype(x.dtype, np.floating) and str(x.dtype) != "bfloat16":
        raise TypeError(f"{name} has dtype {x.dtype}; a float array is needed ({advice}).")
    if not is_concrete(x):
        return
    low, high = _range(x)
    if not (math.isfinite(low) and math.isfinite(high)):
        values = np.asarray(x)
        bad = int((~np.isfinite(values)).any(axis=tuple(range(1, values.ndim))).sum())
        raise ValueError(
            f"{name} holds NaN or infinity in {bad} of {values.shape[0]} examples; finite values "
            "are needed."
        )
    if bounds is not None:
        lo, hi = bounds
        if low < lo - BOUNDS_TOLERANCE or high > hi + BOUNDS_TOLERANCE:
            raise ValueError(
                f"{name} has values from {low:.6g} to {high:.6g}; bounds=({lo:g}, {hi:g}) are "
                "accepted. Attacks work on raw pixels: put the normalisation inside the model, or "
                "pass the bounds of your inputs."
            )


def interval(name: str, value: object) -> None:
    """Raises unless `value` is None or (low, high) with finite low < high."""
    if value is None:
        return
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name}={value!r} must be None or a pair (low, high).")
    number(f"{name}[0]", value[0])
    number(f"{name}[1]", value[1])
    if not value[0] < value[1]:
        raise ValueError(f"{name}={value!r} must have low < high.")
