"""Our scores beside those of the package transformer-ranker: its own process, which needs PyTorch.

    pip install torch
    pip install --no-deps transformer-ranker torchmetrics lightning-utilities packaging
    python -m advknow.benchmark.ranker_peer

Its estimators alone are loaded: the package itself imports transformers and datasets. They get the
same float64 features as ours, in which three sources have more and more signal. Prints, for each
score and size, both values, what plain float64 arithmetic finds, whether the sources come in the
same order, and its time over ours (medians of ratios of neighbours in time).
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from types import ModuleType

import numpy as np

from advknow import scores

SIZES = ((300, 20, 3), (300, 20, 2), (40, 64, 4), (2_000, 512, 10))
SIGNALS = (0.2, 0.5, 1.0)
OURS: dict[str, Callable[..., float]] = {
    "LogME": scores.logme,
    "HScore": scores.h_score_shrunk,
    "NearestNeighbors": scores.OF_FEATURES["knn"],
}


def estimators() -> ModuleType:
    """The package's folder of estimators, without the package's other imports.

    Raises:
      ModuleNotFoundError: it, or what it needs, is not installed; it says what to install.
    """
    advice = (
        "install with: pip install torch && "
        "pip install --no-deps transformer-ranker torchmetrics lightning-utilities packaging"
    )
    package = importlib.util.find_spec("transformer_ranker")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError(f"transformer-ranker is not installed; {advice}.")
    folder = f"{package.submodule_search_locations[0]}/estimators"
    spec = importlib.util.spec_from_file_location(
        "transformer_ranker_estimators",
        f"{folder}/__init__.py",
        submodule_search_locations=[folder],
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; {advice}.") from error
    return module


def _logme(f: np.ndarray, y: np.ndarray) -> float:
    """The best evidence on a fine grid of log(alpha / beta), of N x N covariances' eigenvalues."""
    count, total = len(y), 0.0
    values, vectors = np.linalg.eigh(f @ f.T)
    values = np.maximum(values, 0.0)
    classes = np.unique(y)
    for c in classes:
        along = (vectors.T @ (y == c)) ** 2
        best = -np.inf
        low, high = np.log(values.max()) - 40.0, np.log(values.max()) + 20.0
        for _ in range(6):
            grid = np.linspace(low, high, 200)
            # y ~ N(0, (I + F F' / t) / beta), with the best beta of each t = alpha / beta.
            scale = 1.0 + values / np.exp(grid)[:, None]
            beta = count / np.sum(along / scale, axis=1)
            evidence = 0.5 * (np.log(beta / (2 * np.pi)) - np.log(scale).mean(axis=1) - 1.0)
            step, middle = grid[1] - grid[0], grid[evidence.argmax()]
            low, high, best = middle - step, middle + step, max(best, float(evidence.max()))
        total += best / len(classes)
    return total


def _h_score_shrunk(f: np.ndarray, y: np.ndarray) -> float:
    """By scikit-learn's formula of the shrinkage, written out, and an inverse of the covariance."""
    f = f - f.mean(axis=0)
    count, dimensions = f.shape
    covariance = f.T @ f / count
    level = np.trace(covariance) / dimensions
    of_examples = sum(float(np.sum((np.outer(x, x) - covariance) ** 2)) for x in f) / count**2
    shrinkage = min(
        1.0, of_examples / float(np.sum((covariance - level * np.eye(dimensions)) ** 2))
    )
    shrunk = (1 - shrinkage) * covariance + shrinkage * level * np.eye(dimensions)
    means = np.array([f[y == label].mean(axis=0) for label in y])
    between = means.T @ means / (count - 1)
    return (1 - shrinkage) * float(np.trace(np.linalg.solve(shrunk, between)))


def _knn(f: np.ndarray, y: np.ndarray) -> float:
    """Distances of differences, an example at a time; three neighbours, the lower label on ties."""
    right = 0
    for i in range(len(f)):
        distances = np.sum((f - f[i]) ** 2, axis=1)
        distances[i] = np.inf
        right += np.bincount(y[np.argsort(distances)[:3]]).argmax() == y[i]
    return right / len(y)


PLAIN = {"LogME": _logme, "HScore": _h_score_shrunk, "NearestNeighbors": _knn}


def sources(examples: int, dimensions: int, classes: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Features of three sources with more and more signal, and the labels."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(examples) % classes)
    noise, centres = rng.normal(size=(examples, dimensions)), rng.normal(size=(classes, dimensions))
    signal = 2 * centres[y] / np.sqrt(dimensions)
    return [noise + s * signal for s in SIGNALS], y


def compare(examples: int, dimensions: int, classes: int, *, repeats: int) -> list[str]:
    """A row of the table for each score."""
    rows, theirs = [], estimators()
    import torch

    given, y = sources(examples, dimensions, classes)
    for name, ours in OURS.items():

        def their(f: np.ndarray, name: str = name) -> float:
            estimator = getattr(theirs, name)()
            return estimator.fit(embeddings=torch.from_numpy(f), labels=torch.from_numpy(y))

        found = [[call(f) for f in given] for call in (lambda f, o=ours: o(f, y), their)]
        order = "yes" if np.array_equal(np.argsort(found[0]), np.argsort(found[1])) else "no"
        plain = PLAIN[name](given[-1], y)
        ratios = []
        for _ in range(repeats):
            start = time.perf_counter()
            ours(given[-1], y)
            middle = time.perf_counter()
            their(given[-1])
            ratios.append((time.perf_counter() - middle) / (middle - start))
        rows.append(
            f"| {examples} x {dimensions}, {classes} | {name} | {found[0][-1]:.9g} | "
            f"{found[1][-1]:.9g} | {plain:.9g} | {order} | {statistics.median(ratios):.2g} |"
        )
    return rows


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=3, metavar=("EXAMPLES", "DIMENSIONS", "CLASSES"))
    given = parser.parse_args()
    print("| N x D, C | score | ours | theirs | plain float64 | same order | time over ours |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size in [given.size] if given.size else SIZES:
        print(*compare(*size, repeats=given.repeats), sep="\n", flush=True)


if __name__ == "__main__":
    main()
