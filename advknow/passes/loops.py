"""The same step many times, in the form that suits the backend.

XLA's CPU backend runs a convolution inside a `lax.fori_loop` on one thread: ResNet18 gave 33
input gradients a second in the loop and 109 as one compiled step called from Python. A GPU or TPU
wants the compiled loop, and inside somebody's `jax.jit` there is nothing else.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax

from advknow import programs
from advknow.typing import PyTree


def on_cpu(leaves: list[Any]) -> bool:
    """Whether these arrays are on the CPU; where there is no array, whether new ones would be."""
    arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
    if not arrays:
        return jax.default_backend() == "cpu"
    return next(iter(arrays[0].devices())).platform == "cpu"


def repeat(step: Callable[..., PyTree], num_steps: int, carry: PyTree, *operands: PyTree) -> PyTree:
    """`carry` after `carry = step(carry, *operands)`, `num_steps` times.

    Args:
      step: of programs that are compiled, `jax.jit`'s; it outlives the call (made once, in a
        factory), so that they are compiled once.
      num_steps: how often.
      carry: pytree of arrays, of constant structure, shapes and dtypes.
      *operands: pytrees of arrays that every step reads.
    """
    leaves = jax.tree.leaves((carry, operands))
    if not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves) and on_cpu(leaves):
        for _ in range(num_steps):
            carry = step(carry, *operands)
        return carry
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return jax.lax.fori_loop(0, num_steps, lambda _, carry: step(carry, *operands), carry)
    return _loop(step, num_steps, carry, operands)


@functools.partial(programs.program, static_argnums=(0, 1))
def _loop(step: Callable[..., PyTree], num_steps: int, carry: PyTree, operands: PyTree) -> PyTree:
    """The loop, compiled once for all batches.

    Of a known number of steps: else the host is asked after each whether there is another.
    """
    return jax.lax.fori_loop(0, num_steps, lambda _, carry: step(carry, *operands), carry)
