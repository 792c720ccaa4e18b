import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advknow.passes import keys


def _data(key):
    return np.asarray(jax.random.key_data(key))


def test_example_i_gets_fold_in_of_i(variant):
    key = jax.random.key(3)
    found = variant(lambda key: keys.per_example(key, 4, start=2))(key)
    expected = [_data(jax.random.fold_in(key, i)) for i in (2, 3, 4, 5)]
    np.testing.assert_array_equal(_data(found), expected)


def test_keys_per_example_come_back_as_they_are():
    given = jax.random.split(jax.random.key(0), 5)
    np.testing.assert_array_equal(_data(keys.per_example(given, 5)), _data(given))


def test_raw_key_data_is_wrapped():
    raw = jax.random.PRNGKey(7)
    typed = keys.typed(raw)
    assert jnp.issubdtype(typed.dtype, jax.dtypes.prng_key)
    np.testing.assert_array_equal(_data(typed), raw)
    assert keys.per_example(jax.random.split(raw, 3), 3).shape == (3,)


@pytest.mark.parametrize("count", [4, 6])
def test_wrong_number_of_keys(count):
    given = jax.random.split(jax.random.key(0), 5)
    with pytest.raises(ValueError, match=rf"key has shape \(5,\); .* each of the {count} examples"):
        keys.per_example(given, count)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (0, r"key=0 must be a JAX key, such as jax\.random\.key\(0\)"),
        (None, "key=None must be a JAX key"),
        (np.zeros(2, np.uint32), "must be a JAX key"),
        (jnp.zeros(2), r"key has shape \(2,\) and dtype float32; a JAX key"),
        (jnp.zeros(3, jnp.uint32), r"key has shape \(3,\) and dtype uint32; a JAX key"),
    ],
)
def test_not_a_key(key, message):
    with pytest.raises(TypeError, match=message):
        keys.per_example(key, 1)
