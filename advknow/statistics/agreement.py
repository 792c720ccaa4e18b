"""How far rankings agree that should: setups that differ in one component, seeds of the truth."""

import itertools
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from advknow.statistics.tau import weighted_tau
from advknow.typing import ArrayLike


def stability(
    setups: Mapping[tuple[Hashable, ...], ArrayLike],
    components: Sequence[str],
    *,
    present: ArrayLike | None = None,
) -> dict[str, np.ndarray]:
    """Mean weighted tau between rankings of setups that differ in one component alone.

    Args:
      setups: from the value of each component, such as (seed, labels), to the scores, (T, S).
      components: their names, such as ("seed", "labels").
      present: (T, S) booleans, the ranked pairs.

    Returns:
      (T,) for each component: the mean over all pairs of setups that differ in it and in no other.

    Raises:
      TypeError, ValueError: as `advknow.statistics.tau.weighted_tau`; a setup with another number
        of components; a component in which no two setups differ alone.
    """
    for setup in setups:
        if len(setup) != len(components):
            raise ValueError(f"setup {setup!r} must have one value of each of {list(components)}.")
    found: dict[str, list[np.ndarray]] = {name: [] for name in components}
    for (one, a), (other, b) in itertools.combinations(setups.items(), 2):
        differ = [c for c, u, v in zip(components, one, other, strict=True) if u != v]
        if len(differ) == 1:
            found[differ[0]].append(weighted_tau(a, b, present=present))
    lacking = [name for name, taus in found.items() if not taus]
    if lacking:
        raise ValueError(f"no two of the {len(setups)} setups differ in {lacking[0]} alone.")
    return {name: np.mean(taus, axis=0) for name, taus in found.items()}


def ceiling(
    truths: ArrayLike, *, present: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What seeds of the truth leave for a score to find: two weighted taus of each target, (T,).

    Args:
      truths: (seeds, T, S), at least two seeds. present: (T, S) booleans, the ranked pairs.

    Returns:
      of one seed with another, the mean over pairs: what a score that knew another seed would
      reach against one; and of one seed with the mean of all others, the mean over seeds.

    Raises:
      TypeError, ValueError: as `advknow.statistics.tau.weighted_tau`; fewer than two seeds.
    """
    y = np.asarray(truths, np.float64)
    if y.ndim != 3 or len(y) < 2:
        raise ValueError(
            f"truths has shape {y.shape}; (seeds, targets, sources), 2 seeds or more, is needed."
        )
    pairs = itertools.combinations(y, 2)
    of_pairs = [weighted_tau(a, b, present=present) for a, b in pairs]
    of_rest = [
        weighted_tau(np.delete(y, i, axis=0).mean(axis=0), seed, present=present)
        for i, seed in enumerate(y)
    ]
    return np.mean(of_pairs, axis=0), np.mean(of_rest, axis=0)
