"""Which examples a run keeps for its page, and both models' predictions of them.

The predictions are of outputs that the alphas need too: no model is called once more for them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advknow.alphas import Perturbation, Transferability
from advknow.alphas.finite import Moved
from advknow.passes import Batch, Measure, Need, Totals, devices
from advknow.runs import gallery
from advknow.runs.gallery import Carried


def predictions(first: Perturbation, second: str) -> Measure:
    """The largest output of both models before and after the first one's attack: (N, 2, 2).

    Args:
      first: the attack on one model. second: the name of the model that it is carried to.
    """
    models = (first.model, second)
    needs = tuple(Moved(model, by) for model in models for by in (None, first))

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        outputs = (devices.fetch(found[need])[: batch.count] for need in needs)
        largest = [np.asarray(y).argmax(axis=1).astype(np.int32) for y in outputs]
        return Totals((), np.stack(largest, axis=1).reshape(-1, 2, 2))

    return Measure(
        needs=needs,
        zero=lambda shapes: Totals((), np.zeros((0, 2, 2), np.int32)),
        of_batch=of_batch,
        record=lambda totals, shapes: totals.values,
    )


def alpha1_alone(name: str, models: tuple[str, str], record: Transferability) -> Carried:
    """What is kept where there are no adversarial images: of a small-eps attack.

    Args:
      name: of the direction. models: the one attacked and the receiving one. record: of the alphas.
    """
    nothing = np.zeros(0, np.int64)
    image, predicted = np.zeros((0, 0), np.float32), np.zeros((0, 2, 2), np.int32)
    alpha1 = gallery.of_every_example(record.alpha1_per_example, record.valid)
    return Carried(name, *models, ((), (), ()), alpha1, nothing, image, image, nothing, predicted)


def carried(
    name: str,
    models: tuple[str, str],
    record: Transferability,
    *,
    classes: tuple[Sequence[str], Sequence[str], Sequence[str]],
    x: np.ndarray,
    delta: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
) -> Carried:
    """What is kept of one attack carried from a model to another: `gallery.RULE`.

    Args:
      name: of the row or direction. models: the one attacked and the receiving one.
      record: of the alphas.
      classes: names of both models' outputs and of the labels.
      x, delta: (N, ...), the examples and the attack. labels: (N,).
      predicted: (N, 2, 2), from `predictions`.
    """
    alpha1 = gallery.of_every_example(record.alpha1_per_example, record.valid)
    index = gallery.at_quantiles(alpha1)
    first, second, of_labels = (tuple(names) for names in classes)
    return Carried(
        name,
        *models,
        (first, second, of_labels),
        alpha1,
        index,
        np.asarray(x[index], np.float32),
        np.asarray(delta[index], np.float32),
        np.asarray(labels)[index].astype(np.int64),
        np.asarray(predicted)[index],
    )
