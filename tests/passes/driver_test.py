"""The one pass: what measures are handed, what is computed once, and how it goes on."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advknow import attacks, passes, transferability
from advknow.passes import Measure, Totals
from advknow.runs import snapshots

X = np.random.default_rng(0).uniform(size=(23, 4)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(23, 2)).astype(np.float32)
MODELS = {"f": lambda x: x @ jnp.ones((4, 3)), "g": lambda x: (x @ jnp.ones((4, 2))).astype("bfloat16")}  # fmt: skip
CALLS: list[str] = []


@dataclasses.dataclass(frozen=True)
class Doubled:
    """A need that tells when it is computed."""

    name: str
    needs: ClassVar[tuple] = ()

    def __call__(self, batch):
        CALLS.append(self.name)
        return 2 * np.asarray(batch.x[: batch.count], np.float64)


@dataclasses.dataclass(frozen=True)
class Shifted:
    """A need of a need."""

    of: Doubled

    @property
    def needs(self):
        return (self.of,)

    def __call__(self, batch, doubled):
        CALLS.append("shifted")
        return doubled + 1


def total(need):
    """The sum over examples of what is needed, and its first number for each."""
    return Measure(
        needs=(need,),
        zero=lambda shapes: Totals(np.zeros(shapes.inputs), np.zeros(0)),
        of_batch=lambda batch, found: Totals(found[need].sum(axis=0), found[need][:, 0]),
        record=lambda totals, shapes: (totals.sums, totals.values),
    )


@pytest.fixture(autouse=True)
def no_calls():
    CALLS.clear()


def test_what_several_measures_need_is_computed_once_a_batch():
    measure = passes.combine(
        {"a": total(Doubled("d")), "b": total(Shifted(Doubled("d"))), "c": total(Doubled("e"))}
    )
    found = passes.run(measure, MODELS, X, stage="", batch_size=10)
    assert CALLS == ["d", "shifted", "e"] * 3
    for name, expected in (("a", 2 * X), ("b", 2 * X + 1.0), ("c", 2 * X)):
        np.testing.assert_allclose(found[name][0], expected.sum(axis=0), rtol=1e-6)
        np.testing.assert_allclose(found[name][1], expected[:, 0], rtol=1e-6)


def test_it_goes_on_from_every_state_and_repeats_nothing():
    measure = passes.combine({"a": total(Doubled("d"))})
    states = list(passes.states(measure, MODELS, X, batch_size=5))
    assert [state.done for state in states] == [5, 10, 15, 20, 23]
    whole = passes.record(measure, states[-1])
    start = passes.begin(measure, MODELS, X, batch_size=5)
    assert start.done == 0
    for i, state in enumerate(states):
        CALLS.clear()
        stored = snapshots.tree_of(snapshots.arrays_of(state.saved()), start.saved())
        restored = start.restored(stored)
        *_, last = restored, *passes.states(measure, MODELS, X, batch_size=5, state=restored)
        assert len(CALLS) == 4 - i
        np.testing.assert_array_equal(passes.record(measure, last)["a"][0], whole["a"][0])
        np.testing.assert_array_equal(passes.record(measure, last)["a"][1], whole["a"][1])


def test_a_state_beyond_the_sample_is_refused():
    measure = total(Doubled("d"))
    *_, state = passes.states(measure, MODELS, X, batch_size=5)
    with pytest.raises(ValueError, match="23 examples are done and x has 10"):
        next(passes.states(measure, MODELS, X[:10], batch_size=5, state=state))


def _seen(**given):
    """The batches of a pass."""
    batches = []

    def of_batch(batch, found):
        batches.append(batch)
        return Totals((), ())

    measure = Measure((), lambda shapes: Totals((), ()), of_batch, lambda totals, shapes: None)
    passes.run(measure, MODELS, given.pop("x", X), stage="", batch_size=10, **given)
    return batches


def test_batches_are_padded_and_know_where_they_are():
    batches = _seen(y=Y, deltas={"f": 2 * X})
    assert [(b.start, b.count, b.size) for b in batches] == [(0, 10, 10), (10, 10, 10), (20, 3, 10)]
    np.testing.assert_array_equal(np.concatenate([b.y for b in batches]), Y)
    for b in batches:
        np.testing.assert_array_equal(b.x[: b.count], X[b.start : b.start + b.count])
        np.testing.assert_array_equal(b.deltas["f"], 2 * b.x)
    np.testing.assert_array_equal(batches[-1].x[3:], np.repeat(X[-1:], 7, axis=0))


def test_shapes_are_of_the_sample_and_of_the_outputs():
    shapes = _seen(y=Y)[0].shapes
    assert (shapes.inputs, shapes.num_inputs, shapes.responses) == ((4,), 4, 2)
    assert shapes.outputs == {"f": 3, "g": 2}
    assert shapes.eps == float(jnp.finfo("float32").eps)
    assert shapes.output_eps == {"f": shapes.eps, "g": float(jnp.finfo("bfloat16").eps)}


def test_each_example_has_its_own_key_whatever_the_batches():
    key = jax.random.key(7)
    folded = jax.vmap(lambda i: jax.random.fold_in(key, i))(np.arange(len(X)))
    for given, x in ((key, X), (folded, X), (key, [X[:4], X[4:]])):
        found = [jax.random.key_data(b.keys[: b.count]) for b in _seen(key=given, x=x)]
        np.testing.assert_array_equal(np.concatenate(found), jax.random.key_data(folded))


def test_progress_is_told_of_every_batch():
    told = []
    passes.run(total(Doubled("d")), MODELS, X, stage="s", batch_size=10,
               progress=lambda *about: told.append(about))  # fmt: skip
    assert told == [("s", 10, 23), ("s", 20, 23), ("s", 23, 23)]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"deltas": {"f": X[:3]}}, ValueError, r"the delta of f has shape \(3, 4\)"),
        ({"key": jax.random.split(jax.random.key(0), 5)}, ValueError, "each of the 23 examples"),
        ({"key": 3}, TypeError, "key=3 must be a JAX key"),
        ({"x": X[:0]}, ValueError, "at least one example"),
        ({"x": 3}, TypeError, "must be an array"),
        ({"y": Y[:5]}, ValueError, "y has 5 rows and x at least"),
        ({"y": Y[:, 0]}, ValueError, r"y has shape \(23,\).*one_hot"),
        ({"y": iter([Y[:, 0]])}, ValueError, r"y has shape \(23,\).*one_hot"),
    ],
)
def test_what_is_no_sample_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        _seen(**given)


def test_an_argument_that_there_is_not_is_refused_by_name():
    settings = {"attack": attacks.fgsm(eps=0.1), "key": jax.random.key(0)}
    with pytest.raises(TypeError, match="argument='batchsize' is not known.*'batch_size'"):
        transferability(MODELS["f"], MODELS["f"], X, batchsize=3, **settings)

    # An attack that cannot be hashed is an attack all the same.
    @dataclasses.dataclass
    class Attack:
        eps: float

        def __call__(self, f, x, key):
            return self.eps * jnp.ones_like(x)

    found = transferability(MODELS["f"], MODELS["f"], X, **{**settings, "attack": Attack(0.1)})
    assert found.alpha1 == 1.0
    # What only the driver takes does not slip through either.
    with pytest.raises(TypeError, match="argument='y' is not known; accepted: batch_size"):
        transferability(MODELS["f"], MODELS["f"], X, y=Y, **settings)
