"""What the distances and a given H refuse, and with which words."""

import matching_oracles
import numpy as np
import oracles
import pytest

from advknow import losses, matching

SOURCE = oracles.tanh_network(0, n=6, d=4, scale=2.0)
X32 = np.random.default_rng(2).uniform(size=(40, 6)).astype(np.float32)
Y32 = (np.random.default_rng(3).normal(size=(40, 3)) + 5.0).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.arange(40)}, r"y has shape \(40,\); \(N, d\) floats are needed.*one_hot"),
        ({"y": np.arange(40.0)[:, None].astype(int)}, "y has dtype int64"),
        ({"y": Y32[:39]}, "y has 39 rows and x at least 40"),
        ({"y": np.concatenate([Y32, Y32])}, "y has more rows than x has examples, 40"),
        ({"y": [Y32, Y32[:1]]}, "y has more rows"),
        ({"y": Y32 * np.inf}, "y holds NaN or infinity"),
        ({"f_target": SOURCE}, "y has 3 columns and f_target returns 4 outputs"),
        ({"x": []}, "x holds no examples"),
        ({"x": X32[0]}, r"x has shape \(6,\)"),
        ({"x": X32[:, :5]}, "f_source does not accept a batch of shape"),
        ({"f_source": lambda x: SOURCE(x) / 0.0}, "f_source or its gradient is NaN"),
        ({"loss": "mse"}, "loss='mse' is not known"),
    ],
)
def test_hostile_input(change, message):
    given = {"y": Y32, "f_source": SOURCE, "x": X32, **change}
    with pytest.raises((ValueError, TypeError), match=message):
        matching.knowledge_transfer(**given)


def test_x_that_is_no_sample_is_refused():
    with pytest.raises(TypeError, match="must be an array"):
        matching.gradient_matching(f_source=SOURCE, f_target=SOURCE, x=3)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3)[:2], r"matrix has shape \(2, 3\)"),
        (np.array([[1.0, 2.0], [0.0, 1.0]]), "matrix is not symmetric"),
        (-np.eye(2), "eigenvalue -1"),
        (np.full((2, 2), np.nan), "finite numbers"),
    ],
)
def test_a_matrix_that_is_no_h_is_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        losses.quadratic(matrix)


def test_quadratic_is_half_the_squared_norm():
    h = matching_oracles.random_hessian(0, 3)
    loss = losses.quadratic(h)
    y, y_prime = (np.random.default_rng(k).normal(size=(5, 3)).astype(np.float32) for k in (1, 2))
    v = y_prime - y
    np.testing.assert_allclose(loss(y, y_prime), 0.5 * np.einsum("bi,ij,bj->b", v, h, v), rtol=1e-5)
    np.testing.assert_allclose(loss.hvp(y, v), v @ h, rtol=1e-4)
    root = loss.root(y, v)
    np.testing.assert_allclose(np.sum(root**2, -1), np.sum(v * (v @ h), -1), rtol=1e-5)
