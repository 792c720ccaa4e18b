"""Models as the theory sees them: functions of a batch that may travel through `jax.jit`.

A plain Python function is a constant to `jax.jit`: another set of weights is another program. A
`jax.tree_util.Partial` is a pytree whose arrays are arguments, so that every checkpoint of an
architecture shares one compiled program; `advknow.models.Model.bind` returns one.
"""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from advknow import precision
from advknow.typing import ApplyFn, Array, ArrayLike, PyTree

CHANGES_ITSELF = (
    "a model changes itself when it is called (running statistics, a counter, a seed); evaluation "
    "mode is needed: Keras model(x, training=False), nnx module.eval() and adapters.from_nnx, "
    "linen train=False without mutable. Make or load the model anew: it holds remains of this call."
)
BACKWARD_ONLY = (
    "a model has a backward pass of its own and no forward mode (jax.custom_vjp), which this call "
    "needs. These work: transferability, perturb and from_deltas without linearize, "
    "small_eps_transferability, generalized_transferability with method='exact', "
    "gradient_matching, function_matching, knowledge_transfer, label_gap, check_model, and the "
    "attacks fgsm, pgd and singular(method='exact'). Or give it a jax.custom_jvp."
)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Where JAX cannot trace a model, the error says what to do.

    Raises:
      ValueError: a model that changes itself. TypeError: one without the forward mode needed.
    """
    try:
        yield
    except jax.errors.UnexpectedTracerError as error:
        raise ValueError(CHANGES_ITSELF) from error
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
        raise TypeError(BACKWARD_ONLY) from error


def as_pytree(f: ApplyFn, *, name: str = "f") -> Partial:
    """`f` itself where it is a `Partial`, otherwise wrapped as one without array leaves.

    Args:
      f: the model.
      name: the caller's name for f, for the message.

    Raises:
      TypeError: f cannot be called.
    """
    if isinstance(f, Partial):
        return f
    if not callable(f):
        raise TypeError(f"{name}={f!r} must be a function of a batch, (B, ...) -> (B, d).")
    try:
        hash(f)
    except TypeError:
        # `jax.jit` tells functions apart by hash; a bound method goes by its object's identity.
        f = f.__call__
    return Partial(f)


@jax.jit
def _traced(f: ApplyFn, x: Array) -> PyTree:
    """f(x), of whatever form, traced once for all weights of an architecture.

    Not the trace of `outputs`: a model that changes itself is noticed when it is traced again.
    """
    return f(x)


def output_spec(f: ApplyFn, x: ArrayLike, *, name: str = "f") -> jax.ShapeDtypeStruct:
    """Shape and dtype of f(x), without computing it.

    Args:
      f: the model.
      x: a batch (B, ...).
      name: the caller's name for f, for the message.

    Raises:
      TypeError: f cannot be called.
      ValueError: f does not take inputs of this shape, or does not return (B, d) floats.
    """
    f, spec = as_pytree(f, name=name), jax.ShapeDtypeStruct(x.shape, x.dtype)
    try:
        out = _traced.eval_shape(f, spec)
    except Exception as error:  # whatever the model's own library raises
        if isinstance(error, jax.errors.UnexpectedTracerError) or _is_of_a_change(error):
            raise ValueError(f"{name}: {CHANGES_ITSELF}") from error
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{name} does not accept a batch of shape {tuple(x.shape)}: {first}"
        ) from error
    if not hasattr(out, "shape") or len(out.shape) != 2 or out.shape[0] != x.shape[0]:
        found = tuple(out.shape) if hasattr(out, "shape") else type(out).__name__
        raise ValueError(
            f"{name} returns {found} for a batch of shape {tuple(x.shape)}; (batch, outputs) = "
            f"({x.shape[0]}, d) is needed."
        )
    if not jnp.issubdtype(out.dtype, jnp.floating):
        raise ValueError(f"{name} returns {out.dtype}; floats (logits) are needed.")
    return out


def _is_of_a_change(error: Exception) -> bool:
    """Whether it is flax's, for a module that would change a variable inside a trace."""
    return type(error).__name__ in ("TraceContextError", "ModifyScopeVariableError")


def settled(f: ApplyFn, found: PyTree) -> PyTree:
    """`found`, computed to its end where f is a model of another library.

    Programs name such a model and do not hold it (`advknow.models.host`): nothing of it may be
    pending once its function is not held any more.
    """
    return jax.block_until_ready(found) if hasattr(f, "host") else found


@precision.program
def outputs(f: ApplyFn, x: Array) -> Array:
    """f(x), compiled: (B, ...) -> (B, d)."""
    return f(x)


def vjp_rows(f: ApplyFn, x: Array) -> tuple[Array, Array]:
    """f(x) and the Jacobian of every example, by d vector-Jacobian products of the whole batch.

    Args:
      f: the model, each row of the batch on its own.
      x: (B, ...), n numbers an example.

    Returns:
      y: (B, d) outputs, and J: (B, d, n), J[b, i] = d f_i(x_b) / d x_b, flattened.
    """
    y, pullback = jax.vjp(f, x)
    basis = jnp.eye(y.shape[-1], dtype=y.dtype)
    rows = jax.vmap(lambda e: pullback(jnp.broadcast_to(e, y.shape))[0], out_axes=1)(basis)
    return y, rows.reshape(x.shape[0], y.shape[-1], -1)
