"""The eps -> 0 attacks: right singular vectors of H^{1/2} J (theory.md section 1).

Two routes to the same vectors:

    "exact"      d vector-Jacobian products and one eigendecomposition of the (d, d) Gram matrix;
                 holds the Jacobian, (B, d, n) numbers. The default.
    "iterative"  Lanczos iteration on delta -> J' H J delta, one jvp and one vjp a step; holds
                 num_steps vectors of n numbers an example, and is exact once num_steps reaches the
                 rank of J. For large d. Reports its convergence. Where several singular values
                 are equal to rounding, it takes steps enough to find each of them.

Either route decomposes once a program: XLA's CPU backend can hang where one program holds two
independent batched decompositions (jaxlib 0.10.0 to 0.10.2 on two cores), so do not put two of
these attacks into one `jax.jit` of your own there; call them one after the other.
"""

import functools
import math
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp

from advknow import inner_product, losses, precision, validate
from advknow.attacks.gradient import _per_example
from advknow.inner_product import Loss
from advknow.losses import AdversarialLoss
from advknow.passes import keys
from advknow.passes.apply_fn import as_pytree, explained, output_spec, settled, vjp_rows
from advknow.passes.loops import repeat
from advknow.typing import ApplyFn, Array, AttackFn

METHODS = ("exact", "iterative")


class ConvergenceWarning(UserWarning):
    """An iterative attack has not reached its tolerance; the message says for how many examples."""


class SingularDirections(NamedTuple):
    """The top right singular vectors of R'J, H = R R' (theory.md section 1).

    Attributes:
      directions: (B, k, n) unit vectors, the strongest first, sign arbitrary; a zero vector where
        the singular value is 0 to rounding, since then no direction is defined.
      singular_values: (B, k) |J delta|_H of each, >= 0.
      residual: (B, k) relative |J'HJ v - s^2 v| / s_1^2; 0 for the exact route.
      converged: (B, k) whether the residual is at most the tolerance.
    """

    directions: Array
    singular_values: Array
    residual: Array
    converged: Array


def _finish(vectors: Array, eigenvalues: Array, residual: Array, tolerance: float, rank: int):
    """Unit vectors and singular values from unnormalised vectors (B, k, n), eigenvalues (B, k)."""
    top = jnp.maximum(eigenvalues[:, :1], jnp.finfo(vectors.dtype).tiny)
    # Eigenvalues of a (rank, rank) Gram matrix carry an error of about rank * epsilon * top.
    present = eigenvalues > 4 * rank * jnp.finfo(vectors.dtype).eps * top
    length = jnp.sqrt(jnp.sum(vectors**2, axis=-1, keepdims=True))
    directions = jnp.where(present[..., None], vectors / jnp.where(length > 0, length, 1.0), 0.0)
    values = jnp.where(present, jnp.sqrt(jnp.maximum(eigenvalues, 0.0)), 0.0)
    relative = residual / top
    return SingularDirections(directions, values, relative, relative <= tolerance)


def _eigh(matrix: Array) -> tuple[Array, Array]:
    """`jnp.linalg.eigh` in float32 or wider, which is what LAPACK knows."""
    wide = matrix.astype(jnp.promote_types(matrix.dtype, jnp.float32))
    values, vectors = jnp.linalg.eigh(wide)
    return values.astype(matrix.dtype), vectors.astype(matrix.dtype)


@functools.partial(precision.program, static_argnames=("loss", "count"))
def _exact(f: ApplyFn, x: Array, *, loss: AdversarialLoss, count: int) -> SingularDirections:
    y, jacobian = vjp_rows(f, x)
    rooted = inner_product.root_of_columns(loss, y, jacobian)
    gram = jnp.einsum("bin,bjn->bij", rooted, rooted, precision="highest")
    eigenvalues, left = _eigh(gram)
    eigenvalues, left = eigenvalues[:, ::-1][:, :count], left[:, :, ::-1][:, :, :count]
    vectors = jnp.einsum("bij,bin->bjn", left, rooted, precision="highest")
    return _finish(vectors, eigenvalues, jnp.zeros_like(eigenvalues), 0.0, gram.shape[-1])


class _Lanczos(NamedTuple):
    basis: Array  # (B, m + 1, n), orthonormal rows, zero beyond the last step
    diagonal: Array  # (B, m)
    off_diagonal: Array  # (B, m)
    step: Array  # ()


def _unit(v: Array, *, least: float = 0.0) -> Array:
    """Unit vectors along the last axis; zeros where v is not longer than `least`."""
    length = jnp.sqrt(jnp.sum(v**2, axis=-1, keepdims=True))
    return jnp.where(length > least, v / jnp.where(length > least, length, 1.0), 0.0)


def _orthogonal(v: Array, basis: Array) -> Array:
    """v (B, n) less its part along the basis (B, m, n), to rounding."""
    # Twice is enough (Kahan, Parlett).
    for _ in range(2):
        overlap = jnp.einsum("bmn,bn->bm", basis, v, precision="highest")
        v = v - jnp.einsum("bmn,bm->bn", basis, overlap, precision="highest")
    return v


def _random_in_row_space(pullback, loss: AdversarialLoss, y: Array, example_keys: Array) -> Array:
    """Random unit vectors (B, n) J'H u: in the row space of R'J, where singular vectors live."""
    cotangent = jax.vmap(lambda k: jax.random.normal(k, y.shape[1:], y.dtype))(example_keys)
    return _unit(pullback(inner_product.hvp(loss, y, cotangent))[0].reshape(y.shape[0], -1))


@functools.partial(precision.program, static_argnames=("loss", "num_steps"))
def _lanczos_start(f, x, example_keys, *, loss, num_steps) -> _Lanczos:
    y, pullback = jax.vjp(f, x)
    first = _random_in_row_space(pullback, loss, y, example_keys)
    basis = jnp.zeros((x.shape[0], num_steps + 1, first.shape[-1]), first.dtype)
    numbers = jnp.zeros((x.shape[0], num_steps), first.dtype)
    return _Lanczos(basis.at[:, 0].set(first), numbers, numbers, jnp.zeros((), jnp.int32))


@functools.partial(precision.program, static_argnames=("loss",))
def _lanczos_step(state: _Lanczos, f, x, example_keys, *, loss) -> _Lanczos:
    basis, diagonal, off_diagonal, i = state
    v = jax.lax.dynamic_index_in_dim(basis, i, axis=1, keepdims=False)
    y, forward = jax.linearize(f, x)
    pullback = jax.linear_transpose(forward, x)
    image = inner_product.hvp(loss, y, forward(v.reshape(x.shape)))
    w = pullback(image)[0].reshape(v.shape)
    diagonal = diagonal.at[:, i].set(jnp.sum(w * v, axis=-1))
    w = _orthogonal(w, basis)
    length = jnp.sqrt(jnp.sum(w**2, axis=-1))
    # Below rounding the Krylov space is exhausted: what is left of w is noise.
    exhausted = length <= 10 * jnp.finfo(w.dtype).eps * jnp.max(diagonal, axis=-1)

    def restart() -> Array:
        # One Krylov space holds one direction of each distinct singular value. What another start
        # adds below 1e-4 belongs to none that `_finish` would count as present.
        fresh = jax.vmap(jax.random.fold_in, (0, None))(example_keys, i + 1)
        start = _random_in_row_space(pullback, loss, y, fresh)
        return _unit(_orthogonal(start, basis), least=1e-4)

    another = jax.lax.cond(jnp.any(exhausted), restart, lambda: jnp.zeros_like(w))
    following = jnp.where(exhausted[:, None], another, _unit(w))
    length = jnp.where(exhausted, 0.0, length)
    return _Lanczos(
        basis.at[:, i + 1].set(following), diagonal, off_diagonal.at[:, i].set(length), i + 1
    )


@functools.partial(precision.program, static_argnames=("count", "tolerance"))
def _lanczos_finish(state: _Lanczos, *, count: int, tolerance: float) -> SingularDirections:
    num_steps = state.diagonal.shape[-1]
    above = jnp.einsum(
        "bi,ij->bij",
        state.off_diagonal[:, :-1],
        jnp.eye(num_steps - 1, num_steps, 1, dtype=state.off_diagonal.dtype),
    )
    above = jnp.pad(above, ((0, 0), (0, 1), (0, 0)))
    tridiagonal = jax.vmap(jnp.diag)(state.diagonal) + above + above.swapaxes(1, 2)
    eigenvalues, vectors = _eigh(tridiagonal)
    eigenvalues, vectors = eigenvalues[:, ::-1][:, :count], vectors[:, :, ::-1][:, :, :count]
    ritz = jnp.einsum("bmn,bmk->bkn", state.basis[:, :-1], vectors, precision="highest")
    residual = jnp.abs(state.off_diagonal[:, -1:] * vectors[:, -1, :])
    return _finish(ritz, eigenvalues, residual, tolerance, num_steps)


@functools.lru_cache(maxsize=32)
def _compiled_lanczos_step(loss: AdversarialLoss):
    return precision.program(functools.partial(_lanczos_step, loss=loss))


@explained()
def singular_directions(
    f: ApplyFn,
    x: Array,
    *,
    count: int = 1,
    loss: Loss = "squared_l2",
    method: str = "exact",
    key: Array | None = None,
    num_steps: int | None = None,
    tolerance: float = 1e-3,
) -> SingularDirections:
    """The `count` strongest small-eps attacks of every example (theory.md section 1).

    Args:
      f: (B, ...) -> (B, d).
      x: (B, ...) floats, n numbers an example.
      count: how many, 1 .. min(n, d).
      loss: the adversarial loss whose H is meant: a name, an AdversarialLoss, or a function.
      method: "exact" or "iterative".
      key: for the start of "iterative", one key or one per example; `jax.random.key(0)` if None.
      num_steps: Lanczos steps of "iterative", count .. n; 20 + 2 * count by default (never more
        than min(n, d) are of use, nor taken).
      tolerance: relative residual below which an iterative direction counts as converged. The
        error of the reached loss is of the order of its square.

    Raises:
      ValueError: a setting out of range, x with NaN or of the wrong rank, an f that does not fit.
    """
    validate.inputs("x", x)
    x = jnp.asarray(x)
    f = as_pytree(f)
    num_outputs = output_spec(f, x).shape[-1]
    rank = min(num_outputs, math.prod(x.shape[1:]))
    validate.integer("count", count, minimum=1, maximum=rank)
    validate.choice("method", method, METHODS)
    resolved = losses.get(loss)
    if method == "exact":
        return settled(f, _exact(f, x, loss=resolved, count=count))
    validate.number("tolerance", tolerance, above=0.0)
    if num_steps is None:
        num_steps = 20 + 2 * count
    validate.integer("num_steps", num_steps, minimum=count)
    # One more than the rank shows that the row space is exhausted.
    num_steps = max(2, min(num_steps, rank + 1))
    example_keys = keys.per_example(jax.random.key(0) if key is None else key, x.shape[0])
    state = _lanczos_start(f, x, example_keys, loss=resolved, num_steps=num_steps)
    state = repeat(_compiled_lanczos_step(resolved), num_steps, state, f, x, example_keys)
    return settled(f, _lanczos_finish(state, count=count, tolerance=tolerance))


@functools.partial(precision.program, static_argnames=("loss", "index", "eps"))
def _signed(f, x, directions: SingularDirections, *, loss, index: int, eps: float) -> Array:
    """eps times the direction, with the sign that raises the loss more at this finite eps."""
    delta = (eps * directions.directions[:, index]).reshape(x.shape).astype(x.dtype)
    y = f(x)
    better = loss(y, f(x + delta)) >= loss(y, f(x - delta))
    return jnp.where(_per_example(better, x), delta, -delta)


def singular(
    *,
    index: int = 0,
    loss: Loss = "squared_l2",
    method: str = "exact",
    eps: float = 1.0,
    num_steps: int | None = None,
    tolerance: float = 1e-3,
) -> AttackFn:
    """eps times the index-th right singular vector of H^{1/2} J: the i-th attack of the paper.

    For eps -> 0 the loss is 1/2 eps^2 |J delta|_H^2, and index 0 is its maximiser. Metrics take
    its small-eps limit with `linearize=True`; there the length is of no account. Of the two signs
    it takes the one with the higher loss at this eps, as far as the dtype tells them apart: for
    small eps the two losses may differ by less than float32's rounding of them. No bounds apply.

    Args:
      index: i, counted from 0; at most min(n, d) - 1.
      loss: the adversarial loss: a name in `losses.LOSSES`, an AdversarialLoss, or a function.
      method: "exact" or "iterative" (see the module's docstring).
      eps: Euclidean length of delta, in the units of x; >= 0.
      num_steps, tolerance: of "iterative", as in `singular_directions`.

    Returns:
      attack(f, x, key) -> delta; zeros where the index-th singular value is 0 to rounding. Called
      outside `jax.jit`, "iterative" warns with `ConvergenceWarning` where it has not converged.

    Raises:
      TypeError, ValueError: a setting outside what is accepted, by name.
    """
    index = validate.integer("index", index, minimum=0)
    validate.choice("method", method, METHODS)
    eps = validate.number("eps", eps, minimum=0.0)
    tolerance = validate.number("tolerance", tolerance, above=0.0)
    if num_steps is not None:
        num_steps = validate.integer("num_steps", num_steps, minimum=index + 1)
    resolved = losses.get(loss)

    @explained()
    def attack(f: ApplyFn, x: Array, key: Array) -> Array:
        validate.inputs("x", x)
        x = jnp.asarray(x)
        rank = min(output_spec(f, x).shape[-1], math.prod(x.shape[1:]))
        if index >= rank:
            raise ValueError(
                f"index={index} must be at most {rank - 1}: f has {rank} singular directions at "
                f"inputs of shape {x.shape[1:]}."
            )
        if eps == 0:
            return jnp.zeros_like(x)
        found = singular_directions(
            f,
            x,
            count=index + 1,
            loss=resolved,
            method=method,
            key=key,
            num_steps=num_steps,
            tolerance=tolerance,
        )
        if validate.is_concrete(found):
            # Waiting also keeps a second decomposition from running beside this one.
            converged = jax.device_get(found.converged[:, index])
            if method == "iterative" and not converged.all():
                warnings.warn(
                    f"singular(method='iterative'): {int((~converged).sum())} of {x.shape[0]} "
                    f"examples have not converged to tolerance={tolerance:g}; raise num_steps.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
        f = as_pytree(f)
        return settled(f, _signed(f, x, found, loss=resolved, index=index, eps=eps))

    return attack
