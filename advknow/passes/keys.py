"""A random key an example, so that no result depends on batch size or order; a key a stage."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from advknow.typing import Array, ArrayLike

# Its draws for an example do not depend on how many are drawn at once; those of "rbg" do.
IMPL = "threefry2x32"


def typed(key: Array) -> Array:
    """A typed key of the implementation `IMPL`, made of any JAX key.

    Args:
      key: a typed key, or raw key data (..., 2) or (..., 4) uint32 as `jax.random.PRNGKey` gives.
        A key of another implementation, such as "rbg", becomes the seed of one of `IMPL`.

    Raises:
      TypeError: neither a typed key nor raw key data.
    """
    if not isinstance(key, jax.Array):
        raise TypeError(f"key={key!r} must be a JAX key, such as jax.random.key(0).")
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if jax.random.key_impl(key) == IMPL:
            return key
        key = jax.random.key_data(key)
    if key.dtype == jnp.uint32 and key.ndim >= 1 and key.shape[-1] in (2, 4):
        words = key.reshape(-1, key.shape[-1])
        found = jax.random.wrap_key_data(words[:, :2], impl=IMPL)
        for i in range(2, words.shape[-1]):
            found = jax.vmap(jax.random.fold_in)(found, words[:, i])
        return found.reshape(key.shape[:-1])
    raise TypeError(
        f"key has shape {key.shape} and dtype {key.dtype}; a JAX key, such as jax.random.key(0), "
        "is needed."
    )


@functools.partial(jax.jit, static_argnames="count")
def _folded(key: Array, start: ArrayLike, *, count: int) -> Array:
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(start + jnp.arange(count))


def per_example(key: Array, count: int, *, start: int = 0) -> Array:
    """Keys (count,) of the examples start .. start + count - 1.

    Args:
      key: one key, of which example i gets `fold_in(key, i)`; or a key per example, (count,), which
        come back as they are.
      count: the number of examples.
      start: the index of the first.

    Raises:
      TypeError: not a key. ValueError: more or fewer keys than examples.
    """
    key = typed(key)
    if key.ndim == 0:
        return _folded(key, start, count=count)
    if key.shape != (count,):
        raise ValueError(
            f"key has shape {key.shape}; one key, or one for each of the {count} examples, is "
            "accepted."
        )
    return key


def bits(key: Array, *stream: int, count: int) -> np.ndarray:
    """`count` random uint64 of a stream of a key, drawn on the host: nothing is compiled for them.

    The same in every version of NumPy, which promises the bits of Philox and of its seeding.

    Args:
      key: one random key. stream: non-negative integers; others give independent numbers.
      count: how many.

    Raises:
      TypeError: not a key, or a traced one.
    """
    if isinstance(key, jax.core.Tracer):
        raise TypeError("key is traced: these numbers are drawn on the host, outside jax.jit.")
    words = np.asarray(jax.random.key_data(typed(key)), np.uint32).ravel()
    seeds = np.random.SeedSequence([*map(int, words), *stream])
    return np.random.Philox(seeds).random_raw(count).astype("<u8")


def of_stage(seed: int, stage: str) -> Array:
    """The random key of a named stage of a run: no stage's draws depend on which others ran."""
    return jax.random.fold_in(
        jax.random.key(seed, impl=IMPL), zlib.crc32(stage.encode()) & 0x7FFFFFFF
    )


def stage_seed(seed: int, stage: str) -> int:
    """`of_stage` as an integer, for NumPy."""
    return zlib.crc32(f"{seed}/{stage}".encode()) & 0x7FFFFFFF
