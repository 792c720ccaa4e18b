"""Every score of a ranking, as a function of what is known of a source (`observed.Observed`).

Those that others use are in `advknow.scores`; the paper's own are here from the same examples:
alphas of both directions as unbiased squares (theory.md section 5: plug-in squares favour sources
whose directions scatter), rho^2, GMD, FMD and KTD.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from advknow import scores
from advknow.all_pairs.record import Undefined
from advknow.matching import FunctionMatching, KnowledgeTransfer
from advknow.matching import sums as matching_sums
from advknow.matching.distances import finalize_outputs, output_sums
from advknow.ranking.observed import Attacked, Observed

# Rounding of what models compute in float32, for ranks of linear systems.
EPS = float(np.finfo(np.float32).eps)


class Score(NamedTuple):
    """How sources are ranked by a number.

    Attributes:
      title: for tables and figures.
      value: of a source; MissingError where it lacks something, ValueError where the score is not
        defined.
      lower_is_better: of distances.
      slow: of a tenth of a second and more for 200 examples, so with fewer half-samples.
    """

    title: str
    value: Callable[[Observed], float]
    lower_is_better: bool = False
    slow: bool = False


class MissingError(ValueError):
    """What a score needs and a source does not have; the message names it."""


def _given(array: np.ndarray | None, what: str) -> np.ndarray:
    if array is None:
        raise MissingError(what)
    return array


def _logits(of: Observed) -> np.ndarray:
    return _given(of.logits, "logits")


def _probabilities(of: Observed) -> np.ndarray:
    logits = _logits(of)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def _of_features(score: Callable[..., float], of: Observed) -> float:
    return score(_given(of.features, "features"), of.labels)


def _beside_reference(score: Callable[..., float], of: Observed) -> float:
    reference = _given(of.reference_features, "features of a reference model")
    return score(_given(of.features, "features"), reference)


def _attacked(of: Observed, which: str) -> Attacked:
    found = of.attacked.get(which)
    if found is None:
        attack = ", and an attack" * which.startswith("attack_")
        raise MissingError(f"gradients of the source and of a reference model{attack}")
    if isinstance(found, Undefined):
        raise ValueError(found.why)
    return found


def _alpha1(which: str, of: Observed) -> float:
    found = _attacked(of, which)
    if not found.valid.any():
        raise ValueError("no example has a direction.")
    return float(found.alpha1[found.valid].mean())


def _square(products: np.ndarray, weights: np.ndarray) -> float:
    """The unbiased estimate of |E w M|^2: the mean over pairs of different examples."""
    n = len(weights)
    if n < 2:
        raise ValueError(f"{n} examples have a direction; at least 2 are needed.")
    weighted = products * np.outer(weights, weights)
    return float((weighted.sum() - np.trace(weighted)) / (n * (n - 1)))


def _alpha2_squared(which: str, of: Observed) -> float:
    found = _attacked(of, which)
    directed = np.flatnonzero(found.valid & (np.diag(found.products) > 0))
    return _square(found.products[np.ix_(directed, directed)], np.ones(len(directed)))


def _product_squared(which: str, of: Observed) -> float:
    found = _attacked(of, which)
    valid = np.flatnonzero(found.valid)
    return _square(found.products[np.ix_(valid, valid)], found.alpha1[valid])


def _gradient_matching(of: Observed) -> matching_sums.Solution:
    found = of.gradients
    if found is None:
        raise MissingError("gradients of the source and of a reference model")
    if isinstance(found, Undefined):
        raise ValueError(found.why)
    d = found.cross.shape[1]
    of_all = matching_sums.of_batch(*found, np.eye(d)[None], constant_hessian=True)
    return matching_sums.solve(of_all, eps=EPS)


def _gmd(of: Observed) -> float:
    return _gradient_matching(of).distance


def _rho2(of: Observed) -> float:
    solution = _gradient_matching(of)
    if solution.norm <= 0:
        raise ValueError("the reference model has no gradient.")
    return 1.0 - (solution.distance / solution.norm) ** 2


def _distance(response: np.ndarray, of: Observed, kind: type) -> float:
    logits = _logits(of)
    if len(logits) <= logits.shape[1] + 1:
        raise ValueError(
            f"{len(logits)} examples and {logits.shape[1]} outputs of the source: an affine map "
            "fits them all; more examples are needed."
        )
    root = np.eye(response.shape[1])[None]
    of_all = output_sums(response, logits, root, constant_hessian=True)
    return finalize_outputs(of_all, kind, eps=EPS, loss="l2").distance


def _fmd(of: Observed) -> float:
    reference = _given(of.reference_logits, "logits of a reference model")
    return _distance(reference, of, FunctionMatching)


def _ktd(of: Observed) -> float:
    return _distance(np.eye(of.labels.max() + 1)[of.labels], of, KnowledgeTransfer)


def _alphas() -> dict[str, Score]:
    found = {}
    for how, words in (("small_eps_", "eps -> 0"), ("attack_", "attack")):
        for direction, arrow in (("source_to_target", "S->T"), ("target_to_source", "T->S")):
            for name, title, value in (
                ("alpha1", "alpha1", _alpha1),
                ("alpha2_squared", "alpha2²", _alpha2_squared),
                ("alpha1_alpha2_squared", "(alpha1*alpha2)²", _product_squared),
            ):
                prefix = "" if how == "attack_" else how
                found[f"{prefix}{name}_{direction}"] = Score(
                    f"{title}, {words}, {arrow}",
                    functools.partial(value, how + direction),
                )
    return found


TITLES = {
    "logme": "LogME",
    "h_score": "H-score",
    "h_score_shrunk": "H-score, shrunk",
    "transrate_equal": "TransRate",
    "transrate_weighted": "TransRate, weighted",
    "gbc_diagonal": "GBC, diagonal",
    "gbc_spherical": "GBC, spherical",
    "sfda": "SFDA",
    "parc": "PARC",
    "lfc": "LFC",
    "knn": "k nearest neighbours",
    "n_leep": "N-LEEP",
    "linear_probe": "linear probe",
}
SLOW = ("n_leep", "linear_probe", "sfda")

SCORES: dict[str, Score] = {
    **{
        name: Score(TITLES[name], functools.partial(_of_features, score), slow=name in SLOW)
        for name, score in scores.OF_FEATURES.items()
    },
    "nce": Score("NCE", lambda of: scores.nce(_logits(of).argmax(axis=1), of.labels)),
    "leep": Score("LEEP", lambda of: scores.leep(_probabilities(of), of.labels)),
    "ktd": Score("KTD", _ktd, lower_is_better=True),
    "cka": Score("CKA", functools.partial(_beside_reference, scores.cka)),
    "rsa": Score("RSA", functools.partial(_beside_reference, scores.rsa)),
    "fmd": Score("FMD", _fmd, lower_is_better=True),
    "rho2": Score("rho²", _rho2),
    "gmd": Score("GMD", _gmd, lower_is_better=True),
    **_alphas(),
}
