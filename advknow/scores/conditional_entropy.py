"""The negative conditional entropy of the labels given the source's predictions."""

import numpy as np

from advknow.scores.given import labels_of
from advknow.typing import ArrayLike


def nce(predictions: ArrayLike, labels: ArrayLike) -> float:
    """-H(y | z), the negative conditional entropy (Tran et al., ICCV 2019, equation 3), in nats.

    sum_{y, z} p(y, z) log p(y | z), of the relative frequencies; no smoothing. O(N).

    Args:
      predictions: (N,) integers, z, the source's class of each example.
      labels: (N,) integers, y.

    Returns:
      in [-log C, 0]; 0 where the prediction determines the label, as it also does where every
      example has a prediction of its own.

    Raises:
      TypeError, ValueError: no integers, other numbers of examples, fewer than 2, one class.
    """
    y = labels_of(labels)
    z = labels_of(predictions, name="predictions", least_classes=1)
    if len(y) != len(z):
        raise ValueError(
            f"predictions has {len(z)} examples, labels {len(y)}; equal numbers are needed."
        )
    joint = np.zeros((y.max() + 1, z.max() + 1))
    np.add.at(joint, (y, z), 1.0 / len(y))
    given = joint / joint.sum(axis=0)
    occurs = joint > 0
    return float(np.sum(joint[occurs] * np.log(given[occurs])))
