"""How many examples fit: batch sizes from the compiler's own account of a program's memory.

The largest program of a measurement holds the Jacobians of both models for a batch
(`jacobians_of`); attacks and forward passes of the same batch need less.
"""

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.stages import Lowered

from advknow import precision, validate
from advknow.passes.apply_fn import vjp_rows
from advknow.typing import ApplyFn, Array, PyTree

# The program of a batch of that size, not yet compiled.
Lower = Callable[[int], Lowered]
GIB = 2**30


class MemoryLimitError(ValueError):
    """A batch does not fit into the memory; the message names one that fits, if any does."""


def program_bytes(lowered: Lowered) -> int:
    """Bytes that the compiled program holds: arguments, results and everything between.

    Compiles it.
    """
    found = lowered.compile().memory_analysis()
    assert found is not None, "every backend of jaxlib keeps this account"
    return int(
        found.argument_size_in_bytes
        + found.output_size_in_bytes
        + found.temp_size_in_bytes
        - found.alias_size_in_bytes
    )


def device_limit() -> int | None:
    """Bytes that a program may take on the default device: those that are free, None if unknown."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    if jax.default_backend() == "cpu" and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def largest_batch_size(lower: Lower, *, limit: int, at_most: int = 1024) -> int:
    """The largest power of two whose program fits.

    Args:
      lower: the program of a batch; what it holds grows with the batch.
      limit: bytes.
      at_most: no larger one is tried.

    Raises:
      MemoryLimitError: a single example does not fit.
    """
    validate.integer("limit", limit, minimum=1)
    validate.integer("at_most", at_most, minimum=1)
    most = at_most.bit_length() - 1
    # The likeliest first: everything fits, and one program is compiled.
    if program_bytes(lower(2**most)) <= limit:
        return 2**most
    fits, too_large = -1, most
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        if program_bytes(lower(2**middle)) <= limit:
            fits = middle
        else:
            too_large = middle
    if fits < 0:
        raise MemoryLimitError(
            f"a batch of 1 needs {program_bytes(lower(1)) / GIB:.3g} GiB, the limit is "
            f"{limit / GIB:.3g} GiB: no batch fits; take a smaller model or more memory."
        )
    return 2**fits


def fitting_batch_size(
    lower: Lower, batch_size: int, *, limit: int | None, at_most: int = 1024
) -> int:
    """The batch size if it fits, or for 0 the largest power of two that does.

    Args:
      lower: as in `largest_batch_size`.
      batch_size: >= 0.
      limit: bytes; with None every batch size is accepted, and 0 means `at_most`.
      at_most: of the automatic one.

    Raises:
      MemoryLimitError: the batch does not fit; the message names the largest that does.
    """
    validate.integer("batch_size", batch_size, minimum=0)
    if limit is None:
        return batch_size or at_most
    if batch_size == 0:
        return largest_batch_size(lower, limit=limit, at_most=at_most)
    needed = program_bytes(lower(batch_size))
    if needed > limit:
        fits = largest_batch_size(lower, limit=limit, at_most=batch_size)
        raise MemoryLimitError(
            f"batch_size={batch_size} needs {needed / GIB:.3g} GiB, the limit is "
            f"{limit / GIB:.3g} GiB; batch_size={fits} fits."
        )
    return batch_size


@precision.program
def _jacobians(f_source: ApplyFn, f_target: ApplyFn, x: Array) -> PyTree:
    return vjp_rows(f_source, x), vjp_rows(f_target, x)


def jacobians_of(f_source: ApplyFn, f_target: ApplyFn, shape: tuple[int, ...], dtype="float32"):
    """The `Lower` of both models' Jacobians for inputs of that shape (without the batch).

    The models are pytrees (`apply_fn.as_pytree`); abstract arrays in place of weights will do.
    """

    def lower(batch_size: int) -> Lowered:
        x = jax.ShapeDtypeStruct((batch_size, *shape), dtype)
        return _jacobians.lower(f_source, f_target, x)

    return lower


@precision.program
def _gradients(f_source: ApplyFn, f_target: ApplyFn, x: Array) -> PyTree:
    def gradient(f: ApplyFn) -> Array:
        return jax.grad(lambda x: jnp.sum(jax.nn.logsumexp(f(x), axis=-1)))(x)

    return gradient(f_source), gradient(f_target)


def gradients_of(f_source: ApplyFn, f_target: ApplyFn, shape: tuple[int, ...], dtype="float32"):
    """The `Lower` of one input gradient of each model: a step of an attack; as `jacobians_of`."""

    def lower(batch_size: int) -> Lowered:
        x = jax.ShapeDtypeStruct((batch_size, *shape), dtype)
        return _gradients.lower(f_source, f_target, x)

    return lower


def asked_batch_size(
    lower: Lower, batch_size: int, *, limit_gib: float | None, num_devices: int = 1
) -> int:
    """`fitting_batch_size` for a user's settings: nothing is compiled unless asked for.

    Args:
      lower: as in `largest_batch_size`, of the examples on one device.
      batch_size: of all devices together; 0 for the largest that fits.
      limit_gib: GiB a program may take on a device; None: what is free there, for batch_size=0, and
        no check of any other.
      num_devices: that share a batch.

    Raises:
      MemoryLimitError: as `fitting_batch_size`. ValueError, TypeError: no number above 0.
    """
    validate.integer("batch_size", batch_size, minimum=0)
    if limit_gib is None and batch_size > 0:
        return batch_size
    if limit_gib is not None:
        validate.number("memory_limit_gib", limit_gib, above=0.0)
    limit = device_limit() if limit_gib is None else int(limit_gib * GIB)
    share = -(-batch_size // num_devices)
    fits = fitting_batch_size(lower, share, limit=limit)
    return batch_size or fits * num_devices
