"""What pages of several kinds have: examples, spread, training, audit, how it was made."""

import base64
import datetime
import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.image import imsave

from advknow.report import tables
from advknow.report.pages import charts
from advknow.report.pages.page import (
    Cell,
    Charts,
    Example,
    Examples,
    Facts,
    Lines,
    Listing,
    Section,
    Table,
    number,
    words,
)
from advknow.runs import gallery, journal
from advknow.runs.files import CONFIG
from advknow.runs.gallery import Carried

# A page stays small: images are shown with at most so many pixels a side, of so many attacks.
LARGEST_SIDE, MOST_ATTACKS = 64, 8
# More rows or lines than this nobody can tell apart.
MOST_SERIES = 30
# A cell of the example's quantile.
_PERCENT = tuple(f"{100 * q:g} %" for q in gallery.QUANTILES)


def events(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The journal of a run, [] where there is none."""
    path = folder / journal.FILE
    return journal.read(path) if path.exists() else []


def spread(carried: Sequence[Carried], *, note: str) -> Section:
    """How alpha1 spreads over the examples, a row an attack.

    Args:
      carried: what the run kept. note: which attack is carried where.
    """
    title = "How alpha1 spreads over the examples"
    if not carried:
        return Section(title, (Lines((_NOT_KEPT,)),))
    shown = carried[:MOST_SERIES]
    chart = charts.spread({one.name: one.alpha1 for one in shown}, label="alpha1")
    caption = (
        "Each row: a histogram; the dot is the median, the thick line holds half of the examples, "
        "the thin one nine in ten. Examples without a defined alpha1 are left out. " + note
    )
    if len(shown) < len(carried):
        caption += f" The first {len(shown)} of {len(carried)} are shown."
    return Section(title, (Charts(((chart, caption),)),))


_NOT_KEPT = (
    "This run kept no single examples: it was made by an earlier version, or its gallery.npz is "
    "gone."
)


def examples(carried: Sequence[Carried]) -> Section:
    """Examples chosen by `gallery.RULE`, their perturbation and both models' predictions."""
    title = "Examples"
    with_images = [one for one in carried if len(one.indices) and _is_image(one.x)]
    if not with_images:
        return Section(title, ())
    shown = with_images[:MOST_ATTACKS]
    largest = max(float(np.abs(one.delta).max()) for one in shown)
    # Rounded down to two digits: the largest perturbation still fits between black and white.
    factor = float(f"{0.5 / largest:.1e}") if largest > 0 else 1.0
    factor = factor * 0.9 if factor * largest > 0.5 else factor
    notes = [
        f"Chosen by a rule: {gallery.RULE}.",
        f"The perturbation is shown {factor:.3g} times as large, about mid-grey (grey: unchanged); "
        "clean and attacked images are as they are.",
    ]
    if max(one.x.shape[1:3] for one in shown) > (LARGEST_SIDE, LARGEST_SIDE):
        notes.append(
            f"Images are shown with at most {LARGEST_SIDE} pixels a side, every so-many-th."
        )
    if len(shown) < len(with_images):
        notes.append(f"The first {len(shown)} of {len(with_images)} are shown.")
    groups = tuple(
        Examples(
            f"The attack on {one.attacked}, carried to {one.receiving}",
            tuple(_example(one, k, factor) for k in range(len(one.indices))),
        )
        for one in shown
    )
    return Section(title, (Lines(tuple(notes)), *groups))


def _is_image(x: np.ndarray) -> bool:
    return x.ndim == 4 and x.shape[-1] in (1, 3)


def _example(one: Carried, k: int, factor: float) -> Example:
    names = ("clean", f"× {factor:.3g}", "attacked")
    of_labels = one.classes[2]
    images = (one.x[k], 0.5 + factor * one.delta[k], one.x[k] + one.delta[k])
    lines = (
        f"class {_class(of_labels, one.label[k])}",
        f"alpha1 {one.alpha1[one.indices[k]]:.3f}"
        + (f" ({_PERCENT[k]})" if len(one.indices) == len(_PERCENT) else ""),
    )
    models = (one.attacked, one.receiving)
    predictions = tuple(
        (model, *(_class(one.classes[m], one.predicted[k, m, after]) for after in (0, 1)))
        for m, model in enumerate(models)
    )
    uris = tuple((name, _png(image)) for name, image in zip(names, images, strict=True))
    return Example(uris, lines, predictions)  # type: ignore[arg-type]


def _class(names: Sequence[str], i: Any) -> str:
    """The name of output i, or its number where it has none."""
    return str(names[int(i)]) if int(i) < len(names) else f"output {int(i)}"


def _png(image: np.ndarray) -> str:
    """(H, W, 1 or 3) in [0, 1], clipped, as a PNG in a data URI."""
    step = -(-max(image.shape[:2]) // LARGEST_SIDE)
    levels = np.rint(255 * np.clip(image[::step, ::step], 0.0, 1.0)).astype(np.uint8)
    buffer = io.BytesIO()
    imsave(buffer, np.broadcast_to(levels, (*levels.shape[:2], 3)), format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def training(happened: Sequence[Mapping[str, Any]]) -> Section:
    """Loss and validation accuracy by epoch, of each training in the journal."""
    kept: dict[str, dict[int, Mapping[str, Any]]] = {}
    for event in happened:
        if event["kind"] == "epoch":
            kept.setdefault(event["stage"].removeprefix("train "), {})[event["epoch"]] = event
    kept = dict(list(kept.items())[:MOST_SERIES])
    if not kept:
        return Section("Training", ())

    def line(of: Mapping[int, Mapping[str, Any]], name: str, scale: float) -> tuple[list, list]:
        known = [epoch for epoch in sorted(of) if of[epoch].get(name) is not None]
        return known, [scale * of[epoch][name] for epoch in known]

    losses = {name: line(of, "loss", 1.0) for name, of in kept.items()}
    right = {name: line(of, "validation_accuracy", 100.0) for name, of in kept.items()}
    drawn = [
        (charts.curves(losses, x_label="epoch", y_label="training loss", logarithmic=True), "")
    ]
    if all(epochs for epochs, _ in right.values()):
        label = "validation accuracy, %"
        drawn.append((charts.curves(right, x_label="epoch", y_label=label), ""))
    return Section("Training", (Charts(tuple(drawn), tuple(kept)),))


def audit(
    audits: Mapping[str, Mapping[str, Any]], findings: Mapping[str, list[dict[str, Any]]]
) -> Section:
    """What the audit of the models and the measurements themselves say against the numbers."""
    of_models = [line.removeprefix("audit: ") for line in tables.audit(audits)]
    of_alphas = [line.removeprefix("finding: ") for line in tables.findings(findings)]
    if audits and not any(found["findings"] for found in audits.values()):
        looked = next(iter(audits.values()))
        checks = ", ".join(name.replace("_", " ") for name in looked["values"])
        of_models = [
            f"Nothing was found in {len(audits)} models ({', '.join(audits)}), each looked at on "
            f"{looked['n']} examples for: {checks}."
        ]
    said = [f"The alphas: {line}" for line in of_alphas]
    if findings and not of_alphas:
        said = ["The alphas: nothing speaks against them (few are above 1, few are left out)."]
    return Section("Can the numbers be trusted?", (Lines((*of_models, *said)),) if audits else ())


def made(
    folder: pathlib.Path,
    happened: Sequence[Mapping[str, Any]],
    *,
    command: str,
    seed: Any,
    versions: Mapping[str, str],
    seconds: Mapping[str, float],
) -> Section:
    """Command, seed, machine, versions, times, and the settings as they are in the workdir."""
    begun = [event["time"] for event in happened if event["kind"] == "start"]
    facts = [("command", command or "not kept"), ("seed", str(seed))]
    if begun:
        facts.append(("started", _when(begun[0])))
        facts.append(("ended", _when(happened[-1]["time"])))
    if seconds:
        facts.append(("time", f"{_duration(sum(seconds.values()))}, stage by stage below"))
    facts += [
        ("device", f"{versions['device']}, {versions['cores']} cores"),
        ("platform", versions["platform"]),
        (
            "versions",
            ", ".join(
                f"{name} {version}"
                for name, version in versions.items()
                if name not in ("device", "cores", "platform")
            ),
        ),
    ]
    stages = tuple(
        (words(stage), number(float(took), 1))
        for stage, took in seconds.items()
        if took > 0 or len(seconds) < MOST_SERIES
    )
    parts: list[Any] = [Facts(tuple(facts))]
    if stages:
        parts.append(Listing("Seconds by stage", _aligned(stages)))
    config = folder / CONFIG
    if config.exists():
        content = json.loads(config.read_text(encoding="utf-8"))
        parts.append(Listing("All settings (config.json)", json.dumps(content, indent=2)))
    return Section("How it was made", tuple(parts))


def made_alone(
    content: Mapping[str, Any], folder: pathlib.Path, happened: Sequence[Mapping[str, Any]]
) -> Section:
    """`made` of a single command: its seed is in config.json, its command in the journal.

    Args:
      content: of the file that the run ended with, with its versions.
      folder: the workdir. happened: its journal.
    """
    config = folder / CONFIG
    settings = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
    commands = [event.get("command", "") for event in happened if event["kind"] == "start"]
    return made(
        folder,
        happened,
        command=commands[-1] if commands else "",
        seed=settings.get("seed", "not kept"),
        versions=content["versions"],
        seconds=journal.seconds(happened),
    )


def made_study(
    content: Mapping[str, Any], folder: pathlib.Path, happened: Sequence[Mapping[str, Any]]
) -> Section:
    """`made` of launch.evidence, of a study or of the records of several.

    Args:
      content: of evidence.json. folder: the workdir. happened: its journal.
    """
    return made(
        folder,
        happened,
        command=content["command"],
        seed="each source, reference model and draw has its own, in the settings below"
        if "settings" in content
        else "of the runs whose records these are",
        versions=content["versions"],
        seconds=journal.seconds(happened),
    )


def _aligned(rows: Sequence[tuple[Cell, Cell]]) -> str:
    width = max(len(name.text) for name, _ in rows)
    last = max(len(value.text) for _, value in rows)
    return "\n".join(f"{name.text:<{width}}  {value.text:>{last}}" for name, value in rows)


def _when(time: float) -> str:
    return f"{datetime.datetime.fromtimestamp(time, datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def table_of(
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    caption: str = "",
    *,
    folded: bool = False,
) -> Table:
    """A table of lists."""
    return Table(tuple(header), tuple(map(tuple, rows)), caption, folded)
