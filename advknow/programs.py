"""Compiled functions, and a rehearsal that compiles them before they are needed.

`program(fn)` is `jax.jit(fn)`. Within `rehearsal()` a call of one from this thread compiles it for
its arguments, executes nothing, and returns arbitrary numbers of the right shapes. So a stage need
not say of which programs it is made: it is run on a batch of its own data, in a thread, while
something else computes, and when its turn comes its programs are there. What a rehearsal returns
means nothing.
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
        return jax.tree.map(_arbitrary, lowered.out_info)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)


def program(fn: Callable[..., Any], **options: Any) -> Program:
    """`jax.jit(fn, **options)`, which can be rehearsed."""
    return Program(jax.jit(fn, **options))


def _traced(tree: PyTree) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def _arbitrary(spec: Any) -> Any:
    """Numbers of a shape and dtype, above 0 and true, and the same of every example of a batch."""
    if jnp.issubdtype(spec.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(0), spec.shape)
    drawn = np.random.default_rng(0).uniform(0.5, 1.5, spec.shape[1:])
    return jax.device_put(np.broadcast_to(drawn, spec.shape).astype(spec.dtype))
