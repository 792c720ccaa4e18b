"""Which of several models to fine-tune: what `launch.rank` does.

ranking.json   the sentence that answers, rows, what is left out and why, audits, settings, versions
ranking.csv    target, source, score, value, se, rank, rank_low, rank_high
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advknow import attacks, models
from advknow.data import Dataset, partition
from advknow.experiments import collection, stages, tasks
from advknow.experiments.collection import Images
from advknow.passes import keys
from advknow.ranking import Source, order
from advknow.ranking.catalogue import SCORES
from advknow.ranking.halves import half_samples
from advknow.ranking.observed import REFERENCE, functions_of, observation, observed
from advknow.ranking.record import Estimate, Ranking
from advknow.runs.session import Session, begin, finish, finished, measured
from advknow.runs.versions import versions
from advknow.training import TrainConfig, evaluate

ENDS_WITH = "ranking.json"
CSV = {
    "target": "target",
    "source": "source",
    "score": "score",
    "value": "value",
    "standard_error": "se",
    "rank": "rank",
    "rank_low": "rank_low",
    "rank_high": "rank_high",
}
# Of a reference model that is trained on the labelled examples alone; a fifth of them is held out.
HELD_OUT, EPOCHS, TRAIN_BATCH, LEARNING_RATE = 0.2, 60, 32, 0.02


def rank(
    sources: Sequence[str],
    images: Images,
    workdir: str | pathlib.Path | None = None,
    *,
    target: str | None = None,
    fit_target: str | None = None,
    attack: attacks.Named | None = None,
    scores: Sequence[str] | None = None,
    by: str | None = None,
    draws: int = order.DRAWS,
    level: float = 0.95,
    batch_size: int = 64,
    strict: bool = False,
    command: str = "",
    **how: Any,
) -> dict[str, Any]:
    """Models ranked for the labelled images by every score that can be had, ready for JSON.

    Args:
      sources: as `collection.named`: checkpoint folders, MODULE:CALLABLE, .npz files of outputs.
      images: the labelled images.
      workdir: folder for ranking.json, ranking.csv and unfinished work; nothing is kept if None.
      target: the target's reference model, likewise; None: no score that needs one.
      fit_target: an architecture to train on these images, in place of `target`.
      attack: of the alphas at finite eps; None: those of the limit alone.
      scores, by, draws, level: as `advknow.rank`.
      batch_size: images in one program.
      strict: whether a finding of a model's audit is an error.
      command: what to record as the command that made the ranking.
      **how: progress, save_interval, stop and num_devices, as `runs.session.session`.

    Raises:
      FileNotFoundError, ValueError, TypeError: models, outputs or images that are missing, damaged
        or do not fit each other; a workdir of other settings.
      audit.AuditError: a finding, if strict. unfinished.StoppedError: `stop` asked for it.
    """
    if target and fit_target:
        raise ValueError("target and fit_target are both given; one reference model is needed.")
    places = collection.named(sources)
    names = order.checked_scores(scores, by)
    everyone = [*places.values(), *([target] if target else [])]
    labelled, origin = images.read(everyone)
    settings = {
        "launch": "rank",
        "sources": places,
        **images.settings(),
        "target": target,
        "fit_target": fit_target,
        "attack": None if attack is None else dataclasses.asdict(attack),
        "scores": list(names),
        "by": by,
        "draws": draws,
        "level": level,
        "batch_size": batch_size,
        **tasks.fingerprints([origin]),
    }
    session = begin(workdir, settings, ends_with=ENDS_WITH, **how)
    stages.tell_of_data(session, [origin])
    done = finished(session, "sentence", "rows")
    if done is not None:
        return done
    session.journal.write("start", command=command)
    given = {
        name: collection.as_source(name, of, labelled)
        for name, of in collection.loaded(places).items()
    }
    reference, trust = _reference(session, labelled, target, fit_target, images.seed)
    setting = stages.Setting(session, images.seed, None, stages.AUDIT_EPS, batch_size, strict)
    audits = _audits(setting, given, reference, labelled.pixels())
    found = _observed(session, given, reference, labelled, attack, images.seed, batch_size)
    halves = half_samples(labelled.labels, draws, seed=images.seed)
    estimates = {
        name: _scored(session, name, given, reference, labelled, found, halves, names)
        for name in given
    }
    ranking = order.assembled(
        estimates,
        scores=names,
        target=target or fit_target or images.dataset,
        n=len(labelled),
        by=by,
        level=level,
    )
    collection.write_csv(session, "ranking.csv", ranking.rows(), CSV)
    return finish(session, _summary(ranking, labelled, trust, audits))


def _reference(
    session: Session, labelled: Dataset, target: str | None, fit_target: str | None, seed: int
) -> tuple[Source | None, str]:
    """The target's own model, and what is to be thought of it."""
    if target:
        (name, of), *_ = collection.loaded({"target": target}).items()
        return collection.as_source(name, of, labelled), ""
    if not fit_target:
        return None, (
            "No reference model of the target: scores that need one (CKA, RSA, FMD, rho², GMD and "
            "the alphas) are left out."
        )
    learned, held_out = partition(labelled, (1.0 - HELD_OUT, HELD_OUT), seed=seed)
    model = models.create(
        fit_target,
        num_classes=len(labelled.class_names),
        input_shape=labelled.images.shape[1:],
    )
    variables, _ = stages.trained(
        session,
        session.folder / "target" if session.folder else pathlib.Path(),
        "target",
        model,
        learned,
        held_out,
        training=TrainConfig(
            epochs=EPOCHS,
            batch_size=min(TRAIN_BATCH, len(learned)),
            learning_rate=LEARNING_RATE,
        ),
        key=keys.of_stage(seed, "train target"),
        augment=None,
        metadata={"class_names": list(labelled.class_names)},
    )
    accuracy = 100.0 * evaluate(model, variables, held_out, sharding=session.sharding).accuracy
    return Source(logits=model.bind(variables), features=model.bind_features(variables)), (
        f"The reference model is a {fit_target} that saw {len(learned)} of these labels and has "
        f"{accuracy:.1f} % of the other {len(held_out)} right: scores that need a reference model "
        "know little more than the labels do, and the images it learned from are among those it is "
        "compared on."
    )


def _audits(
    setting: stages.Setting, given: Mapping[str, Source], reference: Source | None, x: np.ndarray
) -> dict[str, dict[str, Any]]:
    everyone = {**({} if reference is None else {"target": reference}), **given}
    return {
        name: stages.audited(setting, name, source.logits, x)
        for name, source in everyone.items()
        if callable(source.logits)
    }


def _observed(
    session: Session,
    given: Mapping[str, Source],
    reference: Source | None,
    labelled: Dataset,
    attack: attacks.Named | None,
    seed: int,
    batch_size: int,
) -> Mapping[str, Any]:
    functions = functions_of(given, reference)
    if not functions:
        return {}
    made = None if attack is None or REFERENCE not in functions else attack.make()
    return measured(
        session,
        "observe",
        observation(tuple(functions), tuple(given), attack=made),
        functions,
        labelled.pixels(),
        key=keys.of_stage(seed, "attack"),
        batch_size=batch_size,
    )


def _scored(
    session: Session,
    name: str,
    given: Mapping[str, Source],
    reference: Source | None,
    labelled: Dataset,
    found: Mapping[str, Any],
    halves: np.ndarray,
    scores: Sequence[str],
) -> tuple[dict[str, Estimate], dict[str, str]]:
    """The estimates of one source; read where they are done already."""
    stage = f"score {name}"
    done = session.unfinished.load(stage)
    if done is not None:
        arrays, saved = done
        return {
            score: Estimate(value, arrays.get(score), saved["without"][score])
            for score, value in saved["values"].items()
        }, saved["left_out"]
    with session.journal.stage(stage):
        session.unfinished.begin()
        functions = functions_of(given, reference)
        known = observed(
            name,
            given[name],
            reference,
            labelled.labels,
            found,
            logits_names=[other for other in given if other in functions],
        )
        estimates, left_out = order.estimates(
            known, halves, scores, progress=session.progress, stage=stage
        )
        session.unfinished.save(
            stage,
            lambda: {s: e.draws for s, e in estimates.items() if e.draws is not None},
            {
                "values": {s: e.value for s, e in estimates.items()},
                "without": {s: e.without for s, e in estimates.items()},
                "left_out": left_out,
            },
            last=True,
        )
    return estimates, left_out


def _summary(
    ranking: Ranking, labelled: Dataset, trust: str, audits: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "sentence": ranking.sentence(),
        "by": ranking.by,
        "target": ranking.target,
        "sources": list(ranking.names),
        "n": ranking.n,
        "classes": list(labelled.class_names),
        "level": ranking.level,
        "sentences": {score: ranking.sentence(score) for score in ranking.scores},
        "titles": {score: SCORES[score].title for score in ranking.scores},
        "rows": ranking.rows(),
        "left_out": [
            {"source": source, "score": score, "why": why}
            for (source, score), why in ranking.left_out.items()
        ],
        "trust": trust,
        "audit": dict(audits),
        "versions": versions(),
    }
