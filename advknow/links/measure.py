"""The paper's picture as one call: alpha -> (A1, A2) <-> GMD <-> FMD <-> KTD (theory.md section 4).

alpha1, alpha2           stand for A1, A2: column i = 1 of A1 is alpha1
(A1, A2) <-> GMD         Theorem 1, an identity: GMD = sqrt(1 - rho^2) |∇f_T'|_{D,H_T}
GMD <-> FMD              Theorem 2: |h|_{D,H}^2 <= E_{x,t} |J_h(x0 + t (x - x0)) (x - x0)|_H^2,
                         h = f_T - g∘f_S with h(x0) = 0
FMD <-> KTD              Theorem 3: |KTD - FMD| <= |y - f_T|_{D,H_T}
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from advknow import gram, losses
from advknow.alphas.finite import Transferability, transferability
from advknow.alphas.record import finalize as finalize_alphas
from advknow.generalized.measure import Generalized
from advknow.generalized.measure import finalize as finalize_generalized
from advknow.inner_product import Loss
from advknow.links import sums as chain_sums
from advknow.links.sums import ChainState
from advknow.links.theorems import Inequality, PathSums, path_bound
from advknow.matching import FunctionMatching, GradientMatching, KnowledgeTransfer, distances
from advknow.passes import batching, devices
from advknow.passes.apply_fn import as_pytree
from advknow.passes.batching import Sample
from advknow.typing import ApplyFn, Array, ArrayLike, AttackFn, Progress, Sharding


@dataclasses.dataclass(frozen=True)
class Chain:
    """Every link between adversarial and knowledge transferability (theory.md sections 2 to 4).

    alpha1, alpha2  ->  (A1, A2)  <-> GMD  <->  FMD  <->  KTD

    Attributes:
      source_to_target, target_to_source: alpha1, alpha2 and alpha1*alpha2, of the attack given or
        of the strongest small-eps attack.
      generalized: A1, A2, rho^2 of all attacks of the source.
      gradient: GMD. function: FMD. knowledge: KTD, None without y.
      theorem1_error: |rho^2 from the attacks - rho^2 from P and S|, two computations of one number.
      label_gap: |y - f_T|_{D,H_T}, None without y.
      inequalities: of Theorems 2 and 3, with their slack; distances in units of |.|_H.
      n: examples. loss: whose H_T is meant.
    """

    source_to_target: Transferability
    target_to_source: Transferability
    generalized: Generalized
    gradient: GradientMatching
    function: FunctionMatching
    knowledge: KnowledgeTransfer | None
    theorem1_error: float | None
    label_gap: float | None
    inequalities: tuple[Inequality, ...]
    n: int
    loss: str

    def summary(self) -> dict[str, Any]:
        """All scalars and (k, k) maps, ready for JSON and for `advknow.report.chain`."""
        knowledge = self.knowledge
        return {
            "loss": self.loss,
            "n": self.n,
            "source_to_target": self.source_to_target.summary(),
            "target_to_source": self.target_to_source.summary(),
            "generalized": self.generalized.summary(),
            "gradient": self.gradient.summary(),
            "function": self.function.summary(),
            "knowledge": None if knowledge is None else knowledge.summary(),
            "theorem1_error": self.theorem1_error,
            "label_gap": self.label_gap,
            "inequalities": [inequality.summary() for inequality in self.inequalities],
        }


def _mean(x: Sample, batch_size: int) -> np.ndarray:
    total, done = 0.0, 0
    for batch, count, _ in batching.batches(x, batch_size):
        total = total + np.asarray(batch[:count], np.float64).sum(axis=0)
        done += count
    return np.asarray(total) / done


def chain(
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: ArrayLike | list[ArrayLike],
    *,
    y: Sample | None = None,
    loss: Loss = "l2",
    source_loss: Loss | None = None,
    attack: AttackFn | None = None,
    key: Array | None = None,
    x0: ArrayLike | None = None,
    num_nodes: int = 16,
    gaussian: bool = False,
    batch_size: int = 64,
    sharding: Sharding = None,
    progress: Progress | None = None,
    restore: Callable[[ChainState], ChainState | None] | None = None,
    on_batch: Callable[[ChainState], None] | None = None,
) -> Chain:
    """The whole chain for a pair of models and a sample (theory.md sections 2 to 4).

    Args:
      f_source: f_S, (B, ...) -> (B, m), each row on its own.
      f_target: f_T, (B, ...) -> (B, d).
      x: (N, ...) floats, or a list of such batches: it is read several times.
      y: (N, d) floats, what the target is to learn (one-hot for class labels), or a list of such
        batches. None leaves out KTD and Theorem 3.
      loss, source_loss: as in `advknow.generalized_transferability`.
      attack: the attack of the alphas, from `advknow.attacks`; None: the strongest small-eps one.
      key: for `attack`, as in `advknow.transferability`.
      x0: where the paths of Theorem 2 start, of one example's shape; the mean of x by default.
      num_nodes: quadrature nodes along each path.
      gaussian: True where x is standard Gaussian: then FMD <= GMD is guaranteed (up to the sampling
        error of E); it is reported, as not guaranteed, in any case.
      batch_size: examples in one program.
      sharding: over devices, from `devices.data_sharding`; None for one device.
      progress: called with (stage, examples done, N or None).
      restore: given the state before the first example, returns one that `on_batch` saw of the same
        models, examples and settings, to go on from bit for bit, or None. The alphas of an `attack`
        are not in it and are computed anew.
      on_batch: called with the state after each batch of either pass.

    Raises:
      TypeError: x is an iterator, which can be read only once; `attack` without `key`.
      ValueError: as the calls it is made of.
    """
    for name, sample in (("x", x), ("y", y)):
        if isinstance(sample, Iterator):
            raise TypeError(
                f"{name}={sample!r} can be read only once; an array (N, ...) or a list of batches "
                "is needed."
            )
    if attack is not None and key is None:
        raise TypeError("attack needs key, such as jax.random.key(0).")
    resolved = losses.get(loss)
    f_source = devices.replicate(as_pytree(f_source, name="f_source"), sharding)
    f_target = devices.replicate(as_pytree(f_target, name="f_target"), sharding)
    shared: dict[str, Any] = {"batch_size": batch_size, "sharding": sharding, "progress": progress}
    start, num_inputs = chain_sums.start(
        f_source,
        f_target,
        x,
        loss=resolved,
        batch_size=batch_size,
        with_alphas=attack is None,
        with_y=y is not None,
        sharding=sharding,
    )
    m = start.sums.gradient.output_source.shape[0]
    used_source_loss = gram.loss_for(resolved, source_loss, m)
    state = chain_sums.gathered(
        f_source,
        f_target,
        x,
        y,
        loss=resolved,
        source_loss=used_source_loss,
        state=(restore(start) if restore is not None else None) or start,
        on_batch=on_batch,
        **shared,
    )
    sums, eps = state.sums, float(state.eps)
    generalized = finalize_generalized(
        sums.attacks,
        state.values.A1,
        eps=eps,
        rank=min(num_inputs, m),
        loss=resolved.name,
        source_loss=used_source_loss.name,
        method="exact",
    )
    gradient = distances.finalize_gradient(sums.gradient, eps=eps, loss=resolved.name)
    function = distances.finalize_outputs(
        sums.function, FunctionMatching, eps=eps, loss=resolved.name
    )
    if sums.forward is not None and sums.backward is not None:
        values = state.values
        alphas = (
            finalize_alphas(sums.forward, values.forward, values.forward_used),
            finalize_alphas(sums.backward, values.backward, values.backward_used),
        )
    else:
        assert attack is not None
        assert key is not None
        alphas = (
            transferability(f_source, f_target, x, attack=attack, key=key, **shared),
            transferability(f_target, f_source, x, attack=attack, key=key, **shared),
        )
    origin = _mean(x, batch_size) if x0 is None else x0

    def with_paths(paths: PathSums) -> None:
        assert on_batch is not None
        on_batch(state._replace(paths=paths))

    h, path = path_bound(
        f_target,
        f_source,
        x,
        gradient.A,
        origin,
        loss=resolved,
        num_nodes=num_nodes,
        done=state.paths,
        on_batch=None if on_batch is None else with_paths,
        **shared,
    )
    scale = function.norm
    inequalities = [
        Inequality("Theorem 2", "FMD <= |h|, h(x0) = 0", function.distance, h, scale=scale),
        Inequality(
            "Theorem 2", "|h| <= sqrt(E |J_h(x0 + t(x - x0)) (x - x0)|^2)", h, path, scale=scale
        ),
        Inequality(
            "Poincaré",
            "FMD <= GMD",
            function.distance,
            gradient.distance,
            guaranteed=gaussian,
            scale=scale,
        ),
    ]
    knowledge = gap = None
    if sums.knowledge is not None:
        knowledge = distances.finalize_outputs(
            sums.knowledge, KnowledgeTransfer, eps=eps, loss=resolved.name
        )
        gap = float(sums.gap / gradient.n) ** 0.5
        fmd, ktd = function.distance, knowledge.distance
        inequalities += [
            Inequality("Theorem 3", "KTD <= |y - f_T| + FMD", ktd, gap + fmd, scale=scale),
            Inequality("Theorem 3", "FMD <= KTD + |y - f_T|", fmd, ktd + gap, scale=scale),
        ]
    explained = generalized.rho2
    return Chain(
        source_to_target=alphas[0],
        target_to_source=alphas[1],
        generalized=generalized,
        gradient=gradient,
        function=function,
        knowledge=knowledge,
        theorem1_error=None if explained is None else abs(explained - gradient.rho2),
        label_gap=gap,
        inequalities=tuple(inequalities),
        n=gradient.n,
        loss=resolved.name,
    )
