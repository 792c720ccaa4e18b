"""The gradient matching, function matching and knowledge transfer distances of a sample."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Unpack

import numpy as np

from advknow import gram, losses, passes
from advknow.gram import Grams, GramsOf
from advknow.inner_product import Loss
from advknow.matching import sums as matching_sums
from advknow.matching.outputs import OutputsOf
from advknow.matching.records import FunctionMatching, GradientMatching, KnowledgeTransfer
from advknow.matching.sums import MatchingSums
from advknow.passes import Batch, Measure, Need, Run, Shapes, Totals
from advknow.passes.batching import Sample
from advknow.typing import ApplyFn


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


def gradient_distance(grams: GramsOf) -> Measure:
    """The measure behind `gradient_matching`."""
    loss = grams.loss

    def zero(shapes: Shapes) -> Totals:
        m, d = shapes.outputs[grams.source], shapes.outputs[grams.target]
        match = matching_sums.zeros(d, m, constant_hessian=loss.constant_hessian)
        return Totals(GradientSums(match, np.zeros(m), np.zeros(d)), None)

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        return Totals(gradient_sums(found[grams], constant_hessian=loss.constant_hessian), None)

    return Measure(
        needs=(grams,),
        zero=zero,
        of_batch=of_batch,
        record=lambda totals, shapes: finalize_gradient(
            totals.sums, eps=shapes.eps, loss=loss.name
        ),
    )


def output_sums(
    response: np.ndarray, source: np.ndarray, root: np.ndarray, *, constant_hessian: bool
) -> MatchingSums:
    """The sums over one batch of outputs: responses (B, d) on (f_S, 1) of f_S (B, m)."""
    response, source = response.astype(np.float64), source.astype(np.float64)
    z = np.concatenate([source, np.ones((len(source), 1))], axis=1)
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


def function_distance(reads: OutputsOf | GramsOf) -> Measure:
    """The measure behind `function_matching`.

    Args:
      reads: the models and the loss; `GramsOf`, which has the outputs too, where another measure
        of the pass needs it anyway.
    """
    assert reads.source is not None
    assert reads.target is not None
    source, target = reads.source, reads.target

    def zero(shapes: Shapes) -> Totals:
        return _no_outputs(shapes.outputs[target], shapes.outputs[source], reads)

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        return _of_outputs(found[reads], found[reads].output_target, reads)

    return Measure(
        needs=(reads,),
        zero=zero,
        of_batch=of_batch,
        record=lambda totals, shapes: finalize_outputs(
            totals.sums, FunctionMatching, eps=_eps(reads, shapes), loss=reads.loss.name
        ),
    )


def knowledge_distance(reads: OutputsOf | GramsOf) -> Measure:
    """The measure behind `knowledge_transfer`, of the pass's y.

    Args:
      reads: the models and the loss, as in `function_distance`; an H that depends on x is taken
        at y where no target is named.
    """
    assert reads.source is not None
    source, target = reads.source, reads.target or "f_target"

    def zero(shapes: Shapes) -> Totals:
        assert shapes.responses is not None, "y is needed"
        if target in shapes.outputs:
            check_columns(shapes.responses, shapes.outputs[target])
        return _no_outputs(shapes.responses, shapes.outputs[source], reads)

    def of_batch(batch: Batch, found: Mapping[Need, Any]) -> Totals:
        assert batch.y is not None
        return _of_outputs(found[reads], batch.y, reads)

    return Measure(
        needs=(reads,),
        zero=zero,
        of_batch=of_batch,
        record=lambda totals, shapes: finalize_outputs(
            totals.sums, KnowledgeTransfer, eps=_eps(reads, shapes), loss=reads.loss.name
        ),
    )


def _eps(reads: OutputsOf | GramsOf, shapes: Shapes) -> float:
    """The rounding of what is summed: that of the source's outputs, or of the gradients beside."""
    if isinstance(reads, GramsOf) or reads.source is None:
        return shapes.eps
    return shapes.output_eps[reads.source]


def _no_outputs(d: int, m: int, reads: OutputsOf | GramsOf) -> Totals:
    constant = reads.loss.constant_hessian
    return Totals(matching_sums.zeros(d, m + 1, constant_hessian=constant), None)


def _of_outputs(found: Any, response: np.ndarray, reads: OutputsOf | GramsOf) -> Totals:
    sums = output_sums(
        response,
        found.output_source,
        found.root_target,
        constant_hessian=reads.loss.constant_hessian,
    )
    return Totals(sums, None)


def gradient_matching(
    *,
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: Sample,
    loss: Loss = "l2",
    **run: Unpack[Run],
) -> GradientMatching:
    """GMD = min_{g affine} |∇f_T' - ∇(g∘f_S)'|_{D,H_T} over a sample (theory.md section 3).

    By keyword only: exchanged models would give another, equally plausible distance.

    Args:
      f_source: f_S, (B, ...) -> (B, m), each row on its own.
      f_target: f_T, (B, ...) -> (B, d).
      x: (N, ...) floats, or an iterable of such batches (read once).
      loss: the adversarial loss whose H_T is meant: a name in `losses.LOSSES`, an AdversarialLoss
        (`losses.quadratic(H)` for a given H), or a function (y, y') -> (B,). "l2" has H = I. An H
        that depends on x needs the (d m)^2 system; a function's H is taken to depend on x.
      **run: batch_size, sharding and progress, as in `passes.Run`; progress is called with
        ("gradients", examples done, N or None).

    Returns:
      the record; models that agree come out at about 1e-6 of the norm or below in float32.

    Raises:
      ValueError, TypeError: x, models or loss that do not fit each other; NaN or infinity; an H
        that depends on x with d * m too large.
    """
    # No attack of the source is needed here, so its H is not either.
    measure = gradient_distance(GramsOf(losses.get(loss), losses.l2))
    models = {"f_source": f_source, "f_target": f_target}
    return passes.run(measure, models, x, stage="gradients", **passes.checked(run))


def function_matching(
    *,
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: Sample,
    loss: Loss = "l2",
    **run: Unpack[Run],
) -> FunctionMatching:
    """FMD = min_{g affine} |f_T - g∘f_S|_{D,H_T} over a sample (theory.md section 4).

    Args, Raises: as `gradient_matching`; progress is called with ("outputs", ...).
    """
    measure = function_distance(OutputsOf(losses.get(loss)))
    models = {"f_source": f_source, "f_target": f_target}
    return passes.run(measure, models, x, stage="outputs", **passes.checked(run))


def knowledge_transfer(
    *,
    f_source: ApplyFn,
    x: Sample,
    y: Sample,
    loss: Loss = "l2",
    f_target: ApplyFn | None = None,
    **run: Unpack[Run],
) -> KnowledgeTransfer:
    """KTD = min_{g affine} |y - g∘f_S|_{D,H_T} over a sample (theory.md section 4).

    Args:
      f_source, x: as in `gradient_matching`.
      y: (N, d) floats, what is to be learned, or an iterable of such batches; row i belongs to
        example i. One-hot vectors for class labels.
      loss: as there. An H that depends on x is taken at f_T(x) where `f_target` is given (as
        Theorem 3 needs), else at y.
      f_target: f_T, (B, ...) -> (B, d), read only for such an H.
      **run: as there; progress is called with ("outputs", examples done, N or None).

    Raises:
      ValueError, TypeError: as `gradient_matching`; y of another length than x, or not (N, d)
        floats.
    """
    resolved = losses.get(loss)
    models = {"f_source": f_source}
    if f_target is not None:
        models["f_target"] = f_target
    at_target = f_target is not None and not resolved.constant_hessian
    measure = knowledge_distance(OutputsOf(resolved, target="f_target" if at_target else None))
    return passes.run(measure, models, x, y=y, stage="outputs", **passes.checked(run))


def check_columns(responses: int, num_outputs: int) -> None:
    """Raises ValueError unless y has a column for each of the target's outputs."""
    if responses != num_outputs:
        raise ValueError(
            f"y has {responses} columns and f_target returns {num_outputs} outputs; equally many "
            "are needed."
        )
