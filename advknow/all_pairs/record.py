"""The record of all ordered pairs: (K, K) arrays, source in rows, target in columns."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from advknow import validate
from advknow.alphas import Transferability


class Undefined(NamedTuple):
    """In place of a record of alphas: why there is none."""

    why: str


class Quantity(NamedTuple):
    """How a number and its standard error are read from the record of a pair.

    Attributes:
      part: which record: "attack", "small_eps", "gradient" or "function".
      value, error: the record -> the number, None where it is not defined.
      n: the record -> how many examples it is of.
    """

    part: str
    value: Callable[[Any], float | None]
    error: Callable[[Any], float | None]
    n: Callable[[Any], int]


def _norm_error(square: float | None, error: float | None) -> float | None:
    """Of a norm, from its square and that one's error; None at 0, where the norm has no slope."""
    return None if not square or error is None else error / (2.0 * square**0.5)


def _alphas(part: str, prefix: str) -> dict[str, Quantity]:
    def n(r: Transferability) -> int:
        return r.n

    def directed(r: Transferability) -> int:
        return r.n_alpha2

    def of(value: str, error: Callable[[Any], float | None], n=n) -> Quantity:
        return Quantity(part, lambda r: getattr(r, value), error, n)

    def error2(r: Transferability) -> float | None:
        return r.alpha2_squared_se

    def error12(r: Transferability) -> float | None:
        return r.alpha1_alpha2_squared_se

    found = {
        "alpha1": of("alpha1", lambda r: r.alpha1_se),
        "alpha2": of("alpha2", lambda r: _norm_error(r.alpha2_squared, error2(r)), directed),
        "alpha1_alpha2": of(
            "alpha1_alpha2", lambda r: _norm_error(r.alpha1_alpha2_squared, error12(r))
        ),
        "alpha2_squared": of("alpha2_squared", error2, directed),
        "alpha2_squared_unbiased": of("alpha2_squared_unbiased", error2, directed),
        "alpha1_alpha2_squared": of("alpha1_alpha2_squared", error12),
        "alpha1_alpha2_squared_unbiased": of("alpha1_alpha2_squared_unbiased", error12),
    }
    return {prefix + name: quantity for name, quantity in found.items()}


def _distance(part: str, field: str) -> Quantity:
    return Quantity(
        part,
        lambda r: getattr(r.whole, field),
        lambda r: r.standard_error(field),
        lambda r: r.whole.n,
    )


# What a matrix has of every pair, by name.
QUANTITIES: dict[str, Quantity] = {
    **_alphas("attack", ""),
    **_alphas("small_eps", "small_eps_"),
    "gmd": _distance("gradient", "distance"),
    "gmd_relative": _distance("gradient", "relative"),
    "rho2": _distance("gradient", "rho2"),
    "fmd": _distance("function", "distance"),
    "fmd_relative": _distance("function", "relative"),
}


@dataclasses.dataclass(frozen=True)
class Matrix:
    """All ordered pairs of K models (theory.md sections 2 to 4); all arrays are (K, K) float64.

    `found["alpha1"][i, j]` is alpha1 of the source names[i] and the target names[j]. Quantities:
    alpha1, alpha2, alpha1_alpha2 of the attack and with the prefix small_eps_ of its limit; of
    alpha2 and alpha1_alpha2 also NAME_squared and NAME_squared_unbiased (alpha2 is the norm); gmd,
    gmd_relative, rho2; fmd, fmd_relative. NaN where a quantity is not defined.

    Attributes:
      names: of the models, (K,).
      values: by quantity.
      standard_errors: by quantity. Over examples of alpha1; by the delete-a-group jackknife of the
        others, of a norm by its slope from that of its square. NaN where there is none.
      n: by quantity, (K, K) int, examples.
      undefined: why alphas are not defined, by (source, target, part).
    """

    names: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    standard_errors: Mapping[str, np.ndarray]
    n: Mapping[str, np.ndarray]
    undefined: Mapping[tuple[str, str, str], str]

    def __getitem__(self, quantity: str) -> np.ndarray:
        """The values of a quantity, (K, K).

        Raises:
          ValueError: no such quantity here.
        """
        validate.choice("quantity", quantity, self.values)
        return self.values[quantity]

    def records(self) -> list[dict[str, Any]]:
        """Long records (`advknow.runs.records`), one for each number that is defined."""

        def number(value: float) -> float | None:
            return None if np.isnan(value) else float(value)

        return [
            {
                "source": source,
                "target": target,
                "quantity": name,
                "value": float(values[i, j]),
                "standard_error": number(self.standard_errors[name][i, j]),
                "n": int(self.n[name][i, j]),
            }
            for name, values in self.values.items()
            for i, source in enumerate(self.names)
            for j, target in enumerate(self.names)
            if not np.isnan(values[i, j])
        ]


def assembled(names: tuple[str, ...], pairs: Mapping[tuple[int, int], Mapping[str, Any]]) -> Matrix:
    """The matrix of the records of its pairs.

    Args:
      names: of the K models.
      pairs: by the numbers of source and target, the records by part, or `Undefined`.
    """
    parts = {part for found in pairs.values() for part in found}
    shown = {name: quantity for name, quantity in QUANTITIES.items() if quantity.part in parts}
    shape = (len(names), len(names))
    values = {name: np.full(shape, np.nan) for name in shown}
    errors = {name: np.full(shape, np.nan) for name in shown}
    n = {name: np.zeros(shape, int) for name in shown}
    undefined = {}
    for at, found in pairs.items():
        for part, record in found.items():
            if isinstance(record, Undefined):
                undefined[names[at[0]], names[at[1]], part] = record.why
        for name, quantity in shown.items():
            record = found[quantity.part]
            if isinstance(record, Undefined):
                continue
            n[name][at] = quantity.n(record)
            for numbers, read in ((values, quantity.value), (errors, quantity.error)):
                number = read(record)
                numbers[name][at] = np.nan if number is None else number
    return Matrix(names, values, errors, n, undefined)
