"""Experiments of a few seconds."""

import dataclasses

from advknow.experiments.config import Attack, ExperimentConfig, Source, Task, Transfer
from advknow.training import TrainConfig


def tiny_run(**changes) -> ExperimentConfig:
    """Batch norm in a source and the target, PGD, two draws of a transfer through images."""
    training = TrainConfig(epochs=2, batch_size=32, learning_rate=0.05)
    settings = {
        "experiment": "know2adv",
        "preset": "tiny",
        "direction": "source_to_target",
        "sources": (
            Source("0%", Task("digits", ("0", "1")), "mlp", 0.05, training, similarity=0.0),
            Source("50%", Task("digits", ("5", "1")), "lenet", 0.5, training, similarity=0.5),
        ),
        "target": Task("digits", ("5", "6")),
        "target_model": "resnet18",
        "target_width": 0.05,
        "target_training": training,
        "attack": Attack(name="pgd", eps=0.1, num_steps=2, step_size=0.05),
        "transfer": Transfer(
            method="last_layer",
            training=TrainConfig(epochs=2, batch_size=8, learning_rate=0.1),
            labelled_per_class=10,
            repeats=2,
            augment=True,
        ),
        "attack_batch_size": 16,
        "num_examples": 40,
        **changes,
    }
    return ExperimentConfig(**settings)


def trained_run(**changes) -> ExperimentConfig:
    """Two small sources, one sharing a class with the target, a few seconds in all."""
    fast = TrainConfig(epochs=12, batch_size=32, learning_rate=0.05)
    config = ExperimentConfig(
        experiment="know2adv",
        preset="tiny",
        direction="source_to_target",
        sources=(
            Source("0%", Task("digits", ("0", "1")), "mlp", 0.05, fast, similarity=0.0),
            Source("50%", Task("digits", ("5", "1")), "lenet", 0.5, fast, similarity=0.5),
        ),
        target=Task("digits", ("5", "6")),
        target_model="mlp",
        target_width=0.05,
        target_training=fast,
        attack=Attack(name="pgd", eps=0.1, num_steps=3, step_size=0.05),
        transfer=Transfer(
            method="last_layer",
            training=TrainConfig(epochs=20, learning_rate=0.1),
            labelled_per_class=5,
            repeats=3,
        ),
        augment=False,
    )
    return dataclasses.replace(config, **changes)
