"""Measured models compute in float32 where they say float32, on every backend.

JAX multiplies float32 matrices in fewer bits unless it is asked otherwise: in TF32 (10 bits) on
GPUs from Ampere on, in bfloat16 (7 bits) on TPUs. Whatever measures, attacks or audits asks for
float32 ("highest"); training keeps JAX's fast default (`TrainConfig.matmul_precision`). Who wants
measures in fewer bits says so, by `jax.default_matmul_precision` or JAX_DEFAULT_MATMUL_PRECISION:
a choice of the user's is kept. A product with a precision of its own keeps that.
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax

from advknow import programs

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def chosen() -> Any:
    """The precision of products that holds here; None where it is JAX's default."""
    return jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]


def measured(fn: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """`fn` with the products of float32, unless the user has chosen otherwise."""

    @functools.wraps(fn)
    def with_products(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with jax.default_matmul_precision(chosen() or "highest"):
            return fn(*args, **kwargs)

    return with_products


def program(fn: Callable[..., Any], **options: Any) -> Any:
    """`programs.program` of `measured(fn)`: how everything that measures is compiled.

    Args:
      fn: a pure function. **options: of `jax.jit`.
    """
    return programs.program(measured(fn), **options)
