"""What an experiment found, and its files: results.json (the truth) and results.csv (its rows)."""

import csv
import dataclasses
import io
import json
import math
import pathlib
from typing import Any

from advknow.experiments.correlation import correlate
from advknow.runs.files import write_atomically

# The columns that every row has, in the order of results.csv.
COLUMNS = (
    "source",
    "knowledge_transfer",
    "knowledge_transfer_se",
    "source_accuracy",
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
    "gmd_relative",
    "rho2",
    "fmd",
    "fmd_relative",
    "ktd",
    "ktd_relative",
    "n",
    "n_degenerate",
    "n_alpha1_above_one",
    "model",
    "width",
    "num_params",
    "similarity",
)
ALPHAS = ("alpha1", "alpha2_squared", "alpha1_alpha2_squared")
METRICS = (*ALPHAS, "rho2", "fmd_relative", "ktd")
# What results of earlier versions lack.
OPTIONAL = ("command", "audit")
CONVENTION = (
    "alpha2_squared and alpha1_alpha2_squared are squares, as in the poster's image tables; alpha2 "
    "and alpha1_alpha2 are the norms."
)


@dataclasses.dataclass(frozen=True)
class Results:
    """The outcome of one experiment.

    Attributes:
      experiment, preset, direction, seed: as in the configuration.
      rows: one a source, keys `COLUMNS`; accuracies and knowledge_transfer in percent of the test
        part, knowledge_transfer_se over draws of the labelled part (None for a single draw). The
        distances (theory.md sections 3 and 4, H = I) are of the same n examples: gmd_relative and
        fmd_relative over the norm of the target's gradient and logits, ktd of one-hot labels.
      target: accuracy (percent), n_test, n_correct, n_measured, model, width, num_params.
      settings: the whole configuration.
      versions: of Python, JAX and what the numbers depend on; the device too.
      seconds: time a stage.
      command: what made it.
      audit: what `advknow.check_model` found of the target and each source, by name.
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

    def correlations(self) -> dict[str, dict[str, float] | None]:
        """Each metric, and the baseline, against knowledge transfer over the rows.

        The baseline is the similarity of the classes where the sources differ in it, else the
        logarithm of the number of parameters.
        """
        transfer = [row["knowledge_transfer"] for row in self.rows]
        columns = {
            name: [row[name] for row in self.rows]
            for name in METRICS
            if all(row.get(name) is not None for row in self.rows)
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


def to_csv(rows: list[dict[str, Any]]) -> str:
    """The rows as CSV, columns `COLUMNS`; empty where a value does not exist."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n", extrasaction="raise")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def write(results: Results, workdir: str | pathlib.Path) -> None:
    """Writes results.json and results.csv into the folder, each atomically.

    Raises:
      ValueError: a value is NaN or infinite: none may reach a results file.
    """
    folder = pathlib.Path(workdir)
    text = json.dumps(results.to_dict(), indent=2, allow_nan=False) + "\n"
    write_atomically(folder / "results.json", text)
    write_atomically(folder / "results.csv", to_csv(results.rows))


def read(workdir: str | pathlib.Path) -> Results:
    """The results in that folder.

    Raises:
      FileNotFoundError: there are none. ValueError: the file is not one of ours.
    """
    path = pathlib.Path(workdir) / "results.json"
    try:
        return from_dict(json.loads(path.read_text()))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
