"""Two checkpoints and one sample: what `launch.measure` and `launch.chain` print."""

import pathlib
from typing import Any, NamedTuple

import numpy as np

from advknow import attacks, checkpoints, data, devices, metrics, validate
from advknow.audit import check_model
from advknow.chain import chain
from advknow.data import Dataset
from advknow.experiments import stages, tasks
from advknow.experiments.versions import versions
from advknow.inner_product import Loss
from advknow.training import evaluate
from advknow.typing import ApplyFn, AttackFn, Progress

ATTACKS = ("fgsm", "pgd", "singular")
COLUMNS = (
    "alpha1",
    "alpha2",
    "alpha2_squared",
    "alpha1_alpha2",
    "alpha1_alpha2_squared",
    "n",
    "n_degenerate",
    "n_alpha1_above_one",
)


def attack_named(name: str, *, eps: float, num_steps: int, index: int) -> AttackFn:
    """The attack of that name with the poster's form: a random start, pgd steps of eps/10.

    Raises:
      ValueError, TypeError: an unknown name or a setting that is not accepted.
    """
    validate.choice("attack", name, ATTACKS)
    if name == "fgsm":
        return attacks.fgsm(eps=eps, random_start=True)
    if name == "pgd":
        validate.number("eps", eps, minimum=0.0)
        step_size = eps / 10 if eps > 0 else None
        return attacks.pgd(eps=eps, step_size=step_size, num_steps=num_steps)
    return attacks.singular(index=index)


def audit_pair(
    pair: "Pair", *, eps: float, seed: int, batch_size: int, strict: bool
) -> dict[str, dict[str, Any]]:
    """The audits of both models of a pair, ready for JSON.

    Raises:
      audit.AuditError: a finding, if strict.
    """
    x, found = pair.images.pixels(), {}
    if len(x) < 2:
        return {}
    for name, f in (("source", pair.f_source), ("target", pair.f_target)):
        audit = check_model(
            f,
            x,
            eps=eps,
            num_steps=stages.AUDIT_STEPS,
            key=tasks.stage_key(seed, "audit"),
            max_examples=stages.AUDIT_EXAMPLES,
            batch_size=batch_size,
        )
        if strict:
            audit.raise_for_findings(f"the {name}")
        found[name] = audit.summary()
    return found


class Pair(NamedTuple):
    """Two checkpoints as functions of pixels, and the test images to measure them on."""

    f_source: ApplyFn
    f_target: ApplyFn
    num_outputs: int
    images: Dataset
    dataset: str


def load_pair(
    source: str | pathlib.Path,
    target: str | pathlib.Path,
    *,
    dataset: str | None = None,
    classes: tuple[str, ...] | None = None,
    data_dir: str | None = None,
    num_examples: int = 0,
    correct_only: bool = True,
    seed: int = 0,
) -> Pair:
    """Reads two checkpoints and chooses test images.

    Args:
      source, target: checkpoint folders.
      dataset, classes: what to measure on; by default what the target was trained on.
      data_dir: where the data set lies.
      num_examples: at most so many test images; 0 for all.
      correct_only: only images that the target classifies correctly; needs the target's classes.
      seed: of the choice of images.

    Raises:
      FileNotFoundError, ValueError: a checkpoint or data set that is missing or damaged, models of
        different input shapes, no correctly classified image.
    """
    validate.integer("num_examples", num_examples, minimum=0)
    source_model, source_variables, _ = checkpoints.restore_model(source)
    target_model, target_variables, metadata = checkpoints.restore_model(target)
    if source_model.input_shape != target_model.input_shape:
        raise ValueError(
            f"source takes inputs of shape {source_model.input_shape}, target of shape "
            f"{target_model.input_shape}; models of the same input shape are needed."
        )
    dataset = metadata.get("dataset") if dataset is None else dataset
    if dataset is None:
        raise ValueError(f"dataset=None: the checkpoint {target} does not name one; name it.")
    own_classes = tuple(metadata.get("class_names", ()))
    if classes is None:
        known = data.info(dataset).class_names
        classes = own_classes if set(own_classes) <= set(known) and own_classes else known
    splits = data.load(dataset, data_dir=data_dir)
    test = data.match_channels(
        data.select_classes(splits.test, classes), target_model.input_shape[-1]
    )
    indices = np.arange(len(test))
    if correct_only:
        if tuple(classes) != own_classes:
            raise ValueError(
                f"correct_only=True needs the target's classes {own_classes}, not {classes}; use "
                "--nocorrect_only to count all images."
            )
        indices = np.flatnonzero(evaluate(target_model, target_variables, test).correct)
        if len(indices) == 0:
            raise ValueError(
                f"the target model classifies 0 of {len(test)} test images correctly, and only "
                "those count; use --nocorrect_only to count all images."
            )
    if 0 < num_examples < len(indices):
        generator = np.random.default_rng(tasks.stage_seed(seed, "measured"))
        indices = np.sort(generator.choice(indices, num_examples, replace=False))
    return Pair(
        source_model.bind(source_variables),
        target_model.bind(target_variables),
        target_model.num_classes,
        test.take(indices),
        dataset,
    )


def measure_checkpoints(
    source: str | pathlib.Path,
    target: str | pathlib.Path,
    *,
    attack: AttackFn,
    linearize: bool = False,
    batch_size: int = 64,
    seed: int = 0,
    num_devices: int | None = None,
    audit_eps: float = 0.1,
    strict: bool = False,
    progress: Progress | None = None,
    session: stages.Session | None = None,
    **choice: Any,
) -> dict[str, Any]:
    """The alphas of two checkpoints on test images, both directions, ready for JSON.

    Args:
      source, target: checkpoint folders.
      attack: from `advknow.attacks`; each model is attacked once.
      linearize: the small-eps limit (`metrics.transferability`).
      batch_size: images in one program.
      seed: of the attacks' random starts and of the choice of images.
      num_devices: over which every batch is divided; all by default.
      audit_eps: of the attack of the audit. strict: whether its finding is an error.
      progress: told how far each attack is.
      session: in a workdir, where unfinished attacks are kept and gone on with.
      **choice: of the images, as in `load_pair`.

    Raises:
      FileNotFoundError, ValueError: as `load_pair` and `metrics.from_deltas`.
    """
    sharding = devices.data_sharding(num_devices)
    pair = load_pair(source, target, seed=seed, **choice)
    audits = audit_pair(pair, eps=audit_eps, seed=seed, batch_size=batch_size, strict=strict)
    x = pair.images.pixels()
    key = tasks.stage_key(seed, "attack")
    bound = {"source": pair.f_source, "target": pair.f_target}
    deltas = {}
    for name, f in bound.items():
        settings: dict[str, Any] = {"attack": attack, "key": key, "batch_size": batch_size}
        if session is None:
            deltas[name] = metrics.perturb(f, x, progress=progress, sharding=sharding, **settings)
        else:
            deltas[name] = stages.attacked(session, name, f, x, **settings)
    found: dict[str, Any] = {}
    for first, second in (("source", "target"), ("target", "source")):
        found[f"{first}_to_{second}"] = metrics.from_deltas(
            bound[first],
            bound[second],
            x,
            deltas[first],
            deltas[second],
            linearize=linearize,
            batch_size=batch_size,
            sharding=sharding,
        ).summary()
    return {
        **_described(source, target, pair, seed),
        **found,
        "audit": audits,
        "versions": versions(),
    }


def chain_of_checkpoints(
    source: str | pathlib.Path,
    target: str | pathlib.Path,
    *,
    loss: Loss = "l2",
    attack: AttackFn | None = None,
    batch_size: int = 64,
    seed: int = 0,
    num_devices: int | None = None,
    audit_eps: float = 0.1,
    strict: bool = False,
    progress: Progress | None = None,
    **choice: Any,
) -> dict[str, Any]:
    """The whole chain of two checkpoints (`advknow.chain`), ready for JSON.

    Args:
      source, target: checkpoint folders.
      loss: whose Hessian is meant.
      attack: of the alphas; None: the strongest small-eps attack.
      batch_size, seed, num_devices, audit_eps, strict, progress: as in `measure_checkpoints`.
      **choice: of the images, as in `load_pair`; y is one-hot where their classes are the target's
        outputs, else KTD and Theorem 3 are left out.

    Raises:
      FileNotFoundError, ValueError: as `load_pair` and `advknow.chain.chain`.
    """
    sharding = devices.data_sharding(num_devices)
    pair = load_pair(source, target, seed=seed, **choice)
    audits = audit_pair(pair, eps=audit_eps, seed=seed, batch_size=batch_size, strict=strict)
    y = None
    if len(pair.images.class_names) == pair.num_outputs:
        y = np.eye(pair.num_outputs, dtype=np.float32)[pair.images.labels]
    found = chain(
        pair.f_source,
        pair.f_target,
        pair.images.pixels(),
        y=y,
        loss=loss,
        attack=attack,
        key=tasks.stage_key(seed, "attack"),
        batch_size=batch_size,
        sharding=sharding,
        progress=progress,
    )
    described = _described(source, target, pair, seed)
    return {**described, "chain": found.summary(), "audit": audits, "versions": versions()}


def _described(source: Any, target: Any, pair: Pair, seed: int) -> dict[str, Any]:
    return {
        "source": str(source),
        "target": str(target),
        "dataset": pair.dataset,
        "classes": list(pair.images.class_names),
        "seed": seed,
    }


def text(found: dict[str, Any]) -> str:
    """The table of `measure_checkpoints`, both directions; squares and norms by their names."""
    lines = ["direction         " + "".join(name.rjust(len(name) + 2) for name in COLUMNS)]
    for direction in ("source_to_target", "target_to_source"):
        cells = []
        for name in COLUMNS:
            value = found[direction][name]
            shown = str(value) if isinstance(value, int) else f"{value:.4f}"
            cells.append(shown.rjust(len(name) + 2))
        lines.append(direction.ljust(18) + "".join(cells))
    return "\n".join(lines)
