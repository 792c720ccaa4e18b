"""The order of sources that needs nothing of the target: how they did on the other targets."""

import numpy as np

from advknow.statistics.matrices import checked
from advknow.statistics.partial import DECIMALS, scaled_ranks
from advknow.typing import ArrayLike


def leave_one_target_out(truth: ArrayLike, *, present: ArrayLike | None = None) -> np.ndarray:
    """A source's mean rank by truth on all other targets, as a score of this target, (T, S).

    By ranks, in (0, 1), and not by standardised truth: one target with an outlier would else decide
    the order. A score counts only for what it adds to this one.

    Args:
      truth: (T, S). present: (T, S) booleans, the ranked pairs; elsewhere the score is 0.

    Raises:
      TypeError, ValueError: as `advknow.statistics.matrices.checked`; a source that is present on
        one target alone.
    """
    _, y, p = checked(truth, truth, present, name="truth")
    counts = p.sum(axis=0) - p
    alone = np.argwhere(p & (counts == 0))
    if len(alone):
        t, s = alone[0]
        raise ValueError(
            f"source {s} is present on no target but {t}; a static order needs another."
        )
    ranks = scaled_ranks(y, p)
    others = [np.delete(ranks, t, axis=0).sum(axis=0) for t in range(len(y))]
    means = np.divide(others, counts, out=np.zeros(y.shape), where=p)
    return means.round(DECIMALS)
