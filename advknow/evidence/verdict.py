"""What the records say: every hypothesis of `design`, every ranker, whatever comes out.

A ranker is judged as a user has it: one draw of labelled images, one reference model. Its weighted
tau with the mean truth over draws, and the influence of every source on it, are averaged over these
setups (draw i with the reference model of seed i).
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from advknow.evidence import hypotheses
from advknow.evidence.hypotheses import (
    CKA,
    COMPARED,
    LEVEL,
    LOGME,
    POSTER,
    PRIMARY,
    SIZE,
    SOURCE_ACCURACY,
    TRUTH,
    Ranker,
)
from advknow.evidence.questions import Question, Row, interval_of
from advknow.evidence.questions import questions as questions_of
from advknow.evidence.rankings import Rankings, Setup, title
from advknow.evidence.records import Record
from advknow.statistics import agreement, choices, intervals, tau
from advknow.statistics.holm import holm
from advknow.statistics.intervals import Jackknife
from advknow.statistics.null import null_range
from advknow.statistics.partial import mean_rank, scaled_ranks

SHUFFLES = 100


def verdict(records: Iterable[Record]) -> dict[str, Any]:
    """Everything that the study says, ready for JSON.

    Returns:
      lists of rows by table: "rankers", "few" (the reference model of the labelled images alone),
      "hypotheses", "differences", "partial", "combined", "ceiling", "stability", "controls",
      "null", "undefined". A row says zoo, truth, labels and scope, and where it has an interval
      mean, low and high.

    Raises:
      ValueError: records that lack a pair, or hold NaN.
    """
    of = Rankings(records)
    questions = list(questions_of(of))
    main = [q for q in questions if _is_main(q, of)]
    # The jackknife of a partial correlation takes minutes of all.
    fewest = [q for q in questions if q.labels == of.labels(q.truth, q.zoo)[0]]
    return {
        "level": LEVEL,
        "targets": list(of.targets),
        "sources": {zoo: len(of.sources[zoo]) for zoo in of.zoos()},
        "rankers": [_ranker(q, r) for q in questions for r in of.rankers(q.zoo) if q.having(r)],
        "few": [
            {**_ranker(q, r, few=True), "reference": "few"}
            for q in main
            for r in of.rankers(q.zoo)
            if of.of_reference(r, q.zoo) and q.having(r, few=True)
        ],
        "hypotheses": [row for q in main for row in _hypotheses(q)],
        "differences": [row for q in questions for row in differences(q)],
        "partial": [row for q in fewest for row in _partial(of, q)],
        "combined": [row for q in questions for row in _combined(q)],
        "ceiling": [_ceiling(of, q) for q in questions if len(q.setups) > 1],
        "stability": _stability(of),
        "controls": _controls(of, main),
        "null": [
            {"sources": n, "range": null_range(n, seed=0, level=LEVEL)}
            for n in sorted({len(of.sources[zoo]) for zoo in of.zoos()})
        ],
        "undefined": [
            {"score": title(ranker), "records": count}
            for ranker, count in sorted(of.undefined.items())
        ],
    }


def _is_main(q: Question, of: Rankings) -> bool:
    """Of the primary hypothesis: zoo A, the probe, the fewest labels."""
    return (q.zoo, q.truth, q.labels) == ("A", TRUTH, of.labels(TRUTH, "A")[0])


def _ranker(q: Question, ranker: Ranker, *, few: bool = False) -> Row:
    view, setups = q.view, q.having(ranker, few=few)
    scored = [q.values(ranker, setup) for setup in setups]

    def over(statistic: Callable[..., np.ndarray], **how: Any) -> float:
        found = [statistic(s, view.truth, present=view.present, **how) for s in scored]
        return float(np.mean(found))

    return {
        **q.name(),
        "score": title(ranker),
        "quantity": ranker.quantity,
        "attack": ranker.attack,
        **interval_of(q.weighted(ranker, few=few)),
        "tau": over(tau.tau),
        "regret": over(choices.regret),
        "regret_of_3": over(choices.regret, first=3),
        "setups": len(setups),
    }


def _difference(a: Jackknife, b: Jackknife) -> Row:
    found = intervals.difference(a, b, level=LEVEL)
    return {"mean": found.mean, "low": found.low, "high": found.high, "p_value": found.p_value}


def _hypotheses(q: Question) -> list[Row]:
    """The three, with their intervals; the sign of all is positive."""
    rows = [{**q.name(), "hypothesis": "primary", "of": title(PRIMARY), "statistic": "weighted tau",
             **interval_of(q.weighted(PRIMARY))}]  # fmt: skip
    if q.scope == "far":
        given = (LOGME, SOURCE_ACCURACY)
        wide = q.of.view(q.truth, q.zoo, q.labels, q.scope, least=len(given) + 4)
        if wide is not None:
            apart = Question(q.of, q.zoo, q.truth, q.labels, q.scope, wide)
            own, cka = (apart.partial(one, given) for one in (PRIMARY, CKA))
            second = {**apart.name(), "hypothesis": "second"}
            rows += [
                {
                    **second,
                    "of": title(PRIMARY),
                    "statistic": "partial rank correlation, given LogME and source accuracy",
                    **interval_of(own),
                },
                {
                    **second,
                    "of": f"{title(PRIMARY)} less CKA",
                    "statistic": "difference of these partial rank correlations",
                    **_difference(own, cka),
                },
            ]
        rows.append(
            {
                **q.name(),
                "hypothesis": "second",
                "of": f"mean rank of {title(PRIMARY)} and LogME, less LogME",
                "statistic": "difference of weighted tau",
                **_difference(_with_logme(q, PRIMARY), q.weighted(LOGME)),
            }
        )
    rows += [
        {
            **q.name(),
            "hypothesis": f"third, {experiment}",
            "of": title(ranker),
            "statistic": "weighted tau",
            **interval_of(q.weighted(ranker)),
        }
        for experiment, ranker in POSTER.items()
    ]
    return rows


def _with_logme(q: Question, ranker: Ranker) -> Jackknife:
    def scored(setup: Setup) -> np.ndarray:
        both = [q.values(one, setup) for one in (LOGME, ranker)]
        return mean_rank(both, present=q.view.present)

    return q.averaged(scored, q.having(ranker))


def differences(q: Question) -> list[Row]:
    """The primary score less each of `COMPARED`, with Holm's correction over them."""
    found = [
        {
            **q.name(),
            "of": f"{title(PRIMARY)} less {title(other)}",
            **_difference(q.weighted(PRIMARY), q.weighted(other)),
        }
        for other in COMPARED
    ]
    adjusted = holm(np.array([row["p_value"] for row in found]))
    return [{**row, "p_holm": float(p)} for row, p in zip(found, adjusted, strict=True)]


def _partial(of: Rankings, q: Question) -> list[Row]:
    rows = []
    for given in ((SOURCE_ACCURACY, SIZE), (LOGME,)):
        view = of.view(q.truth, q.zoo, q.labels, q.scope, least=len(given) + 4)
        if view is None:
            continue
        wide = Question(of, q.zoo, q.truth, q.labels, q.scope, view)
        rows += [
            {
                **wide.name(),
                "score": title(ranker),
                "given": " and ".join(map(title, given)),
                **interval_of(wide.partial(ranker, given)),
            }
            for ranker in dict.fromkeys((PRIMARY, *POSTER.values(), Ranker("rho2"), CKA, LOGME))
            if ranker not in given
        ]
    return rows


def _combined(q: Question) -> list[Row]:
    rankers = dict.fromkeys((PRIMARY, *POSTER.values(), Ranker("rho2"), CKA))
    return [
        {
            **q.name(),
            "score": f"mean rank of LogME and {title(ranker)}",
            **interval_of(with_logme),
            "less_logme": _difference(with_logme, q.weighted(LOGME)),
        }
        for ranker in rankers
        for with_logme in [_with_logme(q, ranker)]
    ]


def _ceiling(of: Rankings, q: Question) -> Row:
    truths = of.truths(q.truth, q.zoo, q.labels)[:, q.view.rows]
    one, rest = agreement.ceiling(truths, present=q.view.present)
    return {**q.name(), "one_draw": float(one.mean()), "mean_of_others": float(rest.mean())}


def _stability(of: Rankings) -> list[Row]:
    """Mean weighted tau between rankings of setups that differ in one component."""
    rows: list[Row] = []
    for zoo in of.zoos():
        count, labels = of.draws(TRUTH, zoo), of.labels(TRUTH, zoo)
        product = PRIMARY.quantity
        of_alphas = {
            (attack, i): of.values(Ranker(product, attack), zoo, Setup(labels[0], i))
            for attack in ("small_eps", "fgsm", "pgd")
            for i in range(count)
        }
        rows += _stable(zoo, product, of_alphas, ("attack", "reference model"))
        for ranker in (LOGME, hypotheses.PROBE):
            setups = {
                (n, i): of.values(ranker, zoo, Setup(n, i))
                for n in labels
                for i in range(count)
                if of.has(ranker, zoo, Setup(n, i))
            }
            rows += _stable(zoo, ranker.quantity, setups, ("labels", "draw"))
        for ranker in (CKA, Ranker("rho2")):
            found = {(i,): of.values(ranker, zoo, Setup(labels[0], i)) for i in range(count)}
            rows += _stable(zoo, ranker.quantity, found, ("reference model",))
    return rows


def _stable(zoo: str, quantity: str, setups: Any, components: Sequence[str]) -> list[Row]:
    varying = [i for i in range(len(components)) if len({setup[i] for setup in setups}) > 1]
    setups = {tuple(setup[i] for i in varying): values for setup, values in setups.items()}
    # A ranking by one setup is the truth of another here, and may not be the same for all sources.
    whole = np.min([np.ptp(values, axis=1) > 0 for values in setups.values()], axis=0)
    kept = {setup: values[whole] for setup, values in setups.items()}
    if not whole.any() or not varying:
        return []
    found = agreement.stability(kept, [components[i] for i in varying])
    return [
        {"zoo": zoo, "quantity": quantity, "component": name, "mean": float(of.mean())}
        for name, of in found.items()
    ]


def _controls(of: Rankings, main: Sequence[Question]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "A" not in of.sources:
        return found
    setup = Setup(of.labels(TRUTH, "A")[0], 0)
    if "control" in of.sources:
        found["copy_ranks"] = {
            title(ranker): {
                target: int(1 + np.sum(values > copy))
                for target, values, (copy,) in zip(
                    of.targets,
                    of.values(ranker, "A", setup),
                    of.values(ranker, "control", setup),
                    strict=True,
                )
            }
            for ranker in (PRIMARY, Ranker("rho2"), CKA)
        }
    found["recipes"] = _recipes(of, setup.labels)
    found["twins"] = _twins(of, setup)
    whole = [q for q in main if q.scope == "all"]
    if whole:
        found["shuffled"] = _shuffled(whole[0])
    return found


def _recipes(of: Rankings, labels: int) -> list[Row]:
    """Mean ranks of every recipe's sources over targets, 0 to 1, by the truth, lowest first."""
    names = of.sources["A"]

    def ranks(found: Sequence[np.ndarray]) -> np.ndarray:
        every = [scaled_ranks(values, np.ones(values.shape, bool)) for values in found]
        return np.mean(every, axis=(0, 1))

    setups = [Setup(labels, draw) for draw in range(of.draws(TRUTH, "A"))]
    by = {
        "truth": ranks([of.truth(TRUTH, "A", labels)]),
        "primary": ranks([of.values(PRIMARY, "A", setup) for setup in setups]),
        "logme": ranks([of.values(LOGME, "A", setup) for setup in setups]),
    }
    members: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        members.setdefault(name.rpartition(" ")[0], []).append(i)
    rows = [
        {"recipe": recipe, **{name: float(found[of_it].mean()) for name, found in by.items()}}
        for recipe, of_it in members.items()
    ]
    return sorted(rows, key=lambda row: row["truth"])


def _twins(of: Rankings, setup: Setup) -> Row:
    """Two seeds of a recipe: their difference in rank, of all ranks, 0 to 1, by the primary."""
    ranks = scaled_ranks(values := of.values(PRIMARY, "A", setup), np.ones(values.shape, bool))
    names = of.sources["A"]
    pairs = [
        (names.index(one), names.index(other))
        for one, other in itertools.combinations(names, 2)
        if one.rpartition(" ")[0] == other.rpartition(" ")[0]
    ]
    if len(pairs) < 2:
        return {}
    signed = np.array([np.mean(ranks[:, b] - ranks[:, a]) for a, b in pairs])
    half = stats.t.ppf(0.5 + LEVEL / 2, len(pairs) - 1) * stats.sem(signed)
    every = itertools.combinations(range(len(names)), 2)
    return {
        "recipes": len(pairs),
        "second_less_first": float(signed.mean()),
        "low": float(signed.mean() - half),
        "high": float(signed.mean() + half),
        "apart": float(np.mean([np.abs(ranks[:, b] - ranks[:, a]).mean() for a, b in pairs])),
        "any_two_apart": float(
            np.mean([np.abs(ranks[:, b] - ranks[:, a]).mean() for a, b in every])
        ),
    }


def _shuffled(q: Question) -> Row:
    """The primary score with the sources of every target in random order."""
    values, rng = q.values(PRIMARY, q.setups[0]), np.random.default_rng(0)
    means = [
        tau.weighted_tau(rng.permuted(values, axis=1), q.view.truth, present=q.view.present).mean()
        for _ in range(SHUFFLES)
    ]
    low, high = np.quantile(means, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return {"mean": float(np.mean(means)), "low": float(low), "high": float(high)}
