"""All ordered pairs of K models in one pass: each attacked once, each Jacobian taken once a batch.

An attack of alpha1's pair (S, T) is the same as that of (S, U), and J_S is the same in all Gram
matrices of S. So K attacks and K Jacobians serve K^2 pairs; what is left for each pair are forward
passes of the target at x + delta_S, and the product J_T J_S'.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Unpack

from advknow import gram, losses, passes
from advknow.all_pairs.groups import grouped
from advknow.all_pairs.record import Matrix, Undefined, assembled
from advknow.alphas import Perturbation, finite_alphas, small_eps_direction
from advknow.alphas.finite import checked_attack
from advknow.alphas.record import NoDirectionError
from advknow.gram import GramsOf, Linear
from advknow.inner_product import Loss
from advknow.losses import AdversarialLoss
from advknow.matching.distances import function_distance, gradient_distance
from advknow.passes import Batch, Measure, Need, Run, Shapes, Totals
from advknow.passes.batching import Sample
from advknow.typing import ApplyFn, Array, AttackFn

Pair = tuple[int, int]


def _pairs(names: tuple[str, ...]) -> list[Pair]:
    numbers = range(len(names))
    return list(itertools.product(numbers, numbers))


@dataclasses.dataclass(frozen=True)
class LinearOf:
    """Need: `gram.Linear` of a model.

    Attributes:
      model: its name in the pass. loss, source_loss: as in `GramsOf`.
    """

    model: str
    loss: AdversarialLoss
    source_loss: Loss | None = None
    needs: ClassVar[tuple[Need, ...]] = ()

    def __call__(self, batch: Batch) -> Linear:
        given: Any = self.source_loss
        as_source = gram.loss_for(self.loss, given, batch.shapes.outputs[self.model])
        f = batch.models[self.model]
        return gram.linear(f, batch.x, batch.count, loss=self.loss, source_loss=as_source)


def key_of(pair: Pair) -> str:
    """The pair's name in a combined measure."""
    return f"{pair[0]} to {pair[1]}"


def _alphas(measure: Measure, source: str, target: str) -> Measure:
    """With `Undefined` as its record where no example has a direction, and names in messages."""

    def record(totals: Totals, shapes: Shapes) -> Any:
        try:
            return measure.record(totals, shapes)
        except NoDirectionError as error:
            return Undefined(str(error))
        except ValueError as error:
            raise ValueError(f"f1 = {source}, f2 = {target}: {error}") from error

    return measure._replace(record=record)


def _of_grams(grams: GramsOf) -> Measure:
    """What a pair reads from its Gram matrices."""
    small_eps = small_eps_direction(grams, "source_to_target")
    return passes.combine(
        {
            "small_eps": _alphas(small_eps, grams.source, grams.target),
            "gradient": grouped(gradient_distance(grams), grams),
            "function": grouped(function_distance(grams), grams),
        }
    )


def over_pairs(
    names: tuple[str, ...],
    pairs: Sequence[Pair],
    of_grams: Callable[[GramsOf], Measure],
    *,
    loss: AdversarialLoss,
    source_loss: Loss | None = None,
) -> Measure:
    """A measure of Gram matrices for each of the pairs, from one Jacobian of each model.

    The Gram matrices of one pair, and of the same exchanged, are held at a time. The record is a
    dict of theirs by `key_of` the pair.

    Args:
      names: of the models in the pass. pairs: of their numbers, source before target.
      of_grams: what a pair reads.
      loss, source_loss: as in `GramsOf`.
    """
    linear = [LinearOf(name, loss, source_loss) for name in names]
    grams = {(i, j): GramsOf(loss, source_loss, names[i], names[j]) for i, j in pairs}
    measures = {pair: of_grams(of) for pair, of in grams.items()}
    whole = passes.combine({key_of(pair): measure for pair, measure in measures.items()})

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        totals = {}
        for i, j in dict.fromkeys((min(pair), max(pair)) for pair in pairs):
            of_i, of_j = found[linear[i]], found[linear[j]]
            there = gram.of_pair(of_i, of_j, batch.count, names=(names[i], names[j]))
            back = there.swapped()._replace(
                root_source=of_j.root_source, root_target=of_i.root_target
            )
            for pair, of in {(j, i): back, (i, j): there}.items():
                if pair in measures:
                    totals[key_of(pair)] = measures[pair].of_batch(batch, {grams[pair]: of})
        return Totals(
            {key: part.sums for key, part in totals.items()},
            {key: part.values for key, part in totals.items()},
        )

    used = sorted({number for pair in pairs for number in pair})
    return whole._replace(needs=tuple(linear[number] for number in used), of_batch=of_batch)


def _attacked_pairs(names: tuple[str, ...], attack: AttackFn, eval_loss: Loss) -> Measure:
    """Alphas of the attack of every pair."""
    by = [Perturbation(name, attack) for name in names]
    return passes.combine(
        {
            key_of((i, j)): _alphas(
                finite_alphas(by[i], by[j], eval_loss=eval_loss), names[i], names[j]
            )
            for i, j in _pairs(names)
        }
    )


def every_pair(
    names: Sequence[str],
    *,
    attack: AttackFn | None = None,
    loss: Loss = "l2",
    source_loss: Loss | None = None,
    eval_loss: Loss = "l2",
) -> Measure:
    """The measure behind `matrix`; its record is a `Matrix`.

    Args:
      names: of the models in the pass. The rest as in `matrix`.

    Raises:
      ValueError: fewer than two models, a name twice.
    """
    names = tuple(names)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"models are {', '.join(map(repr, names)) or 'none'}; at least two are needed, each "
            "under a name of its own."
        )
    measures = {
        "linear": over_pairs(
            names, _pairs(names), _of_grams, loss=losses.get(loss), source_loss=source_loss
        )
    }
    if attack is not None:
        measures["attack"] = _attacked_pairs(names, checked_attack(attack), eval_loss)
    whole = passes.combine(measures)

    def record(totals: Totals, shapes: Shapes) -> Matrix:
        found = whole.record(totals, shapes)
        attacked = found.get("attack", {})
        pairs = {pair: dict(found["linear"][key_of(pair)]) for pair in _pairs(names)}
        for pair in pairs:
            if key_of(pair) in attacked:
                pairs[pair]["attack"] = attacked[key_of(pair)]
        return assembled(names, pairs)

    return whole._replace(record=record)


def matrix(
    models: Mapping[str, ApplyFn],
    x: Sample,
    *,
    attack: AttackFn | None = None,
    key: Array | None = None,
    loss: Loss = "l2",
    source_loss: Loss | None = None,
    eval_loss: Loss = "l2",
    **run: Unpack[Run],
) -> Matrix:
    """Every quantity of all ordered pairs of K models, in one pass (theory.md sections 2 to 4).

    Equal to `transferability`, `small_eps_transferability`, `gradient_matching` and
    `function_matching` of each pair, a model with itself included, from K attacks and K Jacobians.
    Held at once are the Jacobians of one batch, B n sum_k d_k numbers for B examples of n numbers
    and models of d_k outputs, the Gram matrices of one pair, and the sums: about
    20 (2 d_i d_j + d_i^2 + d_j^2) numbers a pair.

    Args:
      models: by name, functions of a batch (B, ...) -> (B, d), of any d each.
      x: (N, ...) floats, or an iterable of such batches.
      attack: from `advknow.attacks`; None leaves out the alphas at finite eps.
      key: for `attack`, as in `advknow.transferability`: the same keys for all models.
      loss, source_loss: of small-eps alphas and distances, as in
        `advknow.generalized_transferability`.
      eval_loss: of alpha1 at finite eps, as in `advknow.transferability`.
      **run: batch_size, sharding and progress, as in `passes.Run`; progress is called with
        ("matrix", examples done, N or None).

    Raises:
      ValueError, TypeError: as the calls for a pair; fewer than two models; `attack` without `key`.
    """
    if attack is not None and key is None:
        raise TypeError("attack needs key, such as jax.random.key(0).")
    measure = every_pair(
        tuple(models), attack=attack, loss=loss, source_loss=source_loss, eval_loss=eval_loss
    )
    return passes.run(measure, models, x, key=key, stage="matrix", **passes.checked(run))
