"""Models of many outputs: vectors of the examples in place of matrices of the outputs."""

import dataclasses
import subprocess
import sys
import textwrap

import jax
import numpy as np
import oracles
import pytest

import advknow
from advknow import attacks
from advknow.alphas import sums as alpha_sums

KEY = jax.random.key(0)


def _both_forms(monkeypatch, call):
    """The records by matrices and by vectors."""
    matrices = call()
    monkeypatch.setattr(alpha_sums, "LARGE_MATRICES", 0)
    monkeypatch.setattr(alpha_sums, "ROWS_AT_ONCE", 7)
    return matrices, call()


def _assert_same(a, b):
    for field in dataclasses.fields(a):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if one is None:
            assert other is None
        else:
            # The matrices are summed in float32 a batch, the vectors' products in float64.
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7, err_msg=field.name)


@pytest.mark.parametrize("outputs", [(3, 5), (6, 2), (1, 4)])
@pytest.mark.parametrize("count", [1, 9, 23])
def test_both_forms_give_the_same_record(monkeypatch, outputs, count):
    f, g = (oracles.tanh_network(i, n=6, d=d, scale=2.0) for i, d in enumerate(outputs))
    x = np.random.default_rng(0).uniform(0.1, 0.9, (count, 6)).astype(np.float32)
    attack = attacks.pgd(eps=0.1, num_steps=3, objective="output_deviation")
    matrices, vectors = _both_forms(
        monkeypatch,
        lambda: advknow.transferability(f, g, x, attack=attack, key=KEY, batch_size=8),
    )
    _assert_same(matrices, vectors)


@pytest.mark.parametrize("index", [0, 1])
def test_both_forms_of_the_small_eps_limit(monkeypatch, index):
    f, g = (oracles.tanh_network(i, n=6, d=d, scale=2.0) for i, d in ((0, 4), (1, 3)))
    x = np.random.default_rng(0).uniform(0.1, 0.9, (21, 6)).astype(np.float32)
    pairs = _both_forms(
        monkeypatch,
        lambda: advknow.small_eps_transferability(f, g, x, index=index, batch_size=8),
    )
    for matrices, vectors in zip(*pairs, strict=True):
        _assert_same(matrices, vectors)


def test_examples_without_a_direction(monkeypatch):
    f = oracles.tanh_network(0, n=6, d=4, scale=2.0)

    def half_dead(x):
        return f(x) * (x[:, :1] > 0.5)

    x = np.random.default_rng(0).uniform(0.1, 0.9, (30, 6)).astype(np.float32)
    attack = attacks.pgd(eps=0.05, num_steps=2)
    for models in ((f, half_dead), (half_dead, f)):
        with monkeypatch.context() as patch:
            matrices, vectors = _both_forms(
                patch,
                lambda models=models: advknow.transferability(
                    *models, x, attack=attack, key=KEY, batch_size=8
                ),
            )
        assert 0 < vectors.n < 30 or vectors.n_degenerate == 0
        _assert_same(matrices, vectors)


def test_pair_sums_by_their_definition(monkeypatch):
    rng, count = np.random.default_rng(0), 25
    u, v = rng.normal(size=(count, 4)), rng.normal(size=(count, 6))
    u, v, w = u.astype(np.float32), v.astype(np.float32), rng.normal(size=count)
    values = alpha_sums.TransferValues(None, None, u, v)
    monkeypatch.setattr(alpha_sums, "ROWS_AT_ONCE", 3)
    found = alpha_sums.pair_sums(values, w)
    u, v, group = u.astype(np.float64), v.astype(np.float64), np.arange(count) % 10
    for g, h in ((0, 0), (3, 7), (9, 2)):
        expected = sum(
            w[i] * w[j] * (u[i] @ u[j]) * (v[i] @ v[j])
            for i in np.flatnonzero(group == g)
            for j in np.flatnonzero(group == h)
        )
        np.testing.assert_allclose(found[g, h], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("m", "d", "examples", "kept"),
    [
        (10, 10, 64, False),
        (1000, 1000, 512, True),
        (1000, 1000, None, False),
        (1000, 1000, 10**6, False),
        (10, 4000, 64, False),
        (4000, 4000, 64, True),
    ],
)
def test_what_is_smaller_is_kept(m, d, examples, kept):
    assert alpha_sums.keeps_vectors(m, d, examples) == kept


@pytest.mark.slow
def test_twenty_thousand_outputs_fit_into_two_gib():
    program = """
        import jax, jax.numpy as jnp, numpy as np, advknow
        from advknow import attacks
        from advknow.benchmark.peak_memory import peak_mib
        w1, w2 = (jax.random.normal(jax.random.key(i), (20, 21_000)) for i in (0, 1))
        f, g = (jax.tree_util.Partial(lambda w, x: jnp.tanh(x @ w), w) for w in (w1, w2))
        x = np.random.default_rng(0).uniform(size=(512, 20)).astype(np.float32)
        found = advknow.transferability(f, g, x, attack=attacks.pgd(eps=0.05),
                                        key=jax.random.key(3))
        print(found.n, found.alpha2, found.alpha2_squared_se)
        print(peak_mib() / 2**10)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    record, gib = run.stdout.splitlines()
    assert record.startswith("512 0.")
    assert float(gib) < 2.0
