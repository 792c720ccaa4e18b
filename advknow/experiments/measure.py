"""Two checkpoints and one sample: what `launch.measure` and `launch.chain` print."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from advknow import attacks, validate
from advknow.alphas import finite as metrics
from advknow.audit import check_model
from advknow.experiments import stages, tasks
from advknow.experiments.loading import Pair, load_pair
from advknow.inner_product import Loss
from advknow.links.measure import chain
from advknow.links.sums import ChainState
from advknow.passes import devices, memory
from advknow.passes.apply_fn import as_pytree
from advknow.runs import adversarial_examples, files, snapshots
from advknow.runs.versions import versions
from advknow.typing import AttackFn, Progress, Sharding

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
    pair: Pair,
    *,
    eps: float,
    seed: int,
    batch_size: int,
    strict: bool,
    session: stages.Session | None = None,
) -> dict[str, dict[str, Any]]:
    """The audits of both models of a pair, ready for JSON; in a session each is made once.

    Raises:
      audit.AuditError: a finding, if strict.
    """
    x, found = pair.images.pixels(), {}
    if len(x) < 2:
        return {}
    for name, f in (("source", pair.f_source), ("target", pair.f_target)):
        stage = f"audit {name}"
        done = None if session is None else session.unfinished.load(stage)
        if done is not None:
            found[name] = done[1]
            continue
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
        if session is not None:
            session.unfinished.save(stage, dict, found[name], last=True)
    return found


def _read_delta(path: str | pathlib.Path, x: np.ndarray) -> np.ndarray:
    examples = adversarial_examples.load(path)
    if not np.array_equal(examples.x, x):
        raise ValueError(
            f"{path} holds perturbations of other images (shape {examples.x.shape}) than those "
            f"measured here (shape {x.shape}); take the same data set, classes, number and seed."
        )
    return examples.delta


def _save_examples(
    folder: str | pathlib.Path, x: np.ndarray, deltas: dict[str, np.ndarray], about: dict[str, Any]
) -> dict[str, Any]:
    """Writes both models' examples; by how much 8 bits exceed eps, by name."""
    made, exceeded = files.make_workdir(folder), {}
    for name, delta in deltas.items():
        examples = adversarial_examples.AdversarialExamples(x, delta, {**about, "model": name})
        adversarial_examples.save(made / f"{name}.npz", examples)
        inside = (x + delta).min() >= 0 and (x + delta).max() <= 1 + validate.BOUNDS_TOLERANCE
        if inside:
            rounded = adversarial_examples.export_8bit(made / f"{name}_8bit.npz", examples)
            exceeded[name] = rounded.exceeded
    return {"folder": str(folder), "eps_exceeded_by_8_bit": exceeded}


def measure_checkpoints(
    source: str | pathlib.Path,
    target: str | pathlib.Path,
    *,
    attack: AttackFn,
    linearize: bool = False,
    batch_size: int = 64,
    memory_limit_gib: float | None = None,
    seed: int = 0,
    num_devices: int | None = None,
    audit_eps: float = 0.1,
    strict: bool = False,
    progress: Progress | None = None,
    session: stages.Session | None = None,
    save_examples: str | pathlib.Path | None = None,
    deltas: Mapping[str, str | pathlib.Path | None] | None = None,
    description: dict[str, Any] | None = None,
    **choice: Any,
) -> dict[str, Any]:
    """The alphas of two checkpoints on test images, both directions, ready for JSON.

    Args:
      source, target: checkpoint folders, or MODULE:CALLABLE (`loading.load_model`).
      attack: from `advknow.attacks`; each model is attacked once.
      linearize: the small-eps limit (`metrics.transferability`).
      batch_size: images in one program; 0 for the largest power of two that fits.
      memory_limit_gib: what a program may take on a device (`memory.asked_batch_size`).
      seed: of the attacks' random starts and of the choice of images.
      num_devices: over which every batch is divided; all by default.
      audit_eps: of the attack of the audit. strict: whether its finding is an error.
      progress: told how far each attack is.
      session: in a workdir, where unfinished attacks are kept and gone on with.
      save_examples: folder for the adversarial examples of both, source.npz and target.npz, and as
        8-bit images beside them.
      deltas: {"source": file, "target": file}: read back in place of an attack.
      description: of the attack, for the files: eps and the like.
      **choice: of the images, as in `load_pair`.

    Raises:
      ValueError: examples read back that are of other images.
      FileNotFoundError, ValueError: as `load_pair` and `metrics.from_deltas`.
    """
    sharding = devices.data_sharding(num_devices)
    pair = load_pair(source, target, seed=seed, **choice)
    x = pair.images.pixels()
    program = memory.jacobians_of if linearize else memory.gradients_of
    batch_size = _asked(program, pair, x, batch_size, memory_limit_gib, sharding)
    audits = audit_pair(
        pair, eps=audit_eps, seed=seed, batch_size=batch_size, strict=strict, session=session
    )
    key = tasks.stage_key(seed, "attack")
    bound = {"source": pair.f_source, "target": pair.f_target}
    found_deltas = {}
    for name, f in bound.items():
        saved = (deltas or {}).get(name)
        if saved is not None:
            found_deltas[name] = _read_delta(saved, x)
            continue
        settings: dict[str, Any] = {"attack": attack, "key": key, "batch_size": batch_size}
        if session is None:
            found_deltas[name] = metrics.perturb(
                f, x, progress=progress, sharding=sharding, **settings
            )
        else:
            found_deltas[name] = stages.attacked(session, name, f, x, **settings)
    found: dict[str, Any] = {}
    if save_examples is not None and devices.is_main():
        about = {**_described(source, target, pair, seed), **(description or {})}
        found["saved"] = _save_examples(save_examples, x, found_deltas, about)
    for first, second in (("source", "target"), ("target", "source")):
        found[f"{first}_to_{second}"] = metrics.from_deltas(
            bound[first],
            bound[second],
            x,
            found_deltas[first],
            found_deltas[second],
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
    memory_limit_gib: float | None = None,
    seed: int = 0,
    num_devices: int | None = None,
    audit_eps: float = 0.1,
    strict: bool = False,
    progress: Progress | None = None,
    session: stages.Session | None = None,
    **choice: Any,
) -> dict[str, Any]:
    """The whole chain of two checkpoints (`advknow.chain`), ready for JSON.

    Args:
      source, target: checkpoint folders.
      loss: whose Hessian is meant.
      attack: of the alphas; None: the strongest small-eps attack.
      batch_size, memory_limit_gib, seed, num_devices, audit_eps, strict, progress: as in
        `measure_checkpoints`.
      session: in a workdir, where the sums so far are kept and gone on with.
      **choice: of the images, as in `load_pair`; y is one-hot where their classes are the target's
        outputs, else KTD and Theorem 3 are left out.

    Raises:
      FileNotFoundError, ValueError: as `load_pair` and `advknow.chain.chain`.
    """
    sharding = devices.data_sharding(num_devices)
    pair = load_pair(source, target, seed=seed, **choice)
    x = pair.images.pixels()
    batch_size = _asked(memory.jacobians_of, pair, x, batch_size, memory_limit_gib, sharding)
    audits = audit_pair(
        pair, eps=audit_eps, seed=seed, batch_size=batch_size, strict=strict, session=session
    )
    y = None
    if len(pair.images.class_names) == pair.num_outputs:
        y = np.eye(pair.num_outputs, dtype=np.float32)[pair.images.labels]
    found = chain(
        pair.f_source,
        pair.f_target,
        x,
        y=y,
        loss=loss,
        attack=attack,
        key=tasks.stage_key(seed, "attack"),
        batch_size=batch_size,
        sharding=sharding,
        progress=progress if session is None else session.progress,
        **({} if session is None else _kept(session, len(x))),
    )
    described = _described(source, target, pair, seed)
    return {**described, "chain": found.summary(), "audit": audits, "versions": versions()}


def _kept(session: stages.Session, n: int) -> dict[str, Any]:
    """`restore` and `on_batch` of `chain` over n examples, in a workdir."""
    stage = "chain"
    session.unfinished.begin()

    def restore(start: ChainState) -> ChainState | None:
        found = session.unfinished.load(stage)
        return None if found is None else snapshots.tree_of(found[0], start)

    def save(state: ChainState) -> None:
        end_of_a_pass = state.done == n and int(state.paths.count) in (0, n)
        session.unfinished.save(stage, lambda: snapshots.arrays_of(state), {}, last=end_of_a_pass)

    return {"restore": restore, "on_batch": save}


def finished(path: pathlib.Path, *needed: str) -> dict[str, Any] | None:
    """The figures in the file of a measurement that ended, None where there is none.

    Args:
      path: measure.json or chain.json. needed: names that it holds.

    Raises:
      ValueError: it holds something else, or is damaged.
    """
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(f"{path} is damaged ({error}); remove it to measure again.") from error
    if not isinstance(found, dict) or not set(needed) <= set(found):
        raise ValueError(f"{path} does not hold {', '.join(needed)}; remove it to measure again.")
    return found


def _asked(program, pair: Pair, x: np.ndarray, batch_size, limit_gib, sharding: Sharding) -> int:
    lower = program(as_pytree(pair.f_source), as_pytree(pair.f_target), x.shape[1:])
    number = devices.count(sharding)
    return memory.asked_batch_size(lower, batch_size, limit_gib=limit_gib, num_devices=number)


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
