"""A pair measured in one pass equals each of its measures on its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advknow import attacks, matching
from advknow.alphas import finite as metrics
from advknow.experiments import pair
from advknow.runs import snapshots

N, DIRECTIONS = 37, pair.DIRECTIONS


@pytest.fixture(scope="module")
def sample():
    keys = jax.random.split(jax.random.key(0), 5)
    w1, w2 = (jax.random.normal(k, (12, d)) for k, d in zip(keys[:2], (4, 3), strict=True))
    models = (lambda x: jnp.tanh(x @ w1), lambda x: jnp.sin(x @ w2))
    x = np.asarray(jax.random.uniform(keys[2], (N, 12)))
    y = np.eye(3)[np.arange(N) % 3]
    attack = attacks.fgsm(eps=0.05)
    deltas = [metrics.perturb(f, x, attack=attack, key=keys[3]) for f in models]
    return *models, x, y, *deltas


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_one_pass_equals_the_measures_on_their_own(sample, direction):
    # In float64: batches of another size are another program, whose float32 rounds otherwise.
    f_source, f_target, *arrays = sample
    with jax.enable_x64(True):
        arrays = [np.asarray(array, np.float64) for array in arrays]
        assert_equal_to_the_measures((f_source, f_target, *arrays), direction)


def assert_equal_to_the_measures(sample, direction):
    f_source, f_target, x, y, delta_source, delta_target = sample
    found = pair.measure_pair(*sample, direction=direction, batch_size=8)
    models = [(f_source, delta_source), (f_target, delta_target)]
    if direction == "target_to_source":
        models.reverse()
    (f1, delta1), (f2, delta2) = models
    alone = metrics.from_deltas(f1, f2, x, delta1, delta2)
    np.testing.assert_allclose(found.transfer.alpha1, alone.alpha1, rtol=1e-10)
    np.testing.assert_allclose(found.transfer.alpha2, alone.alpha2, rtol=1e-10)
    assert found.transfer.n == alone.n
    for of_pair, of_its_own in (
        (found.gradient, matching.gradient_matching(f_target, f_source, x)),
        (found.function, matching.function_matching(f_target, f_source, x)),
        (found.knowledge, matching.knowledge_transfer(y, f_source, x)),
    ):
        assert type(of_pair) is type(of_its_own)
        np.testing.assert_allclose(of_pair.distance, of_its_own.distance, rtol=1e-10)
        np.testing.assert_allclose(of_pair.relative, of_its_own.relative, rtol=1e-10)
        np.testing.assert_allclose(of_pair.A, of_its_own.A, rtol=1e-9, atol=1e-10)
    summary = found.summary()
    np.testing.assert_allclose(summary["rho2"], 1 - summary["gmd_relative"] ** 2, rtol=1e-12)


def test_it_goes_on_from_any_batch_bit_for_bit(sample):
    states = []
    whole = pair.measure_pair(
        *sample, direction=DIRECTIONS[0], batch_size=8, on_batch=states.append
    )
    assert [len(state.alpha1) for state in states] == [8, 16, 24, 32, 37]
    for state in states:
        stored = snapshots.arrays_of(state)
        rest = pair.measure_pair(
            *sample,
            direction=DIRECTIONS[0],
            batch_size=8,
            restore=lambda start, stored=stored: snapshots.tree_of(stored, start),
        )
        assert rest.summary() == whole.summary()


def test_another_pairs_sums_are_refused(sample):
    stored = snapshots.arrays_of(pair.zeros(5, 3, direction=DIRECTIONS[0]))
    with pytest.raises(ValueError, match="another pair's: .* has shape .*5.*, not"):
        pair.measure_pair(
            *sample,
            direction=DIRECTIONS[0],
            restore=lambda start: snapshots.tree_of(stored, start),
        )
    with pytest.raises(ValueError, match="another pair's: .* is not there"):
        snapshots.tree_of({}, pair.zeros(5, 3, direction=DIRECTIONS[0]))


def test_hostile_input_is_named(sample):
    f_source, f_target, x, y, delta_source, delta_target = sample
    with pytest.raises(ValueError, match=r"y has shape \(37, 2\).*\(37, 3\), is needed"):
        pair.measure_pair(
            f_source, f_target, x, y[:, :2], delta_source, delta_target, direction=DIRECTIONS[0]
        )
    with pytest.raises(ValueError, match=r"delta_target has shape \(3, 12\)"):
        pair.measure_pair(
            f_source, f_target, x, y, delta_source, delta_target[:3], direction=DIRECTIONS[0]
        )
    with pytest.raises(ValueError, match="direction='both' is not known"):
        pair.measure_pair(*sample, direction="both")
