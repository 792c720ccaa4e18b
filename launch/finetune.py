"""Transfers a checkpoint to a target task with few labels: the paper's knowledge transfer.

    python -m launch.finetune --checkpoint=runs/lenet --dataset=digits --workdir=runs/lenet-digits

By default a new last layer is trained with everything else frozen. The new checkpoint (the workdir
itself) is read by launch.measure; accuracy on the test part is printed and written to
finetune.json.
"""

from absl import flags

from launch import app, task

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Checkpoint folder of the source model.")
METHOD = flags.DEFINE_string("method", "last_layer", "last_layer, all or closed_form.")
LABELLED_PER_CLASS = flags.DEFINE_integer(
    "labelled_per_class", 0, "Labelled images a class; 0 for the whole train part."
)
LEARNING_RATE = flags.DEFINE_float("learning_rate", 0.1, "At the first step, then a cosine to 0.")
AUGMENT = flags.DEFINE_bool("augment", False, "Random crops, and flips where they make sense.")
BATCH_NORM_DRIFT = flags.DEFINE_bool(
    "batch_norm_drift", False, "As the authors' code: batch-norm statistics of f_S drift."
)
flags.adopt_module_key_flags(task)


def main() -> None:
    """Reads the flags, transfers, prints the accuracy."""
    from advknow.experiments.config import Transfer
    from advknow.experiments.finetune import finetune
    from advknow.report import commands

    if not CHECKPOINT.value:
        raise ValueError("checkpoint=None: the source's checkpoint folder is needed.")
    settings = task.settings()
    transfer = Transfer(
        method=METHOD.value,
        training=task.training(learning_rate=LEARNING_RATE.value),
        labelled_per_class=LABELLED_PER_CLASS.value,
        batch_norm_drift=BATCH_NORM_DRIFT.value,
        augment=AUGMENT.value,
    )
    print(commands.record(finetune(CHECKPOINT.value, transfer=transfer, **settings)))


if __name__ == "__main__":
    app.run(main, usage=__doc__, resumes=lambda: True)
