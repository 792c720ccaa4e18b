"""`advknow.matrix` beside the calls of each pair: LeNets of 28 x 28 x 1 inputs.

    python -m advknow.benchmark.every_pair [--models=12] [--examples=256] [--repeats=3]

Interleaved; prints seconds, their ratio, the passes of attacks and the largest difference.
"""

import argparse
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from advknow import attacks, matching, models
from advknow.all_pairs import Matrix, matrix
from advknow.alphas import transferability
from advknow.benchmark.setting import EPS, live_variables
from advknow.benchmark.timing import Work, compare, table
from advknow.typing import ApplyFn, Array

BATCH_SIZE = 64


class CountedAttack:
    """PGD of ten steps that counts the batches it is asked for."""

    def __init__(self) -> None:
        self.batches = 0
        self._attack = attacks.pgd(eps=EPS, num_steps=10, step_size=EPS / 10)

    def __call__(self, f: ApplyFn, x: Array, keys: Array) -> Array:
        self.batches += 1
        return self._attack(f, x, keys)


def lenets(count: int) -> dict[str, ApplyFn]:
    """LeNets of their own weights each, by name."""
    model = models.create("lenet", num_classes=10, input_shape=(28, 28, 1))
    return {f"lenet {seed}": model.bind(live_variables(model, seed)) for seed in range(count)}


def pair_by_pair(
    named: Mapping[str, ApplyFn], x: np.ndarray, attack: CountedAttack, key: Array
) -> dict[tuple[str, str], tuple[float, float]]:
    """alpha1 and rho^2 of every ordered pair of two models, each by the calls for a pair."""
    return {
        (source, target): (
            transferability(
                named[source], named[target], x, attack=attack, key=key, batch_size=BATCH_SIZE
            ).alpha1,
            matching.gradient_matching(
                f_source=named[source], f_target=named[target], x=x, batch_size=BATCH_SIZE
            ).rho2,
        )
        for source, target in itertools.permutations(named, 2)
    }


def main(count: int, examples: int, repeats: int) -> None:
    """Prints the comparison."""
    named = lenets(count)
    x = np.random.default_rng(0).random((examples, 28, 28, 1), np.float32)
    key = jax.random.key(0)
    once, by_pair = CountedAttack(), CountedAttack()
    found: dict[str, Any] = {}

    def ours() -> Matrix:
        found["ours"] = matrix(named, x, attack=once, key=key, batch_size=BATCH_SIZE)
        return found["ours"]

    def theirs() -> object:
        found["theirs"] = pair_by_pair(named, x, by_pair, key)
        return found["theirs"]

    rows = compare(
        "matrix", f"{count} lenets", Work(ours), {"pair by pair": Work(theirs)}, repeats=repeats
    )
    print(table(rows))
    batches = -(-examples // BATCH_SIZE)
    print(
        f"attacks on a batch, a run: {once.batches / (repeats + 1):g} here, "
        f"{by_pair.batches / (repeats + 1):g} pair by pair ({batches} batches)"
    )
    names = list(named)
    at = {pair: (names.index(pair[0]), names.index(pair[1])) for pair in found["theirs"]}
    worst = max(
        abs(found["ours"][quantity][at[pair]] - values[i])
        for pair, values in found["theirs"].items()
        for i, quantity in enumerate(("alpha1", "rho2"))
    )
    print(f"largest difference of alpha1 or rho^2: {worst:.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    main(given.models, given.examples, given.repeats)
