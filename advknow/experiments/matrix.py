"""Who transfers to whom: what `launch.matrix` does.

matrix.json   the sentence that answers, (K, K) arrays, audits, settings, versions
matrix.csv    target, source, score, value, se
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from advknow import attacks
from advknow.all_pairs import Matrix, every_pair
from advknow.experiments import collection, stages, tasks
from advknow.experiments.collection import Images
from advknow.inner_product import Loss
from advknow.passes import keys
from advknow.runs.by_name import load_model
from advknow.runs.session import begin, finish, finished, measured
from advknow.runs.versions import versions

ENDS_WITH = "matrix.json"
CSV = {
    "target": "target",
    "source": "source",
    "quantity": "score",
    "value": "value",
    "standard_error": "se",
}


def matrix(
    models: Sequence[str],
    images: Images,
    workdir: str | pathlib.Path | None = None,
    *,
    attack: attacks.Named | None,
    loss: Loss = "l2",
    batch_size: int = 64,
    strict: bool = False,
    command: str = "",
    **how: Any,
) -> dict[str, Any]:
    """Every quantity of all ordered pairs of models (`advknow.matrix`), ready for JSON.

    Args:
      models: as `collection.named`: checkpoint folders or MODULE:CALLABLE.
      images: what they are compared on.
      workdir: folder for matrix.json, matrix.csv and unfinished work; nothing is kept if None.
      attack: of the alphas at finite eps; None: those of the limit alone.
      loss: whose Hessian is meant.
      batch_size, strict, command, **how: as in `rank.rank`.

    Raises:
      FileNotFoundError, ValueError, TypeError, audit.AuditError, unfinished.StoppedError: as there.
    """
    places = collection.named(models)
    for name, place in places.items():
        if collection.is_outputs(place):
            raise ValueError(
                f"{name} is a file of outputs: a matrix needs gradients, so models (a checkpoint "
                "folder or MODULE:CALLABLE)."
            )
    chosen, origin = images.read(list(places.values()))
    settings = {
        "launch": "matrix",
        "models": places,
        **images.settings(),
        "attack": None if attack is None else dataclasses.asdict(attack),
        "loss": loss,
        "batch_size": batch_size,
        **tasks.fingerprints([origin]),
    }
    session = begin(workdir, settings, ends_with=ENDS_WITH, **how)
    stages.tell_of_data(session, [origin])
    done = finished(session, "sentence", "values")
    if done is not None:
        return done
    session.journal.write("start", command=command)
    functions = {name: load_model(place).f for name, place in places.items()}
    x = chosen.pixels()
    setting = stages.Setting(session, images.seed, None, stages.AUDIT_EPS, batch_size, strict)
    audits = {name: stages.audited(setting, name, f, x) for name, f in functions.items()}
    found = measured(
        session,
        "matrix",
        every_pair(tuple(functions), attack=None if attack is None else attack.make(), loss=loss),
        functions,
        x,
        key=keys.of_stage(images.seed, "attack"),
        batch_size=batch_size,
    )
    collection.write_csv(session, "matrix.csv", found.records(), CSV)
    return finish(
        session,
        {
            "sentence": sentence(found),
            "models": list(found.names),
            "n": len(x),
            "values": {name: _rows(values) for name, values in found.values.items()},
            "standard_errors": {
                name: _rows(errors) for name, errors in found.standard_errors.items()
            },
            "undefined": [
                {"source": source, "target": target, "part": part, "why": why}
                for (source, target, part), why in found.undefined.items()
            ],
            "audit": audits,
            "versions": versions(),
        },
    )


def _rows(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(v) else float(v) for v in row] for row in values]


def sentence(found: Matrix) -> str:
    """Which pair of different models is closest, and whose attacks carry furthest."""
    alpha1 = "alpha1" if "alpha1" in found.values else "small_eps_alpha1"
    off = ~np.eye(len(found.names), dtype=bool)
    rho2, carried = (np.where(off, found[name], np.nan) for name in ("rho2", alpha1))
    i, j = np.unravel_index(np.nanargmax(rho2), rho2.shape)
    error = found.standard_errors["rho2"][i, j]
    said = (
        f"{found.names[i]} explains most of another model's gradient: rho² = {rho2[i, j]:.3f}"
        f"{'' if np.isnan(error) else f' ± {error:.3f}'} of {found.names[j]}"
    )
    if np.isnan(carried).all():
        return f"{said}; no attack has a direction"
    mean = np.nanmean(np.where(np.isnan(carried).all(axis=1, keepdims=True), 0.0, carried), axis=1)
    best = int(np.argmax(mean))
    others = [name for name in found.names if name != found.names[best]]
    on = others[0] if len(others) == 1 else f"average over the other {len(others)}"
    return (
        f"{said}; attacks on {found.names[best]} carry furthest: alpha1 = {mean[best]:.3f} on {on}"
    )
