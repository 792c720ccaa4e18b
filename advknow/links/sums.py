"""The pass over a sample that every link of the chain comes from, but for Theorem 2's paths.

What is kept of it are sums, and a few numbers an example: mergeable, small, and all that is needed
to go on (theory.md section 5).
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from advknow import gram
from advknow.alphas import small_eps
from advknow.alphas import sums as moments
from advknow.alphas.sums import TransferSums
from advknow.generalized import sums as attack_sums
from advknow.generalized.sums import GeneralizedSums
from advknow.gram import Grams
from advknow.links.theorems import PathSums, label_gap_square
from advknow.losses import AdversarialLoss
from advknow.matching import distances
from advknow.matching import sums as matching_sums
from advknow.matching.distances import GradientSums
from advknow.matching.sums import MatchingSums
from advknow.passes import batching
from advknow.passes.apply_fn import output_spec
from advknow.passes.batching import Sample
from advknow.typing import ApplyFn, Progress, Sharding


class LinkSums(NamedTuple):
    """Sums over examples; they merge by addition.

    Attributes:
      forward, backward: of the small-eps alphas S -> T and T -> S; None where an attack gives them.
      attacks: behind A1, A2. gradient: behind GMD. function: behind FMD.
      knowledge: behind KTD; None without y.
      gap: of |y - f_T|_{H_T}^2; 0 without y.
    """

    forward: TransferSums | None
    backward: TransferSums | None
    attacks: GeneralizedSums
    gradient: GradientSums
    function: MatchingSums
    knowledge: MatchingSums | None
    gap: Any


class PerExample(NamedTuple):
    """Of the examples done.

    Attributes:
      A1: (done, k).
      forward, backward: (done,), alpha1 S -> T and T -> S, 0 where it is not defined.
      forward_used, backward_used: (done,) bool, where it is.
    """

    A1: np.ndarray
    forward: np.ndarray
    forward_used: np.ndarray
    backward: np.ndarray
    backward_used: np.ndarray


class ChainState(NamedTuple):
    """How far `advknow.chain` has come.

    Attributes:
      sums, values: of its first pass. eps: rounding of the models' dtype.
      paths: of its second pass, Theorem 2's.
    """

    sums: LinkSums
    values: PerExample
    eps: Any
    paths: PathSums

    @property
    def done(self) -> int:
        """Examples that the first pass has seen."""
        return len(self.values.A1)


def zeros(
    m: int,
    d: int,
    num_inputs: int,
    *,
    loss: AdversarialLoss,
    with_alphas: bool,
    with_y: bool,
) -> ChainState:
    """The state before the first example; the source has m outputs, the target d.

    Raises:
      ValueError: the system of an H that depends on x would be too large to hold.
    """
    k, constant = min(num_inputs, m), loss.constant_hessian
    outputs = matching_sums.zeros(d, m + 1, constant_hessian=constant)
    of_gradients = matching_sums.zeros(d, m, constant_hessian=constant)
    nothing, scalar = np.zeros(0), np.zeros(())
    return ChainState(
        LinkSums(
            forward=moments.zeros(m, d) if with_alphas else None,
            backward=moments.zeros(d, m) if with_alphas else None,
            attacks=attack_sums.zeros(k, m, d, loss=loss),
            gradient=GradientSums(of_gradients, np.zeros(m), np.zeros(d)),
            function=outputs,
            knowledge=outputs if with_y else None,
            gap=scalar,
        ),
        PerExample(np.zeros((0, k)), nothing, np.zeros(0, bool), nothing.copy(), np.zeros(0, bool)),
        scalar,
        PathSums(scalar, scalar, scalar),
    )


def added(
    state: ChainState,
    grams: Grams,
    y: np.ndarray | None,
    *,
    loss: AdversarialLoss,
    size: int,
) -> ChainState:
    """The state after one more batch of examples, of which y are the rows, padded to `size`."""
    constant = loss.constant_hessian
    of_attacks, a1 = attack_sums.sums_of_grams(grams, loss=loss)
    of_outputs = functools.partial(
        distances.output_sums,
        source=grams.output_source,
        root=grams.root_target,
        constant_hessian=constant,
    )
    forward = backward = None
    count = len(grams.source)
    alphas = [np.zeros(count), np.zeros(count, bool)] * 2
    if state.sums.forward is not None:
        alpha_sums = functools.partial(small_eps.sums_of_grams, start=state.done, size=size)
        forward, *alphas[:2] = alpha_sums(grams)
        backward, *alphas[2:] = alpha_sums(grams.swapped())
    sums = LinkSums(
        forward=forward,
        backward=backward,
        attacks=of_attacks,
        gradient=distances.gradient_sums(grams, constant_hessian=constant),
        function=of_outputs(grams.output_target),
        knowledge=None if y is None else of_outputs(y),
        gap=0.0 if y is None else label_gap_square(y, grams.output_target, grams.root_target),
    )
    values = PerExample(a1, *alphas)
    return state._replace(
        sums=moments.merge(state.sums, sums),
        values=PerExample(*map(np.concatenate, zip(state.values, values, strict=True))),
        eps=max(float(state.eps), grams.eps),
    )


def gathered(
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: Sample,
    y: Sample | None,
    *,
    loss: AdversarialLoss,
    source_loss: AdversarialLoss,
    state: ChainState,
    batch_size: int,
    sharding: Sharding,
    progress: Progress | None,
    on_batch: Callable[[ChainState], None] | None,
) -> ChainState:
    """The state after all examples; progress is called with ("gradients", done, N or None)."""
    outputs = None
    batches = batching.batches(x, batch_size, y, skip=state.done, sharding=sharding)
    for batch, count, rows in batches:
        if outputs is None:
            outputs = output_spec(f_target, batch, name="f_target").shape[-1]
        if rows is not None:
            distances.check_responses(rows, outputs)
        grams = gram.of_batch(f_source, f_target, batch, count, loss=loss, source_loss=source_loss)
        state = added(state, grams, rows, loss=loss, size=batch.shape[0])
        if progress is not None:
            progress("gradients", state.done, batching.total(x))
        if on_batch is not None:
            on_batch(state)
    return state


def start(
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: Sample,
    *,
    loss: AdversarialLoss,
    batch_size: int,
    with_alphas: bool,
    with_y: bool,
    sharding: Sharding = None,
) -> tuple[ChainState, int]:
    """The state before the first example of x, and the number n of a model's inputs."""
    first, _, _ = next(batching.batches(x, batch_size, sharding=sharding))
    m = output_spec(f_source, first, name="f_source").shape[-1]
    d = output_spec(f_target, first, name="f_target").shape[-1]
    n = math.prod(first.shape[1:])
    return zeros(m, d, n, loss=loss, with_alphas=with_alphas, with_y=with_y), n
