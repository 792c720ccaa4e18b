"""The slow, obvious versions in NumPy float64: what the fast ones are tested against."""

import decimal
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

# --- losses and their Hessians -----------------------------------------------------------------


def softmax(y):
    e = np.exp(np.asarray(y, np.float64) - np.max(y, axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def kl(y, y_prime):
    """KL of logits by the textbook formula, in 60 decimal digits: (B, d), (B, d) -> (B,)."""
    values = []
    with decimal.localcontext(decimal.Context(prec=60)):
        for one, other in zip(np.asarray(y), np.asarray(y_prime), strict=True):
            a, b = ([decimal.Decimal(float(v)) for v in row] for row in (one, other))
            norm_a, norm_b = (sum(v.exp() for v in row).ln() for row in (a, b))
            terms = (
                (u - norm_a).exp() * ((u - norm_a) - (v - norm_b))
                for u, v in zip(a, b, strict=True)
            )
            values.append(float(sum(terms)))
    return np.array(values)


def loss(name, y, y_prime):
    """l(y, y'): (B, d), (B, d) -> (B,)."""
    if name == "kl":
        return kl(y, y_prime)
    square = np.sum((np.asarray(y_prime, np.float64) - np.asarray(y, np.float64)) ** 2, axis=-1)
    return {"squared_l2": square, "l2": np.sqrt(square)}[name]


def hessian(name, y):
    """H(y) as a matrix: (B, d) -> (B, d, d)."""
    count, d = np.shape(y)
    if name == "kl":
        p = softmax(y)
        return p[:, :, None] * np.eye(d) - p[:, :, None] * p[:, None, :]
    return {"squared_l2": 2.0, "l2": 1.0}[name] * np.broadcast_to(np.eye(d), (count, d, d))


def leading_term(name, y, v):
    """What l(y, y + t v) tends to as t -> 0, at t = 1: (B, d), (B, d) -> (B,)."""
    v = np.asarray(v, np.float64)
    quadratic = np.einsum("bi,bij,bj->b", v, hessian(name, y), v)
    return np.sqrt(quadratic) if name == "l2" else 0.5 * quadratic


def symmetric_root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]) @ np.swapaxes(vectors, -1, -2)


# --- models whose Jacobian is written down by hand ---------------------------------------------


class Weights(NamedTuple):
    w1: object  # (n, h)
    b1: object  # (1, h)
    w2: object  # (h, d)
    b2: object  # (1, d)


def _apply_tanh(weights, x):
    return jnp.tanh(x.reshape(x.shape[0], -1) @ weights.w1 + weights.b1) @ weights.w2 + weights.b2


def tanh_network(seed, *, n, d, h=16, scale=1.0):
    """A random tanh network of inputs around 1/2, weights as arguments of `jax.jit`."""
    rng = np.random.default_rng(seed)
    w1 = scale * rng.normal(size=(n, h)) / np.sqrt(n)
    b1 = rng.normal(size=(1, h)) - 0.5 * w1.sum(axis=0, keepdims=True)
    w2, b2 = rng.normal(size=(h, d)) / np.sqrt(h), rng.normal(size=(1, d))
    return Partial(_apply_tanh, Weights(*(jnp.asarray(w, jnp.float32) for w in (w1, b1, w2, b2))))


def _float64(network):
    return Weights(*(np.asarray(w, np.float64) for w in network.args[0]))


def outputs(network, x):
    """f(x) of a `tanh_network`: (B, d)."""
    w = _float64(network)
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    return np.tanh(x @ w.w1 + w.b1) @ w.w2 + w.b2


def jacobian(network, x):
    """J of a `tanh_network`: (B, d, n)."""
    w = _float64(network)
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    slope = 1 - np.tanh(x @ w.w1 + w.b1) ** 2
    return np.einsum("nh,bh,hd->bdn", w.w1, slope, w.w2)


def singular_values(name, y, jacobian):
    """Of H^{1/2} J, the largest first: (B, d), (B, d, n) -> (B, min(d, n))."""
    return np.linalg.svd(symmetric_root(hessian(name, y)) @ jacobian, compute_uv=False)


# --- the metrics -------------------------------------------------------------------------------


def unit(v):
    v = np.asarray(v, np.float64)
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def pairwise_squares(deviation_11, deviation_12, alpha1=None):
    """alpha2^2 (alpha1*alpha2 squared with `alpha1`) pair by pair: (all pairs, distinct pairs).

    The identity of theory.md section 2 averages over all pairs; leaving out the pairs of an example
    with itself is what makes the estimator unbiased.
    """
    count = len(deviation_11)
    weight = np.ones(count) if alpha1 is None else np.asarray(alpha1, np.float64)
    u, v = unit(deviation_11), unit(deviation_12)
    total, distinct = 0.0, 0.0
    for i in range(count):
        for j in range(count):
            term = weight[i] * weight[j] * (u[i] @ u[j]) * (v[i] @ v[j])
            total += term
            distinct += term if i != j else 0.0
    return total / count**2, distinct / (count * (count - 1)) if count > 1 else None


def plug_in_square(deviation_11, deviation_12, alpha1=None):
    """| E[alpha1 u(Delta_11) u(Delta_12)'] |_F^2 by its definition."""
    weight = np.ones(len(deviation_11)) if alpha1 is None else np.asarray(alpha1, np.float64)
    outer = weight[:, None, None] * unit(deviation_11)[:, :, None] * unit(deviation_12)[:, None, :]
    return np.sum(outer.mean(axis=0) ** 2)


def jackknife(deviation_11, deviation_12, num_groups, alpha1=None):
    """Standard error of `plug_in_square`: recomputed without each group i % num_groups in turn."""
    weight = np.ones(len(deviation_11)) if alpha1 is None else np.asarray(alpha1)
    group = np.arange(len(deviation_11)) % num_groups
    left_out = [
        plug_in_square(deviation_11[group != g], deviation_12[group != g], weight[group != g])
        for g in np.unique(group)
    ]
    k = len(left_out)
    return np.sqrt((k - 1) / k * np.sum((left_out - np.mean(left_out)) ** 2))


def transferability(deviation_11, deviation_12, numerator, denominator):
    """The fields of `advknow.Transferability` that are plain definitions, none degenerate."""
    alpha1 = np.asarray(numerator, np.float64) / np.asarray(denominator, np.float64)
    squared, unbiased = pairwise_squares(deviation_11, deviation_12)
    product, product_unbiased = pairwise_squares(deviation_11, deviation_12, alpha1)
    return {
        "alpha1": alpha1.mean(),
        "alpha1_per_example": alpha1,
        "alpha2": np.sqrt(squared),
        "alpha2_squared": squared,
        "alpha2_squared_unbiased": unbiased,
        "alpha1_alpha2": np.sqrt(product),
        "alpha1_alpha2_squared": product,
        "alpha1_alpha2_squared_unbiased": product_unbiased,
        "alpha1_se": alpha1.std(ddof=1) / np.sqrt(len(alpha1)),
        "n": len(alpha1),
    }
