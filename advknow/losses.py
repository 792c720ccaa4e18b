"""Adversarial losses l(y, y'), per example, with their Hessian H(y) in y' at y' = y.

theory.md, Notation: l >= 0, l(y, y) = 0, twice differentiable at y' = y. To second order
l(y, y + v) = 1/2 v' H(y) v, and H defines the inner product of `advknow.inner_product`.

    name         l(y, y')                            H(y)
    squared_l2   |y' - y|^2                          2 I
    kl           KL(softmax y || softmax y')         diag(p) - p p',  p = softmax y
    l2           |y' - y|                            I  (that of half its square; see `l2`)

A user's own function enters by `from_function`; its H comes from automatic differentiation.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from advknow import validate
from advknow.typing import Array, LossFn


@dataclasses.dataclass(frozen=True)
class AdversarialLoss:
    """A loss and, where known, the closed forms of what its Hessian does.

    Attributes:
      name: as accepted by `get`.
      value: (y, y') -> l(y, y'), (B, d), (B, d) -> (B,).
      hvp: (y, v) -> H(y) v, (B, d), (B, d) -> (B, d); None: by jvp of grad.
      root: (y, v) -> R(y)' v with R R' = H, (B, d), (B, d) -> (B, k): it carries the
        Hessian-defined inner product to the Euclidean one; None: by an eigendecomposition of H.
      limit: (y, v) -> the leading term of l(y, y + t v) in t, at t = 1: (B,). None: 1/2 v' H v.
    """

    name: str
    value: LossFn
    hvp: Callable[[Array, Array], Array] | None = None
    root: Callable[[Array, Array], Array] | None = None
    limit: Callable[[Array, Array], Array] | None = None

    def __call__(self, y: Array, y_prime: Array) -> Array:
        """l(y, y'), per example: (B, d), (B, d) -> (B,)."""
        return self.value(y, y_prime)


def _squared_norm(v: Array) -> Array:
    return jnp.sum(v * v, axis=-1)


def _norm(v: Array) -> Array:
    """|v| with gradient 0, not NaN, at v = 0."""
    square = _squared_norm(v)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def _kl_value(y: Array, y_prime: Array) -> Array:
    """KL(softmax y || softmax y') without the cancellation of sum p (log p - log p').

    With t = log p' - log p, KL = sum p (e^t - 1 - t): every term is >= 0. For a small deviation
    t itself is y' - y - log1p(sum p expm1(y' - y)), so that a KL of 1e-8 still has its digits in
    float32; a large deviation takes the textbook form, which is exact enough there.
    """
    p, log_p = jax.nn.softmax(y), jax.nn.log_softmax(y)
    deviation = y_prime - y
    small = jnp.max(jnp.abs(deviation), axis=-1, keepdims=True) < 2.0
    near = jnp.where(small, deviation, 0.0)
    t = near - jnp.log1p(jnp.sum(p * jnp.expm1(near), axis=-1, keepdims=True))
    series = 0.5 * t * t * (1 + t / 3 * (1 + t / 4 * (1 + t / 5 * (1 + t / 6))))
    excess = jnp.where(jnp.abs(t) < 0.1, series, jnp.expm1(t) - t)
    far = jnp.sum(p * (log_p - jax.nn.log_softmax(y_prime)), axis=-1)
    return jnp.where(small[..., 0], jnp.sum(p * excess, axis=-1), jnp.maximum(far, 0.0))


def _centred(y: Array, v: Array) -> tuple[Array, Array]:
    p = jax.nn.softmax(y)
    return p, v - jnp.sum(p * v, axis=-1, keepdims=True)


def _kl_hvp(y: Array, v: Array) -> Array:
    p, centred = _centred(y, v)
    return p * centred


def _kl_root(y: Array, v: Array) -> Array:
    p, centred = _centred(y, v)
    return jnp.sqrt(p) * centred


squared_l2 = AdversarialLoss(
    name="squared_l2",
    value=lambda y, y_prime: _squared_norm(y_prime - y),
    hvp=lambda y, v: 2.0 * v,
    root=lambda y, v: 2.0**0.5 * v,
    limit=lambda y, v: _squared_norm(v),
)
"""|y' - y|^2, H = 2 I."""

kl = AdversarialLoss(name="kl", value=_kl_value, hvp=_kl_hvp, root=_kl_root)
"""KL(softmax y || softmax y') of logits; H = diag(p) - p p', singular along 1."""

l2 = AdversarialLoss(
    name="l2",
    value=lambda y, y_prime: _norm(y_prime - y),
    hvp=lambda y, v: v,
    root=lambda y, v: v,
    limit=lambda y, v: _norm(v),
)
"""|y' - y|, what the poster's tables evaluate alpha1 with. It has no Hessian at y' = y and takes
that of half its square, H = I; its leading term in the deviation is |v| itself."""

LOSSES = {loss.name: loss for loss in (squared_l2, kl, l2)}


def from_function(fn: LossFn, *, name: str | None = None) -> AdversarialLoss:
    """A user's loss; H and its products come from automatic differentiation.

    Args:
      fn: (y, y') -> (B,), batches (B, d); twice differentiable in y' at y' = y, with l(y, y) = 0
        its minimum, so that H is positive semi-definite (negative eigenvalues of H, which a
        minimum cannot have, are taken as 0).
      name: for reports; the function's own name by default.

    Raises:
      TypeError: fn cannot be called.
    """
    if not callable(fn):
        raise TypeError(f"fn={fn!r} must be a function (y, y') -> (batch,).")
    return AdversarialLoss(name=name or str(getattr(fn, "__name__", "user")), value=fn)


def get(loss: "str | AdversarialLoss | LossFn", *, argument: str = "loss") -> AdversarialLoss:
    """The loss of that name, the loss itself, or `from_function` of a function.

    Args:
      loss: a name in `LOSSES`, an `AdversarialLoss`, or a function (y, y') -> (B,).
      argument: the caller's name for it, for the message.

    Raises:
      ValueError: an unknown name.
      TypeError: neither a name nor a function.
    """
    if isinstance(loss, AdversarialLoss):
        return loss
    if isinstance(loss, str):
        validate.choice(argument, loss, LOSSES)
        return LOSSES[loss]
    if not callable(loss):
        raise TypeError(
            f"{argument}={loss!r} must be a name ({', '.join(LOSSES)}) or a function (y, y')."
        )
    return from_function(loss)
