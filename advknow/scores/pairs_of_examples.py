"""PARC: whether features are alike where labels are."""

import numpy as np

from advknow import validate
from advknow.scores.given import check_not_constant, features_of, labels_of
from advknow.typing import ArrayLike

# Correlations of so many rows with all others at once.
ROWS_AT_ONCE = 256


def upper_correlations(f: np.ndarray, *, name: str = "features") -> np.ndarray:
    """Pearson correlations of every pair of rows of (N, D), N (N - 1) / 2 numbers.

    Raises:
      ValueError: a row whose numbers are all equal has no correlation.
    """
    centred = f - f.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    flat = int((length[:, 0] <= 1e-12 * np.abs(f).max()).sum())
    if flat:
        raise ValueError(
            f"{flat} of {len(f)} examples have equal {name} in all dimensions: their correlation "
            "with others is not defined."
        )
    unit = centred / length
    found = np.empty(len(f) * (len(f) - 1) // 2)
    stop = 0
    for first in range(0, len(f), ROWS_AT_ONCE):
        block = unit[first : first + ROWS_AT_ONCE] @ unit[first:].T
        for i, row in enumerate(block):
            start, stop = stop, stop + len(row) - 1 - i
            found[start:stop] = row[i + 1 :]
    return found


def centred_ranks(values: np.ndarray) -> np.ndarray:
    """The ranks of values (M,) less their mean; ties share the mean of theirs."""
    order = np.argsort(values)
    ordered = values[order]
    edges = np.flatnonzero(np.diff(ordered, prepend=-np.inf, append=np.inf))
    del ordered
    ranks = np.empty(len(values))
    if len(edges) == len(values) + 1:
        ranks[order] = np.arange(len(values))
    else:
        ranks[order] = np.repeat((edges[:-1] + edges[1:] - 1) / 2, np.diff(edges))
    ranks -= (len(values) - 1) / 2
    return ranks


def _correlation_of_ranks(values: np.ndarray, chosen: np.ndarray) -> float:
    """The Spearman correlation of values (M,) with a choice of them (M,) bool; ties share ranks."""
    count, share = len(values), chosen.mean()
    of_chosen = values[chosen]
    values = np.sort(values)
    below, up_to = (np.searchsorted(values, of_chosen, side) for side in ("left", "right"))
    mean = float(np.mean(0.5 * (below + up_to) + 0.5))
    edges = np.flatnonzero(np.diff(values, prepend=-np.inf, append=np.inf))
    ties = np.diff(edges).astype(np.float64)
    variance = (count**2 - 1.0 - np.sum(ties**3 - ties) / count) / 12
    return (mean - (count + 1) / 2) * float(np.sqrt(share / (1 - share) / variance))


def parc(features: ArrayLike, labels: ArrayLike, *, components: int | None = None) -> float:
    """Pairwise annotation representation comparison (Bolya et al., NeurIPS 2021, section 4).

    100 times the Spearman correlation, over pairs of examples, of 1 - corr of the standardised
    features with 1 - corr of the one-hot labels. O(N^2 D) time, O(N^2) memory.

    The latter is 0 for pairs of one class, and equal for all others; computed in floating point it
    differs in the last bit from pair to pair, and ranks of that are noise: 61.2 in place of 58.7
    for iris. Here pairs of one class tie.

    Args:
      features: (N, D). labels: (N,) integers.
      components: if given, of a principal component analysis beforehand (the authors take 32).

    Returns:
      in [-100, 100]; about 0 for features that say nothing.

    Raises:
      TypeError, ValueError: no numbers, NaN, other numbers of examples, one class, constant
        features, an example whose standardised features are all equal (D = 1 in particular).
    """
    y = labels_of(labels)
    f = features_of(features, count=len(y))
    check_not_constant(f)
    if components is not None:
        from sklearn.decomposition import PCA

        components = validate.integer("components", components, minimum=2)
        f = PCA(min(components, *f.shape), svd_solver="full").fit_transform(f)
    deviation = f.std(axis=0)
    f = (f - f.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    same = np.concatenate([y[i + 1 :] == y[i] for i in range(len(y) - 1)])
    if same.all() or not same.any():
        raise ValueError("labels: no two examples share a class, or all do: no pairs to compare.")
    return 100.0 * _correlation_of_ranks(upper_correlations(f), same)
