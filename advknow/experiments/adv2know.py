"""Experiment 1: adversarial transferability indicates knowledge transferability.

Five architectures learn one source task; the target's own model is attacked with FGSM and the
attack carried to each source (direction T -> S). theory.md section 6, the poster's first table.

    python -m launch.adv2know --preset=digits|fashion|poster
"""

from collections.abc import Callable

from advknow import validate
from advknow.experiments.config import Attack, ExperimentConfig, Source, Task, Transfer
from advknow.training import TrainConfig

ARCHITECTURES = {
    "mlp": "MLP",
    "lenet": "LeNet",
    "alexnet": "AlexNet",
    "resnet18": "ResNet18",
    "resnet50": "ResNet50",
}

FGSM = Attack(name="fgsm", eps=0.1, num_steps=1, step_size=0.1)


def _sources(task: Task, widths: dict[str, float], training: dict[str, TrainConfig]):
    return tuple(
        Source(name=label, task=task, model=model, width=widths[model], training=training[model])
        for model, label in ARCHITECTURES.items()
    )


def digits() -> ExperimentConfig:
    """Digits 0-4 -> digits 5-9, slim models: the whole experiment within minutes on two cores."""
    plain = TrainConfig(epochs=30, learning_rate=0.02)
    normalised = TrainConfig(epochs=12, batch_size=32, learning_rate=0.1)
    return ExperimentConfig(
        experiment="adv2know",
        preset="digits",
        direction="target_to_source",
        sources=_sources(
            Task("digits", ("0", "1", "2", "3", "4")),
            {"mlp": 0.25, "lenet": 1.0, "alexnet": 0.25, "resnet18": 0.125, "resnet50": 0.125},
            {
                "mlp": plain,
                "lenet": plain,
                "alexnet": plain,
                "resnet18": normalised,
                "resnet50": normalised,
            },
        ),
        target=Task("digits", ("5", "6", "7", "8", "9")),
        target_model="resnet18",
        target_width=0.125,
        target_training=normalised,
        attack=FGSM,
        transfer=Transfer(
            method="last_layer",
            training=TrainConfig(epochs=40, learning_rate=0.1),
            labelled_per_class=10,
            repeats=5,
        ),
        augment=False,
    )


def fashion() -> ExperimentConfig:
    """Fashion-MNIST (ten classes) -> digits (ten classes): real images, under 90 minutes.

    Few epochs without augmentation: what two cores can do, and enough for LeNet >= 88 % and
    ResNet18 >= 90 % of the Fashion-MNIST test images.
    """
    plain = TrainConfig(epochs=5, learning_rate=0.02)
    normalised = TrainConfig(epochs=2, learning_rate=0.1)
    return ExperimentConfig(
        experiment="adv2know",
        preset="fashion",
        direction="target_to_source",
        sources=_sources(
            Task("fashion_mnist"),
            {"mlp": 1.0, "lenet": 1.0, "alexnet": 0.25, "resnet18": 0.25, "resnet50": 0.125},
            {
                "mlp": plain,
                "lenet": plain,
                "alexnet": plain,
                "resnet18": normalised,
                "resnet50": normalised,
            },
        ),
        target=Task("digits"),
        target_model="resnet18",
        target_width=0.25,
        target_training=TrainConfig(epochs=20, learning_rate=0.1),
        attack=FGSM,
        transfer=Transfer(
            method="last_layer",
            training=TrainConfig(epochs=40, learning_rate=0.1),
            labelled_per_class=15,
            repeats=5,
        ),
        augment=False,
    )


def poster() -> ExperimentConfig:
    """CIFAR-10 -> STL-10, theory.md section 6 to the letter, the slips corrected."""
    training = TrainConfig(epochs=100, learning_rate=0.1)
    return ExperimentConfig(
        experiment="adv2know",
        preset="poster",
        direction="target_to_source",
        sources=_sources(
            Task("cifar10"),
            dict.fromkeys(ARCHITECTURES, 1.0),
            dict.fromkeys(ARCHITECTURES, training),
        ),
        target=Task("stl10"),
        target_model="resnet18",
        target_width=1.0,
        target_training=training,
        attack=FGSM,
        transfer=Transfer(
            method="last_layer",
            training=TrainConfig(epochs=10, learning_rate=0.1),
            augment=True,
        ),
    )


PRESETS: dict[str, Callable[[], ExperimentConfig]] = {
    "digits": digits,
    "fashion": fashion,
    "poster": poster,
}


def preset(name: str) -> ExperimentConfig:
    """The configuration of that name.

    Raises:
      ValueError: an unknown name.
    """
    validate.choice("preset", name, PRESETS)
    return PRESETS[name]()
