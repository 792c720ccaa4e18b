"""The gradient matching, function matching and knowledge transfer distances of a sample."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advknow import gram, losses
from advknow.alphas import sums as moments
from advknow.gram import Grams
from advknow.inner_product import Loss
from advknow.losses import AdversarialLoss
from advknow.matching import sums as matching_sums
from advknow.matching.records import FunctionMatching, GradientMatching, KnowledgeTransfer
from advknow.matching.sums import MatchingSums
from advknow.passes import batching, devices
from advknow.passes.apply_fn import as_pytree, output_spec
from advknow.passes.batching import Sample
from advknow.typing import ApplyFn, ArrayLike, Progress, Sharding


class GradientSums(NamedTuple):
    """The sums behind the gradient matching distance; they merge by addition.

    Attributes:
      match: of the gradients, Y = J_T and Z = J_S.
      output_source: (m,), of f_S. output_target: (d,), of f_T.
    """

    match: MatchingSums
    output_source: np.ndarray
    output_target: np.ndarray


def _ratio(distance: float, norm: float) -> float:
    return distance / norm if norm > 0 else 0.0


def gradient_sums(grams: Grams, *, constant_hessian: bool) -> GradientSums:
    """The sums over one batch of Gram matrices."""
    _, d, m = grams.cross.shape
    matching_sums.zeros(d, m, constant_hessian=constant_hessian)
    return GradientSums(
        matching_sums.of_batch(
            grams.source,
            grams.cross,
            grams.target_square(),
            grams.root_target,
            constant_hessian=constant_hessian,
        ),
        grams.output_source.sum(axis=0),
        grams.output_target.sum(axis=0),
    )


def finalize_gradient(sums: GradientSums, *, eps: float, loss: str) -> GradientMatching:
    """The record of these sums; eps is the rounding of the models' dtype."""
    solution = matching_sums.solve(sums.match, eps=eps)
    n = int(sums.match.count)
    relative = _ratio(solution.distance, solution.norm)
    return GradientMatching(
        distance=solution.distance,
        norm=solution.norm,
        relative=relative,
        A=solution.A,
        b=(sums.output_target - solution.A @ sums.output_source) / n,
        n=n,
        rank=solution.rank,
        loss=loss,
        rho2=1.0 - relative**2 if solution.norm > 0 else 0.0,
    )


def gradient_matching(
    f_target: ApplyFn,
    f_source: ApplyFn,
    x: Sample,
    *,
    loss: Loss = "l2",
    batch_size: int = 64,
    sharding: Sharding = None,
    progress: Progress | None = None,
) -> GradientMatching:
    """GMD = min_{g affine} |∇f_T' - ∇(g∘f_S)'|_{D,H_T} over a sample (theory.md section 3).

    Args:
      f_target: f_T, (B, ...) -> (B, d), each row on its own.
      f_source: f_S, (B, ...) -> (B, m).
      x: (N, ...) floats, or an iterable of such batches (read once).
      loss: the adversarial loss whose H_T is meant: a name in `losses.LOSSES`, an AdversarialLoss
        (`losses.quadratic(H)` for a given H), or a function (y, y') -> (B,). "l2" has H = I. Only
        one whose H depends on x needs the (d m)^2 system; a function's H is taken for such.
      batch_size: examples in one program; it changes speed and memory, not the result.
      sharding: over devices, from `devices.data_sharding`; None for one device.
      progress: called with ("gradients", examples done, N or None) after each batch.

    Returns:
      the record; models that agree come out at about 1e-6 of the norm or below in float32.

    Raises:
      ValueError, TypeError: x, models or loss that do not fit each other; NaN or infinity; an H
        that depends on x with d * m too large.
    """
    resolved = losses.get(loss)
    constant = resolved.constant_hessian
    sums, eps = None, 0.0
    # No attack of the source is needed here, so its H is not either.
    for grams in gram.of_sample(
        f_source,
        f_target,
        x,
        loss=resolved,
        source_loss=losses.l2,
        batch_size=batch_size,
        sharding=sharding,
        progress=progress,
    ):
        of_batch = gradient_sums(grams, constant_hessian=constant)
        sums = of_batch if sums is None else moments.merge(sums, of_batch)
        eps = max(eps, grams.eps)
    assert sums is not None
    return finalize_gradient(sums, eps=eps, loss=resolved.name)


def output_sums(
    response: np.ndarray, source: np.ndarray, root: np.ndarray, *, constant_hessian: bool
) -> MatchingSums:
    """The sums over one batch of outputs: responses (B, d) on (f_S, 1) of f_S (B, m)."""
    response, source = response.astype(np.float64), source.astype(np.float64)
    z = np.concatenate([source, np.ones((len(source), 1))], axis=1)
    d, p = response.shape[1], z.shape[1]
    matching_sums.zeros(d, p, constant_hessian=constant_hessian)
    square = np.sum(gram.norms(root, response[:, None]) ** 2, axis=1)
    if constant_hessian:
        # The sums over examples at once: no (B, p, p) array of outer products.
        return MatchingSums(
            np.float64(len(z)),
            z.T @ z,
            response.T @ z,
            np.float64(square.sum()),
            len(z) * (root[0].T @ root[0]),
            np.zeros((0, 0, 0, 0)),
        )
    return matching_sums.of_batch(
        z[:, :, None] * z[:, None],
        response[:, :, None] * z[:, None],
        square,
        root,
        constant_hessian=False,
    )


@functools.partial(jax.jit, static_argnames=("loss",))
def _outputs(f_source, f_target, x, *, loss):
    y_target = f_target(x)
    return f_source(x), y_target, gram.roots(loss, y_target)


@jax.jit
def _output(f, x):
    return f(x)


def finalize_outputs(sums: MatchingSums, kind, *, eps: float, loss: str):
    """The record, of the class `kind`, of sums over outputs."""
    solution, b = matching_sums.solve_affine(sums, eps=eps)
    return kind(
        distance=solution.distance,
        norm=solution.norm,
        relative=_ratio(solution.distance, solution.norm),
        A=solution.A,
        b=b,
        n=int(sums.count),
        rank=solution.rank,
        loss=loss,
    )


def function_matching(
    f_target: ApplyFn,
    f_source: ApplyFn,
    x: Sample,
    *,
    loss: Loss = "l2",
    batch_size: int = 64,
    sharding: Sharding = None,
    progress: Progress | None = None,
) -> FunctionMatching:
    """FMD = min_{g affine} |f_T - g∘f_S|_{D,H_T} over a sample (theory.md section 4).

    Args, Raises: as `gradient_matching`; progress is called with ("outputs", ...).
    """
    resolved = losses.get(loss)
    return _match_outputs(f_target, None, f_source, x, resolved, batch_size, sharding, progress)


def knowledge_transfer(
    y: Sample,
    f_source: ApplyFn,
    x: Sample,
    *,
    loss: Loss = "l2",
    f_target: ApplyFn | None = None,
    batch_size: int = 64,
    sharding: Sharding = None,
    progress: Progress | None = None,
) -> KnowledgeTransfer:
    """KTD = min_{g affine} |y - g∘f_S|_{D,H_T} over a sample (theory.md section 4).

    Args:
      y: (N, d) floats, what is to be learned, or an iterable of such batches; row i belongs to
        example i. One-hot vectors for class labels.
      f_source, x, batch_size, sharding: as in `gradient_matching`.
      loss: as there. An H that depends on x is that at f_T(x) where `f_target` is given (what
        Theorem 3 compares), else that at y.
      f_target: f_T, (B, ...) -> (B, d), read only for such an H.
      progress: called with ("outputs", examples done, N or None) after each batch.

    Raises:
      ValueError, TypeError: as `gradient_matching`; y of another length than x, or not (N, d)
        floats.
    """
    resolved = losses.get(loss)
    return _match_outputs(f_target, y, f_source, x, resolved, batch_size, sharding, progress)


def check_responses(y: ArrayLike, num_outputs: int | None) -> None:
    """Raises ValueError unless y is (N, d), of the target's d outputs where those are known."""
    if y.ndim != 2:
        raise ValueError(
            f"y has shape {tuple(y.shape)}; (N, d) floats are needed. Of class labels make one-hot "
            "vectors: jax.nn.one_hot(labels, d)."
        )
    if num_outputs is not None and y.shape[1] != num_outputs:
        raise ValueError(
            f"y has {y.shape[1]} columns and f_target returns {num_outputs} outputs; equally many "
            "are needed."
        )


def _match_outputs(
    f_target: ApplyFn | None,
    y: Sample | None,
    f_source: ApplyFn,
    x: Sample,
    loss: AdversarialLoss,
    batch_size: int,
    sharding: Sharding,
    progress: Progress | None,
):
    constant = loss.constant_hessian
    f_source = devices.replicate(as_pytree(f_source, name="f_source"), sharding)
    if f_target is not None:
        f_target = devices.replicate(as_pytree(f_target, name="f_target"), sharding)
    if getattr(y, "ndim", 2) != 2:
        check_responses(y, None)  # type: ignore[arg-type]
    sums, eps, done, checked = None, 0.0, 0, False
    for batch, count, rows in batching.batches(x, batch_size, y, sharding=sharding):
        if not checked:
            output_spec(f_source, batch, name="f_source")
            d = None
            if f_target is not None:
                d = output_spec(f_target, batch, name="f_target").shape[-1]
            checked = True
        if rows is not None:
            check_responses(rows, d)
        if f_target is None or (constant and rows is not None):
            source = _output(f_source, batch)
            response = jnp.asarray(rows)
            root = gram.roots(loss, response)
        else:
            source, response, root = _outputs(f_source, f_target, batch, loss=loss)
        eps = max(eps, float(jnp.finfo(source.dtype).eps))
        of_source, of_response, of_root = (
            np.asarray(a)[:count] for a in devices.fetch((source, response, root))
        )
        if rows is not None:
            of_response = rows
        gram.check_finite(of_source, of_response)
        of_batch = output_sums(
            of_response,
            of_source,
            gram.host_root(loss, of_root),
            constant_hessian=constant,
        )
        sums = of_batch if sums is None else moments.merge(sums, of_batch)
        done += count
        if progress is not None:
            progress("outputs", done, batching.total(x))
    assert sums is not None
    kind = FunctionMatching if y is None else KnowledgeTransfer
    return finalize_outputs(sums, kind, eps=eps, loss=loss.name)
