"""Trains one model and writes its best checkpoint, chosen on a validation part.

    python -m launch.train --model=lenet --dataset=fashion_mnist --workdir=runs/lenet

The checkpoint (the workdir itself) is read by launch.finetune and launch.measure; accuracy on the
test part is printed and written to train.json.
"""

from absl import flags

from launch import app, task

MODEL = flags.DEFINE_string("model", "lenet", "mlp, lenet, alexnet, resnet18 or resnet50.")
WIDTH = flags.DEFINE_float("width", 1.0, "Width multiplier; 1 = the poster's size.")
LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", None, "At the first step, then a cosine to 0; 0.1, without batch norm 0.02."
)
MOMENTUM = flags.DEFINE_float("momentum", 0.9, "Of SGD.")
WEIGHT_DECAY = flags.DEFINE_float("weight_decay", 1e-4, "Of SGD, on every parameter.")
IMAGE_SIZE = flags.DEFINE_integer("image_size", 32, "Height and width that images get.")
AUGMENT = flags.DEFINE_bool("augment", True, "Random crops, and flips where they make sense.")
SET = flags.DEFINE_multi_string(
    "set",
    [],
    "NAME=VALUE, any setting of the training by its dotted name, after the flags: "
    "adversarial.eps=0.03 (adversarial training by PGD in the ball of that radius, in [0, 1] pixel "
    "units), adversarial.num_steps=10, schedule=constant; again for another. config.json in the "
    "workdir shows all names.",
)
flags.adopt_module_key_flags(task)


def main() -> None:
    """Reads the flags, trains, prints the accuracies."""
    from advknow.experiments.train import train
    from advknow.report import commands
    from advknow.runs.settings import changed

    settings, learning_rate = task.settings(), LEARNING_RATE.value
    if learning_rate is None:
        learning_rate = 0.1 if MODEL.value.startswith("resnet") else 0.02
    training = task.training(
        learning_rate=learning_rate,
        momentum=MOMENTUM.value,
        weight_decay=WEIGHT_DECAY.value,
    )
    for setting in SET.value:
        training = changed(training, setting, such_as="adversarial.eps=0.03")
    found = train(
        model=MODEL.value,
        width=WIDTH.value,
        training=training,
        image_size=IMAGE_SIZE.value,
        augment=AUGMENT.value,
        **settings,
    )
    print(commands.record(found))


if __name__ == "__main__":
    app.run(main, usage=__doc__, resumes=lambda: True)
