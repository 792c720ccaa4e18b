"""What the study found: a table a question, and the forest plot of every ranker."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from advknow.report import answers, tables
from advknow.report.figures import COLOURS

Row = Mapping[str, Any]
# By scope: what its column says.
SCOPES = {
    "all": "all targets",
    "near": "near",
    "far": "far",
    "new": "targets not tried before",
}
TRUTHS = {"probe_accuracy": "linear probe", "fine_tuned_accuracy": "full fine-tuning"}
# What is marked in the forest plot: the primary hypothesis and what it is compared with.
MARKED = {
    ("alpha1_alpha2_squared_source_to_target", "small_eps"): COLOURS[4],
    ("static", ""): "black",
    ("logme", ""): "black",
    ("cka", ""): "black",
    ("linear_probe", ""): "black",
}


def with_interval(row: Row) -> str:
    """A mean with its interval, two digits."""
    return f"{row['mean']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"


def setting_of(row: Row) -> str:
    """What a row is of, but for the scope."""
    return f"zoo {row['zoo']}, {TRUTHS[row['truth']]}, {row['labels']} labels a class"


def questions(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows by zoo, truth and number of labels."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(setting_of(row), []).append(row)
    return found


def summary(verdict: Mapping[str, Any]) -> str:
    """For a terminal: the answer, hypotheses, the tables of the first question, controls."""
    return _text(verdict, of=next(iter(questions(verdict["rankers"])), None))


def text(verdict: Mapping[str, Any]) -> str:
    """For a terminal: the answer, then every table of every question."""
    return _text(verdict)


def _text(verdict: Mapping[str, Any], of: str | None = None) -> str:
    """Of one question, or of all."""
    lines = [
        tables.wrapped(answers.evidence({"verdict": verdict}).sentence),
        "",
        tables.wrapped(f"{sizes(verdict)}."),
        f"Intervals are of {100 * verdict['level']:g} %, over targets and sources.",
        *_hypotheses(verdict),
        *_rankers(verdict, of),
        *_differences(verdict, of),
        *_partial(verdict, of),
        *_combined(verdict, of),
    ]
    if of is None:
        lines += [*_few(verdict), *_recipes(verdict), *_noise(verdict)]
    lines += ["", *(tables.wrapped(line) for line in (*undefined(verdict), *controls(verdict)))]
    return "\n".join(lines)


def sizes(verdict: Mapping[str, Any]) -> str:
    """The targets by name, and how many sources are in each zoo."""
    of_zoos = ", ".join(f"{n} sources in zoo {zoo}" for zoo, n in verdict["sources"].items())
    return f"{len(verdict['targets'])} targets ({', '.join(verdict['targets'])}); {of_zoos}"


def _hypotheses(verdict: Mapping[str, Any]) -> list[str]:
    found: dict[str, list[list[str]]] = {}
    for row in verdict["hypotheses"]:
        claim = f"{row['hypothesis']}: {row['of']}; {row['statistic']}"
        found.setdefault(claim, []).append([f"  {SCOPES[row['scope']]}", with_interval(row)])
    lines = ["", "The hypotheses, their signs positive (zoo A, linear probe)"]
    width = max((len(name) for rows in found.values() for name, _ in rows), default=0)
    for claim, rows in found.items():
        lines += [tables.wrapped(claim), *(f"{name:{width}}  {cell}" for name, cell in rows)]
    return lines


def _compact(rows: Sequence[Row]) -> tuple[list[list[str]], dict[str, Row]]:
    """A line a score, the highest mean over the first scope first: its interval, other means.

    Returns:
      the table, and the first scope's row of each score.
    """
    scopes = [scope for scope in SCOPES if any(row["scope"] == scope for row in rows)]
    of = {(row["score"], row["scope"]): row for row in rows}
    ordered = sorted(rows, key=lambda row: (row["scope"] != scopes[0], -row["mean"]))
    first = {row["score"]: row for row in ordered if row["scope"] == scopes[0]}
    table = [["", SCOPES[scopes[0]], *scopes[1:]]]
    for score in dict.fromkeys(row["score"] for row in ordered):
        others = (of.get((score, scope)) for scope in scopes[1:])
        table.append(
            [
                score,
                with_interval(first[score]) if score in first else "",
                *("" if row is None else f"{row['mean']:+.2f}" for row in others),
            ]
        )
    return table, first


_NEW = f"new: {SCOPES['new']}. The intervals of near, far and new: report.html, evidence.json."


def _rankers(verdict: Mapping[str, Any], of: str | None) -> list[str]:
    lines: list[str] = []
    for setting, rows in _chosen(verdict["rankers"], of):
        table, whole = _compact(rows)
        table[0] += ["tau", "regret", "of 3"]
        for line in table[1:]:
            row = whole.get(line[0])
            line += (
                ["", "", ""]
                if row is None
                else [f"{row['tau']:+.2f}", f"{row['regret']:.1f}", f"{row['regret_of_3']:.1f}"]
            )
        lines += ["", f"Weighted tau with {setting}", *tables.aligned(table)]
    explained = (
        f"{_NEW} tau, regret (points of accuracy lost by the first choice, by the best of the "
        "first 3): over the scope with the interval."
    )
    return [*lines, tables.wrapped(explained)]


def _chosen(rows: Sequence[Row], of: str | None) -> list[tuple[str, list[Row]]]:
    """Each question with its rows; of one if it is named."""
    return [(name, found) for name, found in questions(rows).items() if of in (None, name)]


def _long(
    rows: Sequence[Row], heading: Sequence[str], cells: Callable[[Row], list[str]]
) -> list[str]:
    """A line a row, by scope within what the first cell names."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        name, *rest = cells(row)
        found.setdefault(name, {})[row["scope"]] = rest
    table = [list(heading)]
    for name, of_scope in found.items():
        scopes = [scope for scope in SCOPES if scope in of_scope]
        for scope in scopes:
            table.append([name if scope == scopes[0] else "", SCOPES[scope], *of_scope[scope]])
    return tables.aligned(table)


def _differences(verdict: Mapping[str, Any], of: str | None) -> list[str]:
    lines: list[str] = []
    for setting, rows in _chosen(verdict["differences"], of):
        scores = {row["of"].partition(" less ")[0] for row in rows}
        lines += [
            "",
            f"Difference of weighted tau, {setting}",
            *(f"{score} less ..." for score in sorted(scores)),
            *_long(
                rows,
                ("... less", "scope", "difference", "p"),
                lambda row: [
                    row["of"].partition(" less ")[2],
                    with_interval(row),
                    f"{row['p_holm']:.3f}",
                ],
            ),
        ]
    return [*lines, "p: Holm's over the four of a scope."] if lines else []


def _partial(verdict: Mapping[str, Any], of: str | None) -> list[str]:
    lines: list[str] = []
    for setting, of_setting in _chosen(verdict["partial"], of):
        for given in dict.fromkeys(row["given"] for row in of_setting):
            rows = [row for row in of_setting if row["given"] == given]
            lines += [
                "",
                f"Partial rank correlation given {given}, {setting}",
                *_long(
                    rows, ("", "scope", "found"), lambda row: [row["score"], with_interval(row)]
                ),
            ]
    return lines


def _combined(verdict: Mapping[str, Any], of: str | None) -> list[str]:
    both, lines = "mean rank of LogME and ", []
    for setting, rows in _chosen(verdict["combined"], of):
        lines += [
            "",
            tables.wrapped(f"Weighted tau of the {both}..., and less LogME's own, {setting}"),
            *_long(
                rows,
                (f"{both}...", "scope", "tau", "less LogME's"),
                lambda row: [
                    row["score"].removeprefix(both),
                    f"{row['mean']:+.2f}",
                    with_interval(row["less_logme"]),
                ],
            ),
        ]
    return lines


def _few(verdict: Mapping[str, Any]) -> list[str]:
    alone = "Weighted tau, the reference model trained on the labelled images alone"
    lines: list[str] = []
    for setting, rows in questions(verdict["few"]).items():
        lines += ["", tables.wrapped(f"{alone}, {setting}"), *tables.aligned(_compact(rows)[0])]
    return lines


def _recipes(verdict: Mapping[str, Any]) -> list[str]:
    rows = [["mean rank, 1 is best", "linear probe", "primary score", "LogME"]]
    rows += [
        [r["recipe"], *(f"{r[name]:.2f}" for name in ("truth", "primary", "logme"))]
        for r in verdict["controls"].get("recipes", ())
    ]
    return ["", *tables.aligned(rows)] if len(rows) > 1 else []


def _noise(verdict: Mapping[str, Any]) -> list[str]:
    ceiling = [["ceiling of the truth", "scope", "one draw by another", "by the mean of others"]]
    ceiling += [
        [setting_of(r), r["scope"], f"{r['one_draw']:+.2f}", f"{r['mean_of_others']:+.2f}"]
        for r in verdict["ceiling"]
    ]
    stability = [["stability of", "zoo", "differing in", "mean weighted tau"]]
    stability += [
        [r["quantity"], r["zoo"], r["component"], f"{r['mean']:+.2f}"] for r in verdict["stability"]
    ]
    return ["", *tables.aligned(ceiling), "", *tables.aligned(stability), "", *chance(verdict)]


def chance(verdict: Mapping[str, Any]) -> list[str]:
    """The range of a random order, a line a number of sources."""
    return [
        f"Of {row['sources']} sources in random order |weighted tau| on one target is below "
        f"{row['range']:.2f} in {100 * verdict['level']:g} of 100."
        for row in verdict["null"]
    ]


def undefined(verdict: Mapping[str, Any]) -> list[str]:
    """The scores that are not defined somewhere, a line each."""
    return [
        f"not defined, and put last: {row['score']}, {row['records']} "
        f"record{'s' * (row['records'] != 1)}"
        for row in verdict["undefined"]
    ]


def controls(verdict: Mapping[str, Any]) -> list[str]:
    """What the controls say, a line each."""
    found, lines = verdict["controls"], []
    for score, ranks in found.get("copy_ranks", {}).items():
        said = ", ".join(f"{target} {rank}" for target, rank in ranks.items())
        first = sum(rank == 1 for rank in ranks.values())
        lines.append(
            f"a copy of the reference model is first by {score} on {first} of {len(ranks)} targets "
            f"(its ranks: {said})"
        )
    if twins := found.get("twins"):
        lines.append(
            f"two seeds of {twins['recipes']} recipes, by the primary score: the second's rank "
            f"less the first's is {twins['second_less_first']:+.3f} [{twins['low']:+.3f}, "
            f"{twins['high']:+.3f}], where 1 is all ranks; they are {twins['apart']:.2f} apart, "
            f"any two sources {twins['any_two_apart']:.2f}"
        )
    if shuffled := found.get("shuffled"):
        lines.append(
            f"the primary score in random order: weighted tau {shuffled['mean']:+.2f}, "
            f"{100 * verdict['level']:g} of 100 in "
            f"[{shuffled['low']:+.2f}, {shuffled['high']:+.2f}]"
        )
    return lines


def figure(verdict: Mapping[str, Any]) -> Figure:
    """The forest plot: every ranker of the primary hypothesis's zoo and truth, a panel a scope.

    Empty where no zoo has enough sources on two targets.
    """
    if not verdict["rankers"]:
        return Figure()
    setting, rows = next(iter(questions(verdict["rankers"]).items()))
    scopes = [scope for scope in SCOPES if any(row["scope"] == scope for row in rows)]
    whole = sorted((r for r in rows if r["scope"] == scopes[0]), key=lambda r: r["mean"])
    places = {row["score"]: place for place, row in enumerate(whole)}
    drawn = Figure(figsize=(3.4 + 2.4 * len(scopes), 1.8 + 0.2 * len(places)), layout="constrained")
    FigureCanvasAgg(drawn)
    panels = drawn.subplots(1, len(scopes), sharey=True, squeeze=False)[0]
    for axes, scope in zip(panels, scopes, strict=True):
        there = [row for row in rows if row["scope"] == scope]
        axes.axvline(0, color="#999999", linewidth=0.8)
        for row in there:
            colour = MARKED.get((row["quantity"], row["attack"]), COLOURS[0])
            place = places[row["score"]]
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=1.4)
            axes.plot(row["mean"], place, "o", color=colour, markersize=4)
        axes.set_xlim(-1.05, 1.05)
        axes.set_title(f"{SCOPES[scope]}, {there[0]['targets']} targets", fontsize=10)
        axes.grid(alpha=0.25)
    panels[0].set_yticks(range(len(places)), list(places), fontsize=8, parse_math=False)
    for label, row in zip(panels[0].get_yticklabels(), whole, strict=True):
        label.set_color(MARKED.get((row["quantity"], row["attack"]), "#555555"))
    panels[0].set_ylim(-0.7, len(places) - 0.3)
    drawn.supxlabel(f"weighted tau with {setting}; bars: {100 * verdict['level']:g} %", fontsize=9)
    return drawn
