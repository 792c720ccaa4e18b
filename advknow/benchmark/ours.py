"""The stages as advknow does them: each function does all of one and waits for the result."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from advknow import generalized_transferability, matching
from advknow.alphas import Transferability, from_deltas, perturb
from advknow.benchmark.setting import Setting
from advknow.generalized import Generalized
from advknow.training import sgd
from advknow.training.config import TrainConfig
from advknow.training.forward import WholeModel
from advknow.training.state import TrainState, create_state


def attack(setting: Setting, of: int = 0) -> np.ndarray:
    """Perturbations of the model `of`, on the host."""
    return perturb(
        setting.bound[of],
        setting.x,
        attack=setting.attack,
        key=jax.random.key(0),
        batch_size=setting.sizes.batch_size,
    )


def alphas(setting: Setting) -> list[Transferability]:
    """Of every source to the target; every model is attacked once."""
    deltas = [attack(setting, of) for of in range(len(setting.bound))]
    return [
        from_deltas(
            source,
            setting.bound[0],
            setting.x,
            delta,
            deltas[0],
            batch_size=setting.sizes.batch_size,
        )
        for source, delta in zip(setting.bound[1:], deltas[1:], strict=True)
    ]


def singular(setting: Setting) -> Generalized:
    """All attacks of the first source on the target: A1, A2 and rho^2."""
    return generalized_transferability(
        setting.bound[1], setting.bound[0], setting.x, batch_size=setting.sizes.batch_size
    )


def distances(setting: Setting) -> dict[str, float]:
    """GMD, FMD and KTD of the target and the first source."""
    models: dict[str, Any] = {"f_source": setting.bound[1], "f_target": setting.bound[0]}
    how: dict[str, Any] = {"x": setting.x, "batch_size": setting.sizes.batch_size}
    one_hot = np.eye(setting.model.num_classes, dtype=np.float32)[setting.labels]
    return {
        "gmd": matching.gradient_matching(**models, **how).distance,
        "fmd": matching.function_matching(**models, **how).distance,
        "ktd": matching.knowledge_transfer(f_source=models["f_source"], y=one_hot, **how).distance,
    }


def training(setting: Setting, *, images: np.ndarray, labels: np.ndarray) -> TrainState:
    """One epoch over these images, from the target's variables."""
    variables = setting.variables[0]
    config = TrainConfig(
        epochs=1, batch_size=setting.sizes.train_batch, activations=setting.activations
    )
    state = create_state(
        variables["params"], variables.get("batch_stats", {}), config, jax.random.key(0)
    )
    forward = WholeModel(setting.model, None, setting.activations)
    *_, (last, _) = sgd.epochs(state, forward, {}, images, labels, config)
    return last


def training_on_a_constant_batch(setting: Setting) -> Callable[[], TrainState]:
    """As many of the same compiled steps, without an input pipeline: one batch on the device."""
    variables, sizes = setting.variables[0], setting.sizes
    config = TrainConfig(epochs=1, batch_size=sizes.train_batch, activations=setting.activations)
    forward = WholeModel(setting.model, None, setting.activations)
    generator = np.random.default_rng(3)
    images = generator.integers(0, 256, (sizes.train_batch, 32, 32, 3), np.uint8)
    batch = jax.device_put((images, np.zeros(sizes.train_batch, np.int32)))
    rate, total = jnp.float32(config.learning_rate), jnp.float32(sizes.train_steps)

    def run() -> TrainState:
        state = create_state(
            variables["params"], variables.get("batch_stats", {}), config, jax.random.key(0)
        )
        for _ in range(sizes.train_steps):
            state = sgd.take_step(state, {}, batch, (rate, total), forward=forward, config=config)
        return jax.block_until_ready(state)

    return run
