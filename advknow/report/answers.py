"""What each kind of run asked, the answer in one sentence, and what to do next.

The same sentence stands on a run's page and on the terminal.
"""

import pathlib
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from advknow.evidence import hypotheses
from advknow.evidence.control import PULLED
from advknow.evidence.rankings import title
from advknow.experiments.results import Results
from advknow.experiments.stages import source_folder

QUESTIONS = {
    "adv2know": "Does attacking tell what a model can teach?",
    "know2adv": "Does what a model can teach tell how attacks transfer?",
    "control": "Does moving one move the other?",
    "evidence": "Does adversarial transferability tell what a model can teach?",
}
# Two-sided; a correlation above it is no answer.
LEVEL = 0.05


class Answer(NamedTuple):
    """A run in words.

    Attributes:
      question: what it asked. sentence: the answer.
      following: what to do next: why, and a command or "".
    """

    question: str
    sentence: str
    following: tuple[tuple[str, str], ...]

    def lines(self) -> list[str]:
        """What to do next, for a terminal; a command is a line of its own."""
        return [
            line for why, command in self.following for line in (f"next: {why}", command) if line
        ]


def _correlation(found: Mapping[str, float]) -> str:
    return f"Pearson {found['pearson']:+.2f}, p = {found['pearson_p']:.3f}"


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def _verdict(results: Results) -> str:
    """What the correlations of the alphas with knowledge transfer say."""
    names = {name: how.in_words for name, how in results.columns(table="alphas").items()}
    found = {name: c for name, c in results.correlations().items() if name in names}
    defined = {name: c for name, c in found.items() if c is not None}
    rows = len(results.rows)
    if not defined:
        return f"It cannot be told: {rows} sources give no correlation"
    sure = {name: c for name, c in defined.items() if c["pearson_p"] < LEVEL}
    if not sure:
        first, c = next(iter(defined.items()))
        return (
            f"Not shown by these {rows} sources and one seed: no alpha's correlation with "
            f"knowledge transfer reaches p = {LEVEL:g} ({names[first]}: {_correlation(c)})"
        )
    told = _listed([f"{names[name]} ({_correlation(c)})" for name, c in sure.items()])
    rising = [c["pearson"] > 0 for c in sure.values()]
    head = "Yes" if all(rising) else "Both ways" if any(rising) else "The reverse"
    return (
        f"{head}, for these {rows} sources and one seed: of {len(defined)} alphas, {told} "
        f"{'go' if len(sure) > 1 else 'goes'} with knowledge transfer"
    )


def experiment(results: Results, workdir: str | pathlib.Path = "runs/again") -> Answer:
    """Of adv2know, know2adv, or an experiment of your own.

    Args:
      results: of the run. workdir: where it is; what to do next names folders beside it.
    """
    best = max(results.rows, key=lambda row: row["knowledge_transfer"])
    strongest = max(results.rows, key=lambda row: row["alpha1"])
    name = best["source"]
    sentence = (
        f"{_verdict(results)}; {name} teaches best ({best['knowledge_transfer']:.1f} %), "
        + ("and has" if strongest is best else f"{strongest['source']} has")
        + f" the largest alpha1 ({strongest['alpha1']:.3f})."
    )
    folder = pathlib.Path(workdir)
    following = []
    beyond = [source for source, found in results.findings.items() if found]
    if beyond:
        following.append(
            (
                f"the alphas of {_listed(beyond)} are not to be trusted (the findings say why); "
                "where alpha1 > 1, let attacks raise what alpha1 is evaluated in:",
                _again(results.command, f"{folder}-deviation", objective="output_deviation"),
            )
        )
    following.append(
        (
            "one seed is weak evidence; another one, into another folder:",
            _again(results.command, f"{folder}-seed-{results.seed + 1}", seed=results.seed + 1),
        )
    )
    chain = _command(
        "chain",
        source=source_folder(folder, name),
        target=folder / "target",
        workdir=f"{folder}-chain",
    )
    following.append((f"how {name} and the target hang together, link by link:", chain))
    question = QUESTIONS.get(
        results.experiment, "Do adversarial and knowledge transferability go together?"
    )
    return Answer(question, sentence, tuple(following))


def _command(name: str, **flags: Any) -> str:
    return shlex.join(
        ["python", "-m", f"launch.{name}", *(f"--{flag}={value}" for flag, value in flags.items())]
    )


def _again(command: str, workdir: str, **flags: Any) -> str:
    """A run's command with these flags and that workdir; "" where none is kept."""
    try:
        given = shlex.split(command)
    except ValueError:
        return ""
    if not given:
        return ""
    changed = {**flags, "workdir": workdir}
    kept = [part for part in given if not part.startswith(tuple(f"--{name}=" for name in changed))]
    return shlex.join([*kept, *(f"--{name}={value}" for name, value in changed.items())])


def _named(found: Mapping[str, Any]) -> tuple[str, str]:
    """The names of source and target: their folders', or MODULE:CALLABLE as it is."""
    source, target = (pathlib.PurePath(str(found[role])).name for role in ("source", "target"))
    return (source, target) if source != target else (str(found["source"]), str(found["target"]))


def measure(found: Mapping[str, Any]) -> Answer:
    """Of the content of measure.json."""
    source, target = _named(found)
    there, back = found["source_to_target"], found["target_to_source"]

    def share(one: Mapping[str, Any]) -> str:
        error = one.get("alpha1_se")
        bars = "" if error is None else f" ± {100 * error:.1f}"
        return f"{100 * one['alpha1']:.1f}{bars} %"

    sentence = (
        f"The attack on {source} moves the outputs of {target} by {share(there)} of what "
        f"{target}'s own attack does (alpha1, the mean of {there['n']} examples); the other way it "
        f"is {share(back)}."
    )
    command = _command("chain", source=found["source"], target=found["target"])
    following = [("what this says of knowledge transfer, link by link:", command)]
    if any(found.get("findings", {}).values()):
        why = "the findings speak against these alphas; --objective=output_deviation is the cure"
        following.insert(0, (f"{why} of alpha1 > 1", ""))
    question = f"How far does an attack on {source} carry to {target}, and back?"
    return Answer(question, sentence, tuple(following))


def chain(found: Mapping[str, Any]) -> Answer:
    """Of the content of chain.json."""
    source, target = _named(found)
    of = found["chain"]
    guaranteed = [i for i in of["inequalities"] if i["guaranteed"]]
    failed = [i for i in guaranteed if not i["holds"]]
    attacks, rho2 = of["generalized"]["num_attacks"], of["generalized"]["rho2"]
    explain = (
        f"The {attacks} attacks on {source} explain "
        + ("an unknown share" if rho2 is None else f"rho² = {100 * rho2:.1f} %")
        + f" of {target}'s squared gradient; the best affine map of {source}'s outputs misses "
        f"{target}'s by {100 * of['function']['relative']:.1f} % of their norm; "
    )
    verdict = (
        f"all {len(guaranteed)} guaranteed inequalities hold."
        if not failed
        else f"{len(failed)} of {len(guaranteed)} guaranteed inequalities FAIL."
    )
    question = f"How do attacks on {source} and what it can teach {target} hang together?"
    pair = {role: found[role] for role in ("source", "target")}
    following = ((
        "the alphas of attacks at a finite eps, which these are the limit of:",
        _command("measure", **pair),
    ),)  # fmt: skip
    return Answer(question, explain + verdict, following)


def _moved(name: str, first: float, last: float) -> str:
    way = "falls" if last < first else "rises" if last > first else "stays"
    return f"{name} {way} from {first:.3f} to {last:.3f}"


def synthetic(results: Mapping[str, Any]) -> Answer:
    """Of the content of the synthetic experiment's results.json."""
    rows = results["rows"]
    first, last = rows[0], rows[-1]
    parts = [
        _moved(title, first[name], last[name])
        for name, title in (
            ("alpha1_S_T", "alpha1"),
            ("alpha2_S_T", "alpha2"),
            ("gradient_matching", "the gradient matching distance"),
            ("loss_f_S", "the loss"),
        )
    ]
    sentence = (
        f"As f_S is moved from scale {first['scale']:g} to {last['scale']:g}, {_listed(parts)} "
        "(S -> T)."
    )
    question = "Do attacks transfer less, and teach less, as one network moves away from another?"
    seed = results["settings"].get("seed")
    if seed is None:
        return Answer(question, sentence, ())
    command = _again(results["command"], f"runs/synthetic-seed-{seed + 1}", seed=seed + 1)
    return Answer(question, sentence, (("another seed:", command),))


def _primary(verdict: Mapping[str, Any]) -> str:
    """What the interval of the primary hypothesis says, over all targets."""
    row = next(
        (r for r in verdict["hypotheses"] if (r["hypothesis"], r["scope"]) == ("primary", "all")),
        None,
    )
    if row is None:
        return (
            "It cannot be told: the primary hypothesis needs two targets with four sources of zoo "
            "A each, and the records have no such."
        )
    low, high = row["low"], row["high"]
    those = f"these {row['sources']} sources and {row['targets']} targets"
    if low > 0:
        head = f"Yes, more than a random order does, for {those}"
    else:
        head = f"The reverse, for {those}" if high < 0 else f"Not shown by {those}"
    mean, low_text, high_text = _signed(row["mean"], low, high)
    return (
        f"{head}: {row['of']} has a weighted tau of {mean} with the accuracy of a linear probe on "
        f"{row['labels']} labels a class; its {100 * verdict['level']:g} % interval, {low_text} to "
        f"{high_text}, {zero(row)}."
    )


def zero(row: Mapping[str, Any]) -> str:
    """Whether the interval of a row has zero in it."""
    return "includes zero" if row["low"] <= 0 <= row["high"] else "excludes zero"


def _signed(mean: float, *ends: float) -> list[str]:
    """With two digits, or as many as tell an end that is not zero from zero."""
    digits = next(
        (d for d in range(2, 6) if all(e == 0 or round(e, d) != 0 for e in ends)),
        6,
    )
    return [f"{value:+.{digits}f}" for value in (mean, *ends)]


def evidence(found: Mapping[str, Any], workdir: str | pathlib.Path = "runs/evidence") -> Answer:
    """Of the content of evidence.json, once its verdict is there.

    Args:
      found: the content. workdir: where it is; what to do next names folders beside it.
    """
    folder, preset = pathlib.Path(workdir), found.get("preset")
    following = []
    if preset == "tiny":
        command = _command("evidence", preset="digits", workdir=f"{folder}-digits")
        following.append(("tiny is for tests; a study that needs no download:", command))
    if preset == "digits":
        command = _command("evidence", preset="full", workdir=f"{folder}-full")
        following.append(("more sources, more targets:", command))
    if preset is not None:
        command = _command("evidence", records=folder / "evidence.csv", workdir=f"{folder}-again")
        why = "the tables again without training, of records of several workdirs too:"
        following.append((why, command))
    return Answer(QUESTIONS["evidence"], _primary(found["verdict"]), tuple(following))


def control(verdict: Mapping[str, Any]) -> Answer:
    """Of what `advknow.evidence.control.responses` says: both ends of the question, by group."""
    said = []
    for group in verdict["groups"]:
        weight = group["weights"][-1]
        effects = [_effect(group, weight, *of) for of in _OF_CONTROL]
        said.append(
            f"{group['zoo']}, weight {weight:g} less 0: " + "; ".join(filter(None, effects))
        )
    return Answer(QUESTIONS["control"], ". ".join(said) + ".", ())


_OF_CONTROL = (
    (*hypotheses.PRIMARY, title(hypotheses.PRIMARY)),
    (hypotheses.TRUTH, "", "points of the probe's accuracy"),
    (*hypotheses.SOURCE_ACCURACY, "points of source accuracy"),
)


def _effect(
    group: Mapping[str, Any], weight: float, quantity: str, attack: str, name: str
) -> str | None:
    """On the target that sources were pulled to, of the fewest labels; or on the source's own."""
    rows = [
        row
        for row in group["effects"]
        if (row["quantity"], row["attack"], row["weight"]) == (quantity, attack, weight)
        and row["target"] in (group["to"], "")
        and row["reference"] in ("", PULLED)
    ]
    if not rows:
        return None
    row = min(rows, key=lambda row: str(row["labels"]))
    mean, low, high = _signed(row["mean"], row["low"], row["high"])
    said = f"{mean} {name}, from {low} to {high}, which "
    if quantity != hypotheses.SOURCE_ACCURACY.quantity:
        return said + zero(row)
    equal = hypotheses.equal(row["low"], row["high"])
    return f"{said}is {'' if equal else 'not '}equal to within {hypotheses.EQUAL:g} point"


def evidence_goes_on(found: Mapping[str, Any], workdir: str | pathlib.Path) -> str:
    """The command that makes what a study lacks, in its workdir."""
    return _again(found["command"], str(workdir), shard="1/1") or _command(
        "evidence", preset=found["preset"], workdir=workdir
    )


def matrix(found: Mapping[str, Any]) -> Answer:
    """Of the content of matrix.json."""
    return Answer("Which of these models are close to which?", f"{found['sentence']}.", ())


def ranking(found: Mapping[str, Any]) -> Answer:
    """Of the content of ranking.json."""
    title = found["titles"][found["by"]]
    sentence = f"{found['sentence']}: by {title}, for {found['target']}."
    return Answer("Which of these models should be fine-tuned?", sentence, ())
