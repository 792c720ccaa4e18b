"""Compiled functions, and a rehearsal that compiles them before they are needed.

`program(fn)` is `jax.jit(fn)`. Within `rehearsal()` a call of one from this thread compiles it for
its arguments, does not execute it, and returns ones of the right shapes. So a stage need not say of
which programs it is made: it is run on a batch of its own data, in a thread, while something else
computes, and when its turn comes its programs are there. What a rehearsal returns means nothing.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from advknow.typing import PyTree


class StoppedError(Exception):
    """A rehearsal was asked to end."""


class _OfThread(threading.local):
    # None outside a rehearsal; within, whether it is to end.
    stopped: Callable[[], bool] | None = None


_thread = _OfThread()


@contextlib.contextmanager
def rehearsal(stopped: Callable[[], bool] | None = lambda: False) -> Iterator[None]:
    """Within it, programs that this thread calls are compiled and not executed.

    Args:
      stopped: asked before each; when it returns True, StoppedError is raised. None: no rehearsal.
    """
    before, _thread.stopped = _thread.stopped, stopped
    try:
        yield
    finally:
        _thread.stopped = before


class Program:
    """What `program` returns: called as `jax.jit(fn)`, whose attributes it has."""

    def __init__(self, compiled: Any):
        functools.update_wrapper(self, compiled)
        self._compiled = compiled

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`fn` compiled, of these arguments."""
        stopped = _thread.stopped
        if stopped is None or _traced((args, kwargs)):
            return self._compiled(*args, **kwargs)
        if stopped():
            raise StoppedError
        # What is traced on the way is traced as ever.
        with rehearsal(None):
            lowered = self._compiled.lower(*args, **kwargs)
            lowered.compile()
        return jax.tree.map(_ones, lowered.out_info)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)


def program(fn: Callable[..., Any], **options: Any) -> Program:
    """`jax.jit(fn, **options)`, which can be rehearsed."""
    return Program(jax.jit(fn, **options))


def _traced(arguments: PyTree) -> bool:
    """Whether the call is part of another program, by its arguments or without any."""
    leaves = (jnp.zeros(()), *jax.tree.leaves(arguments))
    return any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)


def _ones(spec: Any) -> Any:
    if jnp.issubdtype(spec.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(0), spec.shape)
    return jax.device_put(np.ones(spec.shape, spec.dtype))
