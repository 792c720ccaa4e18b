"""Checks of what a score is given, and its classes."""

import numpy as np

from advknow.typing import ArrayLike


def labels_of(labels: ArrayLike, *, name: str = "labels", least_classes: int = 2) -> np.ndarray:
    """The labels as 0 .. C - 1, (N,), of the C classes that occur.

    Raises:
      TypeError: no integers. ValueError: not (N,), fewer than 2 examples or `least_classes`.
    """
    y = np.asarray(labels)
    if y.ndim != 1:
        raise ValueError(f"{name} has shape {y.shape}; a label of each example, (N,), is needed.")
    if y.dtype.kind not in "iub":
        raise TypeError(f"{name} has dtype {y.dtype}; integers are needed.")
    if len(y) < 2:
        raise ValueError(f"{name} has {len(y)} examples; at least 2 are needed.")
    classes, found = np.unique(y, return_inverse=True)
    if len(classes) < least_classes:
        raise ValueError(
            f"{name} has {len(classes)} class; at least {least_classes} are needed: among examples "
            "of one class there is nothing to tell apart."
        )
    return found


def features_of(features: ArrayLike, *, name: str = "features", count: int | None = None):
    """A copy of the features in float64, (N, D).

    Args:
      features: (N, D) numbers. name: for messages. count: N, if it is known.

    Raises:
      TypeError: no numbers. ValueError: not (N, D), another N, NaN or infinity.
    """
    f = np.asarray(features)
    if f.dtype.kind not in "fiub" and f.dtype.name != "bfloat16":
        raise TypeError(f"{name} has dtype {f.dtype}; numbers are needed.")
    if f.ndim != 2 or 0 in f.shape:
        raise ValueError(f"{name} has shape {f.shape}; (N, D) is needed.")
    if count is not None and len(f) != count:
        raise ValueError(f"{name} has {len(f)} examples, labels {count}; equal numbers are needed.")
    f = f.astype(np.float64)
    if not np.isfinite(f).all():
        bad = int((~np.isfinite(f)).any(axis=1).sum())
        raise ValueError(
            f"{name} holds NaN or infinity in {bad} of {len(f)} examples; finite values are needed."
        )
    return f


def examples_of(features: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """A copy of the features in float64, (N, D), and the labels as 0 .. C - 1, (N,).

    Raises:
      TypeError, ValueError: as `features_of` and `labels_of`; other numbers of examples.
    """
    y = labels_of(labels)
    return features_of(features, count=len(y)), y


def probabilities_of(probabilities: ArrayLike, *, count: int) -> np.ndarray:
    """The probabilities in float64, (N, C_s).

    Raises:
      TypeError, ValueError: as `features_of`; negative, or rows that do not sum to 1.
    """
    p = features_of(probabilities, name="probabilities", count=count)
    worst = np.abs(p.sum(axis=1) - 1.0).max()
    if p.min() < 0 or worst > 1e-3:
        raise ValueError(
            f"probabilities go from {p.min():.6g} to {p.max():.6g} and rows sum to 1 within "
            f"{worst:.2g}; probabilities are needed (softmax of logits)."
        )
    return p


def check_not_constant(features: np.ndarray, *, name: str = "features") -> None:
    """Raises ValueError where all examples have the same features: nothing is told apart."""
    if not np.ptp(features, axis=0).any():
        raise ValueError(
            f"{name} are the same for all {len(features)} examples: no score is defined."
        )


def class_sums(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The sums of each class's features, (C, D)."""
    sums = np.zeros((labels.max() + 1, features.shape[1]))
    np.add.at(sums, labels, features)
    return sums


def class_means(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean features of each class, (C, D)."""
    return class_sums(features, labels) / np.bincount(labels)[:, None]


def spectrum(features: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The eigenvalues of F' F above rounding, (k,), and rows V of its eigenvectors V, (C, k).

    By the smaller of F' F and F F', which takes a tenth of a singular value decomposition's time.

    Args:
      features: F, (N, D). rows: (C, D), in the span of F's.
    """
    count, dimensions = features.shape
    if count >= dimensions:
        values, vectors = np.linalg.eigh(features.T @ features)
        along = rows @ vectors
    else:
        values, vectors = np.linalg.eigh(features @ features.T)
        along = rows @ features.T @ vectors
    kept = values > max(values[-1] * max(features.shape) * np.finfo(np.float64).eps, 0.0)
    values, along = values[kept], along[:, kept]
    return values, along if count >= dimensions else along / np.sqrt(values)
