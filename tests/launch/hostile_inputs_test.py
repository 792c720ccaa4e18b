"""Hostile arguments, models and settings: one table, each with its message.

Every row is (name, what is done, the error's type, words of its message). Files and disks are in
hostile_files_test.py, what belongs to one module alone in that module's tests.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import advknow
from advknow import (
    attacks,
    chain,
    check_model,
    data,
    generalized_transferability,
    inner_product,
    losses,
    matching,
    models,
    training,
)
from advknow.alphas.small_eps import small_eps_transferability
from advknow.experiments import config
from advknow.experiments.presets import preset
from advknow.statistics.correlation import correlate
from advknow.synthetic import experiment as synthetic

KEY = jax.random.key(0)
X = np.random.default_rng(0).uniform(0.1, 0.9, (12, 6)).astype(np.float32)
F, G = (oracles.tanh_network(seed, n=6, d=3, scale=1.0) for seed in (0, 1))
ATTACK = attacks.fgsm(eps=0.05)
ZERO = np.zeros_like(X)
Y = np.eye(3, dtype=np.float32)[np.arange(12) % 3]


def alphas(f=F, g=G, x=X, **settings):
    return advknow.transferability(f, g, x, **{"attack": ATTACK, "key": KEY, **settings})


def with_nan(x):
    x = np.array(x)
    x[1, 2] = np.nan
    return x


def raises(x):
    raise KeyError("weights")


def images(count=6, shape=(4, 4, 1), names=("a", "b"), dtype=np.uint8, labels=None):
    labels = np.arange(count) % 2 if labels is None else np.asarray(labels)
    ids = np.array([f"x/{i}" for i in range(count)], dtype=str)
    return data.Dataset(np.zeros((count, *shape), dtype), labels.astype(np.int32), names, ids)


def settings(**changes):
    return dataclasses.replace(preset("adv2know", "digits"), **changes)


MLP = models.create("mlp", num_classes=2, input_shape=(4, 4, 1), width=0.01)


def fit(**changes):
    given = {"train": images(), "validation": images(), "key": KEY}
    given |= {"config": training.TrainConfig(epochs=1)} | changes
    return training.fit(MLP, given.pop("train"), given.pop("validation"), **given)


TABLE = [
    # Inputs.
    (
        "integer x",
        lambda: alphas(x=np.ones((4, 6), int)),
        TypeError,
        "x has dtype int64; a float array is needed",
    ),
    ("bytes as x", lambda: alphas(x=np.ones((4, 6), np.uint8)), TypeError, "divide bytes by 255"),
    ("x is a list", lambda: alphas(x=[[0.1] * 6]), (TypeError, ValueError), "x"),
    ("x is empty", lambda: alphas(x=X[:0]), ValueError, "at least one example"),
    ("x is one example", lambda: alphas(x=X[0]), ValueError, "For one example use x[None]"),
    ("x is a scalar", lambda: alphas(x=np.float32(0.5)), (TypeError, ValueError), "x"),
    ("NaN in x", lambda: alphas(x=with_nan(X)), ValueError, "x holds NaN or infinity"),
    (
        "infinity in x",
        lambda: alphas(x=X * np.float32(np.inf)),
        ValueError,
        "x holds NaN or infinity",
    ),
    ("x out of bounds", lambda: alphas(x=X * 255), ValueError, "bounds=(0, 1) are accepted"),
    ("no batches", lambda: alphas(x=iter(())), ValueError, "x holds no examples; at least one"),
    ("batches that differ", lambda: alphas(x=[X, X[:, :5]]), ValueError, "shape"),
    # Models.
    ("f is no function", lambda: alphas(f=3), TypeError, "f1=3 must be a function of a batch"),
    (
        "f raises",
        lambda: alphas(f=raises),
        ValueError,
        "f1 does not accept a batch of shape (12, 6)",
    ),
    ("f of another shape", lambda: alphas(f=lambda x: x @ jnp.ones((5, 3))), ValueError, "(12, 6)"),
    ("f of one number", lambda: alphas(f=lambda x: x.sum()), ValueError, "f1 returns () for"),
    ("f without a batch", lambda: alphas(f=lambda x: x[0]), ValueError, "(12, d) is needed"),
    ("f of images", lambda: alphas(f=lambda x: x[:, None]), ValueError, "f1 returns (12, 1, 6)"),
    ("f of a tuple", lambda: alphas(f=lambda x: (x, x)), ValueError, "f1 returns tuple"),
    ("f of classes", lambda: alphas(g=lambda x: jnp.argmax(x, 1)[:, None]), ValueError, "int32"),
    ("f of NaN", lambda: alphas(g=lambda x: G(x) * jnp.nan), ValueError, "NaN"),
    ("constant f", lambda: alphas(f=lambda x: jnp.ones((len(x), 3))), ValueError, "degenerate"),
    (
        "one logit",
        lambda: alphas(f=lambda x: F(x)[:, :1]),
        ValueError,
        "needs at least 2. Use objective='output_deviation'",
    ),
    # Settings of the measures.
    ("no key", lambda: alphas(key=None), TypeError, "key"),
    ("a seed for a key", lambda: alphas(key=0), TypeError, "jax.random.key"),
    ("keys of others", lambda: alphas(key=jax.random.split(KEY, 5)), ValueError, "12"),
    ("attack by name", lambda: alphas(attack="pgd"), TypeError, "attack='pgd'"),
    ("batch_size 0", lambda: alphas(batch_size=0), ValueError, "batch_size=0 must be"),
    ("batch_size 2.5", lambda: alphas(batch_size=2.5), TypeError, "batch_size=2.5 (float)"),
    ("batch_size True", lambda: alphas(batch_size=True), TypeError, "batch_size=True (bool)"),
    ("unknown loss", lambda: alphas(eval_loss="l1"), ValueError, "accepted: "),
    (
        "delta of another shape",
        lambda: advknow.from_deltas(F, G, X, ZERO[:5], ZERO),
        ValueError,
        "delta1",
    ),
    (
        "delta with NaN",
        lambda: advknow.from_deltas(F, G, X, with_nan(ZERO), ZERO),
        ValueError,
        "delta1",
    ),
    ("no deviation", lambda: advknow.from_deltas(F, G, X, ZERO, ZERO), ValueError, "degenerate"),
    (
        "attack of another shape",
        lambda: alphas(attack=lambda f, x, key: x[:, :2]),
        ValueError,
        "(12, 2)",
    ),
    # Attacks.
    ("negative eps", lambda: attacks.fgsm(eps=-0.1), ValueError, "eps=-0.1 must be"),
    ("eps NaN", lambda: attacks.pgd(eps=float("nan")), ValueError, "eps=nan must be"),
    ("eps as text", lambda: attacks.pgd(eps="0.1"), TypeError, "eps='0.1' (str)"),
    ("num_steps 0", lambda: attacks.pgd(eps=0.1, num_steps=0), ValueError, "num_steps=0 must be"),
    ("step_size 0", lambda: attacks.pgd(eps=0.1, step_size=0.0), ValueError, "step_size=0.0 must"),
    ("unknown ord", lambda: attacks.pgd(eps=0.1, ord="l3"), ValueError, "ord='l3' is not known"),
    ("bounds reversed", lambda: attacks.pgd(eps=0.1, bounds=(1, 0)), ValueError, "bounds=(1, 0)"),
    (
        "unknown objective",
        lambda: attacks.pgd(eps=0.1, objective="ce"),
        ValueError,
        "objective='ce' is not known",
    ),
    ("negative index", lambda: attacks.singular(index=-1), ValueError, "index=-1 must be"),
    (
        "index past the last",
        lambda: alphas(attack=attacks.singular(index=3)),
        ValueError,
        "index=3",
    ),
    ("unknown method", lambda: attacks.singular(method="svd"), ValueError, "method='svd'"),
    (
        "unknown attack",
        lambda: attacks.Named("cw").make(),
        ValueError,
        "attack='cw' is not known; accepted: fgsm, pgd, singular",
    ),
    # The theory.
    (
        "count past the last",
        lambda: generalized_transferability(F, G, X, count=4),
        ValueError,
        "count=4 must be",
    ),
    (
        "generalized of NaN",
        lambda: generalized_transferability(lambda x: F(x) * jnp.nan, G, X),
        ValueError,
        "NaN",
    ),
    (
        "generalized method",
        lambda: generalized_transferability(F, G, X, method="fast"),
        ValueError,
        "accepted: exa",
    ),
    (
        "probes",
        lambda: generalized_transferability(F, G, X, method="iterative", num_probes=1),
        ValueError,
        "num_probes=1 must be",
    ),
    (
        "matching of NaN",
        lambda: matching.function_matching(f_source=G, f_target=lambda x: F(x) * jnp.nan, x=X),
        ValueError,
        "NaN",
    ),
    (
        "y of another length",
        lambda: matching.knowledge_transfer(f_source=F, x=X, y=Y[:5]),
        ValueError,
        "y",
    ),
    (
        "y with NaN",
        lambda: matching.knowledge_transfer(f_source=F, x=X, y=Y * np.nan),
        ValueError,
        "y",
    ),
    (
        "H of another size",
        lambda: matching.gradient_matching(
            f_source=G, f_target=F, x=X, loss=losses.quadratic(np.eye(4, dtype=np.float32))
        ),
        ValueError,
        "4",
    ),
    (
        "H not symmetric",
        lambda: losses.quadratic(np.triu(np.ones((3, 3)))),
        ValueError,
        "symmetric",
    ),
    (
        "H indefinite",
        lambda: losses.quadratic(np.diag([1.0, -1.0])),
        ValueError,
        "H of a loss has none below 0",
    ),
    ("H no matrix", lambda: losses.quadratic(np.ones(3)), ValueError, "(3,)"),
    ("chain of a wrong y", lambda: chain(F, G, X, y=Y[:, :2], key=KEY), ValueError, "y"),
    ("small-eps index", lambda: small_eps_transferability(F, G, X, index=3), ValueError, "index=3"),
    (
        "hvp of two shapes",
        lambda: inner_product.hvp("kl", jnp.ones((2, 3)), jnp.ones((2, 4))),
        ValueError,
        "(2, 4)",
    ),
    (
        "norm's method",
        lambda: inner_product.norm("l2", jnp.ones(3), jnp.ones(3), method="x"),
        ValueError,
        "method='x'",
    ),
    ("audit of one example", lambda: check_model(F, X[:1]), ValueError, "at least 2 examples"),
    ("audit's steps", lambda: check_model(F, X, num_steps=1), ValueError, "num_steps=1 must be"),
    # Data, models, training.
    ("unknown data set", lambda: data.load("svhn"), ValueError, "accepted: "),
    ("unknown class", lambda: data.select_classes(images(), ["c"]), ValueError, "'c'"),
    ("too many a class", lambda: data.take_per_class(images(), 9, seed=0), ValueError, "9"),
    ("fractions", lambda: data.partition(images(), [0.8, 0.8], seed=0), ValueError, "fractions"),
    (
        "labels past the names",
        lambda: images(2, labels=[0, 7]),
        ValueError,
        "labels go from 0 to 7; 0 to 1 are accepted",
    ),
    (
        "float images",
        lambda: images(dtype=np.float32),
        (TypeError, ValueError),
        "uint8",
    ),
    ("unknown model", lambda: models.create("vgg", num_classes=2), ValueError, "accepted: "),
    ("no class", lambda: models.create("mlp", num_classes=0), ValueError, "num_classes=0 must be"),
    (
        "width 0",
        lambda: models.create("mlp", num_classes=2, width=0),
        ValueError,
        "width=0 must be",
    ),
    (
        "too small an image",
        lambda: models.create("alexnet", num_classes=2, input_shape=(8, 8, 3)),
        ValueError,
        "input_shape",
    ),
    ("train is validation", lambda: fit(), ValueError, "train and validation"),
    ("images of another size", lambda: fit(train=images(shape=(5, 4, 1))), ValueError, "(5, 4, 1)"),
    ("no images", lambda: fit(train=images(0)), ValueError, "train is empty"),
    ("epochs 0", lambda: training.TrainConfig(epochs=0), ValueError, "epochs=0 must be"),
    (
        "momentum 1",
        lambda: training.TrainConfig(epochs=1, momentum=1.0),
        ValueError,
        "momentum=1.0",
    ),
    ("config a dict", lambda: fit(config={"epochs": 1}), TypeError, "must be a TrainConfig"),
    # Experiments.
    (
        "unknown preset",
        lambda: preset("know2adv", "svhn"),
        ValueError,
        "accepted: digits, mnist, fashion",
    ),
    ("no source", lambda: settings(sources=()), ValueError, "at least one source"),
    (
        "a source twice",
        lambda: settings(sources=(preset("adv2know", "digits").sources[0],) * 2),
        ValueError,
        "names a source twice",
    ),
    ("direction", lambda: settings(direction="both"), ValueError, "direction='both'"),
    ("seed -1", lambda: settings(seed=-1), ValueError, "seed=-1 must be"),
    (
        "override",
        lambda: config.scaled(preset("adv2know", "digits"), epoch=3),
        ValueError,
        "Did you mean 'epochs'?",
    ),
    ("level past the last", lambda: synthetic.SyntheticConfig(level=10), ValueError, "level=10"),
    ("one pair", lambda: correlate([1.0], [1.0, 2.0]), ValueError, "length"),
]


@pytest.mark.parametrize(("what", "error", "words"), [row[1:] for row in TABLE],
                         ids=[row[0] for row in TABLE])  # fmt: skip
def test_what_cannot_be_is_refused_with_its_reason(what, error, words):
    with pytest.raises(error) as caught:
        what()
    message = str(caught.value)
    assert words in message, message
    # A sentence for a person: no traceback of a library, no bare repr.
    assert len(message) > 20
    assert "jaxlib" not in message


def test_there_are_enough_and_no_two_alike():
    assert len(TABLE) >= 60
    assert len({row[0] for row in TABLE}) == len(TABLE)


def test_nothing_accepted_gives_a_nan():
    """Identical models, and models that nearly agree: every number of every record is finite."""
    near = functools.partial(lambda x: F(x) + 1e-7 * G(x))
    for g in (F, near):
        for record in (
            alphas(g=g).summary(),
            generalized_transferability(F, g, X).summary(),
            chain(F, g, X, y=Y, key=KEY).summary(),
        ):
            for value in jax.tree.leaves(record):
                assert not isinstance(value, float) or np.isfinite(value), record
