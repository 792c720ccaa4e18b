"""A1, A2 and rho^2 (theory.md section 3): Theorem 1 as an identity, and what must not matter."""

import jax
import jax.numpy as jnp
import matching_oracles
import numpy as np
import oracles
import pytest
from matching_oracles import N_IN, SOURCE, TARGET, D, M

from advknow import (
    attacks,
    generalized_transferability,
    losses,
    matching,
    passes,
    transferability,
)
from advknow.generalized.record import finalize
from advknow.generalized.sums import sums_of_grams

X = np.random.default_rng(2).uniform(size=(12, N_IN)).astype(np.float32)
HESSIANS = {
    "identity": np.eye(D),
    "random": matching_oracles.random_hessian(3, D),
    "singular": matching_oracles.random_hessian(4, D, rank=2),
}


def _oracle(hessian, x=X, source=SOURCE, target=TARGET, source_hessian=None):
    j_s, j_t = oracles.jacobian(source, x), oracles.jacobian(target, x)
    if source_hessian is None:
        source_hessian = matching_oracles.constant(np.eye(j_s.shape[1]), len(x))
    return matching_oracles.theorem1(j_s, j_t, source_hessian, hessian)


@pytest.mark.parametrize("name", HESSIANS)
def test_theorem_1_pair_by_pair_in_float32(name):
    heat, a1, mean, trace = _oracle(HESSIANS[name])
    found = generalized_transferability(SOURCE, TARGET, X, loss=losses.quadratic(HESSIANS[name]))
    np.testing.assert_allclose(heat.sum(), trace, rtol=1e-12)  # the oracle's own identity
    np.testing.assert_allclose(found.explained, trace, rtol=1e-5)
    np.testing.assert_allclose(found.A2, heat, atol=1e-5 * trace)
    np.testing.assert_allclose(found.A1, a1, atol=1e-5)
    np.testing.assert_allclose(found.A2_mean, mean, atol=1e-5)
    distance = matching.gradient_matching(
        f_source=SOURCE, f_target=TARGET, x=X, loss=losses.quadratic(HESSIANS[name])
    )
    np.testing.assert_allclose(
        distance.distance, np.sqrt(1 - found.rho2) * found.gradient_norm, rtol=1e-5
    )


@pytest.mark.parametrize("name", HESSIANS)
def test_theorem_1_pair_by_pair_in_float64(name):
    heat, a1, mean, trace = _oracle(HESSIANS[name], X.astype(np.float64))
    with jax.enable_x64(True):
        loss = losses.quadratic(HESSIANS[name])
        found = generalized_transferability(SOURCE, TARGET, X.astype(np.float64), loss=loss)
        distance = matching.gradient_matching(
            f_source=SOURCE, f_target=TARGET, x=X.astype(np.float64), loss=loss
        )
    assert found.A2.dtype == np.float64
    np.testing.assert_allclose(found.explained, trace, rtol=1e-12)
    np.testing.assert_allclose(found.A2, heat, atol=1e-12 * trace)
    np.testing.assert_allclose(found.A1, a1, atol=1e-12)
    np.testing.assert_allclose(found.A2_mean, mean, atol=1e-12)
    np.testing.assert_allclose(distance.rho2, found.rho2, rtol=1e-12)
    np.testing.assert_allclose(
        distance.distance**2, distance.norm**2 - trace, rtol=1e-12 * distance.norm**2 / 0.01
    )


def test_kl_matches_the_brute_force_and_its_singular_attacks_still_span_the_source():
    x = X.astype(np.float64)
    j_s, j_t = oracles.jacobian(SOURCE, x), oracles.jacobian(TARGET, x)
    hessian = oracles.hessian("kl", oracles.outputs(TARGET, x))
    distance, _, norm = matching_oracles.best_affine(j_t, j_s, hessian)
    with jax.enable_x64(True):
        found = generalized_transferability(SOURCE, TARGET, x, loss="kl")
    assert found.loss == found.source_loss == "kl"
    assert found.A2_mean is None
    np.testing.assert_allclose(found.gradient_norm, norm, rtol=1e-10)
    np.testing.assert_allclose(found.rho2, 1 - (distance / norm) ** 2, atol=1e-9)
    # H_S of KL has rank m - 1: the last attack is the one it does not see, and it counts.
    delta = matching_oracles.source_attacks(j_s, oracles.hessian("kl", oracles.outputs(SOURCE, x)))
    on_target = np.einsum("bdn,brn->brd", j_t, delta)
    length = np.sqrt(np.einsum("brd,bde,bre->br", on_target, hessian, on_target))
    top = oracles.singular_values("kl", oracles.outputs(TARGET, x), j_t)[:, :1]
    np.testing.assert_allclose(found.A1, length / top, rtol=0, atol=1e-12)


def test_a_function_is_taken_for_an_h_that_depends_on_x_and_agrees_with_the_constant_one():
    h = jnp.asarray(HESSIANS["random"], jnp.float32)

    def user(y, y_prime):
        return 0.5 * jnp.einsum("bi,ij,bj->b", y_prime - y, h, y_prime - y)

    general = generalized_transferability(SOURCE, TARGET, X, loss=user)
    promised = losses.from_function(user, constant_hessian=True)
    constant = generalized_transferability(SOURCE, TARGET, X, loss=promised)
    assert general.loss == "user"
    assert general.source_loss == "l2"  # H of d outputs says nothing of the source's m
    np.testing.assert_allclose(general.A2, constant.A2, atol=1e-5 * constant.explained)
    np.testing.assert_allclose(general.A1, constant.A1, atol=1e-6)


@pytest.mark.parametrize("loss", ["l2", "squared_l2", "kl"])
def test_the_first_attack_is_alpha1(loss):
    found = generalized_transferability(SOURCE, TARGET, X, loss=loss)
    metric = transferability(
        SOURCE,
        TARGET,
        X,
        attack=attacks.singular(loss=loss),
        key=jax.random.key(0),
        eval_loss=loss,
        linearize=True,
    )
    alpha1 = metric.alpha1_per_example
    # The leading term of a twice differentiable loss is the square of the norm.
    expected = alpha1 if loss == "l2" else np.sqrt(alpha1)
    np.testing.assert_allclose(found.A1[:, 0], expected, atol=3e-6)
    np.testing.assert_allclose(found.A1_mean[0], expected.mean(), atol=3e-6)


@pytest.mark.parametrize("loss", ["l2", "kl"])
def test_a_model_explains_itself(loss):
    found = generalized_transferability(TARGET, TARGET, X, loss=loss)
    np.testing.assert_allclose(found.rho2, 1.0, atol=1e-8)
    np.testing.assert_allclose(found.A1[:, 0], 1.0, atol=1e-6)
    assert np.all(np.diff(found.A1, axis=1) <= 1e-6)
    assert found.n_A1_above_one == 0


def test_shares_add_up_and_everything_is_in_range():
    found = generalized_transferability(SOURCE, TARGET, X)
    np.testing.assert_allclose(found.shares.sum(), found.rho2, rtol=1e-12)
    np.testing.assert_allclose(found.A2.sum(), found.explained, rtol=1e-12)
    np.testing.assert_allclose(found.explained, found.rho2 * found.gradient_norm**2, rtol=1e-12)
    assert 0 < found.rho2 < 1
    assert np.abs(found.A2_mean).max() <= 1
    assert found.A1.min() >= 0
    assert found.A1.max() <= 1 + 1e-6
    assert (found.num_attacks, found.rank, found.n) == (M, M, len(X))


def test_rotating_the_outputs_changes_nothing():
    rotation = [
        jnp.asarray(np.linalg.qr(np.random.default_rng(k).normal(size=(k, k)))[0], jnp.float32)
        for k in (M, D)
    ]
    plain = generalized_transferability(SOURCE, TARGET, X)
    turned = generalized_transferability(
        lambda x: SOURCE(x) @ rotation[0].T, lambda x: TARGET(x) @ rotation[1].T, X
    )
    np.testing.assert_allclose(turned.A1, plain.A1, atol=2e-6)
    np.testing.assert_allclose(turned.A2_mean, plain.A2_mean, atol=2e-6)
    np.testing.assert_allclose(turned.rho2, plain.rho2, atol=2e-6)


def test_more_outputs_than_inputs_and_a_source_of_lower_rank():
    wide = oracles.tanh_network(5, n=3, d=7)
    target = oracles.tanh_network(6, n=3, d=D)
    x = X[:, :3]
    found = generalized_transferability(wide, target, x)
    assert found.A1.shape == (len(x), 3)
    # All three directions of the input: every example's gradient is reached, not every mean's.
    distance = matching.gradient_matching(f_source=wide, f_target=target, x=x)
    np.testing.assert_allclose(found.rho2, distance.rho2, rtol=1e-9)
    # Two copies of one output and a dead one: two attacks of four.
    copied = generalized_transferability(lambda x: SOURCE(x)[:, jnp.array([0, 1, 1, 0])], TARGET, X)
    alone = generalized_transferability(lambda x: SOURCE(x)[:, :2], TARGET, X)
    np.testing.assert_array_equal(copied.A1_count, [len(X), len(X), 0, 0])
    assert not copied.A1[:, 2:].any()
    np.testing.assert_allclose(copied.rho2, alone.rho2, atol=1e-7)


def test_a_target_without_gradient_is_counted_and_gives_no_nan():
    found = generalized_transferability(SOURCE, lambda x: 0.0 * x[:, :D] + 1.0, X)
    assert found.n_degenerate == len(X)
    assert found.rho2 == 0.0
    assert not found.A1.any()
    assert not found.A1_mean.any()
    half = np.concatenate([X, -X])
    found = generalized_transferability(SOURCE, lambda x: jax.nn.relu(x[:, :D]), half)
    assert found.n_degenerate == len(X)
    assert np.isfinite(found.A1).all()
    np.testing.assert_array_equal(found.A1_count, len(X))
    dead = generalized_transferability(lambda x: 0.0 * x[:, :M], TARGET, X)
    assert dead.rho2 == 0.0
    assert not dead.A1_count.any()


@pytest.mark.parametrize("loss", ["l2", "kl"])
def test_batch_size_order_and_iterables_do_not_matter(loss):
    plain = generalized_transferability(SOURCE, TARGET, X, loss=loss)
    order = np.random.default_rng(7).permutation(len(X))
    for x, batch_size, rows in (
        (X, 1, slice(None)),
        (X, 5, slice(None)),
        (X[order], 7, order),
        ((X[i : i + 5] for i in range(0, len(X), 5)), 4, slice(None)),
    ):
        found = generalized_transferability(SOURCE, TARGET, x, loss=loss, batch_size=batch_size)
        np.testing.assert_allclose(found.A1, plain.A1[rows], atol=2e-6)
        np.testing.assert_allclose(found.A2, plain.A2, atol=1e-6 * plain.explained)
        np.testing.assert_allclose(found.rho2, plain.rho2, rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.l2, losses.kl], ids=["l2", "kl"])
def test_sums_of_parts_merge_in_any_order(loss):
    whole = generalized_transferability(SOURCE, TARGET, X, loss=loss)
    parts = [X[:1], X[1:8], X[8:]]
    sums = []
    for part in parts:
        grams = matching_oracles.grams(SOURCE, TARGET, part, loss=loss)
        sums.append(sums_of_grams(grams, loss=loss)[0])
    for order in ([0, 1, 2], [2, 0, 1]):
        merged = passes.merge(*(sums[i] for i in order))
        found = finalize(
            merged, None, eps=1e-7, rank=M, loss=loss.name, source_loss=loss.name, method="exact"
        )
        assert found.n == len(X)
        np.testing.assert_allclose(found.A2, whole.A2, atol=1e-6 * whole.explained)


def _with_spectrum(seed, n, d, decay):
    """x -> tanh-bent outputs whose singular values fall by a factor: attacks well apart."""
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.normal(size=(d, min(n, d))))[0]
    right = np.linalg.qr(rng.normal(size=(n, min(n, d))))[0]
    w = jnp.asarray(left * decay ** -np.arange(min(n, d)) @ right.T, jnp.float32)
    return lambda x: jnp.tanh(0.3 * x @ w.T)


@pytest.mark.parametrize("loss", ["l2", "kl"])
def test_iterative_agrees_with_exact(loss):
    source, target = _with_spectrum(0, 12, 9, 1.5), _with_spectrum(1, 12, 8, 1.5)
    x = np.random.default_rng(2).normal(size=(20, 12)).astype(np.float32)
    exact = generalized_transferability(source, target, x, loss=loss, count=3)
    found = generalized_transferability(
        source, target, x, loss=loss, count=3, method="iterative", num_probes=64, batch_size=7
    )
    assert found.n_unconverged == 0
    # tolerance=1e-3 of the attacks: an angle of that order between neighbours 1.5 apart.
    np.testing.assert_allclose(found.A1, exact.A1, atol=5e-3)
    np.testing.assert_allclose(found.A2, exact.A2, atol=5e-3 * exact.explained)
    assert abs(found.gradient_norm - exact.gradient_norm) < 4 * found.gradient_norm_se
    assert found.gradient_norm_se < 0.05 * exact.gradient_norm
    assert exact.gradient_norm_se == 0.0
    if loss == "l2":
        again = generalized_transferability(
            source, target, x, loss=loss, count=3, method="iterative", num_probes=64
        )
        np.testing.assert_allclose(again.gradient_norm, found.gradient_norm, rtol=1e-5)


def test_fewer_attacks_are_the_match_of_the_source_restricted_to_them():
    x = X.astype(np.float64)
    j_s, j_t = oracles.jacobian(SOURCE, x), oracles.jacobian(TARGET, x)
    delta = matching_oracles.source_attacks(j_s, matching_oracles.constant(np.eye(M), len(x)))[
        :, :2
    ]
    restricted = j_s @ delta.swapaxes(1, 2) @ delta
    h = matching_oracles.constant(np.eye(D), len(x))
    distance, _, norm = matching_oracles.best_affine(j_t, restricted, h)
    found = generalized_transferability(SOURCE, TARGET, X, count=2)
    np.testing.assert_allclose(found.rho2, 1 - (distance / norm) ** 2, atol=2e-6)
    assert (found.num_attacks, found.rank) == (2, M)


@pytest.mark.slow
def test_a_thousand_outputs_are_practical():
    source, target = _with_spectrum(0, 400, 1000, 1.05), _with_spectrum(1, 400, 1000, 1.05)
    x = np.random.default_rng(2).normal(size=(8, 400)).astype(np.float32)
    found = generalized_transferability(
        source, target, x, count=5, method="iterative", batch_size=4
    )
    assert found.A1.shape == (8, 5)
    assert found.A2.shape == (5, 5)
    assert 0 < found.rho2 < 1
    # KL of a thousand outputs has a system of 10^12 numbers: A1 is still there, A2 is not.
    without = generalized_transferability(source, target, x, count=2, method="iterative", loss="kl")
    assert without.A2 is None
    assert without.rho2 is None
    assert without.A1.shape == (8, 2)


def test_a1_of_every_example_need_not_be_kept():
    found = generalized_transferability(SOURCE, TARGET, X, keep_per_example=False)
    assert found.A1 is None
    np.testing.assert_allclose(
        found.A1_mean, generalized_transferability(SOURCE, TARGET, X).A1_mean, rtol=1e-12
    )


def test_progress_is_told():
    seen = []
    generalized_transferability(SOURCE, TARGET, X, batch_size=5, progress=lambda *a: seen.append(a))
    assert seen == [("attacks", 5, 12), ("attacks", 10, 12), ("attacks", 12, 12)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "fast"}, "method='fast' is not known; accepted: exact, iterative"),
        ({"count": 0}, "count=0 must be a finite number >= 1"),
        ({"count": 5}, "count=5 must be .* <= 4"),
        ({"num_probes": 1}, "num_probes=1 must be"),
        ({"loss": "l1"}, "loss='l1' is not known"),
        ({"batch_size": 0}, "batch_size=0 must be"),
        ({"x": X[:0]}, r"x has shape \(0, 6\)"),
        ({"x": []}, "x holds no examples"),
        ({"x": X * np.nan}, "x holds NaN or infinity in 12 of 12"),
        ({"f_source": lambda x: SOURCE(x) * jnp.nan}, "f_source or its gradient is NaN"),
        ({"f_target": lambda x: x @ jnp.ones((7, 2))}, "f_target does not accept"),
    ],
)
def test_hostile_input(change, message):
    given = {"f_source": SOURCE, "f_target": TARGET, "x": X, **change}
    with pytest.raises(ValueError, match=message):
        generalized_transferability(**given)
