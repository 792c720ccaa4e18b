"""Trains one model and writes its best checkpoint, chosen on a validation part.

    python -m launch.train --model=lenet --dataset=fashion_mnist --workdir=runs/lenet

The checkpoint (the workdir itself) is read by launch.finetune and launch.measure; accuracy on the
test part is printed and written to train.json.
"""

import json

from absl import flags

from launch import app, tensorboard
from launch.progress import reporter

MODEL = flags.DEFINE_string("model", "lenet", "mlp, lenet, alexnet, resnet18 or resnet50.")
WIDTH = flags.DEFINE_float("width", 1.0, "Width multiplier; 1 = the poster's size.")
DATASET = flags.DEFINE_string("dataset", "digits", "digits, fashion_mnist, cifar10 or stl10.")
CLASSES = flags.DEFINE_list("classes", None, "Classes by name, with commas; all by default.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data set lies.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for the checkpoint and train.json.")
EPOCHS = flags.DEFINE_integer("epochs", 10, "Passes over the train part.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images a step.")
LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", None, "At the first step, then a cosine to 0; 0.1, without batch norm 0.02."
)
MOMENTUM = flags.DEFINE_float("momentum", 0.9, "Of SGD.")
WEIGHT_DECAY = flags.DEFINE_float("weight_decay", 1e-4, "Of SGD, on every parameter.")
AUGMENT = flags.DEFINE_bool("augment", True, "Random crops, and flips where they make sense.")
BFLOAT16 = flags.DEFINE_bool(
    "bfloat16", False, "Train with bfloat16 activations; parameters stay float32."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of initialisation, order and augmentation.")

flags.adopt_module_key_flags(app)
flags.adopt_module_key_flags(tensorboard)


def main() -> None:
    """Reads the flags, trains, prints the accuracies."""
    from advknow.experiments import single
    from advknow.runs import files
    from advknow.training import TrainConfig

    if not WORKDIR.value:
        raise ValueError("workdir=None: a folder for the checkpoint is needed (--workdir=runs/x).")
    learning_rate = LEARNING_RATE.value
    if learning_rate is None:
        learning_rate = 0.1 if MODEL.value.startswith("resnet") else 0.02
    found = single.train(
        WORKDIR.value,
        model=MODEL.value,
        width=WIDTH.value,
        dataset=DATASET.value,
        classes=tuple(CLASSES.value) if CLASSES.value is not None else None,
        data_dir=DATA_DIR.value,
        training=TrainConfig(
            epochs=EPOCHS.value,
            batch_size=BATCH_SIZE.value,
            learning_rate=learning_rate,
            momentum=MOMENTUM.value,
            weight_decay=WEIGHT_DECAY.value,
            activations="bfloat16" if BFLOAT16.value else "float32",
        ),
        augment=AUGMENT.value,
        seed=SEED.value,
        progress=reporter(quiet=app.QUIET.value),
        save_interval=app.SAVE_INTERVAL.value,
        stop=app.stop_requested,
        on_event=tensorboard.writer(WORKDIR.value),
        num_devices=app.NUM_DEVICES.value,
    )
    if app.is_main():
        content = json.dumps(found, indent=2) + "\n"
        files.write_atomically(f"{WORKDIR.value}/train.json", content)
    print(single.text(found))


if __name__ == "__main__":
    app.run(main, usage=__doc__, resumes=lambda: True)
