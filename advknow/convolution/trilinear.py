"""Convolutions by the algorithm that is fastest where they run.

A convolution y = x * w is one trilinear form T(x, w, y) = <x * w, y>, and its two gradients are
the form's other partials. So one JAX primitive with three modes, each the others' transpose, has
forward and reverse mode of every order, whatever algorithm computes a mode:

    "y"   (x, w) -> x * w          "x"   (y, w) -> dT/dx          "w"   (x, y) -> dT/dw

On XLA's CPU backend, whose own convolution runs at the speed of its matrix products at best,

    Winograd's filtering       where there are many channels: 2.25 or, at stride 2, 1.44 times
                               fewer products
    Toeplitz matrices          where there are few, whose own convolution is far below that speed
    parts of the batch         for the other gradients of weights: what a part reads fits a cache

(the modules winograd, toeplitz and parts beside this one); everything else, and every other
backend, is `jax.lax`'s.
"""

import functools
import math
import os
from typing import Any

import jax
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from advknow import precision
from advknow.convolution import parts, toeplitz, winograd
from advknow.convolution.geometry import Geometry, by_transposition
from advknow.typing import Array

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
# The off switch: ADVKNOW_CONVOLUTION=xla leaves every convolution to `jax.lax`.
ENABLED = os.environ.get("ADVKNOW_CONVOLUTION", "") != "xla"


def _forward(x: Array, w: Array, geometry: Geometry) -> Array:
    return lax.conv_general_dilated(
        x, w, geometry.strides, geometry.padding, dimension_numbers=_DIMENSIONS
    )


def _reference(a: Array, b: Array, *, mode: str, geometry: Geometry) -> Array:
    """The mode by `jax.lax`."""
    return by_transposition(_forward, a, b, mode, geometry)


def _on_cpu(a: Array, b: Array, *, mode: str, geometry: Geometry) -> Array:
    """The mode by the algorithm that is fastest on XLA's CPU backend."""
    if winograd.suits(geometry):
        return winograd.MODES[mode](a, b, geometry)
    if toeplitz.suits(geometry, mode):
        return toeplitz.convolve(a, b, mode, geometry)
    if mode == "w":
        return parts.sum_over_parts(
            lambda a, b, part: _reference(a, b, mode="w", geometry=part),
            a,
            b,
            geometry,
            parts.num_parts(geometry),
        )
    return _reference(a, b, mode=mode, geometry=geometry)


_trilinear_p = Primitive("advknow_convolution")
_trilinear_p.def_impl(
    functools.partial(jax.jit, static_argnames=("mode", "geometry", "products"))(
        lambda a, b, **of: _trilinear_p.bind(a, b, **of)
    )
)


@_trilinear_p.def_abstract_eval
def _abstract(a, b, *, mode: str, geometry: Geometry, products: str | None):
    shape = {"x": geometry.x_shape, "w": geometry.w_shape, "y": geometry.y_shape}[mode]
    return jax.core.ShapedArray(shape, a.dtype)


# Operands and result of a mode, and so of its transposes: with respect to the first operand the
# result and the second are given, and the first is wanted.
_OPERANDS = {"y": ("x", "w"), "x": ("y", "w"), "w": ("x", "y")}


def _transposed(cotangent, a, b, *, mode, of: int, **rest):
    names = {_OPERANDS[mode][0]: a, _OPERANDS[mode][1]: b, mode: cotangent}
    wanted = _OPERANDS[mode][of]
    first, second = _OPERANDS[wanted]
    return _trilinear_p.bind(names[first], names[second], mode=wanted, **rest)


ad.defbilinear(
    _trilinear_p,
    functools.partial(_transposed, of=0),
    functools.partial(_transposed, of=1),
)


def _lowered(by, a: Array, b: Array, *, products: str | None, **of: Any) -> Array:
    """By that algorithm, with products of the precision that held where the model was traced."""
    with jax.default_matmul_precision(products):
        return by(a, b, **of)


def _batched(operands, dimensions, *, mode: str, geometry: Geometry, products: str | None):
    a, b = operands
    of_a, of_b = dimensions
    if of_b is None and mode in ("y", "x"):
        # The examples of all copies are one larger batch.
        a = batching.bdim_at_front(a, of_a, a.shape[of_a])
        copies, size = a.shape[:2]
        a = a.reshape(copies * size, *a.shape[2:])
        merged = _trilinear_p.bind(
            a, b, mode=mode, geometry=geometry.with_batch(copies * size), products=products
        )
        return merged.reshape(copies, size, *merged.shape[1:]), 0
    run = functools.partial(_lowered, _reference, products=products, mode=mode, geometry=geometry)
    return jax.vmap(run, tuple(dimensions))(a, b), 0


batching.primitive_batchers[_trilinear_p] = _batched
for _by, _platform in ((_reference, None), (_on_cpu, "cpu")):
    mlir.register_lowering(
        _trilinear_p,
        mlir.lower_fun(functools.partial(_lowered, _by), multiple_results=False),
        platform=_platform,
    )


def convolve(
    x: Array,
    w: Array,
    strides: tuple[int, int],
    padding: Any,
    **options: Any,
) -> Array:
    """`jax.lax.conv_general_dilated` of (B, H, W, C), (h, w, C, K), as `flax.linen.Conv` calls it.

    Differentiable in both modes and any order, and vectorised by `jax.vmap`; all of them have the
    precision of products that holds where this is called (`advknow.precision`). Any options beyond
    strides and explicit padding, and other dtypes than float32 and float64, are left to `jax.lax`.
    """
    plain = (
        ENABLED
        and all(
            d == 1 for name in ("lhs_dilation", "rhs_dilation") for d in options.get(name) or (1,)
        )
        and options.get("feature_group_count", 1) == 1
        and options.get("precision") is None
        and not isinstance(padding, str)
        and str(x.dtype) in ("float32", "float64")
        and x.dtype == w.dtype
    )
    if not plain:
        return lax.conv_general_dilated(x, w, strides, padding, **options)
    pads = tuple((int(low), int(high)) for low, high in padding)
    sizes = ((x.shape[1 + i] + sum(pads[i]) - w.shape[i]) // strides[i] + 1 for i in range(2))
    geometry = Geometry(
        tuple(x.shape),
        tuple(w.shape),
        (x.shape[0], *sizes, w.shape[3]),
        tuple(strides),
        pads,
    )
    if math.prod(geometry.y_shape) <= 0:
        return lax.conv_general_dilated(x, w, strides, padding, **options)
    return _trilinear_p.bind(x, w, mode="y", geometry=geometry, products=precision.chosen())
