"""A row measured in one pass equals each of its measures on its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advknow import attacks, from_deltas, matching, passes, perturb
from advknow.experiments import quantities
from advknow.experiments.config import DIRECTIONS
from advknow.runs import snapshots

N = 37
QUANTITIES = quantities.QUANTITIES


@pytest.fixture(scope="module")
def sample():
    keys = jax.random.split(jax.random.key(0), 5)
    w1, w2 = (jax.random.normal(k, (12, d)) for k, d in zip(keys[:2], (4, 3), strict=True))
    models = {"f_source": lambda x: jnp.tanh(x @ w1), "f_target": lambda x: jnp.sin(x @ w2)}
    x = np.asarray(jax.random.uniform(keys[2], (N, 12)))
    y = np.eye(3)[np.arange(N) % 3]
    attack = attacks.fgsm(eps=0.05)
    deltas = {name: perturb(f, x, attack=attack, key=keys[3]) for name, f in models.items()}
    return models, x, {"y": y, "deltas": deltas}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_one_pass_equals_the_measures_on_their_own(sample, direction):
    models, x, given = sample
    # In float64: batches of another size are another program, whose float32 rounds otherwise.
    with jax.enable_x64(True):
        x, given = jax.tree.map(lambda a: np.asarray(a, np.float64), (x, given))
        measure = quantities.measure(QUANTITIES, direction)
        found = passes.run(measure, models, x, batch_size=8, stage="", **given)
        first, second = (f"f_{role}" for role in direction.split("_to_"))
        deltas = given["deltas"]
        alone = from_deltas(models[first], models[second], x, deltas[first], deltas[second])
        expected = {
            "gradient": matching.gradient_matching(**models, x=x),
            "function": matching.function_matching(**models, x=x),
            "knowledge": matching.knowledge_transfer(
                f_source=models["f_source"], x=x, y=given["y"]
            ),
        }
    np.testing.assert_allclose(found["transfer"].alpha1, alone.alpha1, rtol=1e-10)
    np.testing.assert_allclose(found["transfer"].alpha2, alone.alpha2, rtol=1e-10)
    assert found["transfer"].n == alone.n
    for name, of_its_own in expected.items():
        assert type(found[name]) is type(of_its_own)
        np.testing.assert_allclose(found[name].distance, of_its_own.distance, rtol=1e-10)
        np.testing.assert_allclose(found[name].relative, of_its_own.relative, rtol=1e-10)
        np.testing.assert_allclose(found[name].A, of_its_own.A, rtol=1e-9, atol=1e-10)
    row = quantities.row(QUANTITIES, found)
    np.testing.assert_allclose(row["rho2"], 1 - row["gmd_relative"] ** 2, rtol=1e-12)
    assert next(iter(row)) == "alpha1"
    assert list(row)[-4:] == ["n", "n_degenerate", "n_alpha1_above_one", "n_alpha2"]


def test_two_of_one_name_or_column_and_an_unknown_direction_are_refused():
    again = quantities.FUNCTION._replace(name="transfer")
    with pytest.raises(ValueError, match="quantities have the name transfer twice"):
        quantities.measure((*QUANTITIES, again), DIRECTIONS[0])
    again = quantities.FUNCTION._replace(name="again")
    with pytest.raises(ValueError, match="quantities have the column fmd, fmd_relative twice"):
        quantities.measure((*QUANTITIES, again), DIRECTIONS[0])
    with pytest.raises(ValueError, match="direction='both' is not known"):
        quantities.measure(QUANTITIES, "both")


def test_gram_matrices_are_computed_once_for_all(sample, monkeypatch):
    models, x, given = sample
    calls, of_batch = [], quantities.GramsOf.__call__
    monkeypatch.setattr(
        quantities.GramsOf,
        "__call__",
        lambda need, batch: (calls.append(batch.start), of_batch(need, batch))[1],
    )
    measure = quantities.measure(QUANTITIES, DIRECTIONS[0])
    passes.run(measure, models, x, batch_size=16, stage="", **given)
    assert calls == [0, 16, 32]


def test_it_goes_on_from_any_batch_bit_for_bit(sample):
    models, x, given = sample
    measure, given = quantities.measure(QUANTITIES, DIRECTIONS[0]), {**given, "batch_size": 8}
    states = list(passes.states(measure, models, x, **given))
    assert [state.done for state in states] == [8, 16, 24, 32, 37]
    whole = quantities.row(QUANTITIES, passes.record(measure, states[-1]))
    start = passes.begin(measure, models, x, y=given["y"], batch_size=8)
    for state in states[:-1]:
        stored = snapshots.arrays_of(state.saved())
        restored = start.restored(snapshots.tree_of(stored, start.saved()))
        *_, last = passes.states(measure, models, x, state=restored, **given)
        assert quantities.row(QUANTITIES, passes.record(measure, last)) == whole


def test_hostile_input_is_named(sample):
    models, x, given = sample
    measure = quantities.measure(QUANTITIES, DIRECTIONS[0])
    with pytest.raises(ValueError, match="y has 2 columns and f_target returns 3 outputs"):
        passes.run(measure, models, x, stage="", **{**given, "y": given["y"][:, :2]})
    with pytest.raises(ValueError, match=r"the deltas of f_\w+ are needed: it has no attack"):
        passes.run(measure, models, x, stage="", y=given["y"])
    deltas = {**given["deltas"], "f_target": given["deltas"]["f_target"][:3]}
    with pytest.raises(ValueError, match=r"the delta of f_target has shape \(3, 12\)"):
        passes.run(measure, models, x, stage="", **{**given, "deltas": deltas})
