"""Every source beside every reference model of a target, in one pass over its images.

The reference models are in one pass together: the attack on a source and its Jacobian are the same
beside each of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advknow import data, losses, passes
from advknow.all_pairs.measure import key_of, over_pairs
from advknow.alphas import Perturbation
from advknow.alphas.finite import Moved
from advknow.alphas.small_eps import DIRECTIONS
from advknow.data import DatasetSplits
from advknow.evidence import records
from advknow.evidence.design import Source, Study, Target
from advknow.evidence.labelled import value
from advknow.evidence.records import Record
from advknow.evidence.zoo import Trained
from advknow.passes import Batch, Measure, Need, Totals, devices, keys
from advknow.ranking.observed import Observed, attacked_of, of_attack, of_grams, outputs_of
from advknow.runs.session import Session, measured
from advknow.typing import AttackFn

# The control of the zoo "control": the first reference model as a source of its own target.
COPY = "copy of the reference"
# Of pairs of models alone, beside every reference: names in `ranking.SCORES`.
OF_PAIRS = ("rho2", "gmd", "fmd", "cka", "rsa")
ALPHAS = tuple(
    f"{alpha}_{direction}"
    for direction in DIRECTIONS
    for alpha in ("alpha1", "alpha2_squared", "alpha1_alpha2_squared")
)
SUCCESS = "attack_success"


def _features(name: str) -> str:
    return f"features of {name}"


def _carried(source: str, reference: str, attack: AttackFn) -> Measure:
    """Share of the images on which a carried attack changes the class that is predicted.

    The mean of both directions, each model beside its own prediction: the similarity of Hwang et
    al. (ECCV 2024), which is monotone in it, for models of different classes.
    """
    moved = [(of, by) for of, by in ((reference, source), (source, reference))]
    needs = [(Moved(of), Moved(of, Perturbation(by, attack))) for of, by in moved]

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        changed = 0.0
        for pair in needs:
            before, after = (devices.fetch(found[need])[: batch.count].argmax(1) for need in pair)
            changed += float(np.sum(before != after)) / 2
        return Totals({"n": np.float64(batch.count), "changed": np.float64(changed)}, None)

    return Measure(
        needs=tuple(need for pair in needs for need in pair),
        zero=lambda shapes: Totals({"n": np.float64(0), "changed": np.float64(0)}, None),
        of_batch=of_batch,
        record=lambda totals, shapes: float(totals.sums["changed"] / totals.sums["n"]),
    )


def measure(
    sources: Sequence[str], references: Sequence[str], attacks: Mapping[str, AttackFn]
) -> Measure:
    """The measure of the pass; models and their features ("features of NAME") are its functions."""
    names = (*references, *sources)
    pairs = [(len(references) + s, r) for s in range(len(sources)) for r in range(len(references))]
    everything = [*names, *map(_features, names)]
    by_attack = {
        name: passes.combine(
            {
                key_of((s, r)): passes.combine(
                    {
                        "alphas": of_attack(names[s], attack, reference=names[r]),
                        "success": _carried(names[s], names[r], attack),
                    }
                )
                for s, r in pairs
            }
        )
        for name, attack in attacks.items()
    }
    return passes.combine(
        {
            "outputs": passes.combine({name: outputs_of(name) for name in everything}),
            "linear": over_pairs(names, pairs, of_grams, loss=losses.l2),
            "attacks": passes.combine(by_attack),
        }
    )


def observed(
    session: Session,
    sources: Mapping[Source, Trained],
    references: Mapping[str, Trained],
    target: Target,
    parts: DatasetSplits,
    study: Study,
) -> None:
    """The records of every source on one target; the pass is made where any of them lacks.

    Args:
      sources: of the shard; all of them are in the pass, so that it is the same when it goes on.
      references: the target's own models, by name.
    """
    everyone = dict(sources)
    if not _lacking(session, everyone, target):
        return
    names = {source: source.name for source in everyone}
    reference_names = {name: f"{target.name} reference {name}" for name in references}
    models = {reference_names[name]: of for name, of in references.items()}
    models |= {names[source]: of for source, of in everyone.items()}
    functions = {name: of.model.bind(of.variables) for name, of in models.items()}
    functions |= {_features(n): of.model.bind_features(of.variables) for n, of in models.items()}
    seed = keys.stage_seed(study.seed, f"observed/{target.name}")
    chosen = data.take_balanced(parts.train, study.num_examples, seed=seed)
    attacks = {name: named.make() for name, named in study.attacks().items()}
    found = measured(
        session,
        f"observe {target.name} by {len(names)} from {next(iter(names.values()))}",
        measure(tuple(names.values()), tuple(reference_names.values()), attacks),
        functions,
        chosen.pixels(),
        key=keys.of_stage(study.seed, f"attack/{target.name}"),
        batch_size=study.batch_size,
    )
    for number, source in enumerate(everyone):

        def make(source: Source = source, number: int = number) -> list[Record]:
            lines = []
            for r, (reference, name) in enumerate(reference_names.items()):
                pair = key_of((len(references) + number, r))
                lines += _of_pair(found, pair, (names[source], name), chosen.labels, attacks)(
                    source, target, reference
                )
            return lines

        records.kept(session, "observed", f"{target.name} by {source.name}", make)


def _lacking(session: Session, sources: Mapping[Source, Trained], target: Target) -> bool:
    return not all(
        records.path_of(session, "observed", f"{target.name} by {source.name}").exists()
        for source in sources
    )


def _of_pair(
    found: Mapping[str, Any],
    pair: str,
    names: tuple[str, str],
    labels: np.ndarray,
    attacks: Mapping[str, AttackFn],
):
    """What is known of a source beside a reference, as a function to records."""
    outputs, linear = found["outputs"], found["linear"][pair]
    known = Observed(
        labels,
        outputs[names[0]],
        outputs[_features(names[0])],
        outputs[names[1]],
        outputs[_features(names[1])],
        {
            f"small_eps_{direction}": attacked_of(of_direction)
            for direction, of_direction in linear["small_eps"].items()
        },
        linear["gradients"],
    )

    def lines(source: Source, target: Target, reference: str) -> list[Record]:
        def line(quantity: str, number: float | None, attack: str = "") -> Record:
            return records.record(
                source,
                target,
                quantity,
                number,
                n=len(labels),
                reference=reference,
                attack=attack,
            )

        written = [line(name, value(name, known)) for name in OF_PAIRS]
        if reference == "0":
            # It needs no reference model: once is enough.
            written.append({**line("ktd", value("ktd", known)), "reference": ""})
        written += [line(name, value(f"small_eps_{name}", known), "small_eps") for name in ALPHAS]
        for attack in attacks:
            of_attack = found["attacks"][attack][pair]
            with_attack = known._replace(
                attacked={
                    f"attack_{direction}": attacked_of(of_direction)
                    for direction, of_direction in of_attack["alphas"].items()
                }
            )
            written += [line(name, value(name, with_attack), attack) for name in ALPHAS]
            written.append(line(SUCCESS, of_attack["success"], attack))
        return written

    return lines
