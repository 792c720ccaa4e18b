"""What is known of each source on the labelled examples: one pass over them.

Outputs of every model; where source and target are functions, alphas of both directions with the
directions of every example, and the Gram matrices of every example.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from advknow import losses, passes
from advknow.all_pairs.measure import key_of, over_pairs
from advknow.all_pairs.record import Undefined
from advknow.alphas import Perturbation, finite_alphas, small_eps_direction
from advknow.alphas.finite import Moved, checked_attack
from advknow.alphas.record import NoDirectionError
from advknow.alphas.small_eps import DIRECTIONS
from advknow.alphas.sums import TransferValues
from advknow.gram import GramsOf, check_finite
from advknow.passes import Batch, Measure, Need, Shapes, Totals, devices
from advknow.scores.given import features_of
from advknow.typing import ApplyFn, ArrayLike, AttackFn

REFERENCE = "the target's reference model"
# Of more bytes than this, Gram matrices are not kept of every example.
LARGE_GRAMS = 2**28


class Source(NamedTuple):
    """A pre-trained model: functions of a batch (B, ...), or arrays of the examples in their order.

    Attributes:
      logits: -> (B, C_s), or (N, C_s). features: -> (B, D), or (N, D), the input of the last layer.
        None where there are none: the scores that need them are left out.
    """

    logits: ApplyFn | ArrayLike | None = None
    features: ApplyFn | ArrayLike | None = None


class Attacked(NamedTuple):
    """An attack carried from one model to another, of N examples.

    Attributes:
      alpha1: (N,). valid: (N,) bool, where it is defined.
      products: (N, N), <M_i, M_j> of M = u(Delta_11) u(Delta_12)'; 0 without a direction.
    """

    alpha1: np.ndarray
    valid: np.ndarray
    products: np.ndarray

    def part(self, rows: np.ndarray) -> "Attacked":
        """Of these examples alone."""
        return Attacked(self.alpha1[rows], self.valid[rows], self.products[np.ix_(rows, rows)])


class Gradients(NamedTuple):
    """Of N examples: J_S J_S' (N, m, m), J_T J_S' (N, d, m), |J_T|^2 (N,)."""

    source: np.ndarray
    cross: np.ndarray
    square: np.ndarray

    def part(self, rows: np.ndarray) -> "Gradients":
        """Of these examples alone."""
        return Gradients(self.source[rows], self.cross[rows], self.square[rows])


class Observed(NamedTuple):
    """What is known of a source on N examples, on the host; None or no entry: not known.

    Attributes:
      labels: (N,) 0 .. C - 1.
      logits: (N, C_s). features: (N, D).
      reference_logits: (N, d). reference_features: (N, D').
      attacked: by "attack_" or "small_eps_" and the direction, or why it is not defined.
      gradients: of source and target.
    """

    labels: np.ndarray
    logits: np.ndarray | None = None
    features: np.ndarray | None = None
    reference_logits: np.ndarray | None = None
    reference_features: np.ndarray | None = None
    attacked: Mapping[str, Attacked | Undefined] = {}
    gradients: Gradients | Undefined | None = None

    def part(self, rows: np.ndarray) -> "Observed":
        """Of these examples alone, (n,) their numbers."""

        def of(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[rows]

        return Observed(
            self.labels[rows],
            of(self.logits),
            of(self.features),
            of(self.reference_logits),
            of(self.reference_features),
            {
                name: a if isinstance(a, Undefined) else a.part(rows)
                for name, a in self.attacked.items()
            },
            self.gradients.part(rows) if isinstance(self.gradients, Gradients) else self.gradients,
        )


def outputs_of(name: str) -> Measure:
    """A model's outputs of every example, (N, d) float64."""

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        outputs = np.asarray(devices.fetch(found[Moved(name)])[: batch.count], np.float64)
        check_finite(name, outputs)
        return Totals((), outputs)

    return Measure(
        needs=(Moved(name),),
        zero=lambda shapes: Totals((), np.zeros((0, shapes.outputs[name]))),
        of_batch=of_batch,
        record=lambda totals, shapes: totals.values,
    )


def _gradients_of(grams: GramsOf) -> Measure:
    """`Gradients` of a pair, or `Undefined` where they are too large to be kept."""

    def sizes(shapes: Shapes) -> tuple[int, int] | None:
        m, d = shapes.outputs[grams.source], shapes.outputs[grams.target]
        numbers = (shapes.examples or 0) * (m * m + d * m)
        return None if 8 * numbers > LARGE_GRAMS else (m, d)

    def zero(shapes: Shapes) -> Totals:
        if (found := sizes(shapes)) is None:
            return Totals((), ())
        m, d = found
        return Totals((), Gradients(np.zeros((0, m, m)), np.zeros((0, d, m)), np.zeros(0)))

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        of = found[grams]
        if sizes(batch.shapes) is None:
            return Totals((), ())
        return Totals((), Gradients(of.source, of.cross, of.target_square()))

    def record(totals: Totals, shapes: Shapes) -> Gradients | Undefined:
        if totals.values:
            return totals.values
        return Undefined(
            f"the Gram matrices of {shapes.examples} examples with {shapes.outputs[grams.source]} "
            f"outputs of the source exceed {LARGE_GRAMS / 2**20:.0f} MiB; fewer examples, or "
            "advknow.matching.gradient_matching, which keeps none of them."
        )

    return Measure(needs=(grams,), zero=zero, of_batch=of_batch, record=record)


def _values(measure: Measure, name: str) -> Measure:
    """With `TransferValues` as the record, or why there are none.

    Args:
      measure: of one direction's alphas. name: of the source, for messages.
    """

    def record(totals: Totals, shapes: Shapes) -> TransferValues | Undefined:
        try:
            measure.record(totals, shapes)
        except NoDirectionError as error:
            return Undefined(str(error))
        except ValueError as error:
            raise ValueError(f"{name} and {REFERENCE} (f1, f2 in either order): {error}") from error
        return totals.values

    return measure._replace(record=record)


def of_grams(grams: GramsOf) -> Measure:
    """Alphas of the limit with the directions of every example, and `Gradients`, of a pair."""
    small_eps = {
        direction: _values(small_eps_direction(grams, direction, keep_vectors=True), grams.source)
        for direction in DIRECTIONS
    }
    return passes.combine(
        {"small_eps": passes.combine(small_eps), "gradients": _gradients_of(grams)}
    )


def of_attack(name: str, attack: AttackFn, *, reference: str = REFERENCE) -> Measure:
    """Alphas of both directions of a source and a reference model, by their names in the pass."""
    source, target = Perturbation(name, attack), Perturbation(reference, attack)
    both = ((source, target), (target, source))
    return passes.combine(
        {
            direction: _values(finite_alphas(*pair, keep_vectors=True), name)
            for direction, pair in zip(DIRECTIONS, both, strict=True)
        }
    )


def functions_of(sources: Mapping[str, Source], reference: Source | None) -> dict[str, ApplyFn]:
    """The models of the pass by name: all that are functions, the reference first."""
    everyone = {**({} if reference is None else {REFERENCE: reference}), **sources}
    found: dict[str, ApplyFn] = {}
    for name, source in everyone.items():
        if callable(source.logits):
            found[name] = source.logits
        if callable(source.features):
            found[f"features of {name}"] = source.features
    return found


def observation(
    functions: Sequence[str], sources: Sequence[str], *, attack: AttackFn | None
) -> Measure:
    """The measure of one pass over the examples, a dict ready for `observed`.

    Args:
      functions: names of the pass's models, as `functions_of` gives them. sources: all names.
      attack: on both sides of each pair; None: small-eps alphas alone.
    """
    measures = {
        "outputs": passes.combine({name: outputs_of(name) for name in functions}),
    }
    logits = [name for name in sources if name in functions]
    if REFERENCE in functions and logits:
        names = (REFERENCE, *logits)
        pairs = [(number, 0) for number in range(1, len(names))]
        measures["linear"] = over_pairs(names, pairs, of_grams, loss=losses.l2)
        if attack is not None:
            attack = checked_attack(attack)
            measures["attack"] = passes.combine({name: of_attack(name, attack) for name in logits})
    return passes.combine(measures)


def attacked_of(values: TransferValues | Undefined) -> Attacked | Undefined:
    """What a ranking needs of the record of one direction of `of_attack` or `of_grams`."""
    if isinstance(values, Undefined):
        return values
    u, v = (np.asarray(a, np.float64) for a in (values.unit_11, values.unit_12))
    alpha1 = np.asarray(values.alpha1, np.float64)
    return Attacked(alpha1, np.asarray(values.valid, bool), (u @ u.T) * (v @ v.T))


def observed(
    name: str,
    source: Source,
    reference: Source | None,
    labels: np.ndarray,
    found: Mapping[str, Any],
    *,
    logits_names: Sequence[str],
) -> Observed:
    """What is known of one source.

    Args:
      found: the record of `observation`; {} where no model is a function.
      logits_names: of the sources whose logits are functions, in their order.

    Raises:
      ValueError, TypeError: arrays that are no numbers, of other lengths than labels, or with NaN.
    """
    outputs = found.get("outputs", {})

    def array(of: str, what: str, given: Any) -> np.ndarray | None:
        if given is None:
            return None
        if callable(given):
            return outputs[of if what == "logits" else f"features of {of}"]
        return features_of(given, name=f"{what} of {of}", count=len(labels))

    known = Observed(
        labels,
        array(name, "logits", source.logits),
        array(name, "features", source.features),
    )
    if reference is not None:
        known = known._replace(
            reference_logits=array(REFERENCE, "logits", reference.logits),
            reference_features=array(REFERENCE, "features", reference.features),
        )
    if "linear" not in found or name not in logits_names:
        return known
    linear = found["linear"][key_of((1 + list(logits_names).index(name), 0))]
    values = {"small_eps_": linear["small_eps"]}
    if "attack" in found:
        values["attack_"] = found["attack"][name]
    return known._replace(
        attacked={
            how + direction: attacked_of(of_direction)
            for how, directions in values.items()
            for direction, of_direction in directions.items()
        },
        gradients=linear["gradients"],
    )
