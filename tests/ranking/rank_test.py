"""`advknow.rank`: scores equal to their own calls, and ranks that can be trusted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import advknow
from advknow import attacks, matching, ranking, scores
from advknow.ranking import Source, observed, rank
from advknow.ranking.halves import half_samples

KEY = jax.random.key(3)
ATTACK = attacks.pgd(eps=0.05, num_steps=3)
N, CLASSES = 60, 3
X = np.random.default_rng(0).random((N, 6), np.float32)
LABELS = np.arange(N) % CLASSES


def _logits(w, x):
    return jnp.tanh(x @ w)


def _features(w, x):
    return jnp.tanh(x @ w) ** 2


def _weights(seed, outputs):
    return jax.random.normal(jax.random.key(seed), (6, outputs))


def _model(seed, outputs=4):
    w = _weights(seed, outputs)
    return Source(logits=Partial(_logits, w), features=Partial(_features, w))


SOURCES = {"a": _model(1), "b": _model(2, 3)}
REFERENCE = _model(0, CLASSES)
FAST = ("logme", "nce", "leep", "ktd", "fmd", "cka", "rho2", "gmd")


def test_every_score_is_its_own_call():
    found = rank(
        SOURCES, LABELS, X, reference=REFERENCE, attack=ATTACK, key=KEY, draws=20, batch_size=16
    )
    assert not found.left_out
    assert set(found.scores) == set(ranking.SCORES)
    for k, source in enumerate(SOURCES.values()):
        logits, features = np.asarray(source.logits(X)), np.asarray(source.features(X))
        pair = {"f_source": source.logits, "f_target": REFERENCE.logits, "x": X}
        gradient, function = matching.gradient_matching(**pair), matching.function_matching(**pair)
        y = np.eye(CLASSES, dtype=np.float32)[LABELS]
        knowledge = matching.knowledge_transfer(f_source=source.logits, x=X, y=y)
        expected = {
            **{name: score(features, LABELS) for name, score in scores.OF_FEATURES.items()},
            "nce": scores.nce(logits.argmax(axis=1), LABELS),
            "leep": scores.leep(np.asarray(jax.nn.softmax(logits)), LABELS),
            "cka": scores.cka(features, REFERENCE.features(X)),
            "rsa": scores.rsa(features, REFERENCE.features(X)),
            "rho2": gradient.rho2,
            "gmd": gradient.distance,
            "fmd": function.distance,
            "ktd": knowledge.distance,
        }
        both = source.logits, REFERENCE.logits
        for direction, models in (("source_to_target", both), ("target_to_source", both[::-1])):
            attacked = advknow.transferability(*models, X, attack=ATTACK, key=KEY)
            limit, _ = advknow.small_eps_transferability(*models, X)
            for prefix, record in (("", attacked), ("small_eps_", limit)):
                expected |= {
                    f"{prefix}alpha1_{direction}": record.alpha1,
                    f"{prefix}alpha2_squared_{direction}": record.alpha2_squared_unbiased,
                    f"{prefix}alpha1_alpha2_squared_{direction}": (
                        record.alpha1_alpha2_squared_unbiased
                    ),
                }
        for name, value in expected.items():
            # Float32 outputs of other programs; hard decisions (n_leep) see the same features.
            assert found[name].values[k] == pytest.approx(value, rel=2e-4, abs=2e-5), name


def test_the_spread_of_halves_is_the_standard_error():
    many = np.random.default_rng(1).random((400, 6), np.float32)
    found = rank(
        {"a": _model(1)},
        np.arange(400) % CLASSES,
        many,
        reference=REFERENCE,
        attack=ATTACK,
        key=KEY,
        scores=("alpha1_source_to_target", "alpha1_alpha2_squared_source_to_target"),
        draws=400,
    )
    direct = advknow.transferability(
        _model(1).logits, REFERENCE.logits, many, attack=ATTACK, key=KEY
    )
    # 400 draws know a standard error to 1 / sqrt(800) = 4 %: three of these.
    by_halves = found["alpha1_source_to_target"].standard_errors[0]
    assert by_halves == pytest.approx(direct.alpha1_se, rel=0.12)
    # Ten groups of the jackknife know it to 1 / sqrt(18) = 24 %.
    by_halves = found["alpha1_alpha2_squared_source_to_target"].standard_errors[0]
    assert by_halves == pytest.approx(direct.alpha1_alpha2_squared_se, rel=0.6)


def _noisy(generator, noises, n=200, dimensions=12):
    labels = np.arange(n) % 5
    centres = generator.normal(size=(5, dimensions))[labels]
    return labels, {
        f"noise {noise}": Source(features=centres + noise * generator.normal(size=centres.shape))
        for noise in noises
    }


@pytest.mark.slow
def test_intervals_cover_the_order_that_is_known_by_construction():
    generator, covered = np.random.default_rng(0), 0
    for _ in range(100):
        labels, sources = _noisy(generator, (1.0, 1.3, 1.6, 2.0, 3.0))
        order = generator.permutation(5)
        names = [list(sources)[k] for k in order]
        # The cheapest score that knows the noise: 20,000 half-samples are scored.
        score = "gbc_diagonal"
        found = rank({name: sources[name] for name in names}, labels, scores=(score,), draws=40)
        ranks = found[score].ranks
        covered += bool(np.all((ranks.low <= order + 1) & (order + 1 <= ranks.high)))
    assert covered >= 95


def test_copies_of_a_source_cannot_be_told_apart():
    labels, sources = _noisy(np.random.default_rng(0), (1.0, 4.0))
    first = sources["noise 1.0"]
    found = rank({**sources, "copy": first}, labels, scores=("logme", "knn"), draws=40)
    for score in ("logme", "knn"):
        ranks = found[score].ranks
        assert not ranks.apart[0, 2]
        assert ranks.apart[0, 1]
        assert ranks.rank.tolist() == [1.5, 3.0, 1.5]
        assert (ranks.low[0], ranks.high[0]) == (1, 2)
        assert ranks.best.tolist() == [0.5, 0.0, 0.5]
    assert found.by == "logme"
    assert found.sentence() == "noise 1.0 or copy (cannot be told apart at n = 200), then noise 4.0"


def test_a_linear_image_of_the_target_is_first_among_strangers():
    mixed = np.random.default_rng(0).normal(size=(CLASSES, 5)).astype(np.float32)

    def linear(x):
        return REFERENCE.logits(x) @ mixed + 1.0

    sources = {"stranger": _model(5, 5), "linear": Source(logits=linear), "other": _model(6, 5)}
    found = rank(sources, LABELS, X, reference=REFERENCE, scores=("rho2", "gmd", "fmd"), draws=40)
    assert found["rho2"].values[1] == pytest.approx(1.0, abs=1e-6)
    for score in ("rho2", "gmd", "fmd"):
        assert found[score].rank[1] == 1
        assert found[score].ranks.high[1] == 1
        assert found[score].ranks.best[1] == 1.0


def test_arrays_give_what_functions_give_and_say_what_is_left_out():
    arrays = {
        name: Source(np.asarray(s.logits(X)), np.asarray(s.features(X)))
        for name, s in SOURCES.items()
    }
    found = rank(arrays, LABELS, reference=REFERENCE, x=X, scores=FAST, draws=20)
    expected = rank(SOURCES, LABELS, X, reference=REFERENCE, scores=FAST, draws=20)
    for name in ("logme", "nce", "leep", "ktd", "fmd", "cka"):
        np.testing.assert_allclose(found[name].values, expected[name].values, rtol=1e-6)
        np.testing.assert_allclose(
            found[name].standard_errors, expected[name].standard_errors, rtol=1e-4
        )
    assert set(found.left_out) == {(s, q) for s in SOURCES for q in ("rho2", "gmd")}
    assert "gradients" in found.left_out["a", "rho2"]


def test_neither_the_order_of_sources_nor_that_of_examples_changes_a_value():
    order = np.random.default_rng(1).permutation(N)
    found = rank(SOURCES, LABELS, X, reference=REFERENCE, scores=FAST, draws=20)
    turned = rank(
        dict(reversed(SOURCES.items())),
        LABELS[order],
        X[order],
        reference=REFERENCE,
        scores=FAST,
        draws=20,
        batch_size=7,
    )
    for name in FAST:
        np.testing.assert_allclose(turned[name].values[::-1], found[name].values, rtol=1e-4)


def test_rows_are_ready_for_a_file():
    found = rank(SOURCES, LABELS, X, scores=("leep", "ktd"), draws=20, target="mine")
    rows = found.rows()
    assert [row["rank"] for row in rows] == [1.0, 2.0] * 2
    assert {row["target"] for row in rows} == {"mine"}
    for row in rows:
        assert row["rank_low"] <= row["rank"] <= row["rank_high"]
        assert row["standard_error"] > 0
    # A smaller distance is better.
    ktd = [row["value"] for row in rows if row["score"] == "ktd"]
    assert ktd == sorted(ktd)


def test_gram_matrices_that_are_too_large_are_said(monkeypatch):
    monkeypatch.setattr(observed, "LARGE_GRAMS", 1000)
    found = rank(SOURCES, LABELS, X, reference=REFERENCE, scores=("rho2", "cka"), draws=20)
    assert "exceed" in found.left_out["a", "rho2"]
    assert "60 examples with 4 outputs" in found.left_out["a", "rho2"]
    assert set(found.scores) == {"cka"}


def test_a_score_of_all_examples_that_halves_do_not_have_has_no_interval():
    # 8 outputs: an affine map fits 9 of them; 12 examples are more, their half is not.
    labels, x = np.arange(12) % 3, X[:12]
    found = rank({"a": _model(1, 8), "b": _model(2, 8)}, labels, x, scores=("ktd",), draws=20)
    assert found["ktd"].ranks is None
    assert np.isnan(found["ktd"].standard_errors).all()
    assert "of half of the examples" in found.left_out["a", "ktd"]
    assert "without intervals" in found.sentence()
    assert found.rows()[0]["rank_low"] is None


@pytest.mark.parametrize("sizes", [(10, 7), (3, 2), (40, 1)])
def test_halves_are_of_each_class_without_repetition(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    drawn = half_samples(labels, 50, seed=0)
    for label, size in enumerate(sizes):
        counts = drawn[:, labels == label].sum(axis=1)
        least, most = max(min(size, 2), size // 2), max(min(size, 2), (size + 1) // 2)
        assert counts.min() >= least
        assert counts.max() <= most
        if size > 3:
            # Every example as often as any other, up to four standard errors of 50 draws.
            assert abs(drawn[:, labels == label].mean() - 0.5) < 2 / np.sqrt(50)
    assert not np.array_equal(drawn, half_samples(labels, 50, seed=1))
    np.testing.assert_array_equal(drawn, half_samples(labels, 50, seed=0))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"sources": {}}, ValueError, "at least one is needed"),
        ({"sources": {"a": 3}}, TypeError, "the source a is a int"),
        ({"sources": {"a": Source()}}, ValueError, "neither logits nor features"),
        ({"x": None}, ValueError, "a is a function"),
        ({"x": X[:3]}, ValueError, "x has 3 examples, labels 60"),
        ({"labels": np.zeros(N, int)}, ValueError, "1 class"),
        ({"labels": LABELS.astype(float)}, TypeError, "integers"),
        ({"scores": ("logm",)}, ValueError, "logm"),
        ({"scores": ()}, ValueError, "empty"),
        ({"by": "rsa"}, ValueError, "by='rsa'"),
        ({"attack": ATTACK}, TypeError, "attack needs key"),
        ({"draws": 0}, ValueError, "draws=0"),
        ({"draws": 5}, ValueError, "too few for level"),
        ({"sources": {"a": Source(features=np.full((N, 3), np.nan))}}, ValueError, "features of a"),
        ({"sources": {"a": Source(features=X[:5])}}, ValueError, "5 examples"),
        ({"sources": {"a": lambda x: x / 0.0}}, ValueError, "a or its"),
        ({"scores": ("cka",)}, ValueError, "no score is defined.*reference"),
        ({"batchsize": 3}, TypeError, "batchsize"),
    ],
)
def test_hostile_input(changed, error, message):
    given = {"sources": SOURCES, "labels": LABELS, "x": X, "scores": ("nce", "leep"), "draws": 20}
    with pytest.raises(error, match=message):
        rank(**{**given, **changed})
