"""The paper's picture: alpha -> (A1, A2) <-> GMD <-> FMD <-> KTD (theory.md section 4).

alpha1, alpha2           stand for A1, A2: column i = 1 of A1 is alpha1
(A1, A2) <-> GMD         Theorem 1, an identity: GMD = sqrt(1 - rho^2) |∇f_T'|_{D,H_T}
GMD <-> FMD              Theorem 2: |h|_{D,H}^2 <= E_{x,t} |J_h(x0 + t (x - x0)) (x - x0)|_H^2,
                         h = f_T - g∘f_S with h(x0) = 0
FMD <-> KTD              Theorem 3: |KTD - FMD| <= |y - f_T|_{D,H_T}

Two passes: `links` measures everything but Theorem 2's paths, which start from what it found.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Unpack

import numpy as np

from advknow import losses, passes
from advknow.alphas import Perturbation, Transferability, both_directions, small_eps_alphas
from advknow.alphas.finite import checked_attack
from advknow.generalized import Generalized, all_attacks
from advknow.gram import GramsOf
from advknow.inner_product import Loss
from advknow.links.theorems import Inequality, gap_to_labels, path_integral
from advknow.matching import FunctionMatching, GradientMatching, KnowledgeTransfer
from advknow.matching.distances import (
    function_distance,
    gradient_distance,
    knowledge_distance,
)
from advknow.passes import Batch, Measure, Need, Run, Totals, devices
from advknow.typing import ApplyFn, Array, ArrayLike, AttackFn


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


@dataclasses.dataclass(frozen=True)
class Paths:
    """The paths of Theorem 2.

    Attributes:
      x0: where they start, of one example's shape; the mean of x if None.
      num_nodes: quadrature nodes along each.
      gaussian: True where x is standard Gaussian: then FMD <= GMD is guaranteed for a constant H
        (up to the sampling error of E). Otherwise it is reported as not guaranteed.
    """

    x0: ArrayLike | None = None
    num_nodes: int = 16
    gaussian: bool = False


def mean_input() -> Measure:
    """The mean of x, in float64, of one example's shape."""

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        summed = np.asarray(devices.fetch(batch.x)[: batch.count], np.float64).sum(axis=0)
        return Totals({"count": batch.count, "x": summed}, None)

    return Measure(
        needs=(),
        zero=lambda shapes: Totals({"count": np.zeros(()), "x": np.zeros(shapes.inputs)}, None),
        of_batch=of_batch,
        record=lambda totals, shapes: totals.sums["x"] / totals.sums["count"],
    )


def links(
    loss: Loss = "l2",
    *,
    source_loss: Loss | None = None,
    attack: AttackFn | None = None,
    with_y: bool = True,
) -> Measure:
    """The chain's first pass: every link but the paths; a dict of the records.

    Args:
      loss, source_loss, attack: as in `chain`.
      with_y: whether the pass has y: KTD and |y - f_T| need it.
    """
    grams = GramsOf(losses.get(loss), source_loss)
    attack = None if attack is None else checked_attack(attack)
    source, target = (Perturbation(name, attack) for name in ("f_source", "f_target"))
    measures = {
        "alphas": small_eps_alphas(grams) if attack is None else both_directions(source, target),
        "generalized": all_attacks(grams),
        "gradient": gradient_distance(grams),
        "function": function_distance(grams),
        "mean": mean_input(),
    }
    if with_y:
        measures |= {"knowledge": knowledge_distance(grams), "gap": gap_to_labels(grams)}
    return passes.combine(measures)


def second_pass(found: Mapping[str, Any], paths: Paths, *, loss: Loss = "l2") -> Measure:
    """The chain's second pass, along Theorem 2's paths, from the records of the first."""
    x0 = found["mean"] if paths.x0 is None else paths.x0
    return path_integral(found["gradient"].A, x0, loss=loss, num_nodes=paths.num_nodes)


def assembled(
    found: Mapping[str, Any], along: tuple[float, float], paths: Paths, *, loss: Loss = "l2"
) -> Chain:
    """The chain from the records of its two passes."""
    gradient, function = found["gradient"], found["function"]
    knowledge, gap = found.get("knowledge"), found.get("gap")
    (h, path), fmd, scale = along, function.distance, function.norm
    # Of an H that moves with x, the inequality would bound another norm.
    poincare = paths.gaussian and losses.get(loss).constant_hessian
    statement = "|h| <= sqrt(E |J_h(x0 + t(x - x0)) (x - x0)|^2)"
    inequalities = [
        Inequality("Theorem 2", "FMD <= |h|, h(x0) = 0", fmd, h, scale=scale),
        Inequality("Theorem 2", statement, h, path, scale=scale),
        Inequality(
            "Poincaré", "FMD <= GMD", fmd, gradient.distance, guaranteed=poincare, scale=scale
        ),
    ]
    if knowledge is not None:
        ktd = knowledge.distance
        inequalities += [
            Inequality("Theorem 3", "KTD <= |y - f_T| + FMD", ktd, gap + fmd, scale=scale),
            Inequality("Theorem 3", "FMD <= KTD + |y - f_T|", fmd, ktd + gap, scale=scale),
        ]
    explained = found["generalized"].rho2
    return Chain(
        **found["alphas"],
        generalized=found["generalized"],
        gradient=gradient,
        function=function,
        knowledge=knowledge,
        theorem1_error=None if explained is None else abs(explained - gradient.rho2),
        label_gap=gap,
        inequalities=tuple(inequalities),
        n=gradient.n,
        loss=gradient.loss,
    )


def check_samples(**samples: Any) -> None:
    """Raises TypeError where a sample, by its name, can be read only once."""
    for name, sample in samples.items():
        if isinstance(sample, Iterator):
            raise TypeError(
                f"{name}={sample!r} can be read only once; an array (N, ...) or a list of batches "
                "is needed."
            )


def chain(
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: ArrayLike | list[ArrayLike],
    *,
    y: ArrayLike | list[ArrayLike] | None = None,
    loss: Loss = "l2",
    source_loss: Loss | None = None,
    attack: AttackFn | None = None,
    key: Array | None = None,
    paths: Paths = Paths(),
    **run: Unpack[Run],
) -> Chain:
    """The whole chain for a pair of models and a sample (theory.md sections 2 to 4).

    Args:
      f_source: f_S, (B, ...) -> (B, m), each row on its own.
      f_target: f_T, (B, ...) -> (B, d).
      x: (N, ...) floats, or a list of such batches: it is read twice.
      y: (N, d) floats, what the target is to learn (one-hot for class labels), or a list of such
        batches. None leaves out KTD and Theorem 3.
      loss, source_loss: as in `advknow.generalized_transferability`.
      attack: the attack of the alphas, from `advknow.attacks`; None: the strongest small-eps one.
      key: for `attack`, as in `advknow.transferability`.
      paths: those of Theorem 2.
      **run: batch_size, sharding and progress, as in `advknow.passes.Run`; the stages are
        "gradients" and "paths".

    Raises:
      TypeError: x is an iterator, which can be read only once; `attack` without `key`.
      ValueError: as the calls it is made of.
    """
    check_samples(x=x, y=y)
    if attack is not None and key is None:
        raise TypeError("attack needs key, such as jax.random.key(0).")
    models = {"f_source": f_source, "f_target": f_target}
    first = links(loss, source_loss=source_loss, attack=attack, with_y=y is not None)
    how = passes.checked(run)
    found = passes.run(first, models, x, y=y, key=key, stage="gradients", **how)
    second = second_pass(found, paths, loss=loss)
    along = passes.run(second, models, x, stage="paths", **how)
    return assembled(found, along, paths, loss=loss)
