"""Whether a model's figures can be trusted: `check_model` looks for what spoils them silently.

    flag                 raised when                                       what it spoils
    nonfinite_outputs    any output is NaN or infinite                     everything
    nondeterministic     two traces or calls of f(x) differ by > 1e-5 of   everything
                         the outputs' scale
    batch_dependent      a row changes by > 1e-3 of the scale with those   everything (train mode)
                         beside it, or with its place
    low_precision        outputs are of 16 bits                            directions, alpha1 near 0
    probabilities        rows are >= 0 and sum to 1 within 1e-3            cross-entropy of logits
    nonfinite_gradients  an input gradient is NaN or infinite              every attack
    zero_gradients       an input gradient is exactly 0 for any example    it looks robust
    no_progress          the loss of > 5 % of the examples does not rise   alpha1's denominator
    beaten               one step is stronger than all (by 1 %) for > 10 % alpha1 > 1
    not_converged        twice the steps change the mean loss by > 10 %    alpha1, by num_steps
    random_start_spread  another start changes the mean loss by > 10 %     all alphas, by the key

The thresholds of the first five are rounding or exact; the others' are 5 or 10 %, below the
standard errors of a hundred examples. What presupposes an earlier check is left out where that one
failed: the four on the attack need finite, deterministic outputs of each row on its own, and look
only at examples whose gradient is not 0.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from advknow import precision, validate
from advknow.alphas import Transferability, perturb
from advknow.attacks import objectives, pgd
from advknow.attacks.gradient import gradient_of
from advknow.passes import keys
from advknow.passes.apply_fn import as_pytree, explained, output_spec, outputs
from advknow.typing import ApplyFn, Array, ArrayLike

FLAGS = (
    "nonfinite_outputs",
    "nondeterministic",
    "batch_dependent",
    "low_precision",
    "probabilities",
    "nonfinite_gradients",
    "zero_gradients",
    "no_progress",
    "beaten",
    "not_converged",
    "random_start_spread",
)


class AuditError(ValueError):
    """A model with findings, where none is accepted."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One flag: its name in `FLAGS`, what it means here, the value found and the limit."""

    name: str
    message: str
    value: float
    limit: float


@dataclasses.dataclass(frozen=True)
class Audit:
    """What `check_model` found.

    Attributes:
      findings: the flags raised, in the order of `FLAGS`.
      values: everything that was measured, by flag; None where the check was left out.
      n: examples looked at.
    """

    findings: tuple[Finding, ...]
    values: dict[str, float | None]
    n: int

    @property
    def flags(self) -> tuple[str, ...]:
        """The names of the findings."""
        return tuple(finding.name for finding in self.findings)

    def summary(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "n": self.n,
            "flags": list(self.flags),
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "values": dict(self.values),
        }

    def raise_for_findings(self, name: str = "the model") -> None:
        """Raises AuditError, with every finding, if there is one."""
        if self.findings:
            told = "; ".join(f"{f.name}: {f.message}" for f in self.findings)
            raise AuditError(f"{name} is not to be trusted: {told}")


# Shares of the examples of a measurement that are beyond chance or rounding.
ABOVE_ONE, DEGENERATE = 0.05, 0.1


def check_record(record: Transferability) -> tuple[Finding, ...]:
    """What a measurement itself says against its alphas.

    flag                 raised when                          what it spoils
    alpha1_above_one     alpha1 > 1 for > 5 % of n            alpha1: its denominator is no maximum
    degenerate_examples  > 10 % of the examples are left out  all alphas: of what is left
    """
    findings = []
    above, n = record.n_alpha1_above_one, record.n
    if above > ABOVE_ONE * n:
        message = (
            f"alpha1 > 1 for {above} of {n} examples: the attack on the receiving model is no "
            "maximum of the outputs' distance that alpha1 is evaluated in; let attacks raise that "
            "(objective='output_deviation'), or take more steps"
        )
        findings.append(Finding("alpha1_above_one", message, above / n, ABOVE_ONE))
    left_out, total = record.n_degenerate, record.n + record.n_degenerate
    if left_out > DEGENERATE * total:
        message = (
            f"{left_out} of {total} examples are left out: their model does not move beyond the "
            "rounding of its outputs under its own attack; a larger eps, or outputs of 32 bits"
        )
        findings.append(Finding("degenerate_examples", message, left_out / total, DEGENERATE))
    return tuple(findings)


def _output(y: Array, y_prime: Array) -> Array:
    """A single output: at x itself its deviation has no gradient, the output has."""
    return y_prime[:, 0]


@precision.program
def _loss(y: Array, moved: Array) -> Array:
    raised = objectives.cross_entropy if y.shape[-1] > 1 else objectives.output_deviation
    return raised(y, moved)


def _same_trace(f: ApplyFn, x: ArrayLike) -> bool:
    """Whether tracing twice gives one program: randomness of the host becomes a constant of it."""
    spec = jax.ShapeDtypeStruct(x.shape, x.dtype)
    # A new function each time, or the second trace would be the first one's.
    first, second = (jax.make_jaxpr(lambda x, f=f: f(x))(spec) for _ in range(2))
    return str(first) == str(second) and all(
        bool(np.array_equal(np.asarray(a), np.asarray(b)))
        for a, b in zip(first.consts, second.consts, strict=True)
        if not jnp.issubdtype(getattr(a, "dtype", np.float32), jax.dtypes.prng_key)
    )


@explained()
@precision.measured
def check_model(
    f: ApplyFn,
    x: ArrayLike,
    *,
    eps: float = 0.1,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    num_steps: int = 20,
    key: Array | None = None,
    max_examples: int = 64,
    batch_size: int = 64,
    strict: bool = False,
) -> Audit:
    """Looks for what would spoil the figures of a model without an error; see the module's table.

    Args:
      f: (B, ...) -> (B, d), as it is to be measured.
      x: (N, ...) floats; the first `max_examples` are looked at, at least 2.
      eps, bounds: of the attack, in the units of x (`attacks.pgd`).
      num_steps: steps of the attack that is checked against 1 and 2 * num_steps.
      key: of the random starts; `jax.random.key(0)` if None.
      max_examples: how many examples.
      batch_size: examples in one program.
      strict: whether a finding is an error.

    Raises:
      AuditError: a finding, if strict.
      ValueError, TypeError: an f that does not fit x, settings out of range.
    """
    validate.inputs("x", x, bounds=bounds)
    validate.number("eps", eps, above=0.0)
    validate.integer("num_steps", num_steps, minimum=2)
    validate.integer("max_examples", max_examples, minimum=2)
    validate.integer("batch_size", batch_size, minimum=1)
    if x.shape[0] < 2:
        raise ValueError(f"x has shape {tuple(x.shape)}; at least 2 examples are needed.")
    x = np.asarray(x[:max_examples])
    f = as_pytree(f)
    output_spec(f, x)
    values: dict[str, float | None] = dict.fromkeys(FLAGS)
    findings: list[Finding] = []

    def judge(name: str, value: float, limit: float, message: str) -> bool:
        """Notes the value; whether it is over the limit."""
        values[name] = round(float(value), 9)
        if value > limit:
            findings.append(Finding(name, message, values[name] or 0.0, limit))
        return value > limit

    y = np.asarray(outputs(f, x), np.float64)
    finite = np.isfinite(y.sum(axis=1))
    bad = int((~finite).sum())
    broken = judge(
        "nonfinite_outputs", bad / len(x), 0.0, f"NaN or infinity for {bad} of {len(x)} examples"
    )
    scale = float(np.abs(y[finite]).max(initial=0.0)) or 1.0

    def change(other: np.ndarray, rows: slice) -> float:
        kept = finite[rows]
        return float(np.abs(other[kept] - y[rows][kept]).max(initial=0.0)) / scale

    again = change(np.asarray(outputs(f, x), np.float64), slice(None))
    if not _same_trace(f, x):
        again = max(again, 1.0)
    message = "f(x) is another at every call, or at every trace: give it a fixed key, or none"
    random = judge("nondeterministic", again, 1e-5, message)
    if not random:
        # The second half, twice: other neighbours, another place in the batch, the same program.
        rows = slice(len(x) // 2, None)
        twice = np.concatenate([x[rows], x[rows]])[: len(x)]
        alone = np.asarray(outputs(f, twice), np.float64)[: len(x[rows])]
        message = (
            "an example's output depends on its place in the batch or on the others there: "
            "evaluation mode is needed"
        )
        broken |= judge("batch_dependent", change(alone, rows), 1e-3, message)
    bits = 8 * jnp.dtype(output_spec(f, x).dtype).itemsize
    message = (
        f"outputs are of {bits} bits: a deviation below their rounding has no direction; return "
        "float32 logits"
    )
    judge("low_precision", float(bits < 32), 0.5, message)
    sums = np.abs(y[finite].sum(axis=1) - 1.0)
    if y.shape[1] > 1 and finite.any() and not random:
        likely = float((y[finite] >= 0).all() and (sums <= 1e-3).all())
        message = "outputs are >= 0 and sum to 1: take the logits before the softmax"
        judge("probabilities", likely, 0.5, message)
    if not (broken or random):
        _check_attack(f, x, eps, bounds, num_steps, key, batch_size, judge)
    order = {name: i for i, name in enumerate(FLAGS)}
    audit = Audit(tuple(sorted(findings, key=lambda finding: order[finding.name])), values, len(x))
    if strict:
        audit.raise_for_findings("f")
    return audit


def _check_attack(f, x, eps, bounds, num_steps, key, batch_size, judge) -> None:
    """The checks on gradients and on the attack."""
    first, second = jax.random.split(keys.typed(jax.random.key(0) if key is None else key))
    y = outputs(f, x)
    raised = objectives.cross_entropy if y.shape[-1] > 1 else _output
    gradient = np.asarray(gradient_of(raised)(np.zeros_like(x), f, x, y)).reshape(len(x), -1)
    moves, finite = (gradient != 0).any(axis=1), np.isfinite(gradient).all(axis=1)
    bad = int((~finite).sum())
    message = f"the input gradient is NaN or infinite for {bad} of {len(x)} examples"
    if judge("nonfinite_gradients", bad / len(x), 0.0, message):
        return
    dead = int((~moves).sum())
    judge(
        "zero_gradients",
        dead / len(x),
        0.0,
        f"the input gradient is exactly 0 for {dead} of {len(x)} examples: saturated, or dead",
    )
    if not moves.any():
        return

    def attacked(steps: int, key: Array) -> np.ndarray:
        # One step goes all the way; more are 2.5 eps / steps long.
        attack = pgd(
            eps=eps,
            num_steps=steps,
            step_size=eps if steps == 1 else None,
            random_start=True,
            bounds=bounds,
            objective="cross_entropy" if y.shape[-1] > 1 else "output_deviation",
        )
        delta = perturb(f, x, attack=attack, key=key, batch_size=batch_size)
        return np.asarray(_loss(y, outputs(f, x + delta)), np.float64)[moves]

    before = np.asarray(_loss(y, y), np.float64)[moves]
    loss, one = attacked(num_steps, first), attacked(1, first)
    more, other = attacked(2 * num_steps, first), attacked(num_steps, second)
    mean = max(float(loss.mean()), float(np.finfo(np.float32).tiny))
    stuck = float((loss <= before).mean())
    message = f"{num_steps} steps of PGD do not raise the loss of {100 * stuck:.0f} % of them"
    judge("no_progress", stuck, 0.05, message)
    beaten = float((one > 1.01 * loss).mean())
    message = f"a single step is stronger than {num_steps} for {100 * beaten:.0f} % of the examples"
    judge("beaten", beaten, 0.1, message)
    changed = abs(float(more.mean()) - mean) / mean
    message = (
        f"{2 * num_steps} steps change the mean loss of {num_steps} by {100 * changed:.0f} %: take "
        "more"
    )
    judge("not_converged", changed, 0.1, message)
    spread = abs(float(other.mean()) - mean) / mean
    message = f"another random start changes the mean loss by {100 * spread:.0f} %"
    judge("random_start_spread", spread, 0.1, message)
