"""The paper's picture as one call: alpha -> (A1, A2) <-> GMD <-> FMD <-> KTD (theory.md section 4).

alpha1, alpha2           stand for A1, A2: column i = 1 of A1 is alpha1
(A1, A2) <-> GMD         Theorem 1, an identity: GMD = sqrt(1 - rho^2) |∇f_T'|_{D,H_T}
GMD <-> FMD              Theorem 2: |h|_{D,H}^2 <= E_{x,t} |J_h(x0 + t (x - x0)) (x - x0)|_H^2,
                         h = f_T - g∘f_S with h(x0) = 0
FMD <-> KTD              Theorem 3: |KTD - FMD| <= |y - f_T|_{D,H_T}
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from advknow import batching, gram, losses, moments
from advknow.apply_fn import as_pytree
from advknow.attack_sums import sums_of_grams as generalized_sums
from advknow.batching import Sample
from advknow.generalized import Generalized
from advknow.generalized import finalize as finalize_generalized
from advknow.inner_product import Loss
from advknow.losses import AdversarialLoss
from advknow.matching import (
    FunctionMatching,
    GradientMatching,
    KnowledgeTransfer,
    distances,
    function_matching,
    knowledge_transfer,
)
from advknow.metrics import Transferability, transferability
from advknow.small_eps import Accumulator
from advknow.theorems import Inequality, label_gap, path_bound
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


def _gradients(f_source, f_target, x, loss: AdversarialLoss, source_loss, with_alphas, **shared):
    """All that the Gram matrices give, in one pass over them."""
    forward, backward = Accumulator(), Accumulator()
    sums, kept, eps, rank = None, [], 0.0, 0
    for grams in gram.of_sample(
        f_source,
        f_target,
        x,
        loss=loss,
        source_loss=source_loss,
        **shared,
    ):
        if with_alphas:
            forward.add(grams)
            backward.add(grams.swapped())
        of_attacks, a1 = generalized_sums(grams, loss=loss)
        matched = distances.gradient_sums(grams, constant_hessian=loss.constant_hessian)
        both = (of_attacks, matched)
        sums = both if sums is None else moments.merge(sums, both)
        kept.append(a1)
        eps, rank = max(eps, grams.eps), min(grams.num_inputs, grams.source.shape[-1])
    assert sums is not None
    m = sums[1].match.source.shape[0]
    generalized = finalize_generalized(
        sums[0],
        np.concatenate(kept),
        eps=eps,
        rank=rank,
        loss=loss.name,
        source_loss=gram.loss_for(loss, source_loss, m).name,
        method="exact",
    )
    gradient = distances.finalize_gradient(sums[1], eps=eps, loss=loss.name)
    alphas = (forward.record(), backward.record()) if with_alphas else None
    return generalized, gradient, alphas


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
) -> Chain:
    """The whole chain for a pair of models and a sample (theory.md sections 2 to 4).

    Args:
      f_source: f_S, (B, ...) -> (B, m), each row on its own.
      f_target: f_T, (B, ...) -> (B, d).
      x: (N, ...) floats, or a list of such batches: it is read several times.
      y: (N, d) floats, what the target is to learn (one-hot for class labels), or a list of such
        batches. None leaves out KTD and Theorem 3.
      loss, source_loss: as in `advknow.generalized.generalized`.
      attack: the attack of the alphas, from `advknow.attacks`; None: the strongest small-eps one.
      key: for `attack`, as in `advknow.transferability`.
      x0: where the paths of Theorem 2 start, of one example's shape; the mean of x by default.
      num_nodes: quadrature nodes along each path.
      gaussian: True where x is standard Gaussian: then FMD <= GMD is guaranteed (up to the sampling
        error of E); it is reported, as not guaranteed, in any case.
      batch_size: examples in one program.
      sharding: over devices, from `devices.data_sharding`; None for one device.
      progress: called with (stage, examples done, N or None).

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
    f_source = as_pytree(f_source, name="f_source")
    f_target = as_pytree(f_target, name="f_target")
    shared: dict[str, Any] = {"batch_size": batch_size, "sharding": sharding, "progress": progress}
    generalized, gradient, alphas = _gradients(
        f_source, f_target, x, resolved, source_loss, attack is None, **shared
    )
    if alphas is None:
        assert attack is not None
        assert key is not None
        s_t = transferability(f_source, f_target, x, attack=attack, key=key, **shared)
        t_s = transferability(f_target, f_source, x, attack=attack, key=key, **shared)
        alphas = (s_t, t_s)
    function = function_matching(f_target, f_source, x, loss=resolved, **shared)
    origin = _mean(x, batch_size) if x0 is None else x0
    h, path = path_bound(
        f_target, f_source, x, gradient.A, origin, loss=resolved, num_nodes=num_nodes, **shared
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
    if y is not None:
        knowledge = knowledge_transfer(y, f_source, x, loss=resolved, f_target=f_target, **shared)
        gap = label_gap(y, f_target, x, loss=resolved, batch_size=batch_size, sharding=sharding)
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
