"""The audit: each spoilt model raises exactly its flags, and sound ones none."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import blobs

from advknow import Transferability, check_model, check_record, models
from advknow.audit import FLAGS, AuditError

GENERATOR = np.random.default_rng(9)
KEY = jax.random.key(0)
W1 = jax.random.normal(jax.random.key(1), (12, 16)) / 3
W2 = jax.random.normal(jax.random.key(2), (16, 4))
X = np.random.default_rng(0).uniform(size=(40, 12)).astype(np.float32)
X[7, 0] = 0.0


def sound(x):
    return jnp.tanh(x @ W1) @ W2


def train_mode(x):
    hidden = jnp.tanh(x @ W1)
    return (hidden - hidden.mean(0)) / hidden.std(0) @ W2


def random_at_every_trace(x):
    return sound(x) + 0.1 * GENERATOR.standard_normal(4).astype(np.float32)


def random_at_every_call(x):
    spec = jax.ShapeDtypeStruct((x.shape[0], 4), np.float32)
    noise = jax.pure_callback(
        lambda x: GENERATOR.standard_normal((len(x), 4)).astype(np.float32), spec, x
    )
    return sound(x) + 0.1 * jax.lax.stop_gradient(noise)


def nan_for_some(x):
    return jnp.where(x[:, :1] > 0.8, jnp.nan, sound(x))


SPOILT = {
    "sound": (sound, ()),
    "saturated": (lambda x: 1e4 * sound(x), ("zero_gradients",)),
    "train mode": (train_mode, ("batch_dependent",)),
    "random at every trace": (random_at_every_trace, ("nondeterministic",)),
    "random at every call": (random_at_every_call, ("nondeterministic",)),
    "probabilities": (lambda x: jax.nn.softmax(sound(x)), ("probabilities",)),
    "NaN for some": (nan_for_some, ("nonfinite_outputs",)),
    "zero gradient": (lambda x: sound(jnp.round(4 * x) / 4), ("zero_gradients",)),
    "infinite gradient": (lambda x: sound(x) + jnp.sqrt(x[:, :4]), ("nonfinite_gradients",)),
    "one output": (lambda x: sound(x)[:, :1], ()),
    "infinite gradient of one output": (
        lambda x: sound(x)[:, :1] + jnp.sqrt(x[:, :1]),
        ("nonfinite_gradients",),
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_each_model_raises_exactly_its_flags(name):
    f, flags = SPOILT[name]
    audit = check_model(f, X, key=KEY)
    assert audit.flags == flags, audit.values
    assert audit.n == len(X)
    summary = json.loads(json.dumps(audit.summary(), allow_nan=False))
    assert summary["flags"] == list(flags)
    assert set(summary["values"]) == set(FLAGS)
    for finding in audit.findings:
        assert finding.value > finding.limit
    if flags:
        with pytest.raises(AuditError, match=f"not to be trusted: {flags[0]}: "):
            check_model(f, X, key=KEY, strict=True)
    else:
        check_model(f, X, key=KEY, strict=True)


def test_a_masked_gradient_shows_as_an_attack_without_progress():
    """A model whose gradient points the wrong way: the forward pass of one, the slope of another."""

    @jax.custom_jvp
    def masked(x):
        return sound(x)

    @masked.defjvp
    def _(primals, tangents):
        y, slope = jax.jvp(sound, primals, tangents)
        return y, -slope

    audit = check_model(masked, X, eps=0.02, key=KEY)
    assert "no_progress" in audit.flags


def test_too_few_steps_and_a_rugged_loss_are_seen():
    def rugged(x):
        return 3 * sound(x) + 2 * jnp.sin(60 * x[:, :4])

    audit = check_model(rugged, X, num_steps=2, eps=0.3, key=KEY)
    assert {"not_converged", "random_start_spread", "beaten"} & set(audit.flags)


def test_a_resnet_in_train_mode_is_seen():
    model = models.create("resnet18", num_classes=3, input_shape=(8, 8, 1), width=0.05)
    variables = model.init(KEY)
    x = blobs(16, num_classes=3).pixels()
    audit = check_model(lambda x: model.apply_train(variables, x)[0], x, key=KEY)
    assert audit.flags == ("batch_dependent",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[:1]}, r"x has shape \(1, 12\); at least 2 examples"),
        ({"x": X + 2}, "bounds=.0, 1. are accepted"),
        ({"eps": 0.0}, "eps=0.0 must be"),
        ({"num_steps": 1}, "num_steps=1 must be"),
        ({"max_examples": 1}, "max_examples=1 must be"),
        ({"f": lambda x: x.astype(int)}, "floats .logits. are needed"),
    ],
)
def test_hostile_input(change, message):
    with pytest.raises(ValueError, match=message):
        check_model(**{"f": sound, "x": X, **change})


def _record(n, degenerate=0, above=0):
    """A measurement of which only the counts matter."""
    fields = dict.fromkeys(field.name for field in dataclasses.fields(Transferability))
    return Transferability(
        **{**fields, "n": n, "n_degenerate": degenerate, "n_alpha1_above_one": above}
    )


@pytest.mark.parametrize(
    ("record", "flags"),
    [
        (_record(100), []),
        (_record(100, degenerate=10, above=5), []),
        (_record(100, above=6), ["alpha1_above_one"]),
        (_record(20, above=20), ["alpha1_above_one"]),
        (_record(80, degenerate=20), ["degenerate_examples"]),
        (_record(10, degenerate=990, above=3), ["alpha1_above_one", "degenerate_examples"]),
    ],
)
def test_a_measurement_speaks_against_its_own_alphas(record, flags):
    found = check_record(record)
    assert [finding.name for finding in found] == flags
    for finding in found:
        assert finding.value > finding.limit
        assert str(record.n) in finding.message or str(record.n_degenerate) in finding.message
