"""Scores of features beside those of a reference model on the same examples."""

import concurrent.futures

import numpy as np

from advknow.scores.given import check_not_constant, features_of
from advknow.scores.pairs_of_examples import centred_ranks, upper_correlations
from advknow.typing import ArrayLike


def _both(features: ArrayLike, reference: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    f = features_of(features)
    g = features_of(reference, name="reference")
    if len(f) != len(g):
        raise ValueError(
            f"features has {len(f)} examples, reference {len(g)}; equal numbers are needed."
        )
    check_not_constant(f)
    check_not_constant(g, name="reference")
    return f, g


def cka(features: ArrayLike, reference: ArrayLike) -> float:
    """Linear centred kernel alignment (Kornblith et al., ICML 2019, equation 4).

    |F' G|_F^2 / (|F' F|_F |G' G|_F) of the centred features. O(N D D'), or O(N^2 D) where N < D.

    Args:
      features: (N, D). reference: (N, D'), of the reference model on the same examples.

    Returns:
      in [0, 1]; 1 for features equal up to rotation, scale and shift. With few examples biased up:
      independent features have about D / (N + D).

    Raises:
      TypeError, ValueError: no numbers, NaN, other numbers of examples, constant features.
    """
    f, g = _both(features, reference)
    f -= f.mean(axis=0)
    g -= g.mean(axis=0)
    if len(f) < min(f.shape[1], g.shape[1]):
        of_f, of_g = f @ f.T, g @ g.T
        product = np.sum(of_f * of_g)
    else:
        of_f, of_g = f.T @ f, g.T @ g
        product = np.sum((f.T @ g) ** 2)
    return float(product / (np.linalg.norm(of_f) * np.linalg.norm(of_g)))


def _ranks(f: np.ndarray, name: str) -> np.ndarray:
    return centred_ranks(upper_correlations(f, name=name))


def rsa(features: ArrayLike, reference: ArrayLike) -> float:
    """Representation similarity analysis (Dwivedi, Roig, CVPR 2019, section 3).

    The Spearman correlation, over pairs of examples, of 1 - corr of either model's features.
    O(N^2 (D + D')) time, O(N^2) memory.

    Args, Raises: as `cka`; also at least 3 examples, and none whose features are all equal.

    Returns:
      in [-1, 1].
    """
    f, g = _both(features, reference)
    if len(f) < 3:
        raise ValueError(
            f"features has {len(f)} examples; at least 3 are needed: pairs to compare."
        )
    # Sorting takes most of the time, and one core.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ranks = list(pool.map(_ranks, (f, g), ("features", "reference features")))
    lengths = [np.linalg.norm(r) for r in ranks]
    if not all(lengths):
        raise ValueError("all pairs of examples are equally alike: no score is defined.")
    return float(ranks[0] @ ranks[1] / lengths[0] / lengths[1])
