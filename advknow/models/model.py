"""A model as the theory needs it: g∘backbone, evaluation mode, normalisation inside."""

import dataclasses
import functools
import math
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from advknow.models import initial
from advknow.typing import Array, PyTree

Variables = dict[str, PyTree]
ACTIVATIONS = ("float32", "bfloat16")


def _in_bfloat16(params: PyTree) -> PyTree:
    """The parameters in bfloat16, but for those of batch norm."""

    def narrowed(path: Any, leaf: Array) -> Array:
        normalises = any("BatchNorm" in str(getattr(part, "key", "")) for part in path)
        return leaf if normalises else leaf.astype(jnp.bfloat16)

    return jax.tree_util.tree_map_with_path(narrowed, params)


def _names(path: Any) -> tuple[str, ...]:
    return tuple(part.key for part in path)


@dataclasses.dataclass(frozen=True)
class Model:
    """An architecture of a certain size; the numbers live in `variables`, every method is pure.

    `variables` is {"params": {"backbone": ..., "head": {"kernel": (F, k), "bias": (k,)}}} and,
    where there is batch norm, "batch_stats". Inputs are float pixels in [0, 1], (B, H, W, C); they
    are brought to [-1, 1] here, so that attacks work on pixels (theory.md section 6).

    Evaluation mode has no flag that could be wrong: `apply` and `features` use the running
    statistics, and only the methods that end in `_train`, for `advknow.training`, use the batch's.

    Attributes:
      name: of the architecture, as in `models.MODELS`.
      num_classes: k.
      input_shape: (H, W, C).
      width: multiplier of the hidden sizes; 1 is the poster's size.
      backbone: the flax module that gives the features.
    """

    name: str
    num_classes: int
    input_shape: tuple[int, int, int]
    width: float
    backbone: nn.Module = dataclasses.field(compare=False, repr=False)

    def init(self, key: Array) -> Variables:
        """New variables: He's initialisation in the backbone, LeCun's in the head.

        Drawn on the host (`advknow.models.initial`), so not to be called inside `jax.jit`; `shapes`
        are their shapes.

        Raises:
          TypeError: a traced key.
        """
        if isinstance(key, jax.core.Tracer):
            raise TypeError(
                "key is traced: init draws on the host; call it outside jax.jit, or take shapes()."
            )
        shapes = self.shapes()
        del shapes["params"]["head"]
        drawn = jax.device_put(
            jax.tree_util.tree_map_with_path(
                lambda path, spec: self._first(key, _names(path), spec), shapes
            )
        )
        drawn["params"]["head"] = self.new_head(key)
        return drawn

    def new_head(self, key: Array) -> dict[str, Array]:
        """The head of `init(key)`: kernel (F, k) and bias (k,), float32."""
        shape = (self.feature_dim, self.num_classes)
        kernel = initial.lecun(key, "head/kernel", shape)
        head = {"kernel": kernel, "bias": np.zeros(self.num_classes, np.float32)}
        return cast(dict[str, Array], jax.device_put(head))

    def _first(self, key: Array, path: tuple[str, ...], spec: jax.ShapeDtypeStruct) -> Any:
        """The first numbers of the leaf at that path."""
        if path[-1] == "kernel":
            return initial.he(key, "/".join(path), spec.shape)
        # Of the batch norms of a block, the one whose scale starts at 0, if there is such.
        last = path[-2] == getattr(self.backbone, "last_norm", None)
        starts_at_one = path[-1] == "var" or (path[-1] == "scale" and not last)
        return np.full(spec.shape, float(starts_at_one), spec.dtype)

    def shapes(self) -> Variables:
        """Shapes and dtypes of the variables, as `jax.ShapeDtypeStruct`; nothing is computed."""
        _, backbone = self._traced
        head = {
            "kernel": jax.ShapeDtypeStruct((self.feature_dim, self.num_classes), jnp.float32),
            "bias": jax.ShapeDtypeStruct((self.num_classes,), jnp.float32),
        }
        variables: Variables = {"params": {"backbone": backbone["params"], "head": head}}
        if "batch_stats" in backbone:
            variables["batch_stats"] = backbone["batch_stats"]
        # Dicts of the caller's own.
        return jax.tree.map(lambda leaf: leaf, variables)

    def features(self, variables: Variables, x: Array) -> Array:
        """Input of the last layer, evaluation mode: (B, H, W, C) -> (B, F)."""
        features = self.backbone.apply(self._flax(variables), self._normalise(x), train=False)
        return cast(Array, features)

    def head(self, variables: Variables, features: Array) -> Array:
        """The last layer, g: (B, F) -> (B, k)."""
        head = variables["params"]["head"]
        return features @ head["kernel"] + head["bias"][None]

    def apply(self, variables: Variables, x: Array) -> Array:
        """Logits, evaluation mode: (B, H, W, C) -> (B, k); head(features(x))."""
        return self.head(variables, self.features(variables, x))

    def features_train(
        self, variables: Variables, x: Array, *, activations: str = "float32"
    ) -> tuple[Array, PyTree]:
        """Features with the batch's own statistics, and the new running ones ({} without).

        With activations="bfloat16" the backbone's layers compute in bfloat16, except for batch
        norm, whose statistics and affine map are float32; the features are float32 again.
        """
        given, x = self._flax(variables), self._normalise(x)
        if activations == "bfloat16":
            given = {**given, "params": _in_bfloat16(given["params"])}
            x = x.astype(jnp.bfloat16)
        features, changed = self.backbone.apply(given, x, train=True, mutable=["batch_stats"])
        if activations == "bfloat16":
            features = features.astype(jnp.float32)
        return features, changed.get("batch_stats", {})

    def apply_train(
        self, variables: Variables, x: Array, *, activations: str = "float32"
    ) -> tuple[Array, PyTree]:
        """Logits with the batch's own statistics, and the new running ones ({} without)."""
        features, batch_stats = self.features_train(variables, x, activations=activations)
        return self.head(variables, features), batch_stats

    def bind(self, variables: Variables) -> Partial:
        """The function x -> logits, a pytree whose leaves are the variables.

        `jax.jit` takes it as an argument, and two sets of variables share one compiled program.
        """
        return Partial(self.apply, variables)

    def bind_features(self, variables: Variables) -> Partial:
        """The function x -> features, likewise."""
        return Partial(self.features, variables)

    def bind_abstract(self) -> Partial:
        """`bind` with shapes and dtypes in place of arrays, for `jax.jit(...).lower`."""
        return self.bind(self.shapes())

    def with_head(self, variables: Variables, kernel: Array, bias: Array) -> Variables:
        """The variables with another last layer, (F, k) and (k,)."""
        params = {**variables["params"], "head": {"kernel": kernel, "bias": bias}}
        return {**variables, "params": params}

    def replace_classes(self, num_classes: int) -> "Model":
        """The same backbone with another number of outputs."""
        from advknow.models import create

        return create(
            self.name, num_classes=num_classes, input_shape=self.input_shape, width=self.width
        )

    @functools.cached_property
    def feature_dim(self) -> int:
        """F, the number of features."""
        features, _ = self._traced
        return features.shape[-1]

    @functools.cached_property
    def _traced(self) -> tuple[jax.ShapeDtypeStruct, Variables]:
        """Shapes of the features of one image and of the backbone's variables, flax's."""
        return jax.eval_shape(
            lambda x: self.backbone.init_with_output(jax.random.key(0), x, train=False),
            jax.ShapeDtypeStruct((1, *self.input_shape), jnp.float32),
        )

    def num_params(self) -> int:
        """The number of trained parameters."""
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.shapes()["params"]))

    def _flax(self, variables: Variables) -> Variables:
        found: Variables = {"params": variables["params"]["backbone"]}
        if "batch_stats" in variables:
            found["batch_stats"] = variables["batch_stats"]
        return found

    def _normalise(self, x: Array) -> Array:
        dtype = getattr(x, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"x is a {type(x).__name__} of dtype {dtype}; an array of float pixels in [0, 1] "
                "is needed (divide bytes by 255)."
            )
        if tuple(x.shape[1:]) != self.input_shape:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; the model {self.name} takes (batch, "
                f"{', '.join(map(str, self.input_shape))})."
            )
        return (x - 0.5) / 0.5
