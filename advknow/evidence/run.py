"""A study, or a shard of its sources; whatever a workdir has already is not done again.

sources/NAME/   targets/NAME/   checkpoints        records/STAGE/NAME.json   what each piece found
evidence.csv    evidence.json   all records there are; the verdict, once all sources are there
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from advknow.evidence import control, images, labelled, observe, records, truth, verdict, zoo
from advknow.evidence.design import Recipe, Source, Study
from advknow.evidence.design import shard as shard_of
from advknow.passes.devices import is_main
from advknow.runs import files
from advknow.runs.session import Session, begin
from advknow.runs.versions import versions

FILE = "evidence.json"


def run(
    study: Study,
    workdir: str | pathlib.Path,
    *,
    shard: str = "1/1",
    command: str = "",
    **how: Any,
) -> dict[str, Any]:
    """Trains, measures and records the sources of a shard on every target.

    Args:
      study: what is done.
      workdir: folder for all of it; one that holds another shard of the study is added to.
      shard: "I/N", the I-th of every N sources, I from 1.
      command: what to record as the command.
      **how: progress, save_interval, stop and num_devices, as `runs.session.session`.

    Returns:
      as evidence.json: {"preset", "missing": names of sources without records, "verdict": None
      while any is missing, "settings", "versions", "command"}.

    Raises:
      ValueError: the workdir holds another study; a shard that is not accepted; a training that
        is not there; a source and a target that share an image.
      FileNotFoundError: a data set is not there.
      unfinished.StoppedError: `stop` asked for it.
    """
    mine = shard_of(study.sources, shard)
    if not mine:
        raise ValueError(
            f"shard={shard!r} has no source; at most {len(study.sources)} shards are accepted."
        )
    images.check_disjoint(study)
    session = begin(workdir, study.settings(), ends_with=FILE, **how)
    session.journal.write("start", command=command, shard=shard)
    sources = {}
    aligned_to = _aligned_to(session, mine, study)
    for number, source in enumerate(mine):
        alignment = source.recipe.alignment
        towards = None if alignment is None else aligned_to[alignment.target]
        sources[source] = zoo.source_model(session, source, study, towards)
        zoo.about(session, source, sources[source], study, towards)
        session.progress("sources", number + 1, len(mine))
    for target in study.targets:
        parts = images.of_target(target, study)
        references = zoo.references(session, target, parts, study)
        with_copy = (
            {**sources, _copy(study): references["0"]} if study.sources[0] in mine else sources
        )
        observe.observed(session, with_copy, references, target, parts, study)
        _truth(session, sources, target, parts, study)
    return _finished(session, study, command)


def _aligned_to(session: Session, mine: Sequence[Source], study: Study) -> dict[str, zoo.Trained]:
    """The reference models that any of the sources is aligned to, by target."""
    names = {s.recipe.alignment.target for s in mine if s.recipe.alignment is not None}
    return {
        target.name: zoo.references(session, target, images.of_target(target, study), study)["0"]
        for target in study.targets
        if target.name in names
    }


def _copy(study: Study) -> Source:
    """The first reference model of a target as a source, of which one shard has the records."""
    recipe = Recipe(
        name=observe.COPY,
        dataset=study.targets[0].dataset,
        model=study.reference,
        width=study.reference_width,
    )
    return Source(recipe, 0, "control")


def _truth(session: Session, sources: Any, target: Any, parts: Any, study: Study) -> None:
    stage = f"truth of {target.name}"
    with session.journal.stage(stage):
        for number, (source, of) in enumerate(sources.items()):
            labelled.scored(session, source, of, target, parts, study)
            if source.zoo in study.tuned_zoos:
                truth.tuned(session, source, of, target, parts, study)
            session.progress(stage, number + 1, len(sources))


def _finished(session: Session, study: Study, command: str) -> dict[str, Any]:
    assert session.folder is not None
    found = records.gathered(session.folder)
    done = _done(session, study)
    missing = [source.name for source in study.sources if source.name not in done]
    content = {
        "preset": study.preset,
        "missing": missing,
        "verdict": None if missing else concluded(found),
        "settings": study.settings(),
        "command": command,
        "versions": versions(),
    }
    if is_main():
        records.write(found, session.folder / records.FILE)
        files.write_json(session.folder / FILE, content)
    session.unfinished.clear()
    return content


def concluded(found: list[records.Record]) -> dict[str, Any]:
    """What all records of a study say: its verdict, or of a control `control.responses`."""
    return control.responses(found) if control.is_control(found) else verdict.verdict(found)


def write_again(
    folder: pathlib.Path, found: list[records.Record], said: dict[str, Any], *, command: str
) -> None:
    """evidence.csv and evidence.json of records that were put together, into a folder of theirs.

    Raises:
      ValueError: the folder holds a study, whose files these would replace.
    """
    folder = files.make_workdir(folder)
    if (folder / files.CONFIG).exists():
        raise ValueError(
            f"workdir={str(folder)!r} holds a study; choose another folder for what is made of "
            "its records."
        )
    records.write(found, folder / records.FILE)
    content = {"verdict": said, "command": command, "versions": versions()}
    files.write_json(folder / FILE, content)


def _done(session: Session, study: Study) -> set[str]:
    """Names of the sources whose every piece of work is recorded."""

    def there(source: Source) -> bool:
        stages = ["observed", "labelled", *(["tuned"] if source.zoo in study.tuned_zoos else [])]
        return all(
            records.path_of(session, stage, f"{target.name} by {source.name}").exists()
            for stage in stages
            for target in study.targets
        )

    return {source.name for source in study.sources if there(source)}
