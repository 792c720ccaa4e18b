"""Programs that are compiled in a rehearsal: nothing is executed, and nothing is compiled again."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advknow import programs


def counting():
    """A program of two arrays, and the list that every execution makes longer."""
    executed = []

    def count(x):
        executed.append(1)
        return x

    @programs.program
    def program(x, weights):
        x = jax.pure_callback(count, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
        return {"y": x @ weights, "any": x.sum() > 0, "largest": jnp.argmax(x, axis=1)}

    return program, executed


def test_what_is_rehearsed_is_compiled_once_and_executed_when_called(compiled):
    program, executed = counting()
    x, weights = np.ones((4, 3), np.float32), np.full((3, 2), 2.0, np.float32)
    with programs.rehearsal():
        for _ in range(2):
            found = program(x, weights)
    assert compiled.count("jit(program)") == 1
    assert not executed
    assert jax.tree.map(lambda a: (a.shape, str(a.dtype)), found) == {
        "y": ((4, 2), "float32"),
        "any": ((), "bool"),
        "largest": ((4,), "int32"),
    }
    assert bool(found["any"])
    assert (np.asarray(found["y"]) == 1).all()
    np.testing.assert_array_equal(program(x, jax.device_put(weights))["y"], np.full((4, 2), 6.0))
    assert compiled.count("jit(program)") == 1
    assert len(executed) == 1


def test_keys_are_keys():
    with programs.rehearsal():
        found = programs.program(jax.random.split, static_argnums=1)(jax.random.key(3), 5)
    assert found.shape == (5,)
    assert jnp.issubdtype(found.dtype, jax.dtypes.prng_key)


def test_other_threads_and_what_is_traced_are_not_rehearsed():
    inner = programs.program(lambda x: 3 * x)

    @programs.program
    def outer(x):
        # Without an argument that is traced: what it returns becomes a constant of `outer`.
        return inner(x) + inner(jnp.ones(2))

    of_thread = []
    with programs.rehearsal():
        thread = threading.Thread(target=lambda: of_thread.append(inner(jnp.ones(2))))
        thread.start()
        thread.join()
        outer(jnp.ones(2))
        # Traced by a plain `jax.jit`, again without an argument that is traced.
        np.testing.assert_array_equal(jax.jit(lambda x: x + inner(np.ones(2)))(jnp.ones(2)), [4, 4])
        assert float(jax.jit(lambda x: inner(x).sum())(jnp.ones(2))) == 6
    np.testing.assert_array_equal(of_thread[0], [3, 3])
    np.testing.assert_array_equal(outer(jnp.ones(2)), [6, 6])


def test_it_ends_where_it_is_asked_to_and_is_over_afterwards():
    program = programs.program(lambda x: x + 1)
    with pytest.raises(programs.StoppedError), programs.rehearsal(stopped=lambda: True):
        program(1.0)
    assert float(program(1.0)) == 2


def test_it_has_the_attributes_of_jit():
    program = programs.program(lambda x: x + 1)
    assert program.lower(1.0).as_text()
    assert program(1.0) == 2
    assert program._cache_size() == 1
