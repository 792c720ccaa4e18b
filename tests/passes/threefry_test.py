import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advknow.passes import threefry

SHAPES = [(), (1,), (3,), (4, 5, 3), (0, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bits", ["uint8", "uint16", "uint32", "uint64"])
def test_bits_are_those_of_jax(shape, bits):
    with jax.enable_x64(True):
        key = jax.random.key(7)
        found = jax.random.bits(threefry.written_out(key), shape, bits)
        np.testing.assert_array_equal(found, jax.random.bits(key, shape, bits), strict=True)


@pytest.mark.parametrize("partitionable", [True, False])
def test_numbers_of_many_keys_are_those_of_jax(partitionable):
    """Compiled and vectorised over keys, as an attack draws its starts; children of keys too."""

    def drawn(key):
        first, second = jax.random.split(key)
        return (
            jax.random.uniform(first, (5, 7, 3), jnp.float32, -0.1, 0.1),
            jax.random.normal(second, (21,), jnp.float16),
            jax.random.uniform(jax.random.fold_in(key, 3), ()),
        )

    with jax.threefry_partitionable(partitionable):
        keys = jax.random.split(jax.random.key(0), 6)
        for found, wanted in zip(
            jax.jit(jax.vmap(drawn))(threefry.written_out(keys)),
            jax.jit(jax.vmap(drawn))(keys),
            strict=True,
        ):
            np.testing.assert_array_equal(found, wanted, strict=True)


def test_a_known_answer():
    """Random123's: threefry-2x32 of 20 rounds, of the digits of pi."""
    key = jnp.array([0x13198A2E, 0x03707344], jnp.uint32)
    counter = jnp.uint32(0x243F6A88), jnp.uint32(0x85A308D3)
    assert [hex(word) for word in threefry._cipher(key, *counter)] == ["0xc4923a9c", "0x483df7a0"]
