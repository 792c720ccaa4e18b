"""The synthetic experiment (theory.md section 7).

Two sigmoid networks, f_T and f_S; every weight of f_S is moved step by step, W <- W + 0.1 k D for
k = 0..9, cumulatively, and at each step all quantities of the chain are measured, with H = I:

    alpha1_S_T, alpha1_T_S                 of the attack `level`, in the small-eps limit; divided
                                           by the TOP singular value of the other model
    alpha2_*, alpha1_alpha2_*              norms, not squares
    gradient_matching                      GMD of f_T by g∘f_S
    loss_f_S                               sqrt(E |y - g∘f_S|^2) after re-solving (W2, b2)
    loss_f_T                               sqrt(E |y - f_T|^2)

    python -m launch.synthetic --workdir=runs/synthetic
"""

import dataclasses
import functools
import pathlib
import time
import zlib
from collections.abc import Callable
from typing import Any

import jax

from advknow import losses, passes, validate
from advknow.alphas import small_eps_alphas
from advknow.gram import GramsOf
from advknow.links.theorems import gap_to_labels
from advknow.matching import OutputsOf, gradient_distance, knowledge_distance
from advknow.passes import Measure
from advknow.runs import files
from advknow.runs.session import Session, begin, finish
from advknow.runs.versions import versions
from advknow.synthetic import files as synthetic_files
from advknow.synthetic import rbf, sigmoid_network
from advknow.synthetic.files import Networks
from advknow.synthetic.rbf import RbfData
from advknow.typing import Progress

# The columns of the authors' tables, in their order.
COLUMNS = (
    "scale",
    "alpha1_S_T",
    "alpha1_T_S",
    "alpha2_S_T",
    "alpha2_T_S",
    "alpha1_alpha2_S_T",
    "alpha1_alpha2_T_S",
    "gradient_matching",
    "loss_f_S",
    "loss_f_T",
)
STEP = 0.1
ENDS_WITH = "results.json"


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
    """Settings of the synthetic experiment; the defaults are the poster's sizes.

    Attributes:
      seed: of data, training and perturbation.
      num_inputs: n. num_outputs: d. num_examples: N.
      source_hidden: m, hidden units of f_S. target_hidden: those of f_T. Of equal widths, f_S
        starts as a copy of f_T; else it is trained by itself.
      level: which attack, counted from 0; below min(n, d).
      num_steps: steps of the perturbation.
      epochs: of training.
      batch_size: examples in one program of the measuring part.
    """

    seed: int = 0
    num_inputs: int = 50
    num_outputs: int = 10
    num_examples: int = 5000
    source_hidden: int = 100
    target_hidden: int = 100
    level: int = 0
    num_steps: int = 10
    epochs: int = 300
    batch_size: int = 1000

    def __post_init__(self):
        for field in dataclasses.fields(self):
            least = 0 if field.name in ("seed", "level") else 1
            validate.integer(field.name, getattr(self, field.name), minimum=least)
        validate.integer("seed", self.seed, maximum=2**31 - 1)
        check_level(self.level, self.num_inputs, self.num_outputs)


@dataclasses.dataclass(frozen=True)
class SyntheticResults:
    """The outcome: a row a step, keys `COLUMNS`; alphas dimensionless, the rest in units of y
    (gradient_matching: of y per unit of x). alpha2 and alpha1_alpha2 are norms, not squares.

    Attributes:
      rows: floats. n: examples. n_degenerate: the most examples that a step left out of an alpha.
      settings: the configuration, or the files. versions: of the software and the device.
      seconds: time a stage. command: what made it.
    """

    rows: list[dict[str, float]]
    n: int
    n_degenerate: int
    settings: dict[str, Any]
    versions: dict[str, str]
    seconds: dict[str, float]
    command: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        convention = "alpha2 and alpha1_alpha2 are norms, not squares; H = I."
        return {"experiment": "synthetic", **dataclasses.asdict(self), "convention": convention}


def check_level(level: int, num_inputs: int, num_outputs: int) -> None:
    """Raises unless there is an attack of that level, counted from 0."""
    validate.integer("level", level, minimum=0)
    most = min(num_inputs, num_outputs) - 1
    if level > most:
        raise ValueError(
            f"level={level} must be at most {most}: {num_outputs} outputs of {num_inputs} inputs "
            f"have {most + 1} attacks, counted from 0."
        )


def prepare(
    config: SyntheticConfig,
    *,
    progress: Progress | None = None,
    on_epoch: Callable[[str, int, float], None] | None = None,
) -> tuple[RbfData, Networks]:
    """Data, trained networks and the direction of the perturbation of that configuration.

    Args:
      config: settings. progress, on_epoch: as in `sigmoid_network.train`.
    """
    data = rbf.generate(
        seed=config.seed,
        num_inputs=config.num_inputs,
        num_outputs=config.num_outputs,
        num_examples=config.num_examples,
    )
    key_target, key_source, key_deviation = jax.random.split(jax.random.key(config.seed), 3)
    train = functools.partial(
        sigmoid_network.train, epochs=config.epochs, progress=progress, on_epoch=on_epoch
    )
    target = train(key_target, *data, hidden=config.target_hidden, stage="train f_T")
    source = target
    if config.source_hidden != config.target_hidden:
        source = train(key_source, *data, hidden=config.source_hidden, stage="train f_S")
    return data, Networks(target, source, sigmoid_network.deviations(key_deviation, source))


def quantities(level: int = 0) -> Measure:
    """All of a row in one pass: models "f_source", "f_target" and "hidden", f_S's hidden layer."""
    grams = GramsOf(losses.l2, losses.l2)
    return passes.combine(
        {
            "alphas": small_eps_alphas(grams, index=level),
            "gradient": gradient_distance(grams),
            # g∘f_S re-solved is an affine map of the hidden layer.
            "resolved": knowledge_distance(OutputsOf(losses.l2, source="hidden", target=None)),
            "target": gap_to_labels(OutputsOf(losses.l2, source=None)),
        }
    )


def measure(
    data: RbfData,
    source: sigmoid_network.Weights,
    target: sigmoid_network.Weights,
    *,
    level: int = 0,
    batch_size: int = 1000,
) -> tuple[dict[str, float], int]:
    """One row without its scale, and how many examples had no direction."""
    models = {
        "f_source": sigmoid_network.bind(source),
        "f_target": sigmoid_network.bind(target),
        "hidden": sigmoid_network.bind_hidden(source),
    }
    found = passes.run(
        quantities(level), models, data.x, y=data.y, batch_size=batch_size, stage="measure"
    )
    s_t, t_s = found["alphas"]["source_to_target"], found["alphas"]["target_to_source"]
    row = {
        "alpha1_S_T": s_t.alpha1,
        "alpha1_T_S": t_s.alpha1,
        "alpha2_S_T": s_t.alpha2,
        "alpha2_T_S": t_s.alpha2,
        "alpha1_alpha2_S_T": s_t.alpha1_alpha2,
        "alpha1_alpha2_T_S": t_s.alpha1_alpha2,
        "gradient_matching": found["gradient"].distance,
        "loss_f_S": found["resolved"].distance,
        "loss_f_T": found["target"],
    }
    return row, max(s_t.n_degenerate, t_s.n_degenerate)


def measure_steps(
    data: RbfData,
    networks: Networks,
    *,
    level: int = 0,
    num_steps: int = 10,
    batch_size: int = 1000,
    progress: Progress | None = None,
    done: tuple[list[dict[str, float]], int] = ([], 0),
    on_step: Callable[[list[dict[str, float]], int], None] | None = None,
) -> tuple[list[dict[str, float]], int]:
    """The rows of all steps, keys `COLUMNS`, and the most examples that a step left out.

    Args:
      data, networks: the sample and the weights.
      level: which attack, counted from 0. num_steps: k = 0 .. num_steps - 1.
      batch_size: examples in one program; it changes speed and memory, not the result.
      progress: called with ("measure", steps done, num_steps).
      done: what this returned, or `on_step` was given, for the first steps: they are not repeated.
      on_step: called after each step with what this would return for the steps so far.

    Raises:
      ValueError: a level that is not below min(n, d).
    """
    check_level(level, data.x.shape[1], data.y.shape[1])
    source, rows, left_out = networks.source, list(done[0]), done[1]
    for k in range(num_steps):
        scale = STEP * k
        source = sigmoid_network.moved(source, networks.deviation, scale)
        if k < len(rows):
            continue
        row, degenerate = measure(data, source, networks.target, level=level, batch_size=batch_size)
        rows.append({"scale": round(scale, 10), **row})
        left_out = max(left_out, degenerate)
        if progress is not None:
            progress("measure", k + 1, num_steps, f"GMD {row['gradient_matching']:.4f}")
        if on_step is not None:
            on_step(rows, left_out)
    return rows, left_out


def to_csv(rows: list[dict[str, float]]) -> str:
    """The rows as CSV, the authors' columns in their order, eight digits."""
    lines = [COLUMNS, *([f"{row[name]:.8g}" for name in COLUMNS] for row in rows)]
    return "".join(",".join(line) + "\n" for line in lines)


def run(
    config: SyntheticConfig,
    workdir: str | pathlib.Path,
    *,
    data_file: str | pathlib.Path | None = None,
    weights_file: str | pathlib.Path | None = None,
    progress: Progress | None = None,
    command: str = "",
    stop: Callable[[], bool] = lambda: False,
) -> SyntheticResults:
    """The experiment from data to files in the workdir.

    They are config.json, results.csv, metrics.jsonl and, last, results.json.

    Without files it generates data, trains both networks and writes them too (data.npz,
    weights.npz), so that the measuring part can be repeated on them. The same settings in the same
    workdir go on with what is there: finished results, trained networks, measured steps.

    Args:
      config: settings; with files only level, num_steps and batch_size are read.
      workdir: folder, made if it is not there.
      data_file, weights_file: in the format of `advknow.synthetic.files`; both or neither.
      progress: called with (stage, done, total, note).
      command: what made it, for the record.
      stop: asked after every step; when it returns True the steps so far are saved.

    Raises:
      ValueError, OSError: only one of the two files; files of another format; a workdir that is a
        file or holds a run of other settings.
      unfinished.StoppedError: `stop` asked for it.
    """
    if (data_file is None) != (weights_file is None):
        raise ValueError(
            f"data={data_file}, weights={weights_file}: both files are needed, or neither."
        )
    seconds, started = {}, time.monotonic()
    if data_file is not None and weights_file is not None:
        data = synthetic_files.read_data(data_file)
        networks = synthetic_files.read_weights(
            weights_file, num_inputs=data.x.shape[1], num_outputs=data.y.shape[1]
        )
        check_level(config.level, data.x.shape[1], data.y.shape[1])
        settings: dict[str, Any] = {
            "data": str(data_file),
            "weights": str(weights_file),
            # So that a run does not go on with other files of the same names.
            "crc32": [zlib.crc32(pathlib.Path(f).read_bytes()) for f in (data_file, weights_file)],
            "level": config.level,
            "num_steps": config.num_steps,
            "batch_size": config.batch_size,
            "num_inputs": data.x.shape[1],
            "num_outputs": data.y.shape[1],
            "num_examples": data.x.shape[0],
            "source_hidden": networks.source.W1.shape[0],
            "target_hidden": networks.target.W1.shape[0],
        }
    else:
        settings = dataclasses.asdict(config)
    # A step is short: each is kept.
    session = begin(workdir, settings, ends_with=ENDS_WITH, save_interval=0.0, stop=stop)
    folder = pathlib.Path(workdir)
    finished = (folder / ENDS_WITH).exists()
    if not finished:
        session.journal.write("start", command=command)
    if data_file is None:
        data, networks = _prepared(config, session, progress)
        seconds["train"] = time.monotonic() - started
        started = time.monotonic()
    if finished:
        return read(folder)
    found = session.unfinished.load("measure")
    rows, degenerate = measure_steps(
        data,
        networks,
        level=config.level,
        num_steps=config.num_steps,
        batch_size=config.batch_size,
        progress=progress,
        done=([], 0) if found is None else (found[1]["rows"], found[1]["degenerate"]),
        on_step=lambda rows, degenerate: session.unfinished.save(
            "measure", dict, {"rows": rows, "degenerate": degenerate}
        ),
    )
    seconds["measure"] = time.monotonic() - started
    results = SyntheticResults(
        rows, len(data.x), degenerate, settings, versions(), seconds, command
    )
    files.write_atomically(folder / "results.csv", to_csv(rows))
    session.journal.write("end")
    finish(session, results.to_dict())
    return results


def _prepared(
    config: SyntheticConfig, session: Session, progress: Progress | None
) -> tuple[RbfData, Networks]:
    """Data and networks, those in the folder where a run of this configuration left them."""
    folder = session.folder
    assert folder is not None, "the experiment has a workdir"
    if (folder / "weights.npz").exists():  # written last
        data = synthetic_files.read_data(folder / "data.npz")
        sizes = {"num_inputs": data.x.shape[1], "num_outputs": data.y.shape[1]}
        return data, synthetic_files.read_weights(folder / "weights.npz", **sizes)
    data, networks = prepare(
        config,
        progress=progress,
        on_epoch=lambda stage, epoch, loss: session.journal.write(
            "epoch", stage=stage, epoch=epoch, loss=loss
        ),
    )
    synthetic_files.write_data(folder / "data.npz", data)
    synthetic_files.write_weights(folder / "weights.npz", networks)
    return data, networks


def read(workdir: str | pathlib.Path) -> SyntheticResults:
    """The results in that folder.

    Raises:
      FileNotFoundError: there are none. ValueError: the file is not one of ours.
    """
    path = pathlib.Path(workdir) / ENDS_WITH
    fields = [field.name for field in dataclasses.fields(SyntheticResults)]
    content = files.read_json(path, "experiment", *fields)
    if content["experiment"] != "synthetic":
        raise ValueError(f"{path} is of another experiment than the synthetic one.")
    return SyntheticResults(**{name: content[name] for name in fields})
