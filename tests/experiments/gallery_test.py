"""Predictions of both models before and after an attack, against NumPy."""

import jax
import numpy as np
import pytest

from advknow import passes
from advknow.alphas import Perturbation, finite_alphas
from advknow.experiments import gallery
from advknow.runs.gallery import QUANTILES


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(0)
    weights = {"f_source": rng.standard_normal((6, 3)), "f_target": rng.standard_normal((6, 4))}
    x, delta = (rng.uniform(-1, 1, (11, 6)).astype(np.float32) for _ in range(2))
    return weights, x, delta


def found_of(sample, batch_size):
    weights, x, delta = sample
    models = {
        name: jax.tree_util.Partial(lambda w, x: x @ w, w.astype(np.float32))
        for name, w in weights.items()
    }
    first, second = Perturbation("f_source"), Perturbation("f_target")
    measure = passes.combine(
        {
            "alphas": finite_alphas(first, second),
            "predicted": gallery.predictions(first, "f_target"),
        }
    )
    deltas = {"f_source": delta, "f_target": delta[::-1]}
    return passes.run(measure, models, x, deltas=deltas, stage="m", batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [4, 64])
def test_predictions_are_the_largest_outputs(sample, batch_size):
    weights, x, delta = sample
    found = found_of(sample, batch_size)["predicted"]
    wanted = [
        [(moved.astype(np.float64) @ weights[name]).argmax(axis=1) for moved in (x, x + delta)]
        for name in ("f_source", "f_target")
    ]
    np.testing.assert_array_equal(found, np.transpose(wanted, (2, 0, 1)))
    assert (found[:, :, 0] != found[:, :, 1]).any()


def test_what_is_kept_belongs_together(sample):
    _, x, delta = sample
    found = found_of(sample, 4)
    kept = gallery.carried(
        "row", ("source", "target"), found["alphas"], classes=(("a", "b", "c"), "wxyz", "wxyz"),
        x=x, delta=delta, labels=np.arange(11) % 4, predicted=found["predicted"],
    )  # fmt: skip
    assert len(kept.indices) == len(QUANTILES)
    np.testing.assert_array_equal(kept.x, x[kept.indices])
    np.testing.assert_array_equal(kept.delta, delta[kept.indices])
    np.testing.assert_array_equal(kept.label, kept.indices % 4)
    np.testing.assert_array_equal(kept.predicted, found["predicted"][kept.indices])
    np.testing.assert_array_equal(np.sort(kept.alpha1), np.sort(found["alphas"].alpha1_per_example))
    alone = gallery.alpha1_alone("row", ("source", "target"), found["alphas"])
    np.testing.assert_array_equal(alone.alpha1, kept.alpha1)
    assert len(alone.indices) == len(alone.x) == 0
