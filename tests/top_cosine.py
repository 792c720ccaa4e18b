"""A quantity as a user adds one: the mean cosine of the two models' strongest small-eps attacks.

Both directions are right singular vectors, delta_f = J_f' w_f / sigma_f with w_f the first
eigenvector of J_f J_f', so that delta_S . delta_T = w_S' J_S J_T' w_T / (sigma_S sigma_T): the Gram
matrices have all of it. Its sign is arbitrary, so it is the absolute value.
"""

import numpy as np

from advknow.experiments.quantities import GRAMS, Quantity, Shown
from advknow.passes import Measure, Totals

TITLE = "cos of top attacks"


def cosines(grams):
    (values_s, w_s), (values_t, w_t) = (np.linalg.eigh(g) for g in (grams.source, grams.target))
    across = np.einsum("bd,bdm,bm->b", w_t[:, :, -1], grams.cross, w_s[:, :, -1])
    scale = np.sqrt(np.maximum(values_s[:, -1] * values_t[:, -1], 0.0))
    # A flat model has no direction.
    return np.where(scale > 0, np.abs(across) / np.where(scale > 0, scale, 1.0), 0.0)


def _measure(direction):
    return Measure(
        needs=(GRAMS,),
        zero=lambda shapes: Totals((), np.zeros(0)),
        of_batch=lambda batch, found: Totals((), cosines(found[GRAMS])),
        record=lambda totals, shapes: totals.values,
    )


QUANTITY = Quantity(
    name="top_cosine",
    measure=_measure,
    columns={
        "top_cosine": lambda values: float(values.mean()),
        "top_cosine_se": lambda values: float(values.std(ddof=1) / len(values) ** 0.5),
    },
    shown={"top_cosine": Shown(TITLE, 3, TITLE, correlated=True, panel=TITLE)},
    n=lambda values, column: len(values),
)
