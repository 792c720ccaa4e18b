import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advknow.training import sgd
from advknow.training.config import TrainConfig
from advknow.training.state import copy, create_state


@dataclasses.dataclass(frozen=True)
class Linear:
    """Logits = inputs @ W + b: the gradient of its cross-entropy is known by hand."""

    def __call__(self, params, batch_stats, frozen, inputs, key):
        return inputs @ params["w"] + params["b"], batch_stats


def problem(n=7, features=5, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((n, features)).astype(np.float32)
    labels = rng.integers(classes, size=n).astype(np.int32)
    params = {
        "w": jnp.asarray(rng.standard_normal((features, classes)), jnp.float32),
        "b": jnp.asarray(rng.standard_normal(classes), jnp.float32),
    }
    return params, inputs, labels


def run(params, inputs, labels, config, *, seed=0, batch_stats=None):
    state = create_state(params, batch_stats or {}, config, jax.random.key(seed))
    return [
        (copy(state), record)
        for state, record in sgd.epochs(state, Linear(), {}, inputs, labels, config)
    ]


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_steps_equal_momentum_weight_decay_and_schedule_by_hand(schedule):
    params, inputs, labels = problem()
    config = TrainConfig(
        epochs=6, learning_rate=0.3, momentum=0.8, weight_decay=0.05, schedule=schedule
    )
    states = run(params, inputs, labels, config)  # 7 examples: one batch of all an epoch

    x, one_hot = inputs.astype(np.float64), np.eye(3)[labels]
    w, b = (np.asarray(params[k], np.float64) for k in ("w", "b"))
    velocity_w, velocity_b = np.zeros_like(w), np.zeros_like(b)
    for t, (state, record) in enumerate(states):
        logits = x @ w + b
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(
            record.loss, -np.mean(np.log(p[np.arange(7), labels])), rtol=1e-5
        )
        assert record.train_accuracy == pytest.approx(np.mean(logits.argmax(1) == labels))
        residual = (p - one_hot) / 7
        velocity_w = 0.8 * velocity_w + (x.T @ residual + 0.05 * w)
        velocity_b = 0.8 * velocity_b + (residual.sum(axis=0) + 0.05 * b)
        rate = 0.3 * (0.5 * (1 + np.cos(np.pi * t / 6)) if schedule == "cosine" else 1.0)
        assert record.learning_rate == pytest.approx(rate)
        w, b = w - rate * velocity_w, b - rate * velocity_b
        np.testing.assert_allclose(state.params["w"], w, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(state.params["b"], b, rtol=1e-5, atol=1e-6)


def test_cosine_ends_at_zero():
    config = TrainConfig(epochs=1, learning_rate=0.1)
    assert sgd.learning_rate(config, 0, 100) == pytest.approx(0.1)
    assert sgd.learning_rate(config, 50, 100) == pytest.approx(0.05)
    assert sgd.learning_rate(config, 100, 100) == pytest.approx(0.0, abs=1e-8)


def test_epoch_takes_whole_batches_of_examples_that_differ():
    """10 examples in batches of 4: two steps an epoch, 8 examples, none twice."""

    @dataclasses.dataclass(frozen=True)
    class Recorder:
        def __call__(self, params, batch_stats, frozen, inputs, key):
            seen = batch_stats["seen"].at[inputs[:, 0].astype(jnp.int32)].add(1)
            return inputs * params["w"], {"seen": seen}

    config = TrainConfig(epochs=30, batch_size=4)
    stats = {"seen": jnp.zeros(10, jnp.int32)}
    start = create_state({"w": jnp.ones(2)}, stats, config, jax.random.key(3))
    inputs = np.stack([np.arange(10), np.zeros(10)], axis=1).astype(np.float32)
    before, left_out = np.zeros(10, int), []
    for state, _ in sgd.epochs(start, Recorder(), {}, inputs, np.zeros(10, np.int32), config):
        seen = np.asarray(state.batch_stats["seen"])
        assert sorted(seen - before) == [0, 0] + [1] * 8
        left_out.append(tuple(np.flatnonzero(seen == before)))
        before = seen
    assert int(state.step) == 60
    assert len(set(left_out)) > 5  # the two left out change from epoch to epoch


def test_state_goes_on_bit_for_bit_and_keys_matter():
    params, inputs, labels = problem(n=40)
    config = TrainConfig(epochs=5, batch_size=8)
    whole = run(params, inputs, labels, config)
    middle = whole[1][0]
    rest = list(sgd.epochs(copy(middle), Linear(), {}, inputs, labels, config))
    assert [r for _, r in rest] == [r for _, r in whole[2:]]
    last = whole[-1][0]
    np.testing.assert_array_equal(rest[-1][0].params["w"], last.params["w"])
    np.testing.assert_array_equal(
        run(params, inputs, labels, config)[-1][0].params["w"], last.params["w"]
    )
    other = run(params, inputs, labels, config, seed=1)[-1][0]
    assert np.any(np.asarray(other.params["w"]) != np.asarray(last.params["w"]))


def test_one_program_for_every_length_epochs_and_learning_rate():
    params, inputs, labels = problem(n=40)
    run(params, inputs, labels, TrainConfig(epochs=1, batch_size=8))
    compiled = sgd._step._cache_size()
    run(params, inputs[:30], labels[:30], TrainConfig(epochs=2, batch_size=8))
    run(params, inputs, labels, TrainConfig(epochs=1, batch_size=8, learning_rate=0.01))
    assert sgd._step._cache_size() == compiled


def test_steps_bring_nothing_to_the_device():
    """What a step reads was brought before the first; an implicit transfer would wait each time."""
    params, inputs, labels = problem(n=40)
    config = TrainConfig(epochs=3, batch_size=8)
    guard, seen = contextlib.ExitStack(), []

    def on_step(state):
        # After four of an epoch's five steps: the three between them are guarded.
        if not seen:
            guard.enter_context(jax.transfer_guard("disallow"))
        seen.append(state)
        if len(seen) == 4:
            guard.close()
            seen.clear()

    start = create_state(params, {}, config, jax.random.key(0))
    for _ in sgd.epochs(start, Linear(), {}, inputs, labels, config, on_step=on_step):
        assert not seen


def test_a_state_is_a_copy_that_does_not_pass_by_the_host():
    config, key = TrainConfig(epochs=1), jax.random.key(3)
    given = {"w": jnp.ones((2, 3))}
    with jax.transfer_guard_device_to_host("disallow_explicit"):
        state = create_state(given, {}, config, key)
        again = copy(state)
    arrays = (given["w"], state.params["w"], again.params["w"])
    assert len({array.unsafe_buffer_pointer() for array in arrays}) == 3
    assert again.key == key
    assert not np.any(state.opt_state[1].trace["w"])


def test_a_state_of_arrays_of_the_host_is_a_copy():
    buffer = np.ones(1016, np.float32)
    # Where JAX would share the memory: at a multiple of 64 bytes.
    given = buffer[-buffer.ctypes.data % 64 // 4 :][:1000]
    state = create_state({"w": given}, {}, TrainConfig(epochs=1), jax.random.key(0))
    given[:] = 2
    assert np.all(np.asarray(state.params["w"]) == 1)


def test_callers_arrays_survive():
    params, inputs, labels = problem()
    key = jax.random.key(0)
    config = TrainConfig(epochs=1)
    state = create_state(params, {}, config, key)
    list(sgd.epochs(state, Linear(), {}, inputs, labels, config))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    jax.random.normal(key)


def test_step_events():
    params, inputs, labels = problem(n=40)
    config = TrainConfig(epochs=2, batch_size=8)
    events = []
    state = create_state(params, {}, config, jax.random.key(0))
    list(
        sgd.epochs(
            state, Linear(), {}, inputs, labels, config, progress=events.append, progress_steps=3
        )
    )
    assert events == [{"kind": "step", "step": s, "steps": 10} for s in (3, 6, 9)]


def test_divergence_names_epoch_and_learning_rate():
    params, inputs, labels = problem()
    config = TrainConfig(epochs=4, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"epoch \d of 4 with learning_rate=1e\+30"):
        run(params, inputs, labels, config)
