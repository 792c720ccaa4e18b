"""Experiment 2: knowledge transferability indicates adversarial transferability.

Five ResNet18 sources share 0 to 4 of their four classes with the target; each is attacked with PGD
and the attack carried to the target (direction S -> T). theory.md section 6, the poster's second
table. Source and target never share an image, also where they share a class.

    python -m launch.know2adv --preset=digits|fashion|poster
"""

from collections.abc import Callable

from advknow import validate
from advknow.experiments.config import Attack, ExperimentConfig, Source, Task, Transfer
from advknow.training import TrainConfig

PGD = Attack(name="pgd", eps=0.1, num_steps=50, step_size=0.01)


def one_swap_at_a_time(start: tuple[str, ...], end: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The class lists from `start` to `end`, class k replaced in step k + 1."""
    return [end[:k] + start[k:] for k in range(len(end) + 1)]


def _sources(
    dataset: str,
    start: tuple[str, ...],
    end: tuple[str, ...],
    *,
    target: tuple[str, ...] | None = None,
    width: float,
    training: TrainConfig,
) -> tuple[Source, ...]:
    shared = set(end if target is None else target)
    return tuple(
        Source(
            name=f"{100 * k // len(end)}%",
            task=Task(dataset, classes),
            model="resnet18",
            width=width,
            training=training,
            similarity=len(shared & set(classes)) / len(end),
        )
        for k, classes in enumerate(one_swap_at_a_time(start, end))
    )


def digits() -> ExperimentConfig:
    """Target digits 5, 6, 8, 9; sources go from 0, 1, 2, 3 to them; minutes on two cores."""
    training = TrainConfig(epochs=16, batch_size=32, learning_rate=0.1)
    target = ("5", "6", "8", "9")
    return ExperimentConfig(
        experiment="know2adv",
        preset="digits",
        direction="source_to_target",
        sources=_sources("digits", ("0", "1", "2", "3"), target, width=0.125, training=training),
        target=Task("digits", target),
        target_model="resnet18",
        target_width=0.125,
        target_training=training,
        attack=PGD,
        transfer=Transfer(
            method="last_layer",
            training=TrainConfig(epochs=40, learning_rate=0.1),
            labelled_per_class=10,
            repeats=5,
        ),
        augment=False,
    )


def fashion() -> ExperimentConfig:
    """Target T-shirt/top, Pullover, Coat, Shirt; sources from Trouser, Sandal, Sneaker, Bag."""
    training = TrainConfig(epochs=3, learning_rate=0.1)
    start = ("Trouser", "Sandal", "Sneaker", "Bag")
    target = ("T-shirt/top", "Pullover", "Coat", "Shirt")
    return ExperimentConfig(
        experiment="know2adv",
        preset="fashion",
        direction="source_to_target",
        sources=_sources("fashion_mnist", start, target, width=0.25, training=training),
        target=Task("fashion_mnist", target),
        target_model="resnet18",
        target_width=0.25,
        target_training=training,
        attack=PGD,
        transfer=Transfer(
            method="last_layer",
            training=TrainConfig(epochs=40, learning_rate=0.1),
            labelled_per_class=15,
            repeats=5,
        ),
        num_examples=500,
        augment=False,
    )


def poster(*, horse_for_dog: bool = False) -> ExperimentConfig:
    """CIFAR-10 -> STL-10, theory.md section 6 to the letter, the slips corrected.

    Args:
      horse_for_dog: the authors' slip: their "100 %" source holds horse where the text says dog.
    """
    training = TrainConfig(epochs=100, learning_rate=0.1)
    start = ("airplane", "automobile", "ship", "truck")
    target = ("bird", "cat", "deer", "dog")
    end = ("bird", "cat", "deer", "horse") if horse_for_dog else target
    return ExperimentConfig(
        experiment="know2adv",
        preset="poster",
        direction="source_to_target",
        sources=_sources("cifar10", start, end, target=target, width=1.0, training=training),
        target=Task("stl10", target),
        target_model="resnet18",
        target_width=1.0,
        target_training=training,
        attack=PGD,
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
