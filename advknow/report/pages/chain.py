"""The page of launch.chain: chain.json, every link of one pair."""

import pathlib
from collections.abc import Mapping
from typing import Any

from advknow.report import answers
from advknow.report.pages import charts, measure, parts
from advknow.report.pages.page import (
    Arrow,
    Box,
    Charts,
    Lines,
    Page,
    Picture,
    Section,
    Table,
    number,
    words,
)

FILE = "chain.json"
_MATCHES = (
    ("gradient matching", "gradient"),
    ("function matching", "function"),
    ("knowledge transfer", "knowledge"),
)


def fits(content: Mapping[str, Any]) -> bool:
    """Whether it is what launch.chain writes."""
    return {"source", "target", "chain"} <= set(content)


def page(content: Mapping[str, Any], folder: pathlib.Path) -> Page:
    """The page, of chain.json and what lies beside it."""
    of, answer = content["chain"], answers.chain(content)
    happened, kept = parts.events(folder), measure.carried(folder)
    units = (
        f"Loss {of['loss']}, n = {of['n']} examples; distances in units of |·| in H, relative to "
        "the norm of what is matched."
    )
    return Page(
        f"chain · {content['dataset']} · seed {content['seed']}",
        answer.question,
        answer.sentence,
        answer.following,
        (
            Section("The paper's picture, with what was measured", (picture(of), Lines((units,)))),
            Section("The tables", (_distances(of), _inequalities(of), measure.alphas(of))),
            Section("All attacks of the source", _attacks(of)),
            parts.spread(kept, note="Attacks in the limit of a small eps."),
            parts.audit(content["audit"], {}),
            parts.made_alone(content, folder, happened),
        ),
    )


def _short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3g}"


def _holds(of: Mapping[str, Any], theorem: str) -> str:
    found = [i for i in of["inequalities"] if i["name"] == theorem and i["guaranteed"]]
    if not found:
        return "not measured"
    slack = ", ".join(_short(i["slack"]) for i in found)
    return f"{'holds' if all(i['holds'] for i in found) else 'FAILS'}, slack {slack}"


def picture(of: Mapping[str, Any]) -> Picture:
    """alpha → (A1, A2) ↔ GMD ↔ FMD ↔ KTD, of `advknow.Chain.summary()`."""
    there, back, attacks = (
        of[name] for name in ("source_to_target", "target_to_source", "generalized")
    )
    shares, error = attacks["shares"], of["theorem1_error"]
    boxes = [
        Box(
            "α₁, α₂",
            tuple(
                f"{way} {one['alpha1']:.3f}, {_short(one['alpha2'])}"
                for way, one in (("S→T", there), ("T→S", back))
            ),
            "adversarial",
        ),
        Box(
            "A₁, A₂",
            (
                "A₁ " + ", ".join(f"{a:.2f}" for a in attacks["A1_mean"][:3])
                + (" …" if attacks["num_attacks"] > 3 else ""),
                f"ρ² {_short(attacks['rho2'])}",
            ),
            "theory",
        ),
    ]  # fmt: skip
    for title, name in _MATCHES:
        if of[name] is not None:
            lines = (f"distance {_short(of[name]['distance'])}",
                     f"relative {of[name]['relative']:.3f}")  # fmt: skip
            boxes.append(Box(title, lines, "theory" if name == "gradient" else "knowledge"))
    arrows = [
        Arrow(
            "stand for",
            (f"attack 1 of {attacks['num_attacks']}", f"{_short(shares[0])} of |∇f_T|²")
            if shares
            else (),
            both_ways=False,
        ),
        Arrow(
            "Theorem 1",
            ("an identity", "n/a" if error is None else f"to {max(error, 1e-16):.0e}"),
        ),
        Arrow("Theorem 2", (_holds(of, "Theorem 2"),)),
        Arrow("Theorem 3", (_holds(of, "Theorem 3"),)),
    ]
    return Picture(tuple(boxes), tuple(arrows[: len(boxes) - 1]))


def _distances(of: Mapping[str, Any]) -> Table:
    rows = [
        [words(title), number(of[name]["distance"], 4), number(of[name]["relative"], 4)]
        for title, name in _MATCHES
        if of[name] is not None
    ]
    return parts.table_of(["distance", "in |·|", "relative"], rows)


def _inequalities(of: Mapping[str, Any]) -> Table:
    rows = [
        [
            words(f"{i['name']}: {i['statement']}"),
            number(i["left"], 4),
            number(i["right"], 4),
            number(i["slack"], 4),
            words(
                ("holds" if i["holds"] else "FAILS")
                + ("" if i["guaranteed"] else ", not guaranteed here")
            ),
        ]
        for i in of["inequalities"]
    ]
    return parts.table_of(["inequality", "left", "right", "slack", "verdict"], rows)


def _attacks(of: Mapping[str, Any]) -> tuple[Any, ...]:
    """A1 and Theorem 1's map: each pair of attacks' share of rho²."""
    attacks = of["generalized"]
    names = [str(i + 1) for i in range(attacks["num_attacks"])]
    rows = [
        [
            number(i + 1, 0),
            number(a, 3),
            *([number(attacks["shares"][i], 4)] if attacks["shares"] else []),
        ]
        for i, a in enumerate(attacks["A1_mean"])
    ]
    header = ["attack", "A₁", *(["share of |∇f_T|²"] if attacks["shares"] else [])]
    table = parts.table_of(header, rows)
    if attacks["A2"] is None:
        return (table,)
    square = attacks["gradient_norm"] ** 2
    share = [[value / square if square > 0 else 0.0 for value in row] for row in attacks["A2"]]
    chart = charts.heat_map(
        share,
        rows=names,
        columns=names,
        label="A₂: shares of |∇f_T|²",
        row_label="attack i",
        column_label="attack j",
        signed=True,
    )
    caption = f"Theorem 1: the shares add up to ρ² = {_short(attacks['rho2'])}."
    return (table, Charts(((chart, caption),)))
