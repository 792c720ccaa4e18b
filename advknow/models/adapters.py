"""Other people's models as functions of a batch: plain functions, Flax, PyTorch.

Every measure takes any function (B, ...) -> (B, d). A plain Python function is a constant to
`jax.jit`: what it closes over is compiled in, and changing it in place (an nnx module, a dict of
weights) changes nothing in programs that are compiled already. The adapters return a
`jax.tree_util.Partial` instead, whose arrays are arguments: other weights, same program, and
never stale ones.

Each gives logits, and with `features="NAME"` what the layer of that name is given: name the last
layer, and these are the features that `Model.features` gives of the package's own models. They are
(B, F), flattened where the layer is given more axes, and of the layer's last call where there are
several. Layers inside layers are named with dots, "block.fc"; those of a list by number,
"layers.3". README.md beside this file has Keras, Equinox and Haiku.
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


def _flat(name: str, given: list[Any]) -> Array:
    """(B, F) of what the layer of that name was given at its last call."""
    if not given or not hasattr(given[-1], "reshape"):
        raise ValueError(f"features={name!r}: the module calls no layer of that name on an array.")
    return given[-1].reshape(given[-1].shape[0], -1)


class _Method:
    """A linen module's method, equal by module and settings: equal ones share a program."""

    def __init__(self, module: Any, features: str | None, settings: dict[str, Any]):
        self._module, self._features, self._settings = module, features, settings
        # Modules that hold arrays cannot be compared by value: those are equal to themselves only.
        same = id(module) if _holds_arrays(module) else module
        self._key = (same, features, tuple(sorted(settings.items())))

    def __call__(self, variables: PyTree, x: Array) -> Array:
        if self._features is None:
            return self._module.apply(variables, x, **self._settings)
        import flax.linen as nn

        given: list[Any] = []

        def look(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            if ".".join(context.module.path) == self._features:
                given.extend(args[:1])
            return call(*args, **kwargs)

        with nn.intercept_methods(look):
            self._module.apply(variables, x, **self._settings)
        return _flat(self._features, given)

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


def from_linen(
    module: Any, variables: PyTree, *, features: str | None = None, **settings: Any
) -> Partial:
    """A Flax linen module with its variables, as a function of x.

    Args:
      module: a `flax.linen.Module`.
      variables: {"params": ..., "batch_stats": ..., ...}.
      features: name of a layer, such as "Dense_1": what it is given, instead of the outputs.
      **settings: of `module.apply`, hashable; those of evaluation mode, such as `train=False` or
        `deterministic=True`. `mutable` must not be among them: a measure changes nothing.

    Raises:
      TypeError: no linen module. ValueError: `mutable` among the settings; when it is called, a
        layer that the module does not call.
    """
    if not callable(getattr(module, "apply", None)):
        raise TypeError(
            f"module={type(module).__name__} has no apply; a flax.linen.Module is needed (of an "
            "nnx module: from_nnx)."
        )
    if "mutable" in settings:
        raise ValueError("mutable is not accepted: in evaluation mode nothing changes.")
    return Partial(_Method(module, features, settings), variables)


class _Recorder:
    """Stands in for a layer: notes what it is given, and calls it."""

    def __init__(self, layer: Any):
        self._layer = layer
        self.given: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.given.extend(args[:1])
        return self._layer(*args, **kwargs)


def _recorded(module: Any, name: str) -> _Recorder:
    """The layer of that name of an nnx module, replaced there by one that records."""
    *path, last = name.split(".")
    try:
        for part in path:
            module = module[int(part)] if part.isdecimal() else getattr(module, part)
        recorder = _Recorder(module[int(last)] if last.isdecimal() else getattr(module, last))
        if last.isdecimal():
            module[int(last)] = recorder
        else:
            vars(module)[last] = recorder
    except (AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"features={name!r}: the module has no layer of that name.") from error
    return recorder


class _Merge:
    """An nnx graph definition called on a state; equal by the graph."""

    def __init__(self, graph: Any, features: str | None):
        self._key = (graph, features)

    def __call__(self, state: PyTree, x: Array) -> Array:
        from flax import nnx

        graph, features = self._key
        # A copy, so that a module in train mode changes variables of this trace, not the caller's.
        state = jax.tree.map(lambda leaf: leaf, state)
        module = nnx.merge(graph, state)
        if features is None:
            return module(x)
        recorder = _recorded(module, features)
        module(x)
        return _flat(features, recorder.given)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Merge) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def from_nnx(module: Any, *, features: str | None = None) -> Partial:
    """A Flax nnx module as a function of x, its weights as they are now.

    Call `module.eval()` before, so that dropout and batch norm are in evaluation mode. Changing the
    module afterwards does not change the function: call this again.

    Args:
      module: a `flax.nnx.Module`.
      features: name of a layer, such as "head" or "layers.3": what it is given, instead of the
        outputs.

    Raises:
      TypeError: no nnx module. ValueError: when it is called, a layer that is not there.
    """
    from flax import nnx

    if not isinstance(module, nnx.Module):
        raise TypeError(f"module is a {type(module).__name__}; a flax.nnx.Module is needed.")
    graph, state = nnx.split(module)
    return Partial(_Merge(graph, features), jax.tree.map(lambda leaf: leaf, state))


def from_torch(
    module: Any,
    *,
    layout: str = "NCHW",
    features: str | None = None,
    output: Callable[[Any], Any] | None = None,
) -> Partial:
    """A PyTorch module as a function of x; PyTorch computes, on the module's device.

    JAX calls back to Python for outputs and for products with the Jacobian, which PyTorch's
    autograd gives, so every call of advknow takes it: attacks, alphas, A1 and A2, the distances,
    the chain, the audit. There are no second derivatives. J v (linearized alphas, `chain`,
    iterative methods) needs a module whose operations PyTorch can differentiate forward.

    The module is neither copied nor changed: parameters keep their requires_grad and get no .grad.
    A module whose weights change gives new numbers from the next call on. Two modules never share
    a program, and a program does not keep its module alive. PyTorch's threads
    (`torch.set_num_threads`, all cores by default) work while XLA's wait, one callback at a time.
    None of 50 processes on two cores hung (PGD, alphas and gradient matching of two modules:
    `tests/processes/deadlock_campaign.py`).

    Args:
      module: a `torch.nn.Module` in evaluation mode (`module.eval()`), of float32 or, with
        jax_enable_x64, of float64; x is brought to its dtype and device.
      layout: "NCHW": batches (B, H, W, C) are handed to it as (B, C, H, W); "NHWC": as they are.
        Inputs of other ranks always are.
      features: name of a layer, such as "fc" or "classifier.6": what it is given, instead of the
        outputs.
      output: of what the module returns to the logits (B, d), where it is not one tensor:
        `lambda y: y.logits`, `lambda y: y["out"]`.

    Returns:
      f: (B, ...) -> (B, d), of the module's dtype. Keep it as long as it is called.

    Raises:
      TypeError: no module; numbers of 16 bits.
      ValueError: training mode; an unknown layout or layer; features and output together.
      ImportError: no PyTorch; `pip install 'advknow[torch]'`.
      When f is called on a shape first: what is not one float tensor (B, d), float64 without
      jax_enable_x64.
    """
    from advknow.models import host
    from advknow.models.torch_module import TorchModule

    return host.function(TorchModule(module, layout=layout, features=features, output=output))
