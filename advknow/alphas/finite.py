"""alpha1, alpha2 and alpha1*alpha2 of a pair of models (theory.md section 2).

    Delta_{f1->f2}(x) = f2(x + delta_f1(x)) - f2(x)
    alpha1(x)    = l(f2(x), f2(x + delta_f1(x))) / l(f2(x), f2(x + delta_f2(x)))
    alpha2       = | E[ u(Delta_11) u(Delta_12)' ] |_F,  u(v) = v / |v|
    alpha1_alpha2 = | E[ alpha1 u(Delta_11) u(Delta_12)' ] |_F,  not the product of the two

One pass over the examples, cost linear in N, memory constant but for alpha1 of every example.
"""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from advknow import inner_product, losses, validate
from advknow.alphas import sums as moments
from advknow.alphas.record import Transferability, finalize
from advknow.inner_product import Loss
from advknow.losses import AdversarialLoss
from advknow.passes import devices, keys
from advknow.passes.apply_fn import as_pytree, output_spec
from advknow.passes.batching import Sample, batches, padded, total
from advknow.typing import ApplyFn, Array, ArrayLike, AttackFn, Progress, Sharding


@functools.partial(jax.jit, static_argnames=("loss", "linearize"))
def batch_sums(
    f1: ApplyFn,
    f2: ApplyFn,
    x: Array,
    delta1: Array,
    delta2: Array,
    index: Array,
    mask: Array,
    *,
    loss: AdversarialLoss,
    linearize: bool = False,
) -> tuple[moments.TransferSums, Array, Array]:
    """The sums of `advknow.alphas.sums` over one batch, direction f1 -> f2.

    Args:
      f1, f2, loss, linearize: as in `transferability`; f1 and f2 as `Partial`.
      x, delta1, delta2: (B, ...).
      index: (B,) int, the examples' indices in the whole sample.
      mask: (B,) bool, False for padding.

    Returns:
      the sums; alpha1 (B,), 0 where it is not defined; (B,) bool, where it is.
    """
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
        of_batch, batch_alpha1, used = devices.fetch(
            batch_sums(
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


def _attacked(attack: AttackFn, f: ApplyFn, batch: Array, example_keys: Array) -> Array:
    if not callable(attack):
        raise TypeError(
            f"attack={attack!r} must be a function (f, x, key) -> delta, such as "
            "attacks.pgd(eps=0.1)."
        )
    delta = attack(f, batch, example_keys)
    if getattr(delta, "shape", None) != batch.shape:
        found = tuple(delta.shape) if hasattr(delta, "shape") else type(delta).__name__
        raise ValueError(
            f"attack returns {found} for a batch of shape {tuple(batch.shape)}; a delta of that "
            "shape is needed."
        )
    return delta


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
    sharding: Sharding = None,
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
      sharding: over devices, from `devices.data_sharding`; None for one device.
      progress: called with ("measure", examples done, N or None) after each batch.

    Raises:
      ValueError: x empty, of wrong rank, with NaN or out of the attack's bounds; models that do
        not take x; non-finite outputs; no example with a direction.
    """
    f1 = devices.replicate(as_pytree(f1, name="f1"), sharding)
    f2 = devices.replicate(as_pytree(f2, name="f2"), sharding)
    given = keys.typed(key)
    if given.ndim == 1 and total(x) is not None:
        keys.per_example(given, total(x) or 0)

    def attacked():
        start = 0
        for batch, count, _ in batches(x, batch_size, sharding=sharding):
            if start == 0:
                output_spec(f1, batch, name="f1")
                output_spec(f2, batch, name="f2")
            of_batch = (
                keys.per_example(given, count, start=start)
                if given.ndim == 0
                else keys.per_example(given[start : start + count], count)
            )
            of_batch = devices.put(padded(of_batch, batch.shape[0]), sharding)
            deltas = (_attacked(attack, f, batch, of_batch) for f in (f1, f2))
            yield batch, *deltas, count
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
    sharding: Sharding = None,
    progress: Progress | None = None,
    done: np.ndarray | None = None,
    on_batch: Callable[[int, Callable[[], np.ndarray]], None] | None = None,
) -> np.ndarray:
    """delta of every example of x, on the host, with the keys of `transferability`: (N, ...).

    For `from_deltas`: a model attacked once serves every pair that it is in.

    Args:
      f, x, attack, key, batch_size, sharding, progress: as in `transferability`.
      done: (k, ...), deltas of the first k examples from an earlier call; the rest is attacked.
      on_batch: called with (k, a function that gives the first k deltas) after each batch.

    Raises:
      ValueError: as `transferability`; `done` not of x's shape but for its length.
    """
    validate.integer("batch_size", batch_size, minimum=1)
    validate.inputs("x", x)
    if done is not None and (done.shape[1:] != x.shape[1:] or len(done) > x.shape[0]):
        raise ValueError(
            f"done has shape {done.shape}; (k, {', '.join(map(str, x.shape[1:]))}) with k <= "
            f"{x.shape[0]} is needed."
        )
    f = devices.replicate(as_pytree(f), sharding)
    example_keys = keys.per_example(key, x.shape[0])
    found = [] if done is None or not len(done) else [np.asarray(done)]
    start = len(found[0]) if found else 0
    if start < x.shape[0]:
        for batch, count, _ in batches(
            x[start:], batch_size, size=min(batch_size, x.shape[0]), sharding=sharding
        ):
            of_batch = padded(example_keys[start : start + count], batch.shape[0])
            delta = _attacked(attack, f, batch, devices.put(of_batch, sharding))
            found.append(devices.fetch(delta)[:count])
            start += count
            if progress is not None:
                progress("attack", start, x.shape[0])
            if on_batch is not None:
                on_batch(start, lambda: np.concatenate(found))
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
    sharding: Sharding = None,
    progress: Progress | None = None,
) -> Transferability:
    """`transferability` f1 -> f2 from perturbations at hand: delta1 of f1, delta2 of f2.

    Args:
      f1, f2, eval_loss, linearize, batch_size, sharding, progress: as in `transferability`.
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
    f1 = devices.replicate(as_pytree(f1, name="f1"), sharding)
    f2 = devices.replicate(as_pytree(f2, name="f2"), sharding)
    output_spec(f1, x, name="f1")
    output_spec(f2, x, name="f2")

    def perturbed():
        start = 0
        for batch, count, _ in batches(x, batch_size, sharding=sharding):
            part = slice(start, start + count)
            deltas = (
                devices.put(padded(jnp.asarray(d[part]), batch.shape[0]), sharding)
                for d in (delta1, delta2)
            )
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
