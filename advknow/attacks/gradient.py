"""FGSM and PGD: the finite-eps attacks of the experiments (theory.md sections 1 and 6)."""

import functools
import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from advknow import precision, validate
from advknow.attacks import objectives
from advknow.passes import keys, threefry
from advknow.passes.apply_fn import as_pytree, explained, output_spec, outputs, settled
from advknow.passes.loops import repeat
from advknow.typing import ApplyFn, Array, AttackFn, LossFn

ORDS = ("inf", "2")


def _norm_named(ord: object) -> str:
    """The norm by its name, inf or 2: of the names, 2 and numpy.inf."""
    if isinstance(ord, (int, float)) and ord in (2, math.inf):
        return "2" if ord == 2 else "inf"
    validate.choice("ord", ord, ORDS)
    return str(ord)


def _per_example(values: Array, like: Array) -> Array:
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))


def _length(v: Array) -> Array:
    """Euclidean length of every example, broadcastable against v."""
    flat = v.reshape(v.shape[0], -1)
    # The squares of a confident model's gradient would underflow.
    largest = jnp.max(jnp.abs(flat), axis=-1)
    scaled = flat / jnp.where(largest > 0, largest, 1.0)[:, None]
    return _per_example(largest * jnp.sqrt(jnp.sum(scaled**2, axis=-1)), v)


def _random_start(key: Array, shape: tuple[int, ...], dtype, eps: Array | float, ord: str) -> Array:
    """One example's start, uniform in the ball of radius eps."""
    if ord == "inf":
        return jax.random.uniform(key, shape, dtype, -eps, eps)
    key_direction, key_radius = jax.random.split(key)
    direction = jax.random.normal(key_direction, shape, dtype)
    direction = direction / jnp.maximum(jnp.sqrt(jnp.sum(direction**2)), jnp.finfo(dtype).tiny)
    return direction * eps * jax.random.uniform(key_radius, (), dtype) ** (1.0 / direction.size)


def _count(y: Array, x: Array) -> int:
    """d of the y (B, d) that is given."""
    if getattr(y, "ndim", None) != 2 or y.shape[0] != x.shape[0]:
        raise ValueError(
            f"y has shape {getattr(y, 'shape', None)}; ({x.shape[0]}, d) is needed, a row for each "
            "example of x."
        )
    return int(y.shape[1])


class _Ball(NamedTuple):
    """Where x + delta may lie; arguments of the program, so that every eps shares it."""

    eps: Array | float
    low: Array | float
    high: Array | float

    def project(self, delta: Array, x: Array, ord: str) -> Array:
        eps = self.eps
        if ord == "2":
            delta = delta * jnp.minimum(
                1.0, eps / jnp.maximum(_length(delta), jnp.finfo(x.dtype).tiny)
            )
        # Both limits bracket 0 even where x lies a rounding error outside the bounds.
        return jnp.clip(delta, jnp.clip(self.low - x, -eps, 0.0), jnp.clip(self.high - x, 0.0, eps))


@functools.partial(precision.program, static_argnames=("ord", "random_start"))
def _start(x: Array, example_keys: Array, ball: _Ball, *, ord: str, random_start: bool) -> Array:
    delta = jnp.zeros_like(x)
    if random_start:
        delta = jax.vmap(lambda k: _random_start(k, x.shape[1:], x.dtype, ball.eps, ord))(
            threefry.written_out(example_keys)
        )
    return ball.project(delta, x, ord)


@functools.lru_cache(maxsize=64)
def gradient_of(raised: Callable[..., Array]) -> Callable[..., Array]:
    """The compiled input gradient of an objective: one for every attack that raises it.

    Returns:
      gradient(delta, f, x, y) -> d raised(y, f(x + delta)) / d delta, (B, ...), of each example on
      its own. f: a pytree (`apply_fn.as_pytree`).
    """

    @precision.program
    def gradient(delta: Array, f: ApplyFn, x: Array, y: Array) -> Array:
        # Of the SUM: that of a mean would shrink with the batch.
        return jax.grad(lambda delta: jnp.sum(raised(y, f(x + delta))))(delta)

    return gradient


@functools.partial(precision.program, static_argnames=("ord",))
def _ascended(
    delta: Array, gradient: Array, x: Array, ball: _Ball, step_size: Array, *, ord: str
) -> Array:
    if ord == "inf":
        ascent = jnp.sign(gradient)
    else:
        ascent = gradient / jnp.maximum(_length(gradient), jnp.finfo(x.dtype).tiny)
    return ball.project(delta + step_size * ascent, x, ord)


@functools.lru_cache(maxsize=64)
def _step_of(raised: Callable[..., Array], ord: str) -> Callable[..., Array]:
    """The step; one for all attacks that raise the same in the same norm.

    Two programs, so that the costly one serves both norms and the audit.
    """
    gradient = gradient_of(raised)

    def step(delta: Array, f: ApplyFn, x: Array, y: Array, ball: _Ball, step_size: Array) -> Array:
        return _ascended(delta, gradient(delta, f, x, y), x, ball, step_size, ord=ord)

    return step


def pgd(
    *,
    eps: float,
    step_size: float | None = None,
    num_steps: int = 10,
    ord: str | float = "inf",
    random_start: bool = True,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    objective: str | LossFn = "cross_entropy",
) -> AttackFn:
    """Projected gradient ascent on the objective over |delta|_ord <= eps, x + delta in bounds.

    Guarantees: |delta|_ord <= eps, to rounding for "2"; x + delta in bounds where x is; zeros for
    eps = 0; delta stays at its start (0 without random_start) where the gradient is exactly 0; the
    same result for an example in any batch.

    Args:
      eps: radius, in the units of x; >= 0.
      step_size: length of a step in the same norm, > 0; 2.5 * eps / num_steps by default.
      num_steps: >= 1.
      ord: "inf" (signed gradient) or "2" (normalised gradient), Madry et al. 2018; also numpy.inf
        and 2.
      random_start: start uniformly in the ball instead of at 0.
      bounds: (low, high) of the inputs, or None. Pixels in [0, 1] by default.
      objective: "cross_entropy" to the model's own prediction, "output_deviation", or a function of
        (outputs at x, outputs at x + delta) -> (B,) to raise.

    Returns:
      attack(f, x, key, y=None) -> delta. f: (B, ...) -> (B, d); x: (B, ...) floats; delta: x's
      shape and dtype. y: (B, d), what the objective compares with in place of f(x): with one-hot
      labels, "cross_entropy" is that of the labels. It raises ValueError for a concrete x outside
      bounds, NaN in x, a y that is no (B, d), or an f that does not fit.

    Raises:
      TypeError, ValueError: a setting outside what is accepted, by name.
    """
    # Python's numbers: NumPy's would widen the dtype of delta.
    eps = validate.number("eps", eps, minimum=0.0)
    num_steps = validate.integer("num_steps", num_steps, minimum=1)
    if step_size is None:
        step_size = 2.5 * eps / num_steps
    elif eps == 0:  # A sweep over eps with steps in proportion begins here.
        step_size = validate.number("step_size", step_size, minimum=0.0)
    else:
        step_size = validate.number("step_size", step_size, above=0.0)
    ord = _norm_named(ord)
    validate.interval("bounds", bounds)
    if bounds is not None and ord == "inf" and eps >= bounds[1] - bounds[0]:
        warnings.warn(
            f"eps={eps:g} covers all of bounds=({bounds[0]:g}, {bounds[1]:g}): every input can "
            "become every other; is eps in the units of x?",
            stacklevel=2,
        )
    raised = objectives.get(objective)
    if raised is objectives.output_deviation and not random_start and eps > 0:
        raise ValueError(
            "random_start=False with objective='output_deviation': its gradient is 0 at delta = 0, "
            "so the attack would not move; accepted: random_start=True."
        )
    ball = _Ball(eps, *((-jnp.inf, jnp.inf) if bounds is None else map(float, bounds)))

    @explained()
    def attack(f: ApplyFn, x: Array, key: Array, y: Array | None = None) -> Array:
        validate.inputs("x", x, bounds=bounds)
        x = jnp.asarray(x)
        f = as_pytree(f)
        count = output_spec(f, x).shape[-1] if y is None else _count(y, x)
        if raised is objectives.cross_entropy and count < 2:
            raise ValueError(
                f"f returns {count} output; objective='cross_entropy' needs at least 2. "
                "Use objective='output_deviation'."
            )
        example_keys = keys.per_example(key, x.shape[0])
        if eps == 0:
            return jnp.zeros_like(x)
        delta = _start(x, example_keys, ball, ord=ord, random_start=random_start)
        if y is None:
            y = outputs(f, x)
        step = _step_of(raised, ord)  # type: ignore[arg-type]
        return settled(f, repeat(step, num_steps, delta, f, x, y, ball, step_size))

    return attack


def fgsm(
    *,
    eps: float,
    ord: str | float = "inf",
    random_start: bool = False,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    objective: str | LossFn = "cross_entropy",
) -> AttackFn:
    """The fast gradient sign method (Goodfellow et al. 2015): one step of length eps.

    `pgd` with num_steps=1 and step_size=eps; see there for arguments, guarantees and errors. The
    poster's FGSM starts at random (theory.md section 6): random_start=True.
    """
    eps = validate.number("eps", eps, minimum=0.0)
    return pgd(
        eps=eps,
        step_size=eps if eps > 0 else None,
        num_steps=1,
        ord=ord,
        random_start=random_start,
        bounds=bounds,
        objective=objective,
    )
