"""Does moving one move the other? What an alignment's weight does to alphas and to transfer.

Correlation over a zoo cannot tell cause. Here sources of one recipe and one seed differ in one
number, the weight with which their input gradients are pulled towards those of a target's reference
model or away (`training.objective.aligned`). Of every quantity: its mean over seeds by weight, and
its difference to weight 0 of the same seed, each with the interval of Student's t over seeds.
"""

import collections
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from advknow.evidence import observe
from advknow.evidence.hypotheses import LEVEL, TRUTH, TUNED
from advknow.evidence.records import Record
from advknow.evidence.zoo import ALIGNMENT, FEW, WEIGHT

Row = dict[str, Any]


class Quantity(NamedTuple):
    """What is watched: a quantity of the records, of one attack and number of labels.

    Attributes:
      quantity, attack, labels: as in the records, "" where there is none.
    """

    quantity: str
    attack: str = ""
    labels: int | str = ""


# Whether the pull did what it should, and what it cost.
CHECKS = (Quantity("source_accuracy"), Quantity(ALIGNMENT))
ALPHAS = tuple(
    Quantity(name, attack) for attack in ("small_eps", "fgsm", "pgd") for name in observe.ALPHAS
)
FEATURES = (Quantity("rho2"), Quantity("cka"))
# Which reference models: the one that the source was pulled to, and others of its target.
PULLED, OTHERS = "pulled to", "others"


def is_control(records: Iterable[Record]) -> bool:
    """Whether the records are of a control: any has a weight."""
    return any(one["quantity"] == WEIGHT for one in records)


def responses(records: Iterable[Record]) -> dict[str, Any]:
    """Everything that the control says, ready for JSON.

    Returns:
      {"level", "groups": [{"zoo", "to": target that sources were pulled to, "seeds", "weights",
      "values": rows of every quantity on every target by weight, "effects": rows of its difference
      to weight 0 of the same seed, "contrasts": rows of the difference of both truths' effects on
      that target and on the mean of the others}]}. A row says quantity, attack, labels, target (""
      of the source's own images and of contrasts), reference ("pulled to", "others", "" for none),
      weight, mean, low, high.

    Raises:
      ValueError: no weights, fewer than two seeds, a source or a value that lacks.
    """
    records = list(records)
    zoos: dict[str, list[Record]] = collections.defaultdict(list)
    for one in records:
        zoos[one["zoo"]].append(one)
    groups = [_group(zoo, of) for zoo, of in sorted(zoos.items()) if is_control(of)]
    if not groups:
        raise ValueError(f"no record of {WEIGHT}: these are not the records of a control.")
    return {"level": LEVEL, "groups": groups}


def _group(zoo: str, records: Sequence[Record]) -> Row:
    weight_of = {o["source"]: o["value"] for o in records if o["quantity"] == WEIGHT}
    (to,) = {o["target"] for o in records if o["quantity"] == WEIGHT}
    source_at = {(weight, _seed(source)): source for source, weight in weight_of.items()}
    weights, seeds = (sorted(set(of)) for of in zip(*source_at, strict=True))
    if len(seeds) < 2 or 0.0 not in weights:
        raise ValueError(
            f"zoo {zoo} has seeds {seeds} and weights {weights}; two seeds and 0 needed."
        )
    values, effects = [], []
    moved: dict[Quantity, dict[str, np.ndarray]] = collections.defaultdict(dict)
    for name, of_source in _watched(records).items():
        sources = [source_at.get((weight, seed), "") for weight in weights for seed in seeds]
        found = [of_source.get(source, []) for source in sources]
        if not found[0] or len(set(map(len, found))) > 1 or any("" in one for one in found):
            what = " / ".join(str(part) for part in name if part != "")
            raise ValueError(f"values of {what} are missing.")
        table = np.mean(np.asarray(found, float), axis=-1).reshape(len(weights), len(seeds))
        said = dict(zip(("quantity", "attack", "labels", "target", "reference"), name, strict=True))
        base = table[weights.index(0.0)]
        if said["quantity"] in (TRUTH, TUNED):
            moved[Quantity(*name[:3])][said["target"]] = table - base
        for weight, at in zip(weights, table, strict=True):
            values.append({**said, "weight": weight, **_interval(at)})
            if weight != 0:
                effects.append({**said, "weight": weight, **_interval(at - base)})
    return {
        "zoo": zoo,
        "to": to,
        "seeds": len(seeds),
        "weights": weights,
        "values": values,
        "effects": effects,
        "contrasts": [
            {**quantity._asdict(), "target": "", "reference": "", "weight": weight, **_interval(at)}
            for quantity, by_target in moved.items()
            if len(by_target) > 1
            for weight, at in zip(weights, _contrast(by_target, to), strict=True)
            if weight != 0
        ],
    }


def _contrast(by_target: dict[str, np.ndarray], to: str) -> np.ndarray:
    """What is moved on the target of the pull less the mean of the others, by weight and seed."""
    others = [moved for target, moved in by_target.items() if target != to]
    return by_target[to] - np.mean(others, axis=0)


def _seed(source: str) -> int:
    return int(source.rpartition(" ")[2])


def _watched(records: Iterable[Record]) -> dict[tuple[Any, ...], dict[str, list[Any]]]:
    """The values of every quantity that is watched by source, of all draws and reference models."""
    watched = {*CHECKS, *ALPHAS, *FEATURES}
    found: dict[tuple[Any, ...], dict[str, list[Any]]] = {}
    for one in records:
        quantity = Quantity(one["quantity"], one["attack"], one["labels"])
        if quantity not in watched and quantity.quantity not in (TRUTH, TUNED):
            continue
        if one["reference"] == FEW:
            continue
        reference = {"": "", "0": PULLED}.get(one["reference"], OTHERS)
        of_source = found.setdefault((*quantity, one["target"], reference), {})
        of_source.setdefault(one["source"], []).append(one["value"])
    return found


def _interval(values: np.ndarray) -> Row:
    """The mean over seeds and its interval, Student's t of one degree of freedom less."""
    mean = float(values.mean())
    half = float(stats.t.ppf(0.5 + LEVEL / 2, len(values) - 1) * stats.sem(values))
    return {"mean": mean, "low": mean - half, "high": mean + half}
