"""One point of `advknow.benchmark.growth`, a process of its own.

    python -m advknow.benchmark.growth_point AXIS SIZE

Prints JSON.
"""

import json
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from advknow import attacks, generalized_transferability, matching, matrix
from advknow.alphas import transferability
from advknow.benchmark.peak_memory import peak_mib
from advknow.typing import Array, PyTree

HIDDEN = 128
EXAMPLES = 512


def _apply(weights: PyTree, x: Array) -> Array:
    return jnp.tanh(x @ weights["first"]) @ weights["last"]


def network(seed: int, inputs: int, outputs: int) -> Partial:
    """A random network of one hidden layer, x (B, inputs) -> (B, outputs)."""
    first, last = jax.random.split(jax.random.key(seed))
    return Partial(
        _apply,
        {
            "first": jax.random.normal(first, (inputs, HIDDEN)) / np.sqrt(inputs),
            "last": jax.random.normal(last, (HIDDEN, outputs)) / np.sqrt(HIDDEN),
        },
    )


def sample(count: int, inputs: int) -> np.ndarray:
    """(count, inputs) float32 in [0, 1]."""
    return np.random.default_rng(0).random((count, inputs), np.float32)


ATTACK = attacks.pgd(eps=0.1, num_steps=10, step_size=0.01)


def _examples(size: int) -> Callable[[], object]:
    f_source, f_target, x = network(0, 50, 10), network(1, 50, 10), sample(size, 50)

    def run() -> object:
        key = jax.random.key(0)
        return (
            generalized_transferability(
                f_source, f_target, x, keep_per_example=False, batch_size=1000
            ),
            matching.gradient_matching(f_source=f_source, f_target=f_target, x=x, batch_size=1000),
            transferability(f_source, f_target, x, attack=ATTACK, key=key, batch_size=1000),
        )

    return run


def _all_attacks(inputs: int, outputs: int) -> Callable[[], object]:
    models = network(0, inputs, outputs), network(1, inputs, outputs)
    x = sample(EXAMPLES, inputs)
    return lambda: generalized_transferability(*models, x)


def _many(size: int) -> Callable[[], object]:
    models, x = (network(0, 4096, size), network(1, 4096, size)), sample(EXAMPLES, 4096)
    return lambda: generalized_transferability(*models, x, method="iterative", count=5)


def _models(size: int) -> Callable[[], object]:
    models = {f"model {seed}": network(seed, 1024, 10) for seed in range(size)}
    x = sample(EXAMPLES, 1024)
    return lambda: matrix(models, x, attack=ATTACK, key=jax.random.key(0))


WORK: dict[str, Callable[[int], Callable[[], object]]] = {
    "examples": _examples,
    "inputs": lambda size: _all_attacks(size, 10),
    "outputs": lambda size: _all_attacks(4096, size),
    "many": _many,
    "models": _models,
}


def main(axis: str, size: int) -> None:
    """Prints the point."""
    run = WORK[axis](size)
    start, seconds = peak_mib(), []
    for _ in range(2):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    found = {
        "size": size,
        "seconds": seconds[1],
        "first_seconds": seconds[0],
        "peak_mib": peak_mib(),
        "start_mib": start,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
