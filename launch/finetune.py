"""Transfers a checkpoint to a target task with few labels: the paper's knowledge transfer.

    python -m launch.finetune --checkpoint=runs/lenet --dataset=digits --workdir=runs/lenet-digits

By default a new last layer is trained with everything else frozen. The new checkpoint (the workdir
itself) is read by launch.measure; accuracy on the test part is printed and written to
finetune.json.
"""

import json

from absl import flags

from launch import app, tensorboard
from launch.progress import reporter

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Checkpoint folder of the source model.")
DATASET = flags.DEFINE_string("dataset", "digits", "digits, fashion_mnist, cifar10 or stl10.")
CLASSES = flags.DEFINE_list("classes", None, "Classes by name, with commas; all by default.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data set lies.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for the checkpoint and finetune.json.")
METHOD = flags.DEFINE_string("method", "last_layer", "last_layer, all or closed_form.")
LABELLED_PER_CLASS = flags.DEFINE_integer(
    "labelled_per_class", 0, "Labelled images a class; 0 for the whole train part."
)
EPOCHS = flags.DEFINE_integer("epochs", 10, "Passes over the labelled images.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images a step.")
LEARNING_RATE = flags.DEFINE_float("learning_rate", 0.1, "At the first step, then a cosine to 0.")
AUGMENT = flags.DEFINE_bool("augment", False, "Random crops, and flips where they make sense.")
BATCH_NORM_DRIFT = flags.DEFINE_bool(
    "batch_norm_drift", False, "As the authors' code: batch-norm statistics of f_S drift."
)
BFLOAT16 = flags.DEFINE_bool(
    "bfloat16", False, "Train with bfloat16 activations; parameters stay float32."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the labelled images, the new layer and the order.")

flags.adopt_module_key_flags(app)
flags.adopt_module_key_flags(tensorboard)


def main() -> None:
    """Reads the flags, transfers, prints the accuracy."""
    from advknow.experiments import single
    from advknow.experiments.config import Transfer
    from advknow.runs import files
    from advknow.training import TrainConfig

    if not CHECKPOINT.value:
        raise ValueError("checkpoint=None: the source's checkpoint folder is needed.")
    if not WORKDIR.value:
        raise ValueError("workdir=None: a folder for the checkpoint is needed (--workdir=runs/x).")
    found = single.finetune(
        CHECKPOINT.value,
        WORKDIR.value,
        dataset=DATASET.value,
        classes=tuple(CLASSES.value) if CLASSES.value is not None else None,
        data_dir=DATA_DIR.value,
        transfer=Transfer(
            method=METHOD.value,
            training=TrainConfig(
                epochs=EPOCHS.value,
                batch_size=BATCH_SIZE.value,
                learning_rate=LEARNING_RATE.value,
                activations="bfloat16" if BFLOAT16.value else "float32",
            ),
            labelled_per_class=LABELLED_PER_CLASS.value,
            batch_norm_drift=BATCH_NORM_DRIFT.value,
            augment=AUGMENT.value,
        ),
        seed=SEED.value,
        progress=reporter(quiet=app.QUIET.value),
        save_interval=app.SAVE_INTERVAL.value,
        stop=app.stop_requested,
        on_event=tensorboard.writer(WORKDIR.value),
        num_devices=app.NUM_DEVICES.value,
    )
    if app.is_main():
        content = json.dumps(found, indent=2) + "\n"
        files.write_atomically(f"{WORKDIR.value}/finetune.json", content)
    print(single.text(found))


if __name__ == "__main__":
    app.run(main, usage=__doc__, resumes=lambda: True)
