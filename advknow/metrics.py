"""alpha1, alpha2 and alpha1*alpha2 of a pair of models (theory.md section 2).

    Delta_{f1->f2}(x) = f2(x + delta_f1(x)) - f2(x)
    alpha1(x)    = l(f2(x), f2(x + delta_f1(x))) / l(f2(x), f2(x + delta_f2(x)))
    alpha2       = | E[ u(Delta_11) u(Delta_12)' ] |_F,  u(v) = v / |v|
    alpha1_alpha2 = | E[ alpha1 u(Delta_11) u(Delta_12)' ] |_F,  not the product of the two

One pass over the examples, cost linear in N, memory constant but for alpha1 of every example.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from advknow import inner_product, keys, losses, moments, validate
from advknow.apply_fn import as_pytree, output_spec
from advknow.batching import Sample, batches, padded, total
from advknow.inner_product import Loss
from advknow.losses import AdversarialLoss
from advknow.typing import ApplyFn, Array, ArrayLike, AttackFn, Progress


@dataclasses.dataclass(frozen=True)
class Transferability:
    """How the attack on f1 transfers to f2 (theory.md section 2); all numbers are dimensionless.

    Norms and squares are both kept: the poster's image tables print the squares, the synthetic
    results the norms. The plug-in squares are biased up by about (1 - alpha2^2) / n; the unbiased
    ones can be negative near 0 and are reported as they are.

    Attributes:
      alpha1: mean over the n examples; in [0, 1] for an attack that reaches the maximum.
      alpha1_per_example: (n,) float64, in the order of x, degenerate examples left out.
      alpha2: norm, in [0, 1].
      alpha1_alpha2: norm.
      alpha2_squared, alpha1_alpha2_squared: plug-in squares of the two norms.
      alpha2_squared_unbiased, alpha1_alpha2_squared_unbiased:
        (n |Mbar|_F^2 - mean_i |M_i|_F^2) / (n - 1); None for n = 1.
      n: examples used.
      n_degenerate: examples without a direction (a deviation of 0, or not above the rounding of
        the outputs), left out of everything else.
      n_alpha1_above_one: examples whose alpha1 exceeds 1 beyond rounding: each proves that the
        attack on f2 was not a maximiser there.
      valid: (N,) bool, which examples of x were used.
      alpha1_se: standard error of alpha1 over examples; None for n = 1.
      alpha2_squared_se, alpha1_alpha2_squared_se: delete-a-group jackknife standard errors of the
        plug-in squares over `moments.NUM_GROUPS` groups; None with fewer than two groups.
    """

    alpha1: float
    alpha1_per_example: np.ndarray
    alpha2: float
    alpha1_alpha2: float
    alpha2_squared: float
    alpha1_alpha2_squared: float
    alpha2_squared_unbiased: float | None
    alpha1_alpha2_squared_unbiased: float | None
    n: int
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


def _square(matrix: np.ndarray) -> float:
    return float(np.sum(matrix**2))


def _jackknife(matrices: np.ndarray, counts: np.ndarray) -> float | None:
    """Standard error of |sum of matrices / count|_F^2, leaving out one group at a time."""
    groups = np.flatnonzero(counts > 0)
    if len(groups) < 2:
        return None
    matrix, count = matrices.sum(axis=0), counts.sum()
    left_out = np.array([_square((matrix - matrices[g]) / (count - counts[g])) for g in groups])
    k = len(groups)
    return float(np.sqrt((k - 1) / k * np.sum((left_out - left_out.mean()) ** 2)))


def finalize(
    sums: moments.TransferSums, alpha1_per_example: np.ndarray, valid: np.ndarray
) -> Transferability:
    """The record of these sums (`advknow.moments`).

    Args:
      sums: over all examples, merged.
      alpha1_per_example: (N,) alpha1, read where `valid`.
      valid: (N,) bool.

    Raises:
      ValueError: a model returned NaN or infinity, or no example has a direction.
    """
    sums = moments.merge(sums)
    n, degenerate = int(sums.used.sum()), int(sums.degenerate.sum())
    if sums.nonfinite.sum() > 0:
        raise ValueError(
            f"f1 or f2 returns NaN or infinity for {int(sums.nonfinite.sum())} of {len(valid)} "
            "examples; finite outputs are needed."
        )
    if n == 0:
        raise ValueError(
            f"no example has a direction: all {degenerate} of x are degenerate (no output moves "
            "beyond rounding under the attack: eps=0, a saturated or constant model, or an attack "
            "that makes no progress)."
        )
    mean = sums.outer.sum(axis=0) / n
    weighted_mean = sums.weighted_outer.sum(axis=0) / n
    alpha1 = float(sums.alpha1.sum() / n)
    mean_square = float(sums.alpha1_squared.sum() / n)
    alpha2_squared, product_squared = _square(mean), _square(weighted_mean)
    several = n > 1
    return Transferability(
        alpha1=alpha1,
        alpha1_per_example=np.asarray(alpha1_per_example, np.float64)[valid],
        alpha2=alpha2_squared**0.5,
        alpha1_alpha2=product_squared**0.5,
        alpha2_squared=alpha2_squared,
        alpha1_alpha2_squared=product_squared,
        alpha2_squared_unbiased=(n * alpha2_squared - 1.0) / (n - 1) if several else None,
        alpha1_alpha2_squared_unbiased=(
            (n * product_squared - mean_square) / (n - 1) if several else None
        ),
        n=n,
        n_degenerate=degenerate,
        n_alpha1_above_one=int(sums.above_one.sum()),
        valid=valid,
        alpha1_se=(max(mean_square - alpha1**2, 0.0) / (n - 1)) ** 0.5 if several else None,
        alpha2_squared_se=_jackknife(sums.outer, sums.used),
        alpha1_alpha2_squared_se=_jackknife(sums.weighted_outer, sums.used),
    )


@functools.partial(jax.jit, static_argnames=("loss", "linearize"))
def _batch_sums(
    f1: ApplyFn,
    f2: ApplyFn,
    x: Array,
    delta1: Array,
    delta2: Array,
    index: Array,
    mask: Array,
    *,
    loss: AdversarialLoss,
    linearize: bool,
):
    if linearize:
        y2, forward2 = jax.linearize(f2, x)
        deviation_11 = jax.jvp(f1, (x,), (delta1,))[1]
        deviation_12, deviation_22 = forward2(delta1), forward2(delta2)
        numerator = inner_product.leading_term(loss, y2, deviation_12)
        denominator = inner_product.leading_term(loss, y2, deviation_22)
        return moments.of_batch(
            deviation_11, deviation_12, numerator, denominator, index=index, mask=mask
        )
    y1, moved_11 = jnp.split(f1(jnp.concatenate([x, x + delta1])), 2)
    y2, moved_12, moved_22 = jnp.split(f2(jnp.concatenate([x, x + delta1, x + delta2])), 3)

    def rounding(y: Array) -> Array:
        return 8 * jnp.finfo(y.dtype).eps * jnp.sqrt(jnp.sum(y**2, axis=-1))

    deviation_22 = jnp.sqrt(jnp.sum((moved_22 - y2) ** 2, axis=-1))
    return moments.of_batch(
        moved_11 - y1,
        moved_12 - y2,
        loss(y2, moved_12),
        jnp.where(deviation_22 > rounding(y2), loss(y2, moved_22), 0.0),
        index=index,
        mask=mask,
        noise_11=rounding(y1),
        noise_12=rounding(y2),
    )


def _measure(
    f1: ApplyFn,
    f2: ApplyFn,
    perturbed: Iterator[tuple[Array, Array, Array, int]],
    *,
    eval_loss: Loss,
    linearize: bool,
    progress: Progress | None,
    num_examples: int | None,
) -> Transferability:
    """The record from padded batches of (x, delta1, delta2, number of true examples)."""
    loss = losses.get(eval_loss, argument="eval_loss")
    sums, alpha1, valid, done = None, [], [], 0
    for x, delta1, delta2, count in perturbed:
        size = x.shape[0]
        of_batch, batch_alpha1, used = jax.device_get(
            _batch_sums(
                f1,
                f2,
                x,
                delta1,
                delta2,
                done + jnp.arange(size),
                jnp.arange(size) < count,
                loss=loss,
                linearize=linearize,
            )
        )
        sums = moments.merge(of_batch) if sums is None else moments.merge(sums, of_batch)
        alpha1.append(batch_alpha1[:count])
        valid.append(used[:count])
        done += count
        if progress is not None:
            progress("measure", done, num_examples)
    if sums is None:
        raise ValueError("x holds no examples; at least one is needed.")
    return finalize(sums, np.concatenate(alpha1), np.concatenate(valid))


def transferability(
    f1: ApplyFn,
    f2: ApplyFn,
    x: Sample,
    *,
    attack: AttackFn,
    key: Array,
    eval_loss: Loss = "l2",
    linearize: bool = False,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Transferability:
    """alpha1, alpha2 and alpha1*alpha2 of the direction f1 -> f2 (theory.md section 2).

    Args:
      f1: the attacked model, a function of a batch (B, ...) -> (B, m), each row on its own.
      f2: the model that the attack is carried to, (B, ...) -> (B, d).
      x: (N, ...) floats, or an iterable of such batches.
      attack: from `advknow.attacks`; both models are attacked with the same keys.
      key: one key, of which example i gets `fold_in(key, i)`, or a key per example (N,).
      eval_loss: l of alpha1: "l2" (the poster's), "squared_l2", "kl", an AdversarialLoss or a
        function (y, y') -> (B,).
      linearize: take deviations as J delta and l by its leading term: the small-eps limit.
      batch_size: examples in one program; it changes speed and memory, not the result.
      progress: called with ("measure", examples done, N or None) after each batch.

    Raises:
      ValueError: x empty, of wrong rank, with NaN or out of the attack's bounds; models that do
        not take x; non-finite outputs; no example with a direction.
    """
    f1, f2 = as_pytree(f1), as_pytree(f2)
    given = keys.typed(key)
    if given.ndim == 1 and total(x) is not None:
        keys.per_example(given, total(x) or 0)

    def attacked():
        start = 0
        for batch, count, _ in batches(x, batch_size):
            if start == 0:
                output_spec(f1, batch, name="f1")
                output_spec(f2, batch, name="f2")
            of_batch = (
                keys.per_example(given, count, start=start)
                if given.ndim == 0
                else keys.per_example(given[start : start + count], count)
            )
            of_batch = padded(of_batch, batch.shape[0])
            yield batch, attack(f1, batch, of_batch), attack(f2, batch, of_batch), count
            start += count
        if given.ndim == 1:
            keys.per_example(given, start)

    return _measure(
        f1,
        f2,
        attacked(),
        eval_loss=eval_loss,
        linearize=linearize,
        progress=progress,
        num_examples=total(x),
    )


def perturb(
    f: ApplyFn,
    x: ArrayLike,
    *,
    attack: AttackFn,
    key: Array,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> np.ndarray:
    """delta of every example of x, on the host, with the keys of `transferability`: (N, ...).

    For `from_deltas`: a model attacked once serves every pair that it is in.
    """
    validate.integer("batch_size", batch_size, minimum=1)
    validate.inputs("x", x)
    f = as_pytree(f)
    example_keys = keys.per_example(key, x.shape[0])
    found, start = [], 0
    for batch, count, _ in batches(x, batch_size):
        of_batch = padded(example_keys[start : start + count], batch.shape[0])
        found.append(np.asarray(attack(f, batch, of_batch))[:count])
        start += count
        if progress is not None:
            progress("attack", start, x.shape[0])
    return np.concatenate(found)


def from_deltas(
    f1: ApplyFn,
    f2: ApplyFn,
    x: ArrayLike,
    delta1: ArrayLike,
    delta2: ArrayLike,
    *,
    eval_loss: Loss = "l2",
    linearize: bool = False,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Transferability:
    """`transferability` f1 -> f2 from perturbations at hand: delta1 of f1, delta2 of f2.

    Args:
      f1, f2, eval_loss, linearize, batch_size, progress: as in `transferability`.
      x: (N, ...) floats.
      delta1, delta2: of x's shape.

    Raises:
      ValueError: as `transferability`; deltas that are not of x's shape.
    """
    validate.integer("batch_size", batch_size, minimum=1)
    validate.inputs("x", x)
    for name, delta in (("delta1", delta1), ("delta2", delta2)):
        validate.inputs(name, delta)
        if delta.shape != x.shape:
            raise ValueError(f"{name} has shape {delta.shape}; that of x, {x.shape}, is needed.")
    f1, f2 = as_pytree(f1), as_pytree(f2)
    output_spec(f1, x, name="f1")
    output_spec(f2, x, name="f2")

    def perturbed():
        start = 0
        for batch, count, _ in batches(x, batch_size):
            part = slice(start, start + count)
            deltas = (padded(jnp.asarray(d[part]), batch.shape[0]) for d in (delta1, delta2))
            yield (batch, *deltas, count)
            start += count

    return _measure(
        f1,
        f2,
        perturbed(),
        eval_loss=eval_loss,
        linearize=linearize,
        progress=progress,
        num_examples=x.shape[0],
    )
