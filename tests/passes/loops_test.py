import jax
import jax.numpy as jnp
import numpy as np

from advknow.passes import loops


def test_same_result_in_python_and_in_jit(variant):
    step = jax.jit(lambda carry, a: {"x": carry["x"] * a + 1.0, "count": carry["count"] + 1})
    carry = {"x": jnp.array([1.0, -2.0]), "count": jnp.array(0)}
    result = variant(lambda carry, a: loops.repeat(step, 3, carry, a))(carry, jnp.array([2.0, 0.5]))
    # 1 -> 3 -> 7 -> 15 and -2 -> 0 -> 1 -> 1.5
    np.testing.assert_allclose(result["x"], [15.0, 1.5])
    assert result["count"] == 3


def test_the_step_is_traced_once():
    traces = []

    @jax.jit
    def step(carry):
        traces.append(None)
        return carry + 1.0

    assert loops.repeat(step, 50, jnp.zeros(())) == 50.0
    assert loops.repeat(step, 0, jnp.ones(())) == 1.0
    assert len(traces) == 1


def test_inside_jit_the_program_does_not_grow_with_the_steps():
    step = jax.jit(lambda carry: jnp.sin(carry))

    def size(num_steps):
        fn = jax.jit(lambda carry: loops.repeat(step, num_steps, carry))
        return len(fn.lower(jnp.zeros(3)).as_text())

    assert size(900) - size(100) < 10


def test_on_an_accelerator_one_program_serves_all_batches(monkeypatch):
    traces = []

    @jax.jit
    def step(carry, a):
        traces.append(None)
        return carry * a + 1.0

    # As if these arrays lay on a GPU.
    monkeypatch.setattr(loops, "on_cpu", lambda leaves: False)
    for start in (0.0, 1.0, 2.0):
        found = loops.repeat(step, 3, jnp.full(2, start), jnp.array(2.0))
        np.testing.assert_allclose(found, 8 * start + 7)
    assert loops._loop._cache_size() == 1
    assert len(traces) == 1
