"""`advknow.matrix`: every entry is the pair's own call, from K attacks and K Jacobians."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import advknow
from advknow import attacks, gram, losses, matching, passes
from advknow.all_pairs import every_pair

KEY = jax.random.key(3)
ATTACK = attacks.pgd(eps=0.05, num_steps=3)
QUANTITIES = ("alpha1", "alpha2", "alpha1_alpha2", "alpha1_alpha2_squared_unbiased")


def _apply(w, x):
    return jnp.tanh(x @ w)


def _models(*outputs):
    return {
        f"of {d}, {i}": Partial(_apply, jax.random.normal(jax.random.key(i), (6, d)))
        for i, d in enumerate(outputs)
    }


X = np.random.default_rng(0).random((23, 6), np.float32)


@pytest.mark.parametrize(
    ("outputs", "loss", "source_loss"),
    [((4, 4, 4), "l2", None), ((4, 3, 2), "l2", None), ((3, 2), "kl", None), ((3, 2), "kl", "l2")],
)
def test_every_entry_is_the_pairs_own(outputs, loss, source_loss):
    models = _models(*outputs)
    how = {"loss": loss, "source_loss": source_loss, "batch_size": 8}
    found = advknow.matrix(models, X, attack=ATTACK, key=KEY, **how)
    for (i, source), (j, target) in itertools.product(enumerate(models), repeat=2):
        pair = models[source], models[target]
        attacked = advknow.transferability(*pair, X, attack=ATTACK, key=KEY, batch_size=8)
        small_eps, _ = advknow.small_eps_transferability(*pair, X, **how)
        by_name = {"f_source": pair[0], "f_target": pair[1], "x": X, "loss": loss, "batch_size": 8}
        gradient = matching.gradient_matching(**by_name)
        function = matching.function_matching(**by_name)
        expected = {
            **{name: getattr(attacked, name) for name in QUANTITIES},
            **{f"small_eps_{name}": getattr(small_eps, name) for name in QUANTITIES},
            "gmd": gradient.distance,
            "gmd_relative": gradient.relative,
            "rho2": gradient.rho2,
            "fmd": function.distance,
            "fmd_relative": function.relative,
        }
        for name, value in expected.items():
            assert found[name][i, j] == pytest.approx(value, rel=1e-6, abs=1e-6), (i, j, name)
        error = attacked.alpha1_alpha2_squared_se
        assert found.standard_errors["alpha1_alpha2_squared"][i, j] == pytest.approx(error)
        # d |M| = d |M|^2 / (2 |M|).
        assert found.standard_errors["alpha2"][i, j] == pytest.approx(
            attacked.alpha2_squared_se / (2 * attacked.alpha2)
        )
        assert found.n["alpha1"][i, j] == attacked.n


def test_standard_errors_of_distances_are_those_of_leaving_out_a_group():
    models = _models(3, 2)
    f_source, f_target = models.values()
    found = advknow.matrix(models, X, batch_size=8)
    group = np.arange(len(X)) % 10
    left_out = [
        matching.gradient_matching(f_source=f_source, f_target=f_target, x=X[group != g]).rho2
        for g in range(10)
    ]
    expected = np.sqrt(9 / 10 * np.sum((left_out - np.mean(left_out)) ** 2))
    # Jacobians of other batches: float32's rounding in each of the ten.
    assert found.standard_errors["rho2"][0, 1] == pytest.approx(expected, rel=1e-3)


def test_each_model_is_attacked_and_differentiated_once_a_batch(monkeypatch):
    attacked, differentiated = [], []

    def attack(f, x, key):
        attacked.append(f)
        return ATTACK(f, x, key)

    linear = gram.linear

    def counted(f, *args, **kwargs):
        differentiated.append(f)
        return linear(f, *args, **kwargs)

    monkeypatch.setattr(gram, "linear", counted)
    advknow.matrix(_models(3, 3, 2, 4), X, attack=attack, key=KEY, batch_size=12)
    assert len(attacked) == len(differentiated) == 4 * 2


def test_the_order_of_models_and_of_examples_does_not_matter():
    models = _models(3, 4, 2)
    keys = jax.random.split(KEY, len(X))
    found = advknow.matrix(models, X, attack=ATTACK, key=keys)
    order = np.random.default_rng(1).permutation(len(X))
    turned = dict(reversed(models.items()))
    other = advknow.matrix(turned, X[order], attack=ATTACK, key=keys[order], batch_size=7)
    assert other.names == found.names[::-1]
    for name in found.values:
        np.testing.assert_allclose(
            other[name][::-1, ::-1], found[name], rtol=1e-5, atol=1e-5, err_msg=name
        )


def test_a_pass_goes_on_from_where_it_was_stopped():
    models = _models(3, 2)
    measure = every_pair(tuple(models), attack=ATTACK)
    how = {"key": KEY, "batch_size": 8}
    whole = list(passes.states(measure, models, X, **how))
    begun = passes.begin(measure, models, X, **how)
    middle = begun.restored(whole[0].saved())
    *_, last = passes.states(measure, models, X, state=middle, **how)
    expected, found = (passes.record(measure, state) for state in (whole[-1], last))
    for name in expected.values:
        np.testing.assert_array_equal(found[name], expected[name])
        np.testing.assert_array_equal(found.standard_errors[name], expected.standard_errors[name])


def test_a_model_that_does_not_move_leaves_the_others_alone():
    models = _models(3, 3)
    found = advknow.matrix(
        {**models, "flat": lambda x: 0.0 * x[:, :3] + 1.0}, X, attack=ATTACK, key=KEY
    )
    alone = advknow.matrix(models, X, attack=ATTACK, key=KEY)
    np.testing.assert_array_equal(found["alpha1"][:2, :2], alone["alpha1"])
    assert np.isnan(found["alpha1"][2]).all()
    assert np.isnan(found["alpha1"][:, 2]).all()
    first = found.names[0]
    assert "degenerate" in found.undefined[first, "flat", "attack"]
    assert (first, found.names[1], "attack") not in found.undefined
    # No gradient of the target is left to match.
    assert found["gmd"][0, 2] == 0.0
    pairs = {(r["source"], r["target"]) for r in found.records() if r["quantity"] == "alpha1"}
    assert len(pairs) == 4
    assert all(np.isfinite(r["value"]) for r in found.records())


def test_without_an_attack_there_is_no_alpha_at_finite_eps():
    found = advknow.matrix(_models(2, 2), X)
    assert "alpha1" not in found.values
    assert "small_eps_alpha1" in found.values
    with pytest.raises(ValueError, match="quantity='alpha1'"):
        found["alpha1"]


@pytest.mark.parametrize(
    ("models", "settings", "error", "message"),
    [
        (_models(2), {}, ValueError, "at least two"),
        ({}, {}, ValueError, "none; at least two"),
        (_models(2, 2), {"attack": ATTACK}, TypeError, "attack needs key"),
        (_models(2, 2), {"loss": "nothing"}, ValueError, "loss='nothing'"),
        (_models(2, 2), {"batchsize": 3}, TypeError, "batchsize"),
        ({**_models(2), "broken": lambda x: x[:, :2] / 0.0}, {}, ValueError, "broken"),
        (
            {**_models(2), "broken": lambda x: x[:, :2] / 0.0},
            {"attack": ATTACK, "key": KEY},
            ValueError,
            "broken",
        ),
        (_models(3, 2), {"loss": losses.quadratic(np.eye(3))}, ValueError, "3"),
    ],
)
def test_hostile_input(models, settings, error, message):
    with pytest.raises(error, match=message):
        advknow.matrix(models, X, **settings)
