"""Seconds and memory of every score: `python -m advknow.benchmark.score_times`.

10,000 examples of 2,048 features and 100 classes, each score in turn, one process for all.
"""

import argparse
import functools
import time
from collections.abc import Callable

import numpy as np

from advknow import scores
from advknow.benchmark.peak_memory import peak_mib


def calls(examples: int, dimensions: int, classes: int) -> dict[str, Callable[[], float]]:
    """Every score of the same random features with some signal."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(examples) % classes)
    centres = rng.normal(size=(classes, dimensions))
    features = (rng.normal(size=(examples, dimensions)) + 0.2 * centres[labels]).astype(np.float32)
    reference = (features[:, ::2] + rng.normal(size=(examples, (dimensions + 1) // 2))).astype("f4")
    logits = features[:, :classes].astype(np.float64)
    theta = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return {
        "nce": lambda: scores.nce(theta.argmax(axis=1), labels),
        "leep": lambda: scores.leep(theta, labels),
        **{
            name: functools.partial(call, features, labels)
            for name, call in scores.OF_FEATURES.items()
        },
        "cka": lambda: scores.cka(features, reference),
        "rsa": lambda: scores.rsa(features, reference),
    }


def main() -> None:
    """Prints a line a score."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=2_048)
    parser.add_argument("--classes", type=int, default=100)
    given = vars(parser.parse_args())
    total = 0.0
    for name, call in calls(**given).items():
        start = time.perf_counter()
        value = call()
        seconds = time.perf_counter() - start
        total += seconds
        peak = peak_mib() / 2**10
        print(f"{name:15} {seconds:7.2f} s   {value:12.6g}   up to {peak:.2f} GiB", flush=True)
    print(f"{'all':15} {total:7.2f} s")


if __name__ == "__main__":
    main()
