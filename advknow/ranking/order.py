"""Sources in the order of what they promise for a target: `rank`."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import threadpoolctl

from advknow import passes, validate
from advknow.passes import Run
from advknow.ranking.catalogue import SCORES, MissingError
from advknow.ranking.halves import half_samples
from advknow.ranking.observed import Observed, Source, functions_of, observation, observed
from advknow.ranking.record import Estimate, Ranking, ranked
from advknow.scores.given import labels_of
from advknow.typing import ApplyFn, Array, ArrayLike, AttackFn, Progress

# What a ranking is read by where the caller does not say: the first of these that all sources have.
ORDER = ("logme", "ktd", "leep", "rho2")
# Half-samples behind an interval, and at most behind that of a slow score.
DRAWS, SLOW_DRAWS = 200, 40


def as_sources(sources: Mapping[str, Any]) -> dict[str, Source]:
    """A bare function as a source of logits, checked.

    Raises:
      ValueError: none, or a source without anything. TypeError: something else than a source.
    """
    if not isinstance(sources, Mapping) or not sources:
        raise ValueError(
            f"sources={sources!r}: at least one is needed, {{name: Source(logits=, features=)}}."
        )
    found = {}
    for name, given in sources.items():
        source = Source(logits=given) if callable(given) else given
        if not isinstance(source, Source):
            raise TypeError(
                f"the source {name} is a {type(given).__name__}; ranking.Source(logits=, "
                "features=), functions of a batch or arrays, or a function to logits is needed."
            )
        if source.logits is None and source.features is None:
            raise ValueError(f"the source {name} has neither logits nor features.")
        found[str(name)] = source
    return found


def estimates(
    known: Observed,
    halves: np.ndarray,
    scores: Sequence[str],
    *,
    progress: Progress | None = None,
    stage: str = "score",
) -> tuple[dict[str, Estimate], dict[str, str]]:
    """The scores of one source, and why others are left out, by name.

    Args:
      known: of the source. halves: (R, N) bool. scores: names in `SCORES`.
      progress: called with (stage, half-samples done, all of them).
    """
    values: dict[str, float] = {}
    left_out: dict[str, str] = {}
    draws: dict[str, list[float]] = {}
    without: dict[str, str] = {}
    # Small matrices: threads of BLAS would wait for each other.
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        for name in scores:
            try:
                values[name] = SCORES[name].value(known)
            except MissingError as error:
                left_out[name] = f"needs {error}"
            except ValueError as error:
                left_out[name] = str(error)
        for draw, half in enumerate(halves):
            part = known.part(np.flatnonzero(half))
            for name in values:
                if name in without or (SCORES[name].slow and draw >= SLOW_DRAWS):
                    continue
                try:
                    draws.setdefault(name, []).append(SCORES[name].value(part))
                except ValueError as error:
                    without[name] = f"no interval: of half of the examples, {error}"
            if progress is not None:
                progress(stage, draw + 1, len(halves))
    found = {
        name: Estimate(
            value, None if name in without else np.array(draws[name]), without.get(name, "")
        )
        for name, value in values.items()
    }
    return found, left_out


def assembled(
    of_sources: Mapping[str, tuple[Mapping[str, Estimate], Mapping[str, str]]],
    *,
    scores: Sequence[str],
    target: str,
    n: int,
    by: str | None,
    level: float,
) -> Ranking:
    """The ranking of the `estimates` of every source.

    Raises:
      ValueError: no source has any of the scores, or none has `by`.
    """
    left_out = {
        (source, score): why
        for source, (_, missing) in of_sources.items()
        for score, why in missing.items()
    }
    found = {}
    for score in scores:
        having = {name: of[score] for name, (of, _) in of_sources.items() if score in of}
        left_out |= {(name, score): e.without for name, e in having.items() if e.without}
        if having:
            found[score] = ranked(score, having, level=level)
    whole = [name for name in found if len(found[name].names) == len(of_sources)]
    if by is None:
        by = next((name for name in (*ORDER, *whole) if name in whole), None)
    if by not in found:
        reasons = "; ".join(sorted({f"{s}: {why}" for (_, s), why in left_out.items()}))
        asked = "no score is" if by is None else f"by={by!r} is not"
        raise ValueError(f"{asked} defined for these sources ({reasons}).")
    return Ranking(target, tuple(of_sources), n, level, by, found, left_out)


def checked_scores(scores: Sequence[str] | None, by: str | None) -> tuple[str, ...]:
    """The names of the scores, all by default. ValueError: an unknown one, or none."""
    names = tuple(SCORES if scores is None else dict.fromkeys(scores))
    for name in names:
        validate.choice("score", name, SCORES)
    if not names:
        raise ValueError(f"scores=() is empty; accepted: {', '.join(SCORES)}.")
    if by is not None:
        validate.choice("by", by, names)
    return names


def rank(
    sources: Mapping[str, Source | ApplyFn],
    labels: ArrayLike,
    x: ArrayLike | None = None,
    *,
    reference: Source | ApplyFn | None = None,
    attack: AttackFn | None = None,
    key: Array | None = None,
    scores: Sequence[str] | None = None,
    by: str | None = None,
    target: str = "target",
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
    **run: Unpack[Run],
) -> Ranking:
    """Pre-trained models ranked for a target by every score that can be computed.

    Each source is scored on all labelled examples and on half-samples of them, the same halves for
    all sources (`advknow.ranking.halves` says why halves, and not draws with repetition). Their
    spread is the standard error, and that of differences decides which ranks are known. Scores that
    take long (N-LEEP, the linear probe, SFDA) have 40 half-samples at most.

    The default order is of `advknow.evidence`, 78 sources on eight targets (advknow/experiments/
    README.md): mean weighted tau with what sources taught, over two zoos and two truths, was .75 of
    LogME, .78 of the cross-validated probe, which takes longer and at 10 labels a class
    ranked the larger zoo no better (.78, LogME .81); of those that need logits alone .68 of KTD and
    .64 of LEEP. rho^2 had .48, and no alpha more than .60.

    Args:
      sources: by name, `ranking.Source(logits=, features=)` of functions of a batch (B, ...) or of
        arrays of the N examples; a bare function gives logits.
      labels: (N,) integers, the target's classes, at least two.
      x: (N, ...) floats, the examples; None where no source is a function.
      reference: the target's own model, likewise: for CKA, RSA, FMD, and where it and a source are
        functions for alphas, rho^2 and GMD. One that was trained on these labels alone knows little
        more than they do.
      attack: of alphas at finite eps, from `advknow.attacks`; None: in the limit alone.
      key: for `attack`, as in `advknow.transferability`.
      scores: names in `ranking.SCORES`; all by default.
      by: the score that `Ranking.sentence` answers with; the first of logme, ktd, leep, rho2 that
        all sources have by default.
      target: its name in the rows.
      draws: half-samples; more than level / (1 - level). level: of the intervals of all ranks of a
        score together. seed: of the halves.
      **run: batch_size, sharding and progress, as in `passes.Run`; the stages are "observe" and
        "score NAME".

    Raises:
      ValueError, TypeError: sources, labels, x or arrays that do not fit each other; NaN or
        infinity; no score that is defined.
    """
    given = as_sources(sources)
    model = None if reference is None else as_sources({"reference": reference})["reference"]
    y = labels_of(labels)
    names = checked_scores(scores, by)
    functions = functions_of(given, model)
    if attack is not None and key is None:
        raise TypeError("attack needs key, such as jax.random.key(0).")
    if functions and x is None:
        raise ValueError(f"x=None: the examples are needed, {next(iter(functions))} is a function.")
    if x is not None and len(x) != len(y):
        raise ValueError(f"x has {len(x)} examples, labels {len(y)}; equal numbers are needed.")
    halves = half_samples(y, draws, seed=seed)
    how = passes.checked(run)
    found = {}
    if functions:
        measure = observation(tuple(functions), tuple(given), attack=attack)
        found = passes.run(measure, functions, x, key=key, stage="observe", **how)  # type: ignore[arg-type]
    logits_names = [name for name in given if name in functions]
    of_sources = {
        name: estimates(
            observed(name, source, model, y, found, logits_names=logits_names),
            halves,
            names,
            progress=how.get("progress"),
            stage=f"score {name}",
        )
        for name, source in given.items()
    }
    return assembled(of_sources, scores=names, target=target, n=len(y), by=by, level=level)
