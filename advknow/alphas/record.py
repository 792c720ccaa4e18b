"""The record of alpha1, alpha2 and alpha1*alpha2, from their sums (theory.md section 2).

Plug-in and unbiased squares and standard errors, of the means that `advknow.alphas.sums` gives, in
float64 on the host.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from advknow.alphas.sums import TransferSums, TransferValues, pair_sums
from advknow.passes import merge

NONFINITE_GRADIENT = (
    "a gradient of a model is NaN or infinite although its outputs are finite (a square root or a "
    "norm at 0, 0 / 0 behind a where, ...); finite gradients are needed."
)


@dataclasses.dataclass(frozen=True)
class Transferability:
    """How the attack on f1 transfers to f2 (theory.md section 2); all numbers are dimensionless.

    Norms and squares are both kept: the poster's image tables print the squares, the synthetic
    results the norms. The plug-in squares are biased up by about (1 - alpha2^2) / n; the unbiased
    ones can be negative near 0 and are reported as they are.

    Attributes:
      alpha1: mean over the n examples; in [0, 1] for an attack that reaches the maximum.
      alpha1_per_example: (n,) float64, in the order of x, degenerate examples left out.
      alpha2: norm, in [0, 1], of the n_alpha2 examples; None where there are none.
      alpha1_alpha2: norm, of the n examples; one without a direction counts as a zero matrix.
      alpha2_squared, alpha1_alpha2_squared: plug-in squares of the two norms.
      alpha2_squared_unbiased, alpha1_alpha2_squared_unbiased:
        (n |Mbar|_F^2 - mean_i |M_i|_F^2) / (n - 1), n the examples that each is of; None for 1.
      n: examples whose alpha1 is known: what alpha1 and alpha1_alpha2 are of.
      n_alpha2: those of them where f2 moves beyond the rounding of its outputs, so that the
        deviation has a direction: what alpha2 is of.
      n_degenerate: examples where f1 or f2 does not move beyond rounding under its own attack,
        left out of everything else.
      n_alpha1_above_one: examples whose alpha1 exceeds 1 beyond rounding: each proves that the
        attack on f2 was not a maximiser there.
      valid: (N,) bool, which examples of x were used.
      alpha1_se: standard error of alpha1 over examples; None for n = 1.
      alpha2_squared_se, alpha1_alpha2_squared_se: delete-a-group jackknife standard errors of the
        plug-in squares over `sums.NUM_GROUPS` groups; None with fewer than two groups.
    """

    alpha1: float
    alpha1_per_example: np.ndarray
    alpha2: float | None
    alpha1_alpha2: float
    alpha2_squared: float | None
    alpha1_alpha2_squared: float
    alpha2_squared_unbiased: float | None
    alpha1_alpha2_squared_unbiased: float | None
    n: int
    n_alpha2: int
    n_degenerate: int
    n_alpha1_above_one: int
    valid: np.ndarray
    alpha1_se: float | None
    alpha2_squared_se: float | None
    alpha1_alpha2_squared_se: float | None

    def summary(self) -> dict[str, Any]:
        """The scalar fields, ready for JSON."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("alpha1_per_example", "valid")
        }


def square_of_norm(mean: np.ndarray) -> float:
    """| mean of outer products |_F^2: alpha2^2, or (alpha1*alpha2)^2 where alpha1 weights them.

    The plug-in estimate: with n examples biased up, alpha2^2 by (1 - alpha2^2) / n.
    """
    return float(np.sum(mean**2))


def unbiased(square: float, mean_square: float, n: int) -> float | None:
    """The unbiased estimate (n |Mbar|_F^2 - mean_i |M_i|_F^2) / (n - 1); None for n = 1.

    Args:
      square: |Mbar|_F^2, the plug-in estimate.
      mean_square: mean_i |M_i|_F^2: 1 for alpha2, the mean of alpha1^2 for alpha1*alpha2.
      n: examples.
    """
    return (n * square - mean_square) / (n - 1) if n > 1 else None


class _Squares(NamedTuple):
    """|sum of outer products|_F^2: of all examples, and without group g, divided by a count^2.

    Attributes:
      of_all: count -> the square over count^2.
      without: (g, count) -> the same without the examples of group g.
    """

    of_all: Callable[[float], float]
    without: Callable[[int, float], float]


def _of_matrices(matrices: np.ndarray) -> _Squares:
    """From the sums of the outer products of each group, (G, m, d)."""
    matrix = matrices.sum(axis=0)
    return _Squares(
        lambda count: square_of_norm(matrix / count),
        lambda g, count: square_of_norm((matrix - matrices[g]) / count),
    )


def _of_pairs(pairs: np.ndarray) -> _Squares:
    """From the sums over pairs of examples of two groups, (G, G)."""
    return _Squares(
        lambda count: float(max(pairs.sum(), 0.0) / count**2),
        lambda g, count: float(np.delete(np.delete(pairs, g, 0), g, 1).sum() / count**2),
    )


def _squares(sums: TransferSums, values: TransferValues) -> tuple[_Squares, _Squares]:
    """Of alpha2 and of alpha1*alpha2."""
    if sums.outer is not None:
        return _of_matrices(sums.outer), _of_matrices(sums.weighted_outer)
    ones, alpha1 = np.ones(len(values.alpha1)), np.asarray(values.alpha1, np.float64)
    return _of_pairs(pair_sums(values, ones)), _of_pairs(pair_sums(values, alpha1))


def jackknife_error(left_out: np.ndarray) -> float:
    """The delete-a-group jackknife's standard error of an estimate.

    Args:
      left_out: (k,), k >= 2, the estimate without each of k groups of about equal size.
    """
    k = len(left_out)
    return float(np.sqrt((k - 1) / k * np.sum((left_out - left_out.mean()) ** 2)))


class NoDirectionError(ValueError):
    """No example has a direction: alphas of these models are not defined."""


def _jackknife(squares: _Squares, counts: np.ndarray) -> float | None:
    """Standard error of |sum of outer products / count|_F^2, leaving out one group at a time."""
    groups = np.flatnonzero(counts > 0)
    if len(groups) < 2:
        return None
    count = counts.sum()
    return jackknife_error(np.array([squares.without(int(g), count - counts[g]) for g in groups]))


def finalize(sums: TransferSums, values: TransferValues) -> Transferability:
    """The record of these sums and values, over all examples.

    Raises:
      ValueError: a model returned NaN or infinity.
      NoDirectionError: no example has a direction.
    """
    sums = merge(sums)
    valid = np.asarray(values.valid, bool)
    n, degenerate = int(sums.used.sum()), int(sums.degenerate.sum())
    if sums.nonfinite_delta.sum() > 0:
        raise ValueError(
            f"an attack on f1 or f2 gives NaN or infinity for {int(sums.nonfinite_delta.sum())} of "
            f"{len(valid)} examples: {NONFINITE_GRADIENT}"
        )
    if sums.nonfinite.sum() > 0:
        raise ValueError(
            f"f1 or f2 returns NaN or infinity for {int(sums.nonfinite.sum())} of {len(valid)} "
            "examples; finite outputs are needed."
        )
    if n == 0:
        raise NoDirectionError(
            f"no example has a direction: all {degenerate} of x are degenerate (no output moves "
            "beyond rounding under the attack: eps=0, a saturated or constant model, or an attack "
            "that makes no progress)."
        )
    directed = int(sums.directed.sum())
    of_alpha2, of_product = _squares(sums, values)
    alpha2_squared = of_alpha2.of_all(directed) if directed else None
    product_squared = of_product.of_all(n)
    per_example = np.asarray(values.alpha1, np.float64)[valid]
    return Transferability(
        alpha1=float(sums.alpha1.sum() / n),
        alpha1_per_example=per_example,
        alpha2=None if alpha2_squared is None else alpha2_squared**0.5,
        alpha1_alpha2=product_squared**0.5,
        alpha2_squared=alpha2_squared,
        alpha1_alpha2_squared=product_squared,
        alpha2_squared_unbiased=(
            None if alpha2_squared is None else unbiased(alpha2_squared, 1.0, directed)
        ),
        alpha1_alpha2_squared_unbiased=unbiased(
            product_squared, float(sums.alpha1_squared.sum() / n), n
        ),
        n=n,
        n_alpha2=directed,
        n_degenerate=degenerate,
        n_alpha1_above_one=int(sums.above_one.sum()),
        valid=valid,
        # From the values: where they are nearly equal, float32's sums of squares say nothing of it.
        alpha1_se=float(per_example.std(ddof=1)) / n**0.5 if n > 1 else None,
        alpha2_squared_se=_jackknife(of_alpha2, sums.directed),
        alpha1_alpha2_squared_se=_jackknife(of_product, sums.used),
    )
