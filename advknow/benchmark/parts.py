"""What a batch of LeNet costs beyond the passes that it cannot do without: a script.

python -m advknow.benchmark.parts

Milliseconds of every part, medians and quartiles of interleaved repeats, each waited for on its
own. On an otherwise idle machine.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from advknow import gram, losses
from advknow.attacks import gradient, objectives
from advknow.benchmark import bare
from advknow.benchmark.setting import EPS, Setting, Sizes
from advknow.passes import keys
from advknow.passes.apply_fn import outputs
from advknow.passes.loops import repeat

REPEATS, STEPS = 40, 10


def _attack(setting: Setting) -> dict[str, Callable[[], Any]]:
    """Of PGD: the start, the outputs at it, a gradient alone, and the step that holds one."""
    f, x = setting.bound[0], jnp.asarray(setting.x)
    ball, key = gradient._Ball(EPS, 0.0, 1.0), jax.random.key(0)
    of_examples = keys.per_example(key, len(x))
    y, labels = outputs(f, x), jnp.zeros(len(x), jnp.int32)
    step = gradient._step_of(objectives.cross_entropy, "inf")

    def start() -> Any:
        return gradient._start(x, of_examples, ball, ord="inf", random_start=True)

    begin = start()
    return {
        "attack: random start": start,
        "attack: outputs": lambda: outputs(f, x),
        f"attack: {STEPS} gradients": lambda: [
            bare.input_gradient(f, x, labels) for _ in range(STEPS)
        ],
        f"attack: {STEPS} steps": lambda: repeat(step, STEPS, begin, f, x, y, ball, EPS / 10),
        "attack: all of a batch": lambda: setting.attack(f, x, key),
    }


def _singular(setting: Setting) -> dict[str, Callable[[], Any]]:
    """Of A1, A2 and the distances: Jacobians, their products and the host's algebra."""
    f_source, f_target, x = setting.bound[1], setting.bound[0], jnp.asarray(setting.x)
    loss = losses.squared_l2
    how = {"loss": loss, "source_loss": loss}
    j_source, j_target = (gram._jacobian(f, x, losses=(loss,))[1] for f in (f_source, f_target))
    found = gram.of_batch(f_source, f_target, x, len(x), **how)
    return {
        "singular: both Jacobians": lambda: bare.jacobians(f_source, f_target, x),
        "singular: products on the host": lambda: gram.products(j_source, j_target, len(x)),
        "singular: Gram matrices, all": lambda: gram.of_batch(f_source, f_target, x, len(x), **how),
        "singular: attacks from them": lambda: gram.source_attacks(found),
    }


def main() -> None:
    """Prints the table."""
    setting = Setting("lenet", Sizes())
    parts = {**_attack(setting), **_singular(setting)}
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for run in parts.values():
        jax.block_until_ready(run())
    for _ in range(REPEATS):
        for name, run in parts.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - start)
    images = setting.sizes.num_examples
    print(f"LeNet, {images} images, {REPEATS} repeats: median [middle half], ms")
    for name, found in seconds.items():
        low, median, high = (1e3 * part for part in statistics.quantiles(found))
        print(f"{name:<32} {median:6.2f} [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main()
