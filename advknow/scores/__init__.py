"""What others rank pre-trained models by, from features and labels: one file a score.

Every score is a pure function of NumPy arrays, in float64, and higher is better:

    nce, leep                     of the source's predictions on the target's images
    n_leep, logme                 of features (N, D) and labels (N,)
    h_score, h_score_shrunk
    gbc, transrate, sfda
    parc, lfc, knn, linear_probe
    cka, rsa                      of features beside those of a reference model

They are what an alpha has to be compared with. A score that is not defined for what it is given is
a ValueError that says why, never NaN. Nothing is changed in place.
"""

import functools
from collections.abc import Callable

from advknow.scores.bhattacharyya import gbc
from advknow.scores.coding_rate import transrate
from advknow.scores.conditional_entropy import nce
from advknow.scores.evidence import logme
from advknow.scores.expected_prediction import leep
from advknow.scores.fisher import sfda
from advknow.scores.h_scores import h_score, h_score_shrunk
from advknow.scores.label_feature_correlation import lfc
from advknow.scores.mixture import n_leep
from advknow.scores.nearest_neighbours import knn
from advknow.scores.pairs_of_examples import parc
from advknow.scores.probe import linear_probe
from advknow.scores.reference import cka, rsa

# All that need features (N, D) and labels (N,) alone, by name, with the settings of a ranking.
OF_FEATURES: dict[str, Callable[..., float]] = {
    "logme": logme,
    "h_score": h_score,
    "h_score_shrunk": h_score_shrunk,
    "transrate_equal": transrate,
    "transrate_weighted": functools.partial(transrate, weights="frequency"),
    "gbc_diagonal": gbc,
    "gbc_spherical": functools.partial(gbc, covariance="spherical"),
    "sfda": sfda,
    "parc": parc,
    "lfc": lfc,
    "knn": functools.partial(knn, k=3),
    "n_leep": functools.partial(n_leep, seed=0),
    "linear_probe": functools.partial(linear_probe, seed=0),
}

__all__ = [
    "OF_FEATURES",
    "cka",
    "gbc",
    "h_score",
    "h_score_shrunk",
    "knn",
    "leep",
    "lfc",
    "linear_probe",
    "logme",
    "n_leep",
    "nce",
    "parc",
    "rsa",
    "sfda",
    "transrate",
]
