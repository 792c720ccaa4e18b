"""The inner product that the Hessian of the adversarial loss defines (theory.md, Notation).

    <u, v>_H = u' H v,   |v|_H = sqrt(v' H v),   H(y) = d^2 l(y, y') / dy'^2 at y' = y

H is over the model's OUTPUT. Three routes to it, the cheapest the default:

    "closed_form"   what `advknow.losses` knows of the loss          O(d) a product
    "jvp"           forward over reverse: jvp of grad, matrix-free   one gradient a product
    "hessian"       `jax.hessian`, the (d, d) matrix itself          d gradients, d^2 numbers

Every function works on batches: y is (B, d), and so are u and v.
"""

import jax
import jax.numpy as jnp

from advknow import losses, precision, validate
from advknow.losses import AdversarialLoss
from advknow.typing import Array, LossFn

METHODS = ("auto", "closed_form", "jvp", "hessian")

Loss = str | AdversarialLoss | LossFn


def _resolve(loss: Loss, method: str) -> tuple[AdversarialLoss, str]:
    validate.choice("method", method, METHODS)
    resolved = losses.get(loss)
    if method == "auto":
        method = "jvp" if resolved.hvp is None else "closed_form"
    if method == "closed_form" and resolved.hvp is None:
        raise ValueError(
            f"method='closed_form' is not known for the loss {resolved.name!r}; accepted: auto, "
            "jvp, hessian."
        )
    if method in ("jvp", "hessian") and not resolved.has_hessian:
        raise ValueError(
            f"method={method!r} differentiates the loss {resolved.name!r}, which has no Hessian at "
            "y' = y; accepted: auto, closed_form."
        )
    return resolved, method


def _of_one(loss: AdversarialLoss, y: Array):
    return lambda y_prime: loss.value(y[None], y_prime[None])[0]


@precision.measured
def hvp(loss: Loss, y: Array, v: Array, *, method: str = "auto") -> Array:
    """H(y) v, per example: (B, d), (B, d) -> (B, d).

    Raises:
      ValueError: an unknown method, or no closed form for this loss.
    """
    resolved, method = _resolve(loss, method)
    if y.shape != v.shape or y.ndim != 2:
        raise ValueError(
            f"y has shape {tuple(y.shape)} and v {tuple(v.shape)}; both must be (batch, outputs)."
        )
    if method == "closed_form":
        assert resolved.hvp is not None
        return resolved.hvp(y, v)
    if method == "hessian":
        return jnp.einsum("bij,bj->bi", hessian(resolved, y, method="hessian"), v)

    def of_one(y, v):
        return jax.jvp(jax.grad(_of_one(resolved, y)), (y,), (v,))[1]

    return jax.vmap(of_one)(y, v)


@precision.measured
def hessian(loss: Loss, y: Array, *, method: str = "auto") -> Array:
    """The matrix H(y), per example: (B, d) -> (B, d, d), symmetric, positive semi-definite.

    Raises:
      ValueError: an unknown method, or no closed form for this loss.
    """
    resolved, method = _resolve(loss, method)
    if method == "hessian":
        return jax.vmap(lambda y: jax.hessian(_of_one(resolved, y))(y))(y)
    basis = jnp.eye(y.shape[-1], dtype=y.dtype)
    columns = jax.vmap(
        lambda e: hvp(resolved, y, jnp.broadcast_to(e, y.shape), method=method),
        out_axes=-1,
    )
    return columns(basis)


@precision.measured
def root(loss: Loss, y: Array, v: Array) -> Array:
    """R(y)' v with R R' = H(y), so that <u, v>_H is the Euclidean product of roots.

    (B, d), (B, d) -> (B, k); k = d. In closed form where the loss has one, else by an
    eigendecomposition of H, in which eigenvalues below 0 (rounding) count as 0.
    """
    resolved = losses.get(loss)
    if resolved.root is not None:
        return resolved.root(y, v)
    eigenvalues, vectors = jnp.linalg.eigh(hessian(resolved, y))
    scale = jnp.sqrt(jnp.maximum(eigenvalues, 0.0))
    return scale * jnp.einsum("bij,bi->bj", vectors, v)


@precision.measured
def root_of_columns(loss: Loss, y: Array, matrix: Array) -> Array:
    """R(y)' M for a matrix a example, column by column: (B, d), (B, d, n) -> (B, k, n).

    One eigendecomposition of H serves all columns where the loss has no closed form.
    """
    resolved = losses.get(loss)
    if resolved.root is not None:
        closed_form = resolved.root
        return jax.vmap(lambda column: closed_form(y, column), in_axes=-1, out_axes=-1)(matrix)
    eigenvalues, vectors = jnp.linalg.eigh(hessian(resolved, y))
    scale = jnp.sqrt(jnp.maximum(eigenvalues, 0.0))
    return scale[..., None] * jnp.einsum("bij,bin->bjn", vectors, matrix)


def inner(loss: Loss, y: Array, u: Array, v: Array, *, method: str = "auto") -> Array:
    """<u, v>_H = u' H(y) v, per example: (B, d), (B, d), (B, d) -> (B,)."""
    resolved, method = _resolve(loss, method)
    if method == "closed_form" and resolved.root is not None:
        # A sum of squares where u = v: what H ignores cannot cancel.
        return jnp.sum(resolved.root(y, u) * resolved.root(y, v), axis=-1)
    return jnp.sum(u * hvp(loss, y, v, method=method), axis=-1)


def norm(loss: Loss, y: Array, v: Array, *, method: str = "auto") -> Array:
    """|v|_H = sqrt(v' H(y) v), per example: (B, d), (B, d) -> (B,); 0 where rounding is below 0."""
    return jnp.sqrt(jnp.maximum(inner(loss, y, v, v, method=method), 0.0))


def leading_term(loss: Loss, y: Array, v: Array) -> Array:
    """The leading term of l(y, y + t v) as t -> 0, at t = 1: (B, d), (B, d) -> (B,).

    1/2 |v|_H^2 for a twice differentiable loss, |v| for the plain norm: what the small-eps limit
    of alpha1 is a ratio of (theory.md section 2).
    """
    resolved = losses.get(loss)
    if resolved.limit is not None:
        return resolved.limit(y, v)
    return 0.5 * jnp.maximum(inner(resolved, y, v, v), 0.0)
