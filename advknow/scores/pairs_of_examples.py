"""PARC: whether features are alike where labels are."""

import numpy as np
import scipy.stats

from advknow import validate
from advknow.scores.given import check_not_constant, features_of, labels_of
from advknow.typing import ArrayLike


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
    start = 0
    for i in range(len(f) - 1):
        stop = start + len(f) - 1 - i
        found[start:stop] = unit[i + 1 :] @ unit[i]
        start = stop
    return found


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
    alike = scipy.stats.rankdata(upper_correlations(f))
    same = (y[:, None] == y)[np.triu_indices(len(y), 1)]
    if same.all() or not same.any():
        raise ValueError("labels: no two examples share a class, or all do: no pairs to compare.")
    return 100.0 * float(np.corrcoef(alike, same)[0, 1])
