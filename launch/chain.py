"""The paper's chain for two checkpoints: alphas, A1, A2, the three distances, and the theorems.

    python -m launch.chain --source=runs/a/target --target=runs/b/target --workdir=runs/chain

Prints every link with its numbers and the slack of each inequality; writes chain.json, the picture
with the numbers on its arrows (figure.png) and the map of A2 (attacks.png).
"""

import json
import pathlib
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
LOSS = flags.DEFINE_string("loss", "l2", "Adversarial loss: l2 (H = I), squared_l2 or kl.")
NUM_EXAMPLES = flags.DEFINE_integer("num_examples", 256, "At most so many test images; 0 for all.")
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 32, "Images in one program; 0 for the largest power of two that fits."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the choice of images.")
CORRECT_ONLY = flags.DEFINE_bool(
    "correct_only", True, "Count only images that the target classifies correctly."
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for what is written; nothing by default.")
flags.adopt_module_key_flags(app)
flags.adopt_module_key_flags(memory)


def _settings() -> dict[str, Any]:
    """What a workdir's figures are recognised by: every flag that they depend on."""
    names = "source target dataset classes loss num_examples batch_size seed correct_only"
    return {"launch": "chain", **{name: flags.FLAGS[name].value for name in names.split()}}


def main() -> None:
    """Reads the flags, measures, prints, draws."""
    from advknow.experiments import measure, stages
    from advknow.report import chain as report
    from advknow.report import figures, tables
    from advknow.runs import files

    if not SOURCE.value or not TARGET.value:
        raise ValueError(
            f"source={SOURCE.value!r}, target={TARGET.value!r}: two checkpoint folders are needed."
        )
    session = None
    if WORKDIR.value is not None:
        folder = files.make_workdir(WORKDIR.value)
        stages.claim(folder, _settings())
        done = measure.finished(folder / "chain.json", "chain", "audit")
        if done is not None:
            print(report.text(done["chain"]))
            print("\n".join(tables.audit(done["audit"])))
            print(f"finished before; chain.json, figure.png and attacks.png are in {folder}")
            return
        session = stages.session(
            folder,
            progress=reporter(quiet=app.QUIET.value),
            save_interval=app.SAVE_INTERVAL.value,
            stop=app.stop_requested,
            num_devices=app.NUM_DEVICES.value,
        )
    found = measure.chain_of_checkpoints(
        SOURCE.value,
        TARGET.value,
        dataset=DATASET.value,
        classes=None if CLASSES.value is None else tuple(CLASSES.value),
        data_dir=DATA_DIR.value,
        loss=LOSS.value,
        num_examples=NUM_EXAMPLES.value,
        correct_only=CORRECT_ONLY.value,
        batch_size=BATCH_SIZE.value,
        memory_limit_gib=memory.LIMIT_GIB.value,
        seed=SEED.value,
        num_devices=app.NUM_DEVICES.value,
        strict=app.STRICT.value,
        progress=reporter(quiet=app.QUIET.value),
        session=session,
    )
    print(report.text(found["chain"]))
    print("\n".join(tables.audit(found["audit"])))
    if session is None or not app.is_main():
        return
    names = {name: pathlib.Path(found[name]).name for name in ("source", "target")}
    figures.save(report.figure(found["chain"], **names), folder / "figure.png")
    figures.save(report.heat_map(found["chain"]), folder / "attacks.png")
    content = json.dumps(found, indent=2, allow_nan=False) + "\n"
    files.write_atomically(folder / "chain.json", content)
    session.unfinished.clear()
    print(f"chain.json, figure.png and attacks.png are in {folder}")


if __name__ == "__main__":
    app.run(main, usage=__doc__, resumes=lambda: WORKDIR.value is not None)
