"""What an experiment measures of a source and its target, and how a report shows it.

A `Quantity` is a measure (`advknow.passes`), the columns that its record gives to a row, and which
of them a report shows under what title. All of a row's quantities come from one pass over the
examples. A new quantity is a file with one of these, named in `QUANTITIES` or in `run`'s argument.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from advknow import losses, passes, validate
from advknow.alphas import Perturbation, finite_alphas
from advknow.experiments.config import DIRECTIONS
from advknow.gram import GramsOf
from advknow.matching import function_distance, gradient_distance, knowledge_distance
from advknow.passes import Measure

# Distances are those of H = I; alpha1 is evaluated with the plain norm, as the poster does.
GRAMS = GramsOf(losses.l2, losses.l2)


class Shown(NamedTuple):
    """How a report shows a column.

    Attributes:
      title: at the head of a table. digits: after the point.
      name: in sentences.
      table: "alphas", the table with the poster's figures, or "chain", the one of the distances.
      correlated: whether its correlation with knowledge transfer is reported.
      panel: the label of its panel in the figure; "" for none.
    """

    title: str
    digits: int
    name: str = ""
    table: str = "chain"
    correlated: bool = False
    panel: str = ""

    @property
    def in_words(self) -> str:
        """Its name in sentences, which is the title where it has no other."""
        return self.name or self.title


class Quantity(NamedTuple):
    """What one measure gives to a row.

    Attributes:
      name: of the measure in the pass.
      measure: direction -> the measure, of the models "f_source" and "f_target", the perturbations
        given to the pass and, as y, one-hot labels.
      columns: name -> how to read it from the record. NAME_se is the standard error of NAME.
      shown: name -> how a report shows it.
      counts: columns that are counts; they stand after those of all quantities.
      n: (record, column) -> how many examples that column is a mean over.
    """

    name: str
    measure: Callable[[str], Measure]
    columns: Mapping[str, Callable[[Any], float | None]]
    shown: Mapping[str, Shown]
    counts: Mapping[str, Callable[[Any], float | None]] = {}
    n: Callable[[Any, str], int] = lambda record, column: record.n


def _fields(*names: str, **others: str) -> dict[str, Callable[[Any], float | None]]:
    """Columns that are fields of the record, of the same name or of another."""
    fields = {**dict(zip(names, names, strict=True)), **others}
    return {column: operator.attrgetter(field) for column, field in fields.items()}


def _alphas(direction: str) -> Measure:
    first, second = (Perturbation(f"f_{role}") for role in direction.split("_to_"))
    return finite_alphas(first, second)


ALPHAS = Quantity(
    name="transfer",
    measure=_alphas,
    columns=_fields(
        "alpha1",
        "alpha1_se",
        "alpha2",
        "alpha2_squared",
        "alpha2_squared_unbiased",
        "alpha2_squared_se",
        "alpha1_alpha2",
        "alpha1_alpha2_squared",
        "alpha1_alpha2_squared_unbiased",
        "alpha1_alpha2_squared_se",
    ),
    shown={
        "alpha1": Shown("alpha1", 3, "alpha1", "alphas", True, r"$\alpha_1$"),
        "alpha2_squared": Shown("alpha2²", 3, "alpha2 (squared)", "alphas", True, r"$\alpha_2^2$"),
        "alpha1_alpha2_squared": Shown(
            "(alpha1*alpha2)²",
            4,
            "alpha1*alpha2 (squared)",
            "alphas",
            True,
            r"$(\alpha_1 * \alpha_2)^2$",
        ),
    },
    counts=_fields("n", "n_degenerate", "n_alpha1_above_one", "n_alpha2"),
    n=lambda record, column: record.n_alpha2 if column.startswith("alpha2") else record.n,
)


GRADIENT = Quantity(
    "gradient",
    lambda direction: gradient_distance(GRAMS),
    _fields(gmd_relative="relative", rho2="rho2"),
    {
        "gmd_relative": Shown("GMD relative", 4),
        "rho2": Shown("rho²", 4, "rho²", correlated=True),
    },
)
FUNCTION = Quantity(
    "function",
    lambda direction: function_distance(GRAMS),
    _fields(fmd="distance", fmd_relative="relative"),
    {
        "fmd": Shown("FMD", 3),
        "fmd_relative": Shown("FMD relative", 3, "FMD (relative)", correlated=True),
    },
)
KNOWLEDGE = Quantity(
    "knowledge",
    lambda direction: knowledge_distance(GRAMS),
    _fields(ktd="distance", ktd_relative="relative"),
    {"ktd": Shown("KTD", 3, "KTD", correlated=True)},
)

QUANTITIES: tuple[Quantity, ...] = (ALPHAS, GRADIENT, FUNCTION, KNOWLEDGE)


def columns(quantities: tuple[Quantity, ...]) -> list[str]:
    """The names of all columns and counts that they give to a row."""
    return [name for q in quantities for name in (*q.columns, *q.counts)]


def measure(quantities: tuple[Quantity, ...], direction: str) -> Measure:
    """The measure of them all; its record is a dict of theirs, by the quantities' names.

    Raises:
      ValueError: an unknown direction; two quantities of one name, or two columns.
    """
    validate.choice("direction", direction, DIRECTIONS)
    names = [q.name for q in quantities]
    for what, found in (("name", names), ("column", columns(quantities))):
        twice = sorted({name for name in found if found.count(name) > 1})
        if twice:
            raise ValueError(f"quantities have the {what} {', '.join(twice)} twice.")
    return passes.combine({q.name: q.measure(direction) for q in quantities})


def row(quantities: tuple[Quantity, ...], found: Mapping[str, Any]) -> dict[str, float | None]:
    """The columns of what was found, counts last."""
    values = {name: read(found[q.name]) for q in quantities for name, read in q.columns.items()}
    counts = {name: read(found[q.name]) for q in quantities for name, read in q.counts.items()}
    return {**values, **counts}


def examples(quantities: tuple[Quantity, ...], found: Mapping[str, Any]) -> dict[str, int]:
    """How many examples each column is of."""
    return {name: q.n(found[q.name], name) for q in quantities for name in (*q.columns, *q.counts)}


def shown(quantities: tuple[Quantity, ...]) -> dict[str, Shown]:
    """How reports show the columns, in the order of the tables."""
    return {name: how for q in quantities for name, how in q.shown.items()}
