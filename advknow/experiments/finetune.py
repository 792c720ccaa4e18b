"""One transfer of a checkpoint to a target task: what `launch.finetune` does."""

import dataclasses
import pathlib
from typing import Any

from advknow.experiments import stages, tasks
from advknow.experiments.config import ADDED, Task, Transfer
from advknow.passes import devices, keys
from advknow.runs import checkpoints
from advknow.runs.session import begin, finish, save_checkpoint
from advknow.runs.versions import versions
from advknow.training import evaluate


def finetune(
    checkpoint: str | pathlib.Path,
    workdir: str | pathlib.Path,
    *,
    task: Task,
    transfer: Transfer,
    data_dir: str | None = None,
    skip_damaged: bool = False,
    seed: int = 0,
    **how: Any,
) -> dict[str, Any]:
    """Transfers a checkpoint to a target task (`training.fine_tune`).

    Args:
      checkpoint: the source model's folder.
      workdir: becomes the new checkpoint. One of the same settings is gone on with, or only read.
      task: the target's. data_dir: where its data set lies. Its images get the size and channels
        of the source's.
      skip_damaged: as `data.load`.
      transfer: method, training and number of labelled images; one draw of them.
      seed: of the draw, the new layer and the order.
      **how: progress, save_interval, stop, on_event and num_devices, as `runs.session.session`.

    Returns, Raises: as `train.train`; the record is that of finetune.json.
    """
    model, variables, _ = checkpoints.restore_model(checkpoint)
    parts = tasks.of_one(
        task,
        data_dir,
        channels=model.input_shape[-1],
        image_size=model.input_shape[0],
        skip_damaged=skip_damaged,
    )
    class_names = list(parts.class_names)
    labelled = tasks.labelled(parts.train, transfer.labelled_per_class, seed=seed, draw="labelled")
    settings = {
        "launch": "finetune",
        "checkpoint": str(checkpoint),
        "dataset": task.dataset,
        "classes": class_names,
        "transfer": dataclasses.asdict(transfer),
        "seed": seed,
        **tasks.fingerprints([parts.origin]),
    }
    session = begin(workdir, settings, added=ADDED, ends_with="finetune.json", **how)
    stages.tell_of_data(session, [parts.origin])
    folder, stage = pathlib.Path(workdir), f"transfer ({transfer.method})"
    done = devices.agreed("checkpoint", lambda: stages.finished_checkpoint(folder))
    if done is not None:
        tuned, tuned_variables, _ = done
    else:
        with session.journal.stage(stage):
            session.unfinished.begin()
            tuned, tuned_variables = stages.fine_tuned(
                session,
                stage,
                model,
                variables,
                labelled,
                transfer=transfer,
                dataset=task.dataset,
                key=keys.of_stage(seed, "finetune"),
                told=True,
            )
            metadata = {
                **checkpoints.model_metadata(tuned),
                "dataset": task.dataset,
                "class_names": class_names,
                "seed": seed,
                "source": str(checkpoint),
            }
            save_checkpoint(session, folder, tuned_variables, metadata)
    test = evaluate(tuned, tuned_variables, parts.test, sharding=session.sharding)
    return finish(
        session,
        {
            "checkpoint": str(workdir),
            "source": str(checkpoint),
            "model": model.name,
            "method": transfer.method,
            "dataset": task.dataset,
            "classes": class_names,
            "n_labelled": len(labelled),
            "test_accuracy": 100.0 * test.accuracy,
            "n_test": test.n,
            "seed": seed,
            "versions": versions(),
        },
    )
