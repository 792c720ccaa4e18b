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
import numpy as np

from advknow import validate
from advknow.typing import Array, ArrayLike, LossFn


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
      has_hessian: False where `value` has no Hessian at y' = y and hvp and root stand in for it.
      constant_hessian: True where H is the same for every y; else a distance has to solve for all
        the entries of A at once (theory.md section 3).
    """

    name: str
    value: LossFn
    hvp: Callable[[Array, Array], Array] | None = None
    root: Callable[[Array, Array], Array] | None = None
    limit: Callable[[Array, Array], Array] | None = None
    has_hessian: bool = True
    constant_hessian: bool = False

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


@jax.jit
def _kl_value(y: Array, y_prime: Array) -> Array:
    """KL(softmax y || softmax y') without the cancellation of sum p (log p - log p').

    With t = log p' - log p, KL = sum p (e^t - 1 - t): every term is >= 0. With w = y' - y less its
    entry at the most probable class, t = w - log1p(sum p expm1(w)), in which nothing cancels, so
    that a KL of 1e-8, or that of two saturated outputs, still has its digits in float32.
    """
    _need_two_outputs(y)
    p = jax.nn.softmax(y)
    # KL does not change with what is subtracted here, so neither does its gradient.
    w = y_prime - y
    w = w - jax.lax.stop_gradient(w - _without_reference(p, w))
    moderate = jnp.max(w, axis=-1, keepdims=True) < 30.0
    near = jnp.where(moderate, w, 0.0)
    far = jax.nn.logsumexp(jax.nn.log_softmax(y) + w, axis=-1, keepdims=True)
    near_sum = jnp.sum(p * jnp.expm1(near), axis=-1, keepdims=True)
    t = w - jnp.where(moderate, jnp.log1p(near_sum), far)
    small = jnp.abs(t) < 1.0
    u = jnp.where(small, t, 0.0)
    tail = jnp.ones_like(u)
    for k in range(11, 2, -1):
        tail = 1 + u / k * tail
    terms = jnp.where(small, 0.5 * p * u * u * tail, jax.nn.softmax(y_prime) - p - p * t)
    return jnp.sum(terms, axis=-1)


def _without_reference(p: Array, v: Array) -> Array:
    """v less its entry at the most probable class.

    KL and its H ignore what all entries share; of what is left, nothing cancels when p saturates.
    """
    most_probable = jnp.argmax(p, axis=-1, keepdims=True)
    return v - jnp.take_along_axis(v, most_probable, axis=-1)


def _need_two_outputs(y: Array) -> None:
    if y.shape[-1] < 2:
        raise ValueError(
            "loss='kl' needs at least 2 outputs: the softmax of a single logit is 1 whatever it "
            f"is; f returns {y.shape[-1]}. Use 'l2' or 'squared_l2'."
        )


def _centred(y: Array, v: Array) -> tuple[Array, Array]:
    _need_two_outputs(y)
    p = jax.nn.softmax(y)
    w = _without_reference(p, v)
    return p, w - jnp.sum(p * w, axis=-1, keepdims=True)


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
    constant_hessian=True,
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
    has_hessian=False,
    constant_hessian=True,
)
"""|y' - y|, what the poster's tables evaluate alpha1 with. It has no Hessian at y' = y and takes
that of half its square, H = I; its leading term in the deviation is |v| itself."""

LOSSES = {loss.name: loss for loss in (squared_l2, kl, l2)}


def quadratic(matrix: ArrayLike, *, name: str = "quadratic") -> AdversarialLoss:
    """1/2 (y' - y)' H (y' - y) with a given H, the same everywhere.

    Args:
      matrix: H, (d, d), symmetric and positive semi-definite; it may be singular.
      name: for reports.

    Raises:
      ValueError: not a square matrix of finite numbers, not symmetric, or not semi-definite.
    """
    h = np.asarray(matrix, np.float64)
    if h.ndim != 2 or h.shape[0] != h.shape[1] or h.size == 0 or not np.isfinite(h).all():
        raise ValueError(f"matrix has shape {h.shape}; finite numbers (d, d) are needed.")
    if np.abs(h - h.T).max() > 1e-6 * np.abs(h).max():
        raise ValueError("matrix is not symmetric; H of a loss is. Give (H + H') / 2.")
    eigenvalues, vectors = np.linalg.eigh((h + h.T) / 2)
    if eigenvalues[0] < -1e-6 * np.abs(eigenvalues).max():
        raise ValueError(
            f"matrix has the eigenvalue {eigenvalues[0]:.6g}; H of a loss has none below 0."
        )
    square_root = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))

    def times(v: Array, of: np.ndarray) -> Array:
        if v.shape[-1] != len(of):
            raise ValueError(
                f"matrix has shape {of.shape}, the outputs are {v.shape[-1]}; H is (d, d) for d "
                "outputs."
            )
        return jnp.matmul(v, jnp.asarray(of, v.dtype), precision="highest")

    return AdversarialLoss(
        name=name,
        value=lambda y, y_prime: 0.5 * _squared_norm(times(y_prime - y, square_root)),
        hvp=lambda y, v: times(v, (h + h.T) / 2),
        root=lambda y, v: times(v, square_root),
        constant_hessian=True,
    )


def from_function(
    fn: LossFn, *, name: str | None = None, constant_hessian: bool = False
) -> AdversarialLoss:
    """A user's loss; H and its products come from automatic differentiation.

    Args:
      fn: (y, y') -> (B,), batches (B, d); twice differentiable in y' at y' = y, with l(y, y) = 0
        its minimum, so that H is positive semi-definite (negative eigenvalues of H, which a
        minimum cannot have, are taken as 0).
      name: for reports; the function's own name by default.
      constant_hessian: True promises that H does not depend on y, which is then taken from one y.

    Raises:
      TypeError: fn cannot be called.
    """
    if not callable(fn):
        raise TypeError(f"fn={fn!r} must be a function (y, y') -> (batch,).")
    return AdversarialLoss(
        name=name or str(getattr(fn, "__name__", "user")),
        value=fn,
        constant_hessian=constant_hessian,
    )


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
