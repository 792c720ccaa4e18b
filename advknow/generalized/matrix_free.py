"""The k strongest attacks of the source without a Jacobian: for models of many outputs.

Lanczos iteration (`advknow.attacks.singular_directions`) finds them, 2 k Jacobian-vector products
carry them to both models, and random probes z ~ N(0, I) estimate |J_T|_H^2 = E_z |J_T z|_H^2.
Cost an example: about 40 + 4 k + num_probes products instead of m + d, and k (m + d) numbers.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advknow import inner_product, precision
from advknow.attacks import singular_directions
from advknow.gram import Deviations
from advknow.losses import AdversarialLoss
from advknow.passes import devices, keys
from advknow.passes.apply_fn import as_pytree
from advknow.typing import ApplyFn, Array


class TopAttacks(NamedTuple):
    """Of B examples, float64 on the host.

    Attributes:
      deviations: of the k strongest attacks of the source.
      length: (B, k), |Delta_{S->T}^(i)|_{H_T}.
      strongest: (B,), |Delta_{T->T}^(1)|_{H_T}.
      square: (B,), the estimate of |J_T|_{H_T}^2. variance: (B,), that of the estimate.
      converged: (B,) bool, whether all k and the target's strongest were found to tolerance.
    """

    deviations: Deviations
    length: np.ndarray
    strongest: np.ndarray
    square: np.ndarray
    variance: np.ndarray
    converged: np.ndarray


@functools.partial(precision.program, static_argnames=("loss", "num_probes"))
def _push(f_source, f_target, x, directions, example_keys, *, loss, num_probes):
    def along(f, vectors):
        y, forward = jax.linearize(f, x)
        moved = jax.lax.map(lambda v: forward(v.reshape(x.shape)), vectors.swapaxes(0, 1))
        return y, moved

    _, source = along(f_source, directions)
    shape = (num_probes, math.prod(x.shape[1:]))
    probes = jax.vmap(lambda k: jax.random.normal(k, shape, x.dtype))(example_keys)
    y, target = along(f_target, jnp.concatenate([directions, probes], axis=1))
    length = jax.vmap(lambda v: inner_product.norm(loss, y, v))(target)
    k = directions.shape[1]
    return source.swapaxes(0, 1), target[:k].swapaxes(0, 1), length[:k].T, length[k:].T ** 2


def top_attacks(
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: Array,
    example_keys: Array,
    *,
    count: int,
    loss: AdversarialLoss,
    source_loss: AdversarialLoss,
    num_steps: int | None,
    tolerance: float,
    num_probes: int,
) -> TopAttacks:
    """The `count` strongest attacks of the source on a batch, and what they do to both models."""
    f_source = as_pytree(f_source, name="f_source")
    f_target = as_pytree(f_target, name="f_target")
    find = functools.partial(
        singular_directions, method="iterative", num_steps=num_steps, tolerance=tolerance
    )
    key_source, key_target, key_probe = (
        keys.per_example(jax.vmap(lambda k, i=i: jax.random.fold_in(k, i))(example_keys), len(x))
        for i in range(3)
    )
    # Fetched in between: two decompositions must not run side by side on XLA's CPU backend.
    found = find(f_source, x, count=count, loss=source_loss, key=key_source)
    present, converged = devices.fetch((found.singular_values > 0, found.converged.all(axis=1)))
    of_target = find(f_target, x, count=1, loss=loss, key=key_target)
    strongest, target_converged = devices.fetch(
        (of_target.singular_values[:, 0], of_target.converged[:, 0])
    )
    pushed = _push(
        f_source, f_target, x, found.directions, key_probe, loss=loss, num_probes=num_probes
    )
    source, target, length, squares = (np.asarray(a, np.float64) for a in devices.fetch(pushed))
    return TopAttacks(
        deviations=Deviations(source, target, present),
        length=length,
        strongest=np.asarray(strongest, np.float64),
        square=squares.mean(axis=1),
        variance=squares.var(axis=1, ddof=1) / num_probes,
        converged=converged & target_converged,
    )
