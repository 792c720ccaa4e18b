"""The whole chain of two models on one sample: what `launch.chain` prints."""

import pathlib
from typing import Any

import numpy as np

from advknow.experiments import gallery, stages
from advknow.experiments.config import ADDED
from advknow.experiments.sample import Sample
from advknow.inner_product import Loss
from advknow.links import Paths, assembled, links, second_pass
from advknow.passes import memory
from advknow.passes.devices import is_main
from advknow.runs.gallery import save as save_gallery
from advknow.runs.session import begin, finish, finished, measured
from advknow.runs.versions import versions

ENDS_WITH = "chain.json"


def chain(
    sample: Sample,
    workdir: str | pathlib.Path | None = None,
    *,
    loss: Loss = "l2",
    batch_size: int = 64,
    memory_limit_gib: float | None = None,
    strict: bool = False,
    command: str = "",
    **how: Any,
) -> dict[str, Any]:
    """The whole chain of two models (`advknow.chain`), ready for JSON.

    Args:
      sample: the models and the choice of images; y is one-hot where their classes are the target's
        outputs, else KTD and Theorem 3 are left out.
      workdir: folder for chain.json and unfinished work; nothing is kept if None. One of the same
        settings is gone on with, or only read.
      loss: whose Hessian is meant.
      batch_size, memory_limit_gib, strict, command, **how: as in `measure.measure`.

    Raises:
      FileNotFoundError, ValueError: as `Sample.load` and `advknow.chain`.
      unfinished.StoppedError: `stop` asked for it.
    """
    settings = {"launch": "chain", **sample.settings(), "loss": loss, "batch_size": batch_size}
    session = begin(workdir, settings, added=ADDED, ends_with=ENDS_WITH, **how)
    done = finished(session, "chain", "audit")
    if done is not None:
        return done
    session.journal.write("start", command=command)
    pair = sample.load()
    stages.tell_of_data(session, [pair.origin])
    x = pair.images.pixels()
    batch_size = pair.fitting(memory.jacobians_of, batch_size, memory_limit_gib, session.sharding)
    setting = stages.Setting(session, sample.seed, None, stages.AUDIT_EPS, batch_size, strict)
    audits = stages.audits(setting, pair)
    y = None
    if len(pair.images.class_names) == pair.num_outputs:
        y = np.eye(pair.num_outputs, dtype=np.float32)[pair.images.labels]
    paths = Paths()
    first = links(loss, with_y=y is not None)
    found = measured(session, "chain", first, pair.models, x, y=y, batch_size=batch_size)
    second = second_pass(found, paths, loss=loss)
    along = measured(session, "chain paths", second, pair.models, x, batch_size=batch_size)
    summary = assembled(found, along, paths, loss=loss).summary()
    described = sample.described(pair)
    if session.folder is not None and is_main():
        kept = [
            gallery.alpha1_alone(name, (attacked, receiving), record)
            for name, record in found["alphas"].items()
            for attacked, _, receiving in [name.partition("_to_")]
        ]
        save_gallery(session.folder, kept)
    return finish(session, {**described, "chain": summary, "audit": audits, "versions": versions()})
