"""What an experiment found, and its files.

results.json   the truth: rows, long records, settings, versions, seconds, audits
results.csv    its rows, a source each
records.csv    long records: source, target, quantity, value, standard_error, n
"""

import dataclasses
import math
import pathlib
from typing import Any

from advknow.experiments.quantities import QUANTITIES, Shown, shown
from advknow.runs import files
from advknow.runs.records import RECORD, to_csv
from advknow.statistics.correlation import correlate

FILE = "results.json"
# What results of earlier versions lack.
OPTIONAL = ("command", "audit", "shown", "records", "findings")
CONVENTION = (
    "alpha2_squared and alpha1_alpha2_squared are squares, as in the poster's image tables; alpha2 "
    "and alpha1_alpha2 are the norms."
)


@dataclasses.dataclass(frozen=True)
class Results:
    """The outcome of one experiment.

    Attributes:
      experiment, preset, direction, seed: as in the configuration.
      rows: one a source: the source's name, knowledge_transfer and source_accuracy in percent of
        the test part, the columns of the quantities (`advknow.experiments.quantities`), and what
        the source is. NAME_se is the standard error of NAME: over examples, for knowledge_transfer
        over draws of the labelled part; None where there is one draw or example. The distances
        (theory.md sections 3 and 4, H = I) are of the same n examples: gmd_relative and
        fmd_relative over the norm of the target's gradient and logits, ktd of one-hot labels.
      target: accuracy (percent), n_test, n_correct, n_measured, model, width, num_params.
      settings: the whole configuration.
      versions: of Python, JAX and what the numbers depend on; the device too.
      seconds: time a stage.
      command: what made it.
      audit: what `advknow.check_model` found of the target and each source, by name.
      findings: what the measurement of each source says against its alphas
        (`advknow.check_record`), by the source's name.
      records: the rows once more, as long records (`advknow.runs.records`).
      shown: how reports show the columns, `Shown` as lists, by name.
    """

    experiment: str
    preset: str
    direction: str
    seed: int
    rows: list[dict[str, Any]]
    target: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    seconds: dict[str, float]
    command: str = ""
    audit: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    findings: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    records: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    shown: dict[str, Any] = dataclasses.field(default_factory=lambda: shown(QUANTITIES))

    def columns(self, *, table: str | None = None) -> dict[str, Shown]:
        """The columns that all rows have and reports show, those of one table or all."""
        found = {name: Shown(*how) for name, how in self.shown.items()}
        return {
            name: how
            for name, how in found.items()
            if table in (None, how.table) and all(row.get(name) is not None for row in self.rows)
        }

    def correlations(self) -> dict[str, dict[str, float] | None]:
        """Each metric, and the baseline, against knowledge transfer over the rows.

        The baseline is the similarity of the classes where the sources differ in it, else the
        logarithm of the number of parameters.
        """
        transfer = [row["knowledge_transfer"] for row in self.rows]
        columns = {
            name: [row[name] for row in self.rows]
            for name, how in self.columns().items()
            if how.correlated
        }
        similarity = [row["similarity"] for row in self.rows]
        if any(s is not None for s in similarity):
            columns["baseline_similarity"] = [s or 0.0 for s in similarity]
        else:
            columns["baseline_log_num_params"] = [math.log(r["num_params"]) for r in self.rows]
        found = {name: correlate(values, transfer) for name, values in columns.items()}
        return {name: c._asdict() if c is not None else None for name, c in found.items()}

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            **dataclasses.asdict(self),
            "convention": CONVENTION,
            "correlations_with_knowledge_transfer": self.correlations(),
        }


def from_dict(content: dict[str, Any]) -> Results:
    """The record that `Results.to_dict` wrote.

    Raises:
      ValueError: a field is missing.
    """
    fields = dataclasses.fields(Results)
    names = [field.name for field in fields if field.name in content]
    missing = [f.name for f in fields if f.name not in content and f.name not in OPTIONAL]
    if missing:
        raise ValueError(f"results lack {', '.join(missing)}; a results.json of advknow is needed.")
    return Results(**{name: content[name] for name in names})


def write(results: Results, workdir: str | pathlib.Path) -> None:
    """Writes results.json, results.csv and records.csv into the folder, each atomically.

    Raises:
      ValueError: a value is NaN or infinite: none may reach a results file.
    """
    folder = pathlib.Path(workdir)
    files.write_json(folder / FILE, results.to_dict())
    files.write_atomically(folder / "results.csv", to_csv(results.rows))
    if results.records:  # Those of earlier versions have none.
        files.write_atomically(folder / "records.csv", to_csv(results.records, RECORD))


def read(workdir: str | pathlib.Path) -> Results:
    """The results in that folder.

    Raises:
      FileNotFoundError: there are none. ValueError: the file is not one of ours.
    """
    return from_dict(files.read_json(pathlib.Path(workdir) / FILE))
