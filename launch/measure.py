"""Measures two checkpoints: alpha1, alpha2 and alpha1*alpha2 in both directions.

    python -m launch.measure --source=runs/a/target --target=runs/b/target --dataset=digits

The checkpoints are folders that launch.train, launch.finetune, launch.adv2know or launch.know2adv
wrote. Prints a table (squares and norms) and writes measure.json.
"""

import json
from typing import Any

from absl import flags

from launch import app, memory
from launch.progress import reporter

SOURCE = flags.DEFINE_string(
    "source", None, "Checkpoint folder of the source model, or MODULE:CALLABLE."
)
TARGET = flags.DEFINE_string(
    "target", None, "Checkpoint folder of the target model, or MODULE:CALLABLE."
)
DATASET = flags.DEFINE_string("dataset", None, "Data set to measure on; the target's by default.")
CLASSES = flags.DEFINE_list(
    "classes", None, "Its classes, by name, with commas; the target's by default."
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data set lies.")
ATTACK = flags.DEFINE_string("attack", "pgd", "fgsm, pgd or singular.")
EPS = flags.DEFINE_float("eps", 0.1, "Radius of fgsm and pgd in [0, 1] pixel units.")
NUM_STEPS = flags.DEFINE_integer("num_steps", 50, "Steps of pgd, each of eps/10.")
INDEX = flags.DEFINE_integer(
    "index", 0, "Which attack of singular, from 0, in the small-eps limit."
)
NUM_EXAMPLES = flags.DEFINE_integer(
    "num_examples", 0, "Measure on at most so many test images; 0 for all."
)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 64, "Images in one program; 0 for the largest power of two that fits."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the attacks' random starts.")
CORRECT_ONLY = flags.DEFINE_bool(
    "correct_only",
    True,
    "Count only images that the target classifies correctly (where the classes are the target's).",
)
SAVE_EXAMPLES = flags.DEFINE_string(
    "save_examples", None, "Folder for both models' adversarial examples, float32 and 8-bit."
)
DELTAS_SOURCE = flags.DEFINE_string(
    "deltas_source", None, "Adversarial examples of the source to read in place of attacking it."
)
DELTAS_TARGET = flags.DEFINE_string("deltas_target", None, "The same of the target.")
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for measure.json; none by default: nothing is kept."
)

flags.adopt_module_key_flags(app)
flags.adopt_module_key_flags(memory)


def _settings() -> dict[str, Any]:
    """What a workdir's run is recognised by: every flag that the figures depend on."""
    names = (
        "source target dataset classes attack eps num_steps index num_examples batch_size seed "
        "correct_only deltas_source deltas_target"
    )
    return {"launch": "measure", **{name: flags.FLAGS[name].value for name in names.split()}}


def _show(found: dict[str, Any]) -> None:
    from advknow.experiments import measure
    from advknow.report import tables

    print(measure.text(found))
    print("\n".join(tables.audit(found["audit"])))


def main() -> None:
    """Reads the flags, measures, prints."""
    from advknow.experiments import measure, stages
    from advknow.runs import files

    if not SOURCE.value or not TARGET.value:
        raise ValueError(
            f"source={SOURCE.value!r}, target={TARGET.value!r}: two checkpoint folders are needed."
        )
    session = None
    if WORKDIR.value is not None:
        folder = files.make_workdir(WORKDIR.value)
        stages.claim(folder, _settings())
        path = folder / "measure.json"
        done = measure.finished(path, "source_to_target", "target_to_source", "audit")
        examples = SAVE_EXAMPLES.value
        if done is not None and examples in (None, done.get("saved", {}).get("folder")):
            _show(done)
            print(f"finished before; measure.json is in {folder}")
            return
        session = stages.session(
            folder,
            progress=reporter(quiet=app.QUIET.value),
            save_interval=app.SAVE_INTERVAL.value,
            stop=app.stop_requested,
            num_devices=app.NUM_DEVICES.value,
        )
    found = measure.measure_checkpoints(
        SOURCE.value,
        TARGET.value,
        dataset=DATASET.value,
        classes=None if CLASSES.value is None else tuple(CLASSES.value),
        data_dir=DATA_DIR.value,
        attack=measure.attack_named(
            ATTACK.value, eps=EPS.value, num_steps=NUM_STEPS.value, index=INDEX.value
        ),
        linearize=ATTACK.value == "singular",
        num_examples=NUM_EXAMPLES.value,
        correct_only=CORRECT_ONLY.value,
        batch_size=BATCH_SIZE.value,
        memory_limit_gib=memory.LIMIT_GIB.value,
        seed=SEED.value,
        progress=reporter(quiet=app.QUIET.value),
        num_devices=app.NUM_DEVICES.value,
        strict=app.STRICT.value,
        session=session,
        save_examples=SAVE_EXAMPLES.value,
        deltas={"source": DELTAS_SOURCE.value, "target": DELTAS_TARGET.value},
        description=None if ATTACK.value == "singular" else {"eps": EPS.value},
    )
    _show(found)
    if session is not None and app.is_main():
        content = json.dumps(found, indent=2, allow_nan=False) + "\n"
        files.write_atomically(session.folder / "measure.json", content)
        session.unfinished.clear()


if __name__ == "__main__":
    app.run(main, usage=__doc__, resumes=lambda: WORKDIR.value is not None)
