"""The alphas of two models on one sample: what `launch.measure` prints."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from advknow import attacks, passes
from advknow.alphas import Perturbation, both_directions
from advknow.experiments import gallery, stages
from advknow.experiments.config import ADDED
from advknow.experiments.sample import Pair, Sample
from advknow.passes import memory
from advknow.passes.devices import is_main
from advknow.runs import adversarial_examples
from advknow.runs.gallery import Carried
from advknow.runs.gallery import save as save_gallery
from advknow.runs.session import begin, finish, finished, measured
from advknow.runs.versions import versions

ENDS_WITH = "measure.json"


def measure(
    sample: Sample,
    workdir: str | pathlib.Path | None = None,
    *,
    attack: attacks.Named,
    batch_size: int = 64,
    memory_limit_gib: float | None = None,
    strict: bool = False,
    save_examples: str | pathlib.Path | None = None,
    deltas: Mapping[str, str | pathlib.Path | None] | None = None,
    command: str = "",
    **how: Any,
) -> dict[str, Any]:
    """The alphas of two models on test images, both directions, ready for JSON.

    Args:
      sample: the models and the choice of images.
      workdir: folder for measure.json and unfinished work; nothing is kept if None. One of the same
        settings is gone on with, or only read.
      attack: each model is attacked once.
      batch_size: images in one program; 0 for the largest power of two that fits.
      memory_limit_gib: what a program may take on a device (`memory.asked_batch_size`).
      strict: whether a finding of the audit is an error.
      save_examples: folder for the adversarial examples of both, source.npz and target.npz, and as
        8-bit images beside them.
      deltas: {"source": file, "target": file}: read back in place of an attack.
      command: what to record as the command that made the figures.
      **how: progress, save_interval, stop, on_event and num_devices, as `runs.session.session`.

    Raises:
      ValueError: examples read back that are of other images; a workdir of other settings.
      FileNotFoundError, ValueError: as `Sample.load` and the measures.
      unfinished.StoppedError: `stop` asked for it.
    """
    saved = {name: (deltas or {}).get(name) for name in ("source", "target")}
    settings = {
        "launch": "measure",
        **sample.settings(),
        "attack": attack.name,
        "eps": attack.eps,
        "num_steps": attack.num_steps,
        "index": attack.index,
        "objective": attack.objective,
        "batch_size": batch_size,
        **{f"deltas_{name}": None if file is None else str(file) for name, file in saved.items()},
    }
    make = attack.make()
    session = begin(workdir, settings, added=ADDED, ends_with=ENDS_WITH, **how)
    done = finished(session, "source_to_target", "target_to_source", "audit")
    if done is not None:
        kept = done.get("saved", {}).get("folder")
        if save_examples is None or str(save_examples) == kept:
            return done
    session.journal.write("start", command=command)
    pair = sample.load()
    stages.tell_of_data(session, [pair.origin])
    x = pair.images.pixels()
    program = memory.jacobians_of if attack.linearize else memory.gradients_of
    batch_size = pair.fitting(program, batch_size, memory_limit_gib, session.sharding)
    setting = stages.Setting(session, sample.seed, make, stages.AUDIT_EPS, batch_size, strict)
    audits = stages.audits(setting, pair)
    perturbed = {}
    for name, f in (("source", pair.source), ("target", pair.target)):
        file = saved[name]
        perturbed[f"f_{name}"] = (
            stages.attacked(setting, name, f, x)
            if file is None
            else adversarial_examples.read_delta(file, x)
        )
    found = sample.described(pair)
    if save_examples is not None and is_main():
        about = found if attack.linearize else {**found, "eps": attack.eps}
        found = {
            **found,
            "saved": adversarial_examples.save_both(save_examples, x, perturbed, about),
        }
    of_source, of_target = Perturbation("f_source"), Perturbation("f_target")
    measures = {"alphas": both_directions(of_source, of_target, linearize=attack.linearize)}
    if not attack.linearize:
        measures |= {
            "source_to_target": gallery.predictions(of_source, of_target.model),
            "target_to_source": gallery.predictions(of_target, of_source.model),
        }
    everything = measured(
        session,
        "measure",
        passes.combine(measures),
        pair.models,
        x,
        deltas=perturbed,
        batch_size=batch_size,
    )
    records = everything["alphas"]
    if session.folder is not None and is_main():
        save_gallery(session.folder, _kept(pair, everything, x, perturbed))
    directions = {name: record.summary() for name, record in records.items()}
    findings = {name: stages.record_findings(record) for name, record in records.items()}
    about = {"audit": audits, "findings": findings, "versions": versions()}
    return finish(session, {**found, **directions, **about})


def _kept(
    pair: Pair, found: Mapping[str, Any], x: np.ndarray, perturbed: Mapping[str, np.ndarray]
) -> list[Carried]:
    """What the page shows of single examples, both directions."""
    kept = []
    for name, record in found["alphas"].items():
        attacked, receiving = name.split("_to_")
        if name not in found:
            kept.append(gallery.alpha1_alone(name, (attacked, receiving), record))
            continue
        by_role = dict(zip(("source", "target"), pair.class_names, strict=True))
        kept.append(
            gallery.carried(
                name,
                (attacked, receiving),
                record,
                classes=(by_role[attacked], by_role[receiving], pair.images.class_names),
                x=x,
                delta=perturbed[f"f_{attacked}"],
                labels=pair.images.labels,
                predicted=found[name],
            )
        )
    return kept
