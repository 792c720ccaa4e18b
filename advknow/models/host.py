"""A model that another library computes on the host, as a function that JAX can differentiate.

`function(host)` is a `jax.tree_util.Partial` for every transformation of first order (`jit`,
`vmap`, `vjp`, `jvp`, `linearize`). Two JAX primitives call back to the host: the outputs, and
products with the Jacobian J: J v or J' v. Either product is the other's transpose, so forward and
reverse mode both work; derivatives of products are refused.

JAX keeps compiled programs, and with them whatever they name. They name a model by a `_Key`, which
does not keep it alive: the memory of a model that nobody holds any more is free again.

The callbacks are handed views of XLA's memory. `jax.pure_callback` makes JAX arrays of them first,
and copies those that do not start at a multiple of 64 bytes, as NumPy's often do not. The copy
takes a thread of the pool whose thread waits for the callback, and the pool has one for each core:
on one core a first such callback waits for ever, on two cores two at once would (jaxlib 0.10.2).
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.tree_util import Partial

from advknow.typing import Array

SECOND_ORDER = (
    "a model that another library computes (adapters.from_torch) has first derivatives only; this "
    "call asks for a second one."
)


class Host(Protocol):
    """A model on the host: arrays are NumPy's, not to be written to; calls come from any thread."""

    def spec(self, shape: tuple[int, ...], dtype: np.dtype) -> jax.ShapeDtypeStruct:
        """Of the outputs (B, d) for inputs (B, ...) of this shape and dtype."""

    def outputs(self, x: np.ndarray, *, product_follows: bool) -> np.ndarray:
        """(B, ...) -> (B, d); whether a product at this x is likely to be asked for next."""

    def products(self, x: np.ndarray, vectors: np.ndarray, *, transposed: bool) -> np.ndarray:
        """J v of k tangents (k, B, ...): (k, B, d); transposed, J' v of (k, B, d): (k, B, ...)."""


class _Key:
    """Names a model in compiled programs without keeping it alive; equal to itself only."""

    def __init__(self, host: Host):
        self._host = weakref.ref(host)

    def host(self) -> Host:
        host = self._host()
        if host is None:
            raise ReferenceError(
                "the model is gone: hold what the adapter returned until what it computes is there "
                "(jax.block_until_ready)."
            )
        return host

    def __call__(self, x: Array) -> Array:
        return _OUTPUTS.bind(jnp.asarray(x), key=self, product_follows=False)


class _Function(Partial):
    """The function of a model; it holds the model, and so does every copy that JAX makes."""

    host: Host


def function(host: Host) -> Partial:
    """The model as a function of a batch, (B, ...) -> (B, d)."""
    return _unflatten(_Key(host), ())


def _unflatten(key: _Key, _: Any) -> _Function:
    made = _Function(key)
    made.host = key.host()
    return made


jax.tree_util.register_pytree_node(_Function, lambda f: ((), f.func), _unflatten)

_OUTPUTS, _PRODUCTS = Primitive("host_outputs"), Primitive("host_products")
_CALLBACK = Primitive("host_callback")


def _outputs_spec(x: Any, *, key: _Key, **_: Any) -> ShapedArray:
    spec = key.host().spec(x.shape, x.dtype)
    return ShapedArray(spec.shape, spec.dtype)


def _products_spec(x: Any, v: Any, *, key: _Key, transposed: bool) -> ShapedArray:
    y = _outputs_spec(x, key=key)
    given, found = (y, x) if transposed else (x, y)
    return ShapedArray((*v.shape[: v.ndim - len(given.shape)], *found.shape), found.dtype)


def _run_outputs(x: np.ndarray, *, key: _Key, product_follows: bool) -> np.ndarray:
    return key.host().outputs(x, product_follows=product_follows)


def _run_products(x: np.ndarray, v: np.ndarray, *, key: _Key, transposed: bool) -> np.ndarray:
    stacked = v.ndim - (2 if transposed else x.ndim)
    vectors = v.reshape(-1, *v.shape[stacked:])
    found = key.host().products(x, vectors, transposed=transposed)
    return found.reshape(*v.shape[:stacked], *found.shape[1:])


def _outputs_jvp(primals: Any, tangents: Any, *, key: _Key, **_: Any) -> tuple[Any, Any]:
    (x,), (tangent,) = primals, tangents
    y = _OUTPUTS.bind(x, key=key, product_follows=True)
    return y, _PRODUCTS.bind(x, ad.instantiate_zeros(tangent), key=key, transposed=False)


def _products_jvp(primals: Any, tangents: Any, **how: Any) -> tuple[Any, Any]:
    (x, v), (of_x, of_v) = primals, tangents
    if type(of_x) is not ad.Zero:
        raise NotImplementedError(SECOND_ORDER)
    return _PRODUCTS.bind(x, v, **how), _PRODUCTS.bind(x, ad.instantiate_zeros(of_v), **how)


def _products_transpose(cotangent: Any, x: Any, v: Any, *, key: _Key, transposed: bool) -> Any:
    if ad.is_undefined_primal(x):
        raise NotImplementedError(SECOND_ORDER)
    cotangent = ad.instantiate_zeros(cotangent)
    return None, _PRODUCTS.bind(x, cotangent, key=key, transposed=not transposed)


def _batched(primitive: Primitive, args: Sequence[Any], axes: Sequence[Any], **how: Any) -> Any:
    first = [
        arg if axis is None else jnp.moveaxis(arg, axis, 0)
        for arg, axis in zip(args, axes, strict=True)
    ]
    if axes[0] is None:
        # Many vectors at the same inputs: one call, which goes forward once.
        return primitive.bind(*first, **how), 0
    size = first[0].shape[0]
    each = [
        jnp.broadcast_to(arg, (size, *arg.shape)) if axis is None else arg
        for arg, axis in zip(first, axes, strict=True)
    ]
    return jax.lax.map(lambda one: primitive.bind(*one, **how), tuple(each)), 0


def _as_words(dtype: Any) -> bool:
    """Whether numbers of that dtype travel to the host in halves of 32 bits.

    A callback of JAX narrows 64 bits to 32 wherever `jax.enable_x64` was not called on the thread
    that XLA runs it on.
    """
    return dtype.itemsize > 4


def _by_callback(spec: Callable[..., ShapedArray], run: Callable[..., np.ndarray]) -> Any:
    """What the primitive is inside a compiled program."""

    def traced(*args: Array, **how: Any) -> Array:
        found = spec(*args, **how)
        dtypes = [np.dtype(arg.dtype) for arg in args]
        words = [
            jax.lax.bitcast_convert_type(arg, jnp.uint32) if _as_words(arg.dtype) else arg
            for arg in args
        ]

        def call(*words: np.ndarray) -> np.ndarray:
            arrays = (
                word.view(dtype)[..., 0] if _as_words(dtype) else word
                for word, dtype in zip(words, dtypes, strict=True)
            )
            y = np.ascontiguousarray(run(*arrays, **how))
            return y[..., None].view(np.uint32) if _as_words(y.dtype) else y

        if not _as_words(found.dtype):
            return _CALLBACK.bind(*words, call=call, spec=found)
        halves = ShapedArray((*found.shape, 2), np.dtype("uint32"))
        return jax.lax.bitcast_convert_type(
            _CALLBACK.bind(*words, call=call, spec=halves), found.dtype
        )

    return mlir.lower_fun(traced, multiple_results=False)


def _lower_callback(context: Any, *args: Any, call: Callable[..., Any], spec: ShapedArray) -> Any:
    found, _, _ = mlir.emit_python_callback(
        context,
        lambda *arrays: (call(*arrays),),
        None,
        list(args),
        context.avals_in,
        context.avals_out,
        has_side_effect=False,
    )
    return found


def _register(
    primitive: Primitive,
    *,
    spec: Callable[..., ShapedArray],
    run: Callable[..., np.ndarray],
    jvp: Callable[..., Any],
) -> None:
    def eager(*args: Any, **how: Any) -> Array:
        return jnp.asarray(run(*(np.asarray(arg) for arg in args), **how))

    def batched(args: Sequence[Any], axes: Sequence[Any], **how: Any) -> Any:
        return _batched(primitive, args, axes, **how)

    primitive.def_impl(eager)
    primitive.def_abstract_eval(spec)
    ad.primitive_jvps[primitive] = jvp
    batching.primitive_batchers[primitive] = batched
    mlir.register_lowering(primitive, _by_callback(spec, run))


_register(_OUTPUTS, spec=_outputs_spec, run=_run_outputs, jvp=_outputs_jvp)
_register(_PRODUCTS, spec=_products_spec, run=_run_products, jvp=_products_jvp)
ad.primitive_transposes[_PRODUCTS] = _products_transpose
_CALLBACK.def_abstract_eval(lambda *_, call, spec: spec)
mlir.register_lowering(_CALLBACK, _lower_callback, cacheable=False)
