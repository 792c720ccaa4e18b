"""PARC: whether features are alike where labels are."""

import numpy as np

from advknow import validate
from advknow.scores.given import check_not_constant, examples_of
from advknow.typing import ArrayLike

# Correlations of so many rows with all others at once.
ROWS_AT_ONCE = 256
# Values of all pairs.
VALUES_AT_ONCE = 2**17


def upper_correlations(f: np.ndarray, *, name: str = "features") -> np.ndarray:
    """Pearson correlations of every pair of rows of (N, D), N (N - 1) / 2 numbers.

    Raises:
      ValueError: a row whose numbers are all equal has no correlation.
    """
    unit = f - f.mean(axis=1, keepdims=True)
    length = np.linalg.norm(unit, axis=1, keepdims=True)
    flat = int((length[:, 0] <= 1e-12 * np.abs(f).max()).sum())
    if flat:
        raise ValueError(
            f"{flat} of {len(f)} examples have equal {name} in all dimensions: their correlation "
            "with others is not defined."
        )
    unit /= length
    found = np.empty(len(f) * (len(f) - 1) // 2)
    stop = 0
    for first in range(0, len(f), ROWS_AT_ONCE):
        block = unit[first : first + ROWS_AT_ONCE] @ unit[first:].T
        for i, row in enumerate(block):
            start, stop = stop, stop + len(row) - 1 - i
            found[start:stop] = row[i + 1 :]
    return found


def centred_ranks(values: np.ndarray) -> np.ndarray:
    """The ranks of finite values (M,) less their mean; ties share the mean of theirs.

    Sorted are integers: the step of the value on an even grid, then its place. That is many times
    faster than an argsort. The few values that share a step are then ranked among themselves.
    """
    count, low, high = len(values), values.min(), values.max()
    if low == high:
        return np.zeros(count)
    of_place, middle = count.bit_length(), (count - 1) / 2
    # float64 tells no more than 2^52 steps apart.
    scale = (2.0 ** min(63 - of_place, 52) - 1) / (high - low)
    keys, near, ranks = np.empty(count, np.int64), np.zeros(count, bool), np.empty(count)
    # In pieces: memory that is touched for the first time takes longer than the arithmetic.
    for i in range(0, count, VALUES_AT_ONCE):
        steps = ((values[i : i + VALUES_AT_ONCE] - low) * scale).astype(np.int64)
        keys[i : i + VALUES_AT_ONCE] = steps << of_place | np.arange(i, i + len(steps))
    keys.sort()
    places = 2**of_place - 1
    for i in range(0, count, VALUES_AT_ONCE):
        piece = keys[i : i + VALUES_AT_ONCE + 1]
        shared = (piece[1:] ^ piece[:-1]) <= places
        near[i : i + len(shared)] |= shared
        near[i + 1 : i + 1 + len(shared)] |= shared
        piece = piece[:VALUES_AT_ONCE] & places
        ranks[piece] = np.arange(i, i + len(piece)) - middle
    among = np.flatnonzero(near)
    if len(among):
        place = keys[among] & places
        place = place[np.argsort(values[place])]
        first = np.flatnonzero(np.diff(values[place], prepend=-np.inf))
        ties = np.diff(first, append=len(place))
        ranks[place] = np.repeat(np.add.reduceat(among, first) / ties, ties) - middle
    return ranks


def _correlation_of_ranks(values: np.ndarray, chosen: np.ndarray) -> float:
    """The Spearman correlation of values (M,) with a choice of them (M,) bool; ties share ranks.

    The values are sorted in place.
    """
    count, share = len(values), chosen.mean()
    # Searched for in order, they are found in the same lines of the cache.
    of_chosen = np.sort(values[chosen])
    values.sort()
    below, up_to = (np.searchsorted(values, of_chosen, side) for side in ("left", "right"))
    mean = float(np.mean(0.5 * (below + up_to) + 0.5))
    variance = (count**2 - 1.0) / 12
    equal = values[1:] == values[:-1]
    if equal.any():
        edges = np.flatnonzero(np.concatenate([[True], ~equal, [True]]))
        ties = np.diff(edges).astype(np.float64)
        variance -= np.sum(ties**3 - ties) / count / 12
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
    f, y = examples_of(features, labels)
    check_not_constant(f)
    if components is not None:
        from sklearn.decomposition import PCA

        components = validate.integer("components", components, minimum=2)
        f = PCA(min(components, *f.shape), svd_solver="full").fit_transform(f)
    deviation = f.std(axis=0)
    f -= f.mean(axis=0)
    f /= np.where(deviation > 0, deviation, 1.0)
    same = np.concatenate([y[i + 1 :] == y[i] for i in range(len(y) - 1)])
    if same.all() or not same.any():
        raise ValueError("labels: no two examples share a class, or all do: no pairs to compare.")
    return 100.0 * _correlation_of_ranks(upper_correlations(f), same)
