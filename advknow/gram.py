"""The Gram matrices of two models' Jacobians: all that A1, A2 and the distances need of them.

    J_S J_S'  (m, m)      J_T J_S'  (d, m)      J_T J_T'  (d, d)      H = R R'

for every example, with m + d vector-Jacobian products of the whole batch. The models run on the
device in their own dtype; from the Jacobians on, all is float64. A distance is the difference of
two sums that may be nearly equal (theory.md section 5), and in float64 that difference keeps eight
digits of the distance where float32 keeps three. The products of Jacobians are taken where they
lie: by the host's BLAS where the device is its CPU, else on the device, so that only the Gram
matrices travel. The linear algebra after that is of (d, m) matrices on the host, a trifle beside
the models; and no program holds a decomposition (XLA's CPU backend can hang on two of them).
"""

import concurrent.futures
import dataclasses
import functools
import threading
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import threadpoolctl

from advknow import inner_product, losses, precision, programs
from advknow.inner_product import Loss
from advknow.losses import AdversarialLoss
from advknow.passes import Batch, Need, Shapes, devices
from advknow.passes.apply_fn import vjp_rows
from advknow.typing import ApplyFn, Array, ArrayLike

# A singular value below this share of the largest, in units of the models' rounding, is noise.
NOISE = 16.0
# Measured on two cores (`python -m advknow.benchmark.growth_point outputs 10`, or 30, 100).
# Numbers of Jacobians converted to float64 and multiplied at once: they fit a cache.
NUMBERS_AT_ONCE = 2**17
# From so many multiplications on, several threads of BLAS gain. After smaller products they would
# wait busily for the next, on the cores that compute the following batch's gradients: a smaller
# product is made by one thread, and several products at once.
LARGE_PRODUCT = 2**24
# On a device: enough for its parallel units, and 1 GiB in float64.
NUMBERS_AT_ONCE_ON_DEVICE = 2**27


class Grams(NamedTuple):
    """Of B examples, float64 on the host; S has m outputs, T has d, inputs n numbers.

    Attributes:
      source: (B, m, m), J_S J_S'.
      cross: (B, d, m), J_T J_S'.
      target: (B, d, d), J_T J_T'.
      output_source: (B, m), f_S(x). output_target: (B, d), f_T(x).
      root_source: (B or 1, k, m), R' with R R' = H_S(x); 1 where H is constant.
      root_target: (B or 1, k, d), of H_T(x).
      num_inputs: n.
      eps: rounding of the models' dtype.
    """

    source: np.ndarray
    cross: np.ndarray
    target: np.ndarray
    output_source: np.ndarray
    output_target: np.ndarray
    root_source: np.ndarray
    root_target: np.ndarray
    num_inputs: int
    eps: float

    def swapped(self) -> "Grams":
        """The same with source and target exchanged."""
        return Grams(
            self.target,
            self.cross.swapaxes(1, 2),
            self.source,
            self.output_target,
            self.output_source,
            self.root_target,
            self.root_source,
            self.num_inputs,
            self.eps,
        )

    def part(self, rows: np.ndarray) -> "Grams":
        """The same of these examples alone, by their numbers, at least one."""
        count = len(self.source)

        def of(values: Any) -> Any:
            by_example = isinstance(values, np.ndarray) and len(values) == count > 1
            return values[rows] if by_example else values

        return Grams(*map(of, self))

    def target_square(self) -> np.ndarray:
        """|J_T|_{H_T}^2 = tr(J_T' H_T J_T), per example (B,)."""
        rooted = self.root_target @ self.target
        return np.sum(rooted * self.root_target, axis=(1, 2))


class Deviations(NamedTuple):
    """What all r attacks of the source do to both models, per example (theory.md section 3).

    Attributes:
      source: (B, r, m), Delta_{S->S}^(i) = J_S delta_S^(i), the strongest attack first; zeros
        where J_S(x) has no i-th direction.
      target: (B, r, d), Delta_{S->T}^(i) = J_T delta_S^(i).
      present: (B, r) bool, whether the i-th attack exists.
    """

    source: np.ndarray
    target: np.ndarray
    present: np.ndarray


def rounding_cutoff(size: int, eps: float) -> float:
    """The share of a Gram matrix's largest eigenvalue below which an eigenvalue is rounding.

    That of the models (their singular values have relative errors of a few eps, eigenvalues are
    their squares) or of the float64 decomposition, whichever is larger.
    """
    return max((NOISE * eps) ** 2, 8.0 * size * np.finfo(np.float64).eps)


def source_attacks(grams: Grams, *, count: int | None = None) -> Deviations:
    """Every attack of the source: the right singular vectors of H_S^{1/2} J_S, through J_S J_S'.

    With J_S J_S' = W L W', the columns of J_S' W L^{-1/2} are an orthonormal basis of what the
    inputs can do to f_S; in it the attacks are the eigenvectors of a matrix of rank r. Where H_S is
    singular, attacks that the loss does not see (their Delta is not 0) come last: with them the r
    attacks span all of J_S, which Theorem 1 needs.

    Args:
      grams: of B examples.
      count: how many, the strongest; all r = min(n, m) by default.
    """
    m = grams.source.shape[-1]
    rank = min(grams.num_inputs, m)
    values, vectors = np.linalg.eigh(grams.source)
    kept = (values > rounding_cutoff(m, grams.eps) * values[:, -1:]) & (values > 0)
    scale = np.sqrt(np.where(kept, values, 1.0))
    root = vectors * np.where(kept, scale, 0.0)[:, None]
    inverse = vectors * np.where(kept, 1.0 / scale, 0.0)[:, None]
    rooted = grams.root_source @ root
    seen = rooted.swapaxes(1, 2) @ rooted
    # Directions that do not exist get a negative value, so that they sort behind those of value 0.
    absent = np.trace(seen, axis1=1, axis2=2)[:, None]
    absent = np.where(absent > 0, absent, 1.0)
    seen = seen - np.where(kept, 0.0, absent)[:, :, None] * np.eye(m)
    strength, coefficients = np.linalg.eigh(seen)
    keep = slice(None, None if count is None else count)
    strength = strength[:, ::-1][:, :rank][:, keep]
    coefficients = coefficients[:, :, ::-1][:, :, :rank][:, :, keep]
    present = strength > -0.5 * absent
    coefficients = np.where(present[:, None], coefficients, 0.0)
    return Deviations(
        source=(root @ coefficients).swapaxes(1, 2),
        target=(grams.cross @ (inverse @ coefficients)).swapaxes(1, 2),
        present=present,
    )


def norms(root: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """|Delta|_H of deviations (B, r, d) with R' (B or 1, k, d): (B, r)."""
    return np.sqrt(np.sum((deviations @ root.swapaxes(1, 2)) ** 2, axis=-1))


def strongest(gram: np.ndarray, root: np.ndarray) -> np.ndarray:
    """|Delta_{f->f}^(1)|_H, the largest singular value of H^{1/2} J, from J J' (B, d, d): (B,)."""
    values = np.linalg.eigvalsh(root @ gram @ root.swapaxes(1, 2))
    return np.sqrt(np.maximum(values[:, -1], 0.0))


@functools.lru_cache(maxsize=64)
def loss_for(loss: AdversarialLoss, given: Loss | None, num_outputs: int) -> AdversarialLoss:
    """The loss that the source is attacked with.

    Args:
      loss: the target's.
      given: the caller's choice, or None: `loss` where it takes this many outputs, else "l2" (a
        given H of d outputs says nothing of m others).
      num_outputs: m.
    """
    if given is not None:
        return losses.get(given, argument="source_loss")
    spec = jax.ShapeDtypeStruct((1, num_outputs), jnp.float32)
    try:
        out = jax.eval_shape(functools.partial(inner_product.hvp, loss), spec, spec)
    except Exception:  # whatever a user's function raises
        return losses.l2
    return loss if out.shape == spec.shape else losses.l2


def _root_or_hessian(loss: AdversarialLoss, y: Array) -> Array:
    if loss.constant_hessian:
        y = y[:1]
    if loss.root is None:
        return inner_product.hessian(loss, y)
    identity = jnp.broadcast_to(jnp.eye(y.shape[-1], dtype=y.dtype), (*y.shape, y.shape[-1]))
    return inner_product.root_of_columns(loss, y, identity)


def host_root(loss: AdversarialLoss, found: ArrayLike) -> np.ndarray:
    """R' (B or 1, k, d) in float64, from what `roots` found on the device."""
    matrix = np.asarray(found, np.float64)
    if loss.root is not None:
        return matrix
    values, vectors = np.linalg.eigh((matrix + matrix.swapaxes(1, 2)) / 2)
    return np.sqrt(np.maximum(values, 0.0))[:, :, None] * vectors.swapaxes(1, 2)


roots = precision.program(_root_or_hessian, static_argnames=("loss",))


class Linear(NamedTuple):
    """A model around B examples: what its Gram matrices with any other are made of.

    Attributes:
      jacobian: (B or more, d, n), on the devices; what follows the first B is padding.
      output: (B, d) float64 on the host, f(x).
      root_source: (B or 1, k, d), R' with R R' = H(x) of the loss that it is attacked with.
      root_target: (B or 1, k, d), of the loss that it is judged by as a target.
    """

    jacobian: Any
    output: np.ndarray
    root_source: np.ndarray
    root_target: np.ndarray


@functools.partial(precision.program, static_argnames=("losses",))
def _jacobian(f: ApplyFn, x: Array, *, losses: tuple[AdversarialLoss, ...]) -> Any:
    """f(x), its Jacobian, and what `host_root` needs of each loss.

    Of one model, so that the target of many sources, or two models of one architecture, need one
    program.
    """
    y, jacobian = vjp_rows(f, x)
    return y, jacobian, tuple(_root_or_hessian(loss, y) for loss in losses)


def _linear(found: Any, count: int, losses: tuple[AdversarialLoss, ...]) -> Linear:
    """From what `_jacobian` found; the last of the losses is that of the target."""
    y, jacobian, roots = found
    y, roots = jax.tree.map(lambda a: a[:count], devices.fetch((y, roots)))
    of_losses = [host_root(*pair) for pair in zip(losses, roots, strict=True)]
    return Linear(jacobian, y.astype(np.float64), of_losses[0], of_losses[-1])


def linear(
    f: ApplyFn, x: Array, count: int, *, loss: AdversarialLoss, source_loss: AdversarialLoss
) -> Linear:
    """A model around the first `count` examples of a batch; the rest is padding."""
    both = tuple(dict.fromkeys((source_loss, loss)))
    return _linear(_jacobian(f, x, losses=both), count, both)


def check_finite(name: str, values: np.ndarray) -> None:
    """Raises ValueError where that model's values, (B, ...), hold NaN or infinity."""
    bad = int((~np.isfinite(values).reshape(len(values), -1).all(axis=1)).sum())
    if bad:
        raise ValueError(
            f"{name} or its gradient is NaN or infinite for {bad} of {len(values)} examples of a "
            "batch; finite numbers are needed."
        )


@functools.cache
def _blas() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


# The limit is the process's: of two that overlap the first to end would lift the other's, and the
# last would leave the first's for good.
_LIMITED = threading.Lock()


@functools.cache
def _threads() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(devices.usable_cores(), "products")


def products_on_host(j_source: Any, j_target: Any, count: int) -> np.ndarray:
    """`products`, by BLAS: the Jacobians come to the host."""
    j_source, j_target = (j[:count] for j in devices.fetch((j_source, j_target)))
    size, m, n = j_source.shape
    rows = m + j_target.shape[1]
    products = np.empty((size, rows, rows))
    # What stays in a cache from its conversion to its product.
    step = max(1, NUMBERS_AT_ONCE // (rows * n))
    small = rows * rows * n < LARGE_PRODUCT

    def multiply(examples: np.ndarray) -> None:
        room = np.empty((step, rows, n))
        for start in range(examples[0], examples[-1] + 1, step):
            part = slice(start, min(start + step, examples[-1] + 1))
            both = room[: part.stop - start]
            both[:, :m], both[:, m:] = j_source[part], j_target[part]
            with np.errstate(invalid="ignore", over="ignore"):
                np.matmul(both, both.swapaxes(1, 2), out=products[part])

    shares = np.array_split(np.arange(size), min(devices.usable_cores(), size) if small else 1)
    with _LIMITED, _blas().limit(limits=1 if small else None):
        for _ in (_threads().map if len(shares) > 1 else map)(multiply, shares):
            pass
    return products


@programs.program
def _products_on_device(j_source: Array, j_target: Array) -> Array:
    both = jnp.concatenate([j_source, j_target], axis=1)

    def product(j: Array) -> Array:
        j = j.astype(jnp.float64)
        return jnp.matmul(j, j.T, precision="highest")

    at_once = max(1, NUMBERS_AT_ONCE_ON_DEVICE // (both.shape[1] * both.shape[2]))
    if at_once >= both.shape[0]:
        return jax.vmap(product)(both)
    return jax.lax.map(product, both, batch_size=at_once)


def products_on_device(j_source: Array, j_target: Array, count: int) -> np.ndarray:
    """`products`, in float64 where the Jacobians are: (m + d)^2 numbers an example travel."""
    with jax.enable_x64(True):
        return devices.fetch(_products_on_device(j_source, j_target))[:count]


def products(j_source: Array, j_target: Array, count: int) -> np.ndarray:
    """[J_S; J_T] [J_S; J_T]' of the first `count` examples, float64 on the host.

    Args:
      j_source: (B, m, n), j_target: (B, d, n), Jacobians of any dtype, on the devices.
      count: examples without the padding.

    Returns:
      (count, m + d, m + d).
    """
    on_host = all(device.platform == "cpu" for device in j_source.devices())
    return (products_on_host if on_host else products_on_device)(j_source, j_target, count)


def of_batch(
    f_source: ApplyFn,
    f_target: ApplyFn,
    x: Array,
    count: int,
    *,
    loss: AdversarialLoss,
    source_loss: AdversarialLoss,
) -> Grams:
    """The Gram matrices of the first `count` examples of a batch; the rest is padding.

    Raises:
      ValueError: NaN or infinity.
    """
    # Both begin before either is waited for.
    of_source = _jacobian(f_source, x, losses=(source_loss,))
    of_target = _jacobian(f_target, x, losses=(loss,))
    return of_pair(
        _linear(of_source, count, (source_loss,)), _linear(of_target, count, (loss,)), count
    )


def of_pair(
    source: Linear, target: Linear, count: int, *, names: tuple[str, str] = ("f_source", "f_target")
) -> Grams:
    """The Gram matrices of two models around the same examples.

    Args:
      names: of the two, for the message.

    Raises:
      ValueError: NaN or infinity.
    """
    m, n = source.jacobian.shape[1:]
    both = products(source.jacobian, target.jacobian, count)
    found = Grams(
        source=both[:, :m, :m],
        cross=both[:, m:, :m],
        target=both[:, m:, m:],
        output_source=source.output,
        output_target=target.output,
        root_source=source.root_source,
        root_target=target.root_target,
        num_inputs=n,
        eps=max(float(jnp.finfo(of.jacobian.dtype).eps) for of in (source, target)),
    )
    check_finite(names[0], found.source)
    check_finite(names[1], found.target)
    return found


@dataclasses.dataclass(frozen=True)
class GramsOf:
    """Need: the `Grams` of two models of a pass.

    Attributes:
      loss: whose H_T is meant.
      source_loss: whose H_S is meant; None: what `loss_for` chooses.
      source, target: the models' names in the pass.
    """

    loss: AdversarialLoss
    source_loss: Loss | None = None
    source: str = "f_source"
    target: str = "f_target"
    needs: ClassVar[tuple[Need, ...]] = ()

    def __call__(self, batch: Batch) -> Grams:
        return of_batch(
            batch.models[self.source],
            batch.models[self.target],
            batch.x,
            batch.count,
            loss=self.loss,
            source_loss=self.of_source(batch.shapes),
        )

    def of_source(self, shapes: Shapes) -> AdversarialLoss:
        """The loss that the source is attacked with."""
        given: Any = self.source_loss
        return loss_for(self.loss, given, shapes.outputs[self.source])
