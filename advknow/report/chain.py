"""The paper's picture with measured numbers on its arrows, from `advknow.Chain.summary()`."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from advknow.report import tables

ADVERSARIAL, THEORY, KNOWLEDGE = "#ee6677", "#ccbb44", "#228833"
HEIGHT = 1.6


def _number(value: float | None, digits: int = 3) -> str:
    return "n/a" if value is None else f"{value:.{digits}g}"


def _guaranteed(chain: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [i for i in chain["inequalities"] if i["name"] == name]


def text(chain: dict[str, Any]) -> str:
    """Every link with its numbers, and the slack of each inequality, for a terminal."""
    forward, backward = chain["source_to_target"], chain["target_to_source"]
    attacks, gradient, function = chain["generalized"], chain["gradient"], chain["function"]
    lines = [
        f"The chain, loss {chain['loss']} (source attacked with {attacks['source_loss']}), "
        f"n = {chain['n']}",
        f"  alpha1   S->T {forward['alpha1']:.4f}   T->S {backward['alpha1']:.4f}",
        f"  alpha2   S->T {forward['alpha2']:.4f}   T->S {backward['alpha2']:.4f}   (norms)",
        "  A1       "
        + " ".join(f"{a:.3f}" for a in attacks["A1_mean"])
        + f"   means of the {attacks['num_attacks']} attacks of the source",
    ]
    if attacks["rho2"] is not None:
        shares = " ".join(f"{s:.3f}" for s in attacks["shares"])
        lines.append(f"  rho^2    {attacks['rho2']:.4f}   shares of |∇f_T|^2 by attack: {shares}")
    for name, match in (("GMD", gradient), ("FMD", function), ("KTD", chain["knowledge"])):
        if match is not None:
            lines.append(
                f"  {name}      {match['distance']:.6g}   relative {match['relative']:.4f}"
            )
    if chain["theorem1_error"] is not None:
        lines.append(
            f"  Theorem 1  rho^2 from the attacks and from P, S differ by "
            f"{chain['theorem1_error']:.1e}"
        )
    for i in chain["inequalities"]:
        verdict = "holds" if i["holds"] else "FAILS"
        if not i["guaranteed"]:
            verdict += " (not guaranteed for this input)"
        lines.append(
            f"  {i['name']:<10} {i['statement']}: {i['left']:.6g} <= {i['right']:.6g}, slack "
            f"{i['slack']:.3g}, {verdict}"
        )
    return "\n".join(tables.wrapped(line, hanging=11) for line in lines)


def _box(axes: Axes, x: float, title: str, body: str, colour: str, width: float = 2.3) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, -HEIGHT / 2),
            width,
            HEIGHT,
            boxstyle="round,pad=0.03,rounding_size=0.12",
            facecolor=colour + "33",
            edgecolor=colour,
            linewidth=1.5,
        )
    )
    axes.text(x, 0.42, title, ha="center", va="center", fontsize=12, fontweight="bold")
    axes.text(x, -0.22, body, ha="center", va="center", fontsize=11, linespacing=1.5)


def _arrow(axes: Axes, start: float, end: float, style: str, above: str, below: str) -> None:
    axes.add_patch(
        FancyArrowPatch(
            (start, 0.0), (end, 0.0), arrowstyle=style, mutation_scale=14, color="#333333"
        )
    )
    middle = (start + end) / 2
    axes.text(middle, 0.12, above, ha="center", va="bottom", fontsize=10, linespacing=1.3)
    axes.text(middle, -0.12, below, ha="center", va="top", fontsize=9, linespacing=1.35)


def figure(chain: dict[str, Any], *, source: str = "f_S", target: str = "f_T") -> Figure:
    """alpha -> (A1, A2) <-> GMD <-> FMD <-> KTD, each with what was measured.

    Args:
      chain: `advknow.Chain.summary()`.
      source, target: names of the models, for the title.
    """
    forward, backward = chain["source_to_target"], chain["target_to_source"]
    attacks, knowledge = chain["generalized"], chain["knowledge"]
    drawn = Figure(figsize=(16.5, 2.9), layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.subplots()
    axes.set_axis_off()
    at = [0.0, 4.1, 8.2, 12.3, 16.4]
    last = 4 if knowledge is not None else 3
    axes.set_xlim(-1.3, at[last] + 1.3)
    axes.set_ylim(-0.95, 1.3)
    _box(
        axes,
        at[0],
        r"$\alpha_1$, $\alpha_2$",
        f"S→T: {forward['alpha1']:.3f}, {forward['alpha2']:.3f}\n"
        f"T→S: {backward['alpha1']:.3f}, {backward['alpha2']:.3f}",
        ADVERSARIAL,
    )
    top = ", ".join(f"{a:.2f}" for a in attacks["A1_mean"][:3])
    _box(
        axes,
        at[1],
        r"$A_1$, $A_2$",
        f"$A_1$: {top}{' …' if attacks['num_attacks'] > 3 else ''}\n"
        rf"$\rho^2$ = {_number(attacks['rho2'])}",
        THEORY,
    )
    boxes: tuple[tuple[float, str, str, str], ...] = (
        (at[2], "gradient", "gradient matching", THEORY),
        (at[3], "function", "function matching", KNOWLEDGE),
        (at[4], "knowledge", "knowledge transfer", KNOWLEDGE),
    )
    for x, name, title, colour in boxes[: last - 1]:
        match = chain[name]
        _box(
            axes,
            x,
            title,
            f"distance {_number(match['distance'])}\nrelative {match['relative']:.3f}",
            colour,
        )
    half = 1.22
    share = attacks["shares"][0] if attacks["shares"] else None
    _arrow(
        axes,
        at[0] + half,
        at[1] - half,
        "-|>",
        "stand for",
        f"attack 1 of {attacks['num_attacks']}:\n{_number(share)} of $|\\nabla f_T|^2$",
    )
    error = chain["theorem1_error"]
    _arrow(
        axes,
        at[1] + half,
        at[2] - half,
        "<|-|>",
        "Theorem 1\nan identity",
        r"GMD/$|\nabla f_T| = \sqrt{1-\rho^2}$"
        + ("" if error is None else f"\nto {max(error, 1e-16):.0e}"),
    )
    second = _guaranteed(chain, "Theorem 2")
    _arrow(
        axes,
        at[2] + half,
        at[3] - half,
        "<|-|>",
        "Theorem 2\n" + ("holds" if all(i["holds"] for i in second) else "FAILS"),
        f"FMD {_number(second[0]['left'])} ≤ |h| {_number(second[0]['right'])}\n"
        f"≤ path {_number(second[1]['right'])}",
    )
    if knowledge is not None:
        third = _guaranteed(chain, "Theorem 3")
        _arrow(
            axes,
            at[3] + half,
            at[4] - half,
            "<|-|>",
            "Theorem 3\n" + ("holds" if all(i["holds"] for i in third) else "FAILS"),
            f"$|y-f_T|$ = {_number(chain['label_gap'])}\n"
            f"slack {', '.join(_number(i['slack'], 2) for i in third)}",
        )
    axes.text(
        (at[0] + at[1]) / 2,
        1.0,
        "adversarial transferability",
        ha="center",
        fontsize=12,
        color=ADVERSARIAL,
    )
    axes.text(
        (at[3] + at[last]) / 2,
        1.0,
        "knowledge transferability",
        ha="center",
        fontsize=12,
        color=KNOWLEDGE,
    )
    drawn.suptitle(
        f"{source} → {target}: n = {chain['n']}, loss {chain['loss']}; alpha2 as a norm, distances "
        r"in units of $|\cdot|_H$",
        fontsize=11,
    )
    return drawn


def heat_map(chain: dict[str, Any]) -> Figure:
    """Theorem 1's r x r map: each pair of attacks' share of rho^2. They sum to rho^2.

    Raises:
      ValueError: the chain has no A2 (an H that depends on x, of too many outputs).
    """
    attacks = chain["generalized"]
    if attacks["A2"] is None:
        raise ValueError("chain has no A2: its loss's H depends on x and d * m is too large.")
    square = attacks["gradient_norm"] ** 2
    share = [[value / square if square > 0 else 0.0 for value in row] for row in attacks["A2"]]
    limit = max((abs(v) for row in share for v in row), default=0.0) or 1.0
    drawn = Figure(figsize=(4.6, 4.0), layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.subplots()
    edge = len(share) + 0.5
    image = axes.imshow(
        share, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=(0.5, edge, edge, 0.5)
    )
    drawn.colorbar(image, ax=axes, label=r"share of $|\nabla f_T|^2$")
    axes.set_xlabel("attack j of the source")
    axes.set_ylabel("attack i of the source")
    axes.set_title(rf"$A_2$ as in Theorem 1; sum: $\rho^2$ = {attacks['rho2']:.3f}", fontsize=10)
    return drawn
