"""How far two models' input gradients point the same way: a training towards a model, or away.

g_f(x) = d/dx l(f(x)), with l the cross-entropy to the example's label or to f's own prediction, the
one that the experiments' attacks raise (theory.md section 6). Taken as models of one output, the
losses of f_S and f_T have at eps -> 0 (section 2)

    alpha1(x)     = |cos(g_S(x), g_T(x))|
    alpha1*alpha2 = |E_x cos(g_S(x), g_T(x))|

since delta_S = g_S / |g_S|, Delta_{S->S} = |g_S| and Delta_{S->T} = <g_S, g_T> / |g_S|; their rho^2
(section 3) is the square of such a mean, with every example weighted by its gradients' lengths.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from advknow import attacks, validate
from advknow.passes.apply_fn import as_pytree, output_spec
from advknow.training.forward import Forward
from advknow.training.objective.record import Objective, mean_loss, whole_model
from advknow.typing import ApplyFn, Array, PyTree

AGAINST = ("label", "prediction")


def aligned(*, to: ApplyFn, weight: float, against: str = "label") -> Objective:
    """Cross-entropy, and input gradients that are aligned with a given model's, or kept from it.

    Descends E_x l(f(x), label) - weight |E_x cos(g_f(x), g_to(x))|, the means over the batch. The
    second term is alpha1*alpha2 of both losses at eps -> 0 (see the module). It is blind to the
    sign, as alpha2 and rho^2 are for the one map g of all inputs: a cosine of -1 everywhere is
    alignment too, and a training away from `to` is to end at 0. It is the absolute value of the
    mean and not the mean of absolute values, because examples of both signs cancel in alpha2 and
    rho^2 as well. Its slope does not vanish where there is no alignment yet, as that of its square
    would: models that have nothing in common can be pulled together. In batches of B it is at least
    of the order of the cosines' standard deviation / sqrt(B).

    The gradient goes through g_f to the parameters (a second derivative), none to `to`.

    Args:
      to: the given model, (B, H, W, C) pixels -> (B, d) logits in evaluation mode, such as
        `model.bind(variables)`; a `jax.tree_util.Partial` shares the step with others of its kind.
      weight: > 0 towards, < 0 away; 0 is `cross_entropy`, to rounding.
      against: "label": both g are of the loss of the example's label, for models of the same
        classes in the same order. "prediction": each is of the cross-entropy to the model's own
        prediction, for models of any outputs, at least two each.

    Raises:
      TypeError, ValueError: a setting that is not accepted. In training, ValueError: outputs that
        do not fit, a transfer of a last layer.
    """
    validate.choice("against", against, AGAINST)
    given = {
        "to": as_pytree(to, name="to"),
        "weight": np.float32(validate.number("weight", weight)),
    }
    return Objective(Partial(_Aligned(against), **given))


@dataclasses.dataclass(frozen=True)
class _Aligned:
    against: str

    def __call__(
        self,
        forward: Forward,
        params: PyTree,
        batch_stats: PyTree,
        frozen: PyTree,
        images: Array,
        labels: Array,
        key: Array,
        *,
        to: ApplyFn,
        weight: Array,
    ) -> tuple[Array, tuple[Array, PyTree]]:
        whole = whole_model(forward)
        x = whole.pixels(images, key)
        self._check(output_spec(to, x, name="to").shape[-1], whole.model.num_classes)
        to_labels = labels if self.against == "label" else None

        def total(x: Array) -> tuple[Array, tuple[Array, PyTree]]:
            logits, after = whole.logits(params, batch_stats, x)
            return jnp.sum(losses(logits, to_labels)), (logits, after)

        gradients, (logits, batch_stats) = jax.grad(total, has_aux=True)(x)
        given = jax.lax.stop_gradient(input_gradients(to, x, to_labels))
        alignment = jnp.abs(jnp.mean(cosines(gradients, given)))
        return mean_loss(logits, labels) - weight * alignment, (logits, batch_stats)

    def _check(self, outputs: int, num_classes: int) -> None:
        if min(outputs, num_classes) < 2:
            raise ValueError(
                f"to returns {outputs} outputs, the trained model {num_classes}; at least 2 are "
                "needed of each."
            )
        if self.against == "label" and outputs != num_classes:
            raise ValueError(
                f"to returns {outputs} outputs, the trained model {num_classes}: "
                "against='label' needs the same classes; accepted here: against='prediction'."
            )


def losses(logits: Array, labels: Array | None = None) -> Array:
    """Cross-entropy (B,) of logits (B, k) to labels (B,), or where None to their own prediction.

    In the form that keeps its gradient's digits in a confident model (`attacks.cross_entropy`).
    """
    y = logits if labels is None else jax.nn.one_hot(labels, logits.shape[-1])
    return attacks.cross_entropy(y, logits)


def input_gradients(f: ApplyFn, x: Array, labels: Array | None = None) -> Array:
    """g_f(x) of every example, of x's shape (B, ...).

    Args:
      f: (B, ...) -> (B, k) logits, k >= 2. x: (B, ...) floats.
      labels: (B,) integers below k, or None for the class that f predicts.
    """
    return jax.grad(lambda x: jnp.sum(losses(f(x), labels)))(x)


def cosines(u: Array, v: Array) -> Array:
    """cos(u, v) of every example, (B, ...) and (B, ...) -> (B,); 0 where either is 0.

    Differentiable: its derivative is 0 too where either is 0.
    """
    return jnp.sum(_units(u) * _units(v), axis=-1)


def _units(v: Array) -> Array:
    v = v.reshape(v.shape[0], -1)
    # The squares of a confident model's gradient would underflow. A direction has no scale.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(v), axis=-1, keepdims=True))
    scaled = v / jnp.where(largest > 0, largest, 1.0)
    square = jnp.sum(scaled**2, axis=-1, keepdims=True)
    return jnp.where(largest > 0, scaled * jax.lax.rsqrt(jnp.where(largest > 0, square, 1.0)), 0.0)
