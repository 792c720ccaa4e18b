"""The chain as one call: Theorems 2 and 3 on random and trained models, and its picture."""

import json

import jax
import jax.numpy as jnp
import matching_oracles
import numpy as np
import oracles
import pytest
from matching_oracles import N_IN, SOURCE, TARGET, D, M

from advknow import (
    attacks,
    chain,
    generalized_transferability,
    losses,
    matching,
    passes,
    small_eps_transferability,
)
from advknow.links import (
    Inequality,
    Paths,
    assembled,
    label_gap,
    links,
    path_bound,
    second_pass,
)
from advknow.report import chain as report
from advknow.runs import snapshots
from advknow.synthetic import rbf, sigmoid_network

X = np.random.default_rng(2).uniform(size=(40, N_IN)).astype(np.float32)
Y = np.random.default_rng(3).normal(size=(40, D)).astype(np.float32)


@pytest.fixture(scope="module")
def found():
    return chain(SOURCE, TARGET, X, y=Y)


def test_every_link_is_what_its_own_call_gives(found):
    for record, expected in (
        (found.generalized, generalized_transferability(SOURCE, TARGET, X)),
        (found.gradient, matching.gradient_matching(f_source=SOURCE, f_target=TARGET, x=X)),
        (found.function, matching.function_matching(f_source=SOURCE, f_target=TARGET, x=X)),
        (found.knowledge, matching.knowledge_transfer(f_source=SOURCE, x=X, y=Y)),
    ):
        for name, value in expected.summary().items():
            given = record.summary()[name]
            if isinstance(value, (list, float)):
                np.testing.assert_allclose(given, value, rtol=1e-6)
            else:
                assert given == value
    alphas = small_eps_transferability(SOURCE, TARGET, X)
    assert found.source_to_target.summary() == alphas[0].summary()
    assert found.target_to_source.summary() == alphas[1].summary()
    assert found.theorem1_error < 1e-12
    gap = np.sqrt(np.mean(np.sum((Y - oracles.outputs(TARGET, X)) ** 2, axis=1)))
    np.testing.assert_allclose(found.label_gap, gap, rtol=1e-6)


@pytest.mark.parametrize("index", [0, 1])
def test_the_small_eps_alphas_agree_with_attack_and_transfer(index):
    from advknow import from_deltas, perturb

    key = jax.random.key(0)
    top, same = attacks.singular(loss="l2"), attacks.singular(index=index, loss="l2")
    for given, f1, f2 in zip(
        small_eps_transferability(SOURCE, TARGET, X, index=index),
        (SOURCE, TARGET),
        (TARGET, SOURCE),
        strict=True,
    ):
        # alpha1 divides by the TOP attack on the other model, whatever the index.
        expected = from_deltas(
            f1,
            f2,
            X,
            perturb(f1, X, attack=same, key=key),
            perturb(f2, X, attack=top, key=key),
            linearize=True,
        )
        for name in ("alpha1", "alpha2", "alpha1_alpha2"):
            np.testing.assert_allclose(
                getattr(given, name), getattr(expected, name), atol=5e-6, err_msg=name
            )
        assert given.n == len(X)


def test_a_flat_model_keeps_its_alphas():
    plain, _ = small_eps_transferability(SOURCE, TARGET, X)
    flat, _ = small_eps_transferability(
        lambda x: 1e-25 * SOURCE(x), lambda x: 1e-25 * TARGET(x), X, loss="l2"
    )
    # Squares of these deviations would vanish in float32.
    assert flat.n == len(X)
    np.testing.assert_allclose(flat.alpha1, plain.alpha1, rtol=1e-5)
    np.testing.assert_allclose(flat.alpha2, plain.alpha2, rtol=1e-5)


@pytest.mark.parametrize("loss", ["l2", "kl", "random", "singular"])
def test_the_theorems_hold_on_random_models(loss):
    if loss in ("random", "singular"):
        loss = losses.quadratic(
            matching_oracles.random_hessian(0, D, rank=2 if loss == "singular" else None)
        )
    result = chain(SOURCE, TARGET, X, y=Y, loss=loss)
    assert len(result.inequalities) == 5
    for inequality in result.inequalities:
        if inequality.guaranteed:
            assert inequality.holds, inequality
            assert inequality.slack >= 0
    assert result.theorem1_error < 1e-9


def test_the_theorems_hold_on_trained_models_of_gaussian_inputs():
    data = rbf.generate(seed=0, num_inputs=8, num_outputs=3, num_examples=2000)
    x = np.random.default_rng(0).normal(size=data.x.shape).astype(np.float32)
    target, source = (
        sigmoid_network.bind(
            sigmoid_network.train(jax.random.key(k), *data, hidden=hidden, epochs=10)
        )
        for k, hidden in ((0, 16), (1, 6))
    )
    result = chain(source, target, x, y=data.y, paths=Paths(gaussian=True), batch_size=1000)
    assert all(i.guaranteed and i.holds for i in result.inequalities)
    assert 0 < result.gradient.rho2 < 1


def test_poincare_is_guaranteed_of_a_constant_hessian_only():
    gaussian = np.random.default_rng(8).normal(size=(50, N_IN)).astype(np.float32)
    for loss, guaranteed in (("l2", True), ("kl", False)):
        result = chain(SOURCE, TARGET, gaussian, loss=loss, paths=Paths(gaussian=True, num_nodes=2))
        (poincare,) = (i for i in result.inequalities if i.name == "Poincaré")
        assert poincare.guaranteed is guaranteed


def test_identical_models():
    result = chain(TARGET, TARGET, X, y=np.asarray(TARGET(X)))
    assert result.gradient.relative <= 1e-6
    assert result.function.relative <= 1e-6
    assert result.knowledge.relative <= 1e-6
    assert result.label_gap <= 1e-6
    np.testing.assert_allclose(result.generalized.rho2, 1.0, atol=1e-8)
    np.testing.assert_allclose(result.source_to_target.alpha1, 1.0, atol=1e-6)
    assert all(i.holds for i in result.inequalities)


def test_theorem_2_is_an_equality_for_linear_models():
    rng = np.random.default_rng(5)
    w, v = (jnp.asarray(rng.normal(size=(k, N_IN)), jnp.float32) for k in (D, M))
    a = rng.normal(size=(D, M))
    x0 = rng.normal(size=N_IN)
    left, right = path_bound(
        f_source=lambda x: x @ v.T, f_target=lambda x: x @ w.T + 1.0, x=X, A=a, x0=x0, num_nodes=3
    )
    h = (X - x0) @ (np.asarray(w, np.float64) - a @ np.asarray(v, np.float64)).T
    np.testing.assert_allclose(left, np.sqrt(np.mean(np.sum(h**2, axis=1))), rtol=1e-5)
    np.testing.assert_allclose(right, left, rtol=1e-5)


def test_both_sides_of_theorem_2_by_hand():
    # f_T = x^2, f_S = 0, x0 = 0: h = x^2, J_h(t x) x = 2 t x^2, the mean of its square 4/3 x^4.
    x = np.array([[1.0], [2.0]], np.float32)
    left, right = path_bound(
        f_source=lambda x: 0.0 * x,
        f_target=lambda x: x**2,
        x=x,
        A=np.zeros((1, 1)),
        x0=np.zeros(1),
        num_nodes=4,
    )
    np.testing.assert_allclose(left, np.sqrt(17 / 2), rtol=1e-6)
    np.testing.assert_allclose(right, np.sqrt(4 / 3 * 17 / 2), rtol=1e-6)


def test_an_inequality_can_fail():
    assert not Inequality("a", "b", 2.0, 1.0).holds
    assert Inequality("a", "b", 1.0, 1.0 - 1e-9).holds
    assert Inequality("a", "b", 1.0, 3.0).slack == 2.0


def test_label_gap_of_a_weighted_norm():
    f_t = oracles.outputs(TARGET, X)
    gap = Y - f_t
    expected = np.sqrt(np.mean(np.einsum("ba,bac,bc->b", gap, oracles.hessian("kl", f_t), gap)))
    np.testing.assert_allclose(label_gap(f_target=TARGET, x=X, y=Y, loss="kl"), expected, rtol=1e-5)


def test_label_gap_needs_a_column_for_each_output():
    with pytest.raises(ValueError, match="y has 1 columns and f_target returns 3 outputs"):
        label_gap(f_target=TARGET, x=X, y=Y[:, :1])


def test_batches_and_their_size_do_not_matter(found):
    batches = [X[:7], X[7:]]
    other = chain(SOURCE, TARGET, batches, y=[Y[:20], Y[20:]], batch_size=5)
    for a, b in zip(other.inequalities, found.inequalities, strict=True):
        np.testing.assert_allclose((a.left, a.right), (b.left, b.right), rtol=2e-6)
    assert other.n == found.n == len(X)
    np.testing.assert_allclose(
        other.source_to_target.alpha2, found.source_to_target.alpha2, atol=1e-6
    )


@pytest.mark.parametrize("loss", ["l2", "kl"])
@pytest.mark.parametrize("with_y", [True, False])
def test_it_goes_on_from_any_batch_of_either_pass_bit_for_bit(loss, with_y):
    models, y = {"f_source": SOURCE, "f_target": TARGET}, Y if with_y else None
    whole = chain(SOURCE, TARGET, X, y=y, loss=loss, batch_size=16)
    first, paths = links(loss, with_y=with_y), Paths()
    found = passes.run(first, models, X, y=y, batch_size=16, stage="")
    second = second_pass(found, paths, loss=loss)
    along = passes.run(second, models, X, batch_size=16, stage="")
    for measure, rows in ((first, y), (second, None)):
        sample = {"y": rows, "batch_size": 16}
        states = list(passes.states(measure, models, X, **sample))
        assert [state.done for state in states] == [16, 32, 40]
        start = passes.begin(measure, models, X, **sample)
        for i, state in enumerate(states):
            stored = snapshots.tree_of(snapshots.arrays_of(state.saved()), start.saved())
            restored = start.restored(stored)
            rest = list(passes.states(measure, models, X, state=restored, **sample))
            assert len(rest) == 2 - i  # nothing is done twice
            record = passes.record(measure, rest[-1] if rest else restored)
            if measure is second:
                assert record == along
            else:
                again = assembled(record, along, paths, loss=loss)
                assert again.summary() == whole.summary()
                np.testing.assert_array_equal(again.generalized.A1, whole.generalized.A1)


def test_a_state_of_other_batches_or_models_is_refused():
    models = {"f_source": SOURCE, "f_target": TARGET}
    first = links(with_y=False)
    state = next(passes.states(first, models, X, batch_size=16))
    with pytest.raises(ValueError, match=r"inside a batch \(10 to 20\); batch_size=10"):
        next(passes.states(first, models, X, batch_size=10, state=state))
    stored = snapshots.arrays_of(state.saved())
    exchanged = {"f_source": TARGET, "f_target": SOURCE}
    with pytest.raises(ValueError, match=r"x\.npz holds other sums .* has shape .*; remove it"):
        snapshots.tree_of(stored, passes.begin(first, exchanged, X).saved(), where="x.npz")
    with_y = passes.begin(links(), models, X, y=Y).saved()
    with pytest.raises(ValueError, match="holds other sums than this pass's .* is not there"):
        snapshots.tree_of(stored, with_y)


def test_without_y_and_with_an_attack_of_the_experiments():
    attack = attacks.pgd(eps=0.05, num_steps=2, objective="output_deviation")
    result = chain(SOURCE, TARGET, X, attack=attack, key=jax.random.key(0))
    assert result.knowledge is None
    assert result.label_gap is None
    assert {i.name for i in result.inequalities} == {"Theorem 2", "Poincaré"}
    assert result.source_to_target.alpha1 != chain(SOURCE, TARGET, X).source_to_target.alpha1
    text = report.text(result.summary())
    assert "KTD" not in text
    assert len(report.figure(result.summary()).axes) == 1


def test_the_summary_is_json_and_the_report_shows_every_link(found):
    summary = json.loads(json.dumps(found.summary(), allow_nan=False))
    text = report.text(summary)
    for part in ("alpha1", "alpha2", "A1", "rho^2", "GMD", "FMD", "KTD", "Theorem 1", "slack"):
        assert part in text
    assert "FAILS" not in text
    assert "not guaranteed for this input" in text  # Poincaré, of inputs that are not Gaussian
    (axes,) = report.figure(summary, source="a", target="b").axes
    drawn = " ".join(t.get_text() for t in axes.texts)
    for value in (found.gradient.relative, found.function.relative, found.knowledge.relative):
        assert f"{value:.3f}" in drawn
    assert f"{found.source_to_target.alpha1:.3f}" in drawn
    assert "Theorem 3\nholds" in drawn
    image = report.heat_map(summary).axes[0].images[0].get_array()
    np.testing.assert_allclose(np.sum(image), found.generalized.rho2, rtol=1e-9)
    summary["inequalities"][3]["holds"] = False
    assert "FAILS" in report.text(summary)
    summary["generalized"]["A2"] = None
    with pytest.raises(ValueError, match="chain has no A2"):
        report.heat_map(summary)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": iter([X])}, "can be read only once"),
        ({"y": iter([Y])}, "y=.* can be read only once"),
        ({"attack": attacks.fgsm(eps=0.1)}, "attack needs key"),
        ({"paths": Paths(x0=np.zeros(3))}, r"x0 has shape \(3,\); that of an example, \(6,\)"),
        ({"paths": Paths(num_nodes=0)}, "num_nodes=0 must be"),
        ({"y": Y[:, :2]}, "y has 2 columns and f_target returns 3"),
        ({"y": Y[:3]}, "y has 3 rows and x at least 40"),
        ({"x": 3}, "x=3 .* must be an array"),
    ],
)
def test_hostile_input(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        chain(SOURCE, TARGET, **{"x": X, "y": Y, **change})
