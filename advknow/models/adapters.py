"""Other people's models as functions of a batch: plain functions, Flax linen and nnx modules.

Every measure takes any function (B, ...) -> (B, d). A plain Python function is a constant to
`jax.jit`: what it closes over is compiled in, and changing it in place (an nnx module, a dict of
weights) changes nothing in programs that are compiled already. The adapters return a
`jax.tree_util.Partial` instead, whose arrays are arguments: other weights, same program, and
never stale ones.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax.tree_util import Partial

from advknow.typing import Array, PyTree


def _holds_arrays(value: Any) -> bool:
    """Whether an array is among the attributes of a module, or of the modules in them."""
    if dataclasses.is_dataclass(value):
        fields = (f.name for f in dataclasses.fields(value) if f.name not in ("parent", "name"))
        return any(_holds_arrays(getattr(value, name, None)) for name in fields)
    leaves = jax.tree.leaves(value, is_leaf=dataclasses.is_dataclass)
    return any(
        _holds_arrays(leaf) if dataclasses.is_dataclass(leaf) else hasattr(leaf, "__array__")
        for leaf in leaves
    )


class _Method:
    """A linen module's method, equal by module and settings: equal ones share a program."""

    def __init__(self, module: Any, settings: dict[str, Any]):
        self._module, self._settings = module, settings
        # Modules that hold arrays cannot be compared by value: those are equal to themselves only.
        same = id(module) if _holds_arrays(module) else module
        self._key = (same, tuple(sorted(settings.items())))

    def __call__(self, variables: PyTree, x: Array) -> Array:
        return self._module.apply(variables, x, **self._settings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Method) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def from_function(apply: Callable[[PyTree, Array], Array], variables: PyTree) -> Partial:
    """apply(variables, x) -> (B, d) with its variables, as a function of x.

    Args:
      apply: a pure function that outlives the call; not a new lambda for each model.
      variables: a pytree of arrays.
    """
    return Partial(apply, variables)


def from_linen(module: Any, variables: PyTree, **settings: Any) -> Partial:
    """A Flax linen module with its variables, as a function of x.

    Args:
      module: a `flax.linen.Module`.
      variables: {"params": ..., "batch_stats": ..., ...}.
      **settings: of `module.apply`, hashable; those of evaluation mode, such as `train=False` or
        `deterministic=True`. `mutable` must not be among them: a measure changes nothing.

    Raises:
      TypeError: no linen module. ValueError: `mutable` among the settings.
    """
    if not callable(getattr(module, "apply", None)):
        raise TypeError(
            f"module={type(module).__name__} has no apply; a flax.linen.Module is needed (of an "
            "nnx module: from_nnx)."
        )
    if "mutable" in settings:
        raise ValueError("mutable is not accepted: in evaluation mode nothing changes.")
    return Partial(_Method(module, settings), variables)


class _Merge:
    """An nnx graph definition called on a state; equal by the graph."""

    def __init__(self, graph: Any):
        self._graph = graph

    def __call__(self, state: PyTree, x: Array) -> Array:
        from flax import nnx

        # A copy, so that a module in train mode changes variables of this trace, not the caller's.
        state = jax.tree.map(lambda leaf: leaf, state)
        return nnx.merge(self._graph, state)(x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Merge) and self._graph == other._graph

    def __hash__(self) -> int:
        return hash(self._graph)


def from_nnx(module: Any) -> Partial:
    """A Flax nnx module as a function of x, its weights as they are now.

    Call `module.eval()` before, so that dropout and batch norm are in evaluation mode. Changing the
    module afterwards does not change the function: call this again.

    Raises:
      TypeError: no nnx module.
    """
    from flax import nnx

    if not isinstance(module, nnx.Module):
        raise TypeError(f"module is a {type(module).__name__}; a flax.nnx.Module is needed.")
    graph, state = nnx.split(module)
    return Partial(_Merge(graph), jax.tree.map(lambda leaf: leaf, state))
