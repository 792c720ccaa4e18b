"""All that an experiment measures of a source and its target, in one pass over the examples.

    alpha1, alpha2, alpha1*alpha2    of the experiment's attack, in its direction (section 2)
    GMD, rho^2                       of the gradients (section 3)
    FMD, KTD                         of the outputs and the labels (section 4)

The state of the pass is a pytree of sums and alpha1 of the examples done: small, mergeable, and
all that is needed to go on (theory.md section 5).
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from advknow import gram, losses, validate
from advknow.alphas import finite as metrics
from advknow.alphas import sums as moments
from advknow.alphas.record import Transferability, finalize
from advknow.alphas.sums import TransferSums
from advknow.matching import FunctionMatching, GradientMatching, KnowledgeTransfer, distances
from advknow.matching import sums as matching_sums
from advknow.matching.distances import GradientSums
from advknow.matching.sums import MatchingSums
from advknow.passes import batching, devices
from advknow.passes.apply_fn import as_pytree, output_spec
from advknow.typing import ApplyFn, Array, ArrayLike, Progress, Sharding

DIRECTIONS = ("source_to_target", "target_to_source")
# Distances are those of H = I; alpha1 is evaluated with the plain norm, as the poster does.
LOSS = losses.l2


class PairSums(NamedTuple):
    """Sums over examples; they merge by addition."""

    transfer: TransferSums
    gradient: GradientSums
    function: MatchingSums
    knowledge: MatchingSums


class PairState(NamedTuple):
    """How far a pass has come.

    Attributes:
      sums: over the examples done.
      alpha1: (done,), 0 where it is not defined. valid: (done,) bool, where it is.
    """

    sums: PairSums
    alpha1: np.ndarray
    valid: np.ndarray


class Measured(NamedTuple):
    """The records of a pair."""

    transfer: Transferability
    gradient: GradientMatching
    function: FunctionMatching
    knowledge: KnowledgeTransfer

    def summary(self) -> dict[str, Any]:
        """The columns of a results row."""
        return {
            **self.transfer.summary(),
            "gmd_relative": self.gradient.relative,
            "rho2": self.gradient.rho2,
            "fmd": self.function.distance,
            "fmd_relative": self.function.relative,
            "ktd": self.knowledge.distance,
            "ktd_relative": self.knowledge.relative,
        }


def zeros(m: int, d: int, *, direction: str) -> PairState:
    """The state before the first example; the source has m outputs, the target d."""
    outputs = matching_sums.zeros(d, m + 1, constant_hessian=True)
    return PairState(
        PairSums(
            moments.zeros(m, d) if direction == "source_to_target" else moments.zeros(d, m),
            GradientSums(
                matching_sums.zeros(d, m, constant_hessian=True), np.zeros(m), np.zeros(d)
            ),
            outputs,
            outputs,
        ),
        np.zeros(0),
        np.zeros(0, bool),
    )


def _batch_state(
    pair: Mapping[str, ApplyFn],
    x: Array,
    y: np.ndarray,
    deltas: dict[str, Array],
    start: int,
    count: int,
    direction: str,
) -> PairState:
    first, second = direction.split("_to_")
    size = x.shape[0]
    transfer, alpha1, valid = devices.fetch(
        metrics.batch_sums(
            pair[first],
            pair[second],
            x,
            deltas[first],
            deltas[second],
            start + jnp.arange(size),
            jnp.arange(size) < count,
            loss=LOSS,
        )
    )
    grams = gram.of_batch(pair["source"], pair["target"], x, count, loss=LOSS, source_loss=LOSS)
    of_outputs = functools.partial(
        distances.output_sums,
        source=grams.output_source,
        root=grams.root_target,
        constant_hessian=True,
    )
    return PairState(
        PairSums(
            transfer,
            distances.gradient_sums(grams, constant_hessian=True),
            of_outputs(grams.output_target),
            of_outputs(y),
        ),
        np.asarray(alpha1[:count], np.float64),
        valid[:count],
    )


def _merged(state: PairState, batch: PairState) -> PairState:
    return PairState(
        moments.merge(state.sums, batch.sums),
        np.concatenate([state.alpha1, batch.alpha1]),
        np.concatenate([state.valid, batch.valid]),
    )


def measure_pair(
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: ArrayLike,
    y: np.ndarray,
    delta_source: ArrayLike,
    delta_target: ArrayLike,
    *,
    direction: str,
    batch_size: int = 64,
    sharding: Sharding = None,
    progress: Progress | None = None,
    restore: Callable[[PairState], PairState | None] | None = None,
    on_batch: Callable[[PairState], None] | None = None,
) -> Measured:
    """The alphas of one direction, and the distances from target to source.

    Args:
      f_source: (B, ...) -> (B, m). f_target: (B, ...) -> (B, d).
      x: (N, ...) floats. y: (N, d), what the target is to learn: one-hot labels.
      delta_source, delta_target: of x's shape; the attack on each model (`metrics.perturb`).
      direction: "source_to_target" or "target_to_source": whose attack is carried to whom.
      batch_size: examples in one program; it changes speed and memory, not the result.
      sharding: over devices.
      progress: called with ("measure", examples done, N) after each batch.
      restore: given the state before the first example, returns one that `on_batch` saw, to go on
        from, or None.
      on_batch: called with the state after each batch.

    Raises:
      ValueError: arrays, models or a restored state that do not fit each other; NaN or infinity; no
        example with a direction.
    """
    validate.choice("direction", direction, DIRECTIONS)
    validate.integer("batch_size", batch_size, minimum=1)
    validate.inputs("x", x)
    pair = {
        name: devices.replicate(as_pytree(f), sharding)
        for name, f in (("source", f_source), ("target", f_target))
    }
    deltas = {"source": delta_source, "target": delta_target}
    outputs = {name: output_spec(f, x, name=f"f_{name}").shape[1] for name, f in pair.items()}
    n = x.shape[0]
    for name, delta in deltas.items():
        if delta.shape != x.shape:
            raise ValueError(f"delta_{name} has shape {delta.shape}; x's, {x.shape}, is needed.")
    if y.shape != (n, outputs["target"]):
        raise ValueError(
            f"y has shape {y.shape}; (N, outputs of the target), ({n}, {outputs['target']}), is "
            "needed."
        )
    state = zeros(outputs["source"], outputs["target"], direction=direction)
    state = (restore(state) if restore is not None else None) or state
    start = len(state.alpha1)
    size = min(batch_size, n)
    while start < n:
        part = slice(start, start + size)
        batch, count, _ = next(batching.batches(x[part], size, size=size, sharding=sharding))
        state = _merged(
            state,
            _batch_state(
                pair,
                batch,
                np.asarray(y[part], np.float64),
                {
                    name: devices.put(
                        batching.padded(jnp.asarray(delta[part]), batch.shape[0]), sharding
                    )
                    for name, delta in deltas.items()
                },
                start,
                count,
                direction,
            ),
        )
        start += count
        if progress is not None:
            progress("measure", start, n)
        if on_batch is not None:
            on_batch(state)
    eps = float(jnp.finfo(jnp.asarray(x[:1]).dtype).eps)
    sums = state.sums
    return Measured(
        finalize(sums.transfer, state.alpha1, state.valid.astype(bool)),
        distances.finalize_gradient(sums.gradient, eps=eps, loss=LOSS.name),
        distances.finalize_outputs(sums.function, FunctionMatching, eps=eps, loss=LOSS.name),
        distances.finalize_outputs(sums.knowledge, KnowledgeTransfer, eps=eps, loss=LOSS.name),
    )
