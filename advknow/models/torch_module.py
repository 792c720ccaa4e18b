"""A PyTorch module on the host: outputs, and products with the Jacobian by PyTorch's autograd."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor, nn

from advknow import validate

LAYOUTS = ("NCHW", "NHWC")
# PyTorch's own threads take all cores; two callbacks at once would share them, and the hooks.
_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def _autograd(enabled: bool) -> Iterator[None]:
    """One callback at a time, whatever mode the calling thread is in."""
    with _ONE_AT_A_TIME, torch.inference_mode(False), torch.set_grad_enabled(enabled):
        yield


def _floats(module: nn.Module) -> list[Tensor]:
    held = (*module.parameters(), *module.buffers())
    return [tensor for tensor in held if tensor.is_floating_point()]


class TorchModule:
    """An `advknow.models.host.Host`; `adapters.from_torch` has the arguments and what raises.

    The module is called as it is then: weights that have changed are used at the next call.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        layout: str,
        features: str | None,
        output: Callable[[Any], Tensor] | None,
    ):
        if not isinstance(module, nn.Module):
            raise TypeError(f"module is a {type(module).__name__}; a torch.nn.Module is needed.")
        validate.choice("layout", layout, LAYOUTS)
        if output is not None and not callable(output):
            raise TypeError(f"output={output!r} must be a function of what the module returns.")
        if features is not None:
            validate.choice("features", features, [name for name, _ in module.named_modules()][1:])
            if output is not None:
                raise ValueError("output= is of the module's outputs; with features= leave it out.")
        self._module, self._layout, self._features = module, layout, features
        self._output = output
        tensors = _floats(module)
        dtype = tensors[0].dtype if tensors else torch.float32
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"module holds {dtype} numbers; torch.float32 or torch.float64 are needed: "
                "module.float()."
            )
        if any(tensor.is_inference() for tensor in tensors):
            raise ValueError(
                "module was made in torch.inference_mode() and has no gradients; make or load it "
                "under torch.no_grad()."
            )
        self._dtype = np.dtype(str(dtype).removeprefix("torch."))
        self._in_evaluation_mode()
        self._specs: dict[tuple[int, ...], tuple[int, np.dtype]] = {}
        self._graph: tuple[Tensor, Tensor, int] | None = None

    def spec(self, shape: tuple[int, ...], dtype: np.dtype) -> jax.ShapeDtypeStruct:
        """Found by calling the module once for each shape of an example, on two of zeros."""
        if shape[1:] not in self._specs:
            y = self.outputs(np.zeros((2, *shape[1:]), dtype), product_follows=False)
            self._specs[shape[1:]] = (y.shape[1], y.dtype)
        outputs, found = self._specs[shape[1:]]
        if jax.dtypes.canonicalize_dtype(found) != found:
            raise TypeError(
                f"module returns {found} and JAX has no such numbers here; accepted: "
                "jax.config.update('jax_enable_x64', True), or module.float()."
            )
        return jax.ShapeDtypeStruct((shape[0], outputs), found)

    def outputs(self, x: np.ndarray, *, product_follows: bool) -> np.ndarray:
        """(B, ...) -> (B, d). Before a product the graph is kept until that, or the next call."""
        with _autograd(product_follows):
            self._graph = None
            leaf = self._tensor(x).requires_grad_(product_follows)
            y = self._call(leaf)
            if product_follows:
                self._graph = (leaf, y, self._version())
            return y.numpy(force=True)

    def products(self, x: np.ndarray, vectors: np.ndarray, *, transposed: bool) -> np.ndarray:
        """J' v: the last pass forward, if it was at this x, and k backward. J v: k forward."""
        with _autograd(True):
            point = self._tensor(x)
            if not transposed:
                tangents = self._tensor(vectors)
                found = [torch.func.jvp(self._call, (point,), (v,))[1] for v in tangents]
                return torch.stack(found).numpy(force=True)
            point, y = self._graph_at(point)
            if not y.requires_grad:
                raise ValueError(
                    "the module's output has no gradient to its input; a module without "
                    "torch.no_grad() and detach() on the way is needed."
                )
            cotangents = torch.from_numpy(np.array(vectors)).to(y.device, y.dtype)
            gradients = [
                torch.autograd.grad(y, point, v, retain_graph=True, materialize_grads=True)[0]
                for v in cotangents
            ]
            return torch.stack(gradients).numpy(force=True).astype(x.dtype, copy=False)

    def _tensor(self, array: np.ndarray) -> Tensor:
        """A copy in the module's dtype: XLA's memory is not to be written to."""
        return torch.from_numpy(np.array(array, self._dtype))

    def _version(self) -> int:
        """A number that every change in place of weights and statistics raises."""
        return sum(tensor._version for tensor in _floats(self._module))

    def _graph_at(self, point: Tensor) -> tuple[Tensor, Tensor]:
        kept, self._graph = self._graph, None
        if kept is not None and kept[2] == self._version() and torch.equal(kept[0], point):
            return kept[0], kept[1]
        point.requires_grad_()
        return point, self._call(point)

    def _call(self, x: Tensor) -> Tensor:
        """The module on a batch in JAX's layout, checked."""
        self._in_evaluation_mode()
        examples = len(x)
        if x.ndim == 4 and self._layout == "NCHW":
            x = x.permute(0, 3, 1, 2)
        tensors = _floats(self._module)
        # A copy, since modules may work in place, and contiguous, since they may use `view`.
        x = x.to(tensors[0].device if tensors else "cpu").clone(
            memory_format=torch.contiguous_format
        )
        if self._features is not None:
            y = self._captured(x).flatten(1)
        else:
            y = self._module(x)
            y = y if self._output is None else self._output(y)
        if not isinstance(y, Tensor):
            hint = (
                "" if self._output else "; pick it with output=, such as output=lambda y: y.logits"
            )
            raise TypeError(
                f"the module returns a {type(y).__name__}; one tensor (batch, outputs) is needed"
                f"{hint}."
            )
        if y.ndim != 2 or len(y) != examples:
            raise ValueError(
                f"the module returns {tuple(y.shape)} for a batch of {examples}; (batch, outputs) "
                f"= ({examples}, d) is needed."
            )
        if y.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"the module returns {y.dtype}; float32 or float64 is needed.")
        return y

    def _captured(self, x: Tensor) -> Tensor:
        """What the named layer is given, at its last call."""
        seen: list[Any] = []
        layer = self._module.get_submodule(str(self._features))
        handle = layer.register_forward_pre_hook(lambda _, given: seen.append(given))
        try:
            self._module(x)
        finally:
            handle.remove()
        if not seen or not seen[-1] or not isinstance(seen[-1][0], Tensor):
            raise ValueError(
                f"features={self._features!r}: the module does not call that layer on a tensor."
            )
        return seen[-1][0]

    def _in_evaluation_mode(self) -> None:
        training = [name or "the module" for name, m in self._module.named_modules() if m.training]
        if training:
            raise ValueError(
                f"module is in training mode ({training[0]} and {len(training) - 1} more); "
                "evaluation mode is needed: module.eval()."
            )
