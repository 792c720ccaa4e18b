"""Runs an experiment: trains, attacks, measures, transfers (theory.md section 6).

    target: train -> which test images it classifies correctly -> delta_T, once for all sources
    source: train -> delta_S -> alphas and distances -> new head on few labels -> accuracy

The source is measured before anything is transferred. The same command in the same workdir goes on
where the run stopped, inside a training, an attack or a measurement, and gives the same results
bit for bit; a finished run is only read. In this order what is there is used: results.json,
finished checkpoints, `unfinished/`.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from advknow import models
from advknow.experiments import ahead, gallery, results, stages, tasks
from advknow.experiments.ahead import Ahead, Coming
from advknow.experiments.config import ADDED, ExperimentConfig, Source
from advknow.experiments.quantities import ALPHAS, QUANTITIES, Quantity, columns, shown
from advknow.experiments.results import Results
from advknow.experiments.stages import Attacked
from advknow.experiments.tasks import NothingCorrectError, Parts
from advknow.models import Model
from advknow.passes import devices, keys, loops, memory
from advknow.runs import files
from advknow.runs.gallery import Carried, restored
from advknow.runs.gallery import save as save_gallery
from advknow.runs.records import long_records
from advknow.runs.session import Session, claim, session
from advknow.runs.versions import versions
from advknow.training import Evaluation, evaluate
from advknow.typing import ApplyFn, PyTree, Sharding

__all__ = ["NothingCorrectError", "run"]


class _Run(NamedTuple):
    """What all sources of a run share; `ahead` compiles the programs of their stages."""

    setting: stages.Setting
    folder: pathlib.Path
    config: ExperimentConfig
    quantities: tuple[Quantity, ...]
    ahead: Ahead

    def wait(self, stage: str) -> None:
        """For the programs of that stage, where they are compiled ahead."""
        if self.ahead.pending(stage):
            with self.setting.session.journal.stage("compile"):
                self.ahead.wait(stage)


class _Trained(NamedTuple):
    """A model and its data."""

    model: Model
    variables: PyTree
    parts: Parts


def _finished(
    folder: pathlib.Path, config: ExperimentConfig, quantities: tuple[Quantity, ...]
) -> Results | None:
    """The results there, if they hold every source and every column of the quantities."""
    if not (folder / results.FILE).exists():
        return None
    found = results.read(folder)
    names = [source.name for source in config.sources]
    if [row["source"] for row in found.rows] != names:
        return None
    if not all(set(columns(quantities)) <= set(row) for row in found.rows):
        return None
    return found


def _model(name: str, parts: Parts, input_shape: tuple[int, ...], width: float) -> Model:
    return models.create(
        name, num_classes=len(parts.class_names), input_shape=input_shape, width=width
    )


def _trained(of: _Run, coming: Coming, folder: pathlib.Path) -> _Trained:
    """The best variables by validation, or by test where the authors' slip is asked for."""
    name, parts = coming.name, coming.parts
    of.wait(f"train {name}")
    variables, _ = stages.trained(
        of.setting.session,
        folder,
        name,
        coming.model,
        parts.train,
        parts.test if of.config.checkpoint_on_test else parts.validation,
        training=coming.training,
        key=keys.of_stage(of.config.seed, f"train/{name}"),
        augment=stages.augmentation(coming.dataset, of.config.augment),
        metadata={
            "stage": name,
            "dataset": coming.dataset,
            "class_names": list(parts.train.class_names),
            "seed": of.config.seed,
        },
    )
    return _Trained(coming.model, variables, parts)


def _attacked(of: _Run, name: str, f: ApplyFn, x: np.ndarray, one_hot: np.ndarray) -> Attacked:
    return Attacked(f, x, one_hot, stages.attacked(of.setting, name, f, x))


def _row(
    of: _Run, source: Source, parts: Parts, target: _Trained, on: Attacked
) -> tuple[dict[str, Any], Carried]:
    """Everything of one source: its "row", "audit", "records" and "findings"; what is kept."""
    config = of.config
    folder = stages.source_folder(of.folder, source.name)
    trained = _trained(of, _coming_source(source, parts), folder)
    model = trained.model
    of.wait(f"attack {source.name}")
    f_source = model.bind(trained.variables)
    audit = stages.audited(of.setting, source.name, f_source, on.x)
    attacked = _attacked(of, source.name, f_source, on.x, on.one_hot)
    of.wait(f"measure {source.name}")
    measured = stages.measured(
        of.setting,
        source.name,
        attacked,
        on,
        direction=config.direction,
        measures=of.quantities,
    )
    session = of.setting.session
    of.wait(f"transfer {source.name}")
    accuracies = stages.transferred(session, config, source, model, trained.variables, target.parts)
    own = evaluate(model, trained.variables, parts.test, sharding=session.sharding)
    repeats = len(accuracies)
    row = {
        "source": source.name,
        "knowledge_transfer": float(np.mean(accuracies)),
        "knowledge_transfer_se": (
            float(np.std(accuracies, ddof=1) / repeats**0.5) if repeats > 1 else None
        ),
        "source_accuracy": 100.0 * own.accuracy,
        **measured.columns,
        "model": source.model,
        "width": source.width,
        "num_params": model.num_params(),
        "similarity": source.similarity,
    }
    counts = {"knowledge_transfer": repeats, "source_accuracy": own.n, **measured.counts}
    records = long_records(row, target=config.target.label, counts=counts)
    classes = {"source": parts.class_names, "target": target.parts.class_names}
    kept = _kept(config, source.name, classes, measured, attacked, on)
    made = {"row": row, "audit": audit, "records": records, "findings": measured.findings}
    return {**made, "kept": kept.names()}, kept


def _kept(
    config: ExperimentConfig,
    name: str,
    classes: Mapping[str, tuple[str, ...]],
    measured: stages.Measured,
    by: Attacked,
    on: Attacked,
) -> Carried:
    """What the run's page shows of single examples of the source of that name."""
    attacked, receiving = config.direction.split("_to_")
    names = {"source": name, "target": "target"}
    return gallery.carried(
        name,
        (names[attacked], names[receiving]),
        measured.alphas,
        classes=(classes[attacked], classes[receiving], classes["target"]),
        x=on.x,
        delta={"source": by, "target": on}[attacked].delta,
        labels=on.one_hot.argmax(axis=1),
        predicted=measured.predicted,
    )


def _fitting(
    config: ExperimentConfig,
    target: Parts,
    sources: dict[str, Parts],
    limit_gib: float | None,
    sharding: Sharding,
) -> ExperimentConfig:
    """The configuration with a batch size that fits all pairs of models, before any is trained."""
    if limit_gib is None and config.attack_batch_size > 0:
        return config
    shape = target.train.images.shape[1:]
    f_target = _model(config.target_model, target, shape, config.target_width)
    chosen = [
        memory.asked_batch_size(
            memory.jacobians_of(
                _model(source.model, sources[source.name], shape, source.width).bind_abstract(),
                f_target.bind_abstract(),
                shape,
            ),
            config.attack_batch_size,
            limit_gib=limit_gib,
            num_devices=devices.count(sharding),
        )
        for source in config.sources
    ]
    return dataclasses.replace(config, attack_batch_size=min(chosen))


def _described(
    config: ExperimentConfig, model: Model, evaluation: Evaluation, measured: int
) -> dict[str, Any]:
    return {
        "accuracy": 100.0 * evaluation.accuracy,
        "n_test": evaluation.n,
        "n_correct": int(evaluation.correct.sum()),
        "n_measured": measured,
        "model": config.target_model,
        "width": config.target_width,
        "num_params": model.num_params(),
    }


def _whole(of: _Run, made: dict[str, Any]) -> bool:
    return "kept" in made and set(columns(of.quantities)) <= set(made["row"])


def _sources(
    of: _Run, sources: dict[str, Parts], target: _Trained, on: Attacked
) -> dict[str, tuple[dict[str, Any], Carried]]:
    """What `_row` gives of every source, by its name, each made once."""
    found = {}
    for source in of.config.sources:
        stage = f"row {source.name}"
        done = of.setting.session.unfinished.load(stage)
        # One of other quantities, or of an earlier version, lacks something.
        if done is None or not _whole(of, done[1]):
            made, kept = _row(of, source, sources[source.name], target, on)
            of.setting.session.unfinished.save(stage, kept.arrays, made, last=True)
            of.setting.session.journal.write("row", **made["row"])
        else:
            made, kept = done[1], restored(done[1]["kept"], done[0])
        found[source.name] = made, kept
    return found


def run(
    config: ExperimentConfig,
    workdir: str | pathlib.Path,
    *,
    command: str = "",
    quantities: tuple[Quantity, ...] = QUANTITIES,
    strict: bool = False,
    memory_limit_gib: float | None = None,
    compile_ahead: bool = False,
    **how: Any,
) -> Results:
    """The whole experiment; writes config.json, results and checkpoints into the workdir.

    Args:
      config: a preset of `adv2know` or `know2adv`, or your own.
      workdir: folder for all that is written; the same folder with the same configuration goes on
        where the run stopped.
      command: what to record as the command that made the results.
      quantities: what is measured of every source, and how it is shown.
      strict: whether a finding of the audit (`advknow.check_model`) ends the run.
      memory_limit_gib: what a measuring program may take on a device (`memory.asked_batch_size`).
      compile_ahead: compile what later stages need while earlier ones are at work, in a thread
        (`advknow.experiments.ahead`), on a CPU with several cores and without a limit of memory;
        no result depends on it.
      **how: progress, save_interval, stop, on_event and num_devices, as in `runs.session.session`.
        No result depends on the devices beyond the rounding of sums. With several processes
        (`jax.distributed`) all call this with the same arguments and see the same workdir; the
        first of them writes.

    Raises:
      ValueError: a workdir of another configuration, source and target sharing images, a damaged
        checkpoint or snapshot.
      audit.AuditError: a finding, if strict.
      memory.MemoryLimitError: `config.attack_batch_size` does not fit; names one that does.
      NothingCorrectError: no correctly classified target image.
      FileNotFoundError: a data set is missing; says how to get it.
      FloatingPointError: a training diverged.
      unfinished.StoppedError: `stop` asked for it.
    """
    if ALPHAS not in quantities:
        raise ValueError("quantities lacks ALPHAS: every table and figure of a run shows them.")
    folder = files.make_workdir(workdir)
    target_parts, source_parts = tasks.load(config)
    origins = [parts.origin for parts in (target_parts, *source_parts.values())]
    settings = {**config.to_dict(), **tasks.fingerprints(origins)}
    sharding = devices.data_sharding(how.get("num_devices"))
    if not (folder / results.FILE).exists():
        # Before the folder is claimed: what is refused here leaves nothing behind.
        config = _fitting(config, target_parts, source_parts, memory_limit_gib, sharding)
    claim(folder, settings, ADDED)
    began = session(folder, ends_with=results.FILE, **how)
    found = devices.agreed("results", lambda: _finished(folder, config, quantities))
    if found is not None:
        return _written(found, folder, began)
    folders = {stages.source_folder(folder, source.name) for source in config.sources}
    if len(folders) < len(config.sources):
        names = [source.name for source in config.sources]
        raise ValueError(f"sources={names}: two names differ only in signs; folders need more.")
    if config.attack_batch_size == 0:  # There were results, but not of a whole run.
        config = _fitting(config, target_parts, source_parts, memory_limit_gib, sharding)
    began.journal.write("start", command=command, attack_batch_size=config.attack_batch_size)
    stages.tell_of_data(began, origins)
    attack, size = config.attack, config.attack_batch_size
    setting = stages.Setting(began, config.seed, attack.make(), attack.eps, size, strict)
    of = _Run(setting, folder, config, quantities, Ahead())
    target = _coming_target(of, target_parts)
    # Beside a limit there is no room for what a rehearsal holds.
    able = memory_limit_gib is None and began.sharding is None and devices.usable_cores() > 1
    with Ahead(
        _coming(of, target, source_parts) if compile_ahead and able and loops.on_cpu([]) else (),
        stop=how.get("stop", lambda: False),
    ) as compiling:
        made = _results(of._replace(ahead=compiling), target, source_parts, settings, command)
    if devices.is_main():
        save_gallery(folder, made.kept)
    return _written(made.results, folder, began)


class _Found(NamedTuple):
    """What a run found, and what is kept for its page."""

    results: Results
    kept: list[Carried]


def _coming_target(of: _Run, parts: Parts) -> Coming:
    config, shape = of.config, parts.train.images.shape[1:]
    model = _model(config.target_model, parts, shape, config.target_width)
    return Coming("target", model, parts, config.target_training, config.target.dataset)


def _coming_source(source: Source, parts: Parts) -> Coming:
    model = _model(source.model, parts, parts.train.images.shape[1:], source.width)
    return Coming(source.name, model, parts, source.training, source.task.dataset)


def _coming(of: _Run, target: Coming, sources: dict[str, Parts]) -> list[ahead.Stage]:
    """The stages whose programs can be compiled while others are at work; none has begun."""
    config, test = of.config, target.parts.test

    has_begun = of.setting.session.unfinished.has
    sources_left = [s for s in config.sources if not has_begun(f"row {s.name}")]
    if not sources_left:
        return []
    batch = min(config.attack_batch_size, config.num_examples or len(test), len(test))
    x = test.pixels(np.arange(batch))
    found = ahead.of_target(of.setting, target, x)
    for source in sources_left:
        coming = _coming_source(source, sources[source.name])
        of_source = ahead.of_source(of.setting, config, coming, target, x, measures=of.quantities)
        trained = stages.is_trained(stages.source_folder(of.folder, source.name))
        found += of_source[trained:]
    return [(name, run) for name, run in found if not has_begun(name)]


def _results(
    of: _Run,
    coming: Coming,
    sources: dict[str, Parts],
    settings: dict[str, Any],
    command: str,
) -> _Found:
    config, began, parts = of.config, of.setting.session, coming.parts
    target = _trained(of, coming, of.folder / "target")
    of.wait("attack target")
    evaluation = evaluate(target.model, target.variables, parts.test, sharding=began.sharding)
    indices = tasks.chosen(
        evaluation.correct,
        config.num_examples,
        seed=config.seed,
        cure="train it longer (--epochs) or on more classes",
    )
    x = parts.test.pixels(indices)
    one_hot = np.eye(len(parts.class_names))[parts.test.labels[indices]]
    on = _attacked(of, "target", target.model.bind(target.variables), x, one_hot)
    audits = {"target": stages.audited(of.setting, "target", on.f, x)}
    both = _sources(of, sources, target, on)
    of_sources = {name: made for name, (made, _) in both.items()}
    found = Results(
        experiment=config.experiment,
        preset=config.preset,
        direction=config.direction,
        seed=config.seed,
        rows=[made["row"] for made in of_sources.values()],
        target=_described(config, target.model, evaluation, len(x)),
        settings=settings,
        versions=versions(),
        seconds=began.journal.seconds(),
        command=command,
        audit={**audits, **{name: made["audit"] for name, made in of_sources.items()}},
        findings={name: made["findings"] for name, made in of_sources.items()},
        records=[record for made in of_sources.values() for record in made["records"]],
        shown=shown(of.quantities),
    )
    began.journal.write("end")
    return _Found(found, [kept for _, kept in both.values()])


def _written(found: Results, folder: pathlib.Path, began: Session) -> Results:
    if devices.is_main():
        results.write(found, folder)
    began.unfinished.clear()
    return found
