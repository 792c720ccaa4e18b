"""The bits that JAX draws from a threefry key, without its loops.

On CPUs JAX (0.8 to 0.11) writes the rounds of threefry-2x32 (Salmon et al. 2011, Random123) as
loops, each turn of which passes through memory: the random start was a twentieth of an attack on
LeNet. Written out they are one pass, and the bits are the same.
"""

import math

import jax
import jax.numpy as jnp
from jax.extend import random as extend

from advknow.typing import Array

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_UNSIGNED = {8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32, 64: jnp.uint64}


def _rotated(words: Array, by: int) -> Array:
    return (words << jnp.uint32(by)) | (words >> jnp.uint32(32 - by))


def _cipher(key: Array, high: Array, low: Array) -> tuple[Array, Array]:
    """The 20 rounds, of a key (2,) uint32 and two words of a counter each."""
    words = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    high, low = high + words[0], low + words[1]
    for turn in range(5):
        for by in _ROTATIONS[turn % 2]:
            high = high + low
            low = _rotated(low, by) ^ high
        high = high + words[(turn + 1) % 3]
        low = low + words[(turn + 2) % 3] + jnp.uint32(turn + 1)
    return high, low


def _random_bits(key: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
    """What `jax.random.bits` draws: every number has a counter of its own."""
    size = math.prod(shape)
    if not jax.config.jax_threefry_partitionable or size >= 2**32:  # type: ignore[attr-defined]
        return extend.threefry_prng_impl.random_bits(key, bit_width, shape)
    counters = jax.lax.iota(jnp.uint32, size).reshape(shape)
    high, low = _cipher(key, jnp.zeros_like(counters), counters)
    kind = _UNSIGNED[bit_width]
    if bit_width == 64:
        return (high.astype(kind) << kind(32)) | low.astype(kind)
    return (high ^ low).astype(kind)


_IMPL = extend.define_prng_impl(
    key_shape=(2,),
    seed=extend.threefry_prng_impl.seed,
    split=extend.threefry_prng_impl.split,
    random_bits=_random_bits,
    fold_in=extend.threefry_prng_impl.fold_in,
    name="threefry2x32 written out",
    tag="fry_written_out",
)


def written_out(key: Array) -> Array:
    """The same key for many draws: `jax.random` gives the same numbers of it, sooner on a CPU.

    Args:
      key: of "threefry2x32" (`keys.typed`), of any shape. Programs get longer by the 20 rounds for
        every draw, so a few numbers are better drawn from the key itself.
    """
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=_IMPL)
