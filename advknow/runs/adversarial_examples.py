"""Adversarial examples in files: lossless, and as 8-bit images with what that costs.

A file holds x and delta in float32 with what made them, and a SHA-256 over all of it: what is read
back is what was saved, bit for bit, or is refused.
"""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import numpy as np

from advknow import validate
from advknow.runs import snapshots
from advknow.runs.files import make_workdir

_FORMAT = "advknow adversarial examples 1"


@dataclasses.dataclass(frozen=True, eq=False)
class AdversarialExamples:
    """Inputs and what an attack adds to them.

    Attributes:
      x: (N, ...) float32, clean inputs.
      delta: of x's shape, float32; x + delta is the adversarial example.
      metadata: ready for JSON: attack, eps, bounds, model, seed, as the writer chose.
    """

    x: np.ndarray
    delta: np.ndarray
    metadata: dict[str, Any]

    def __post_init__(self) -> None:
        for name, array in (("x", self.x), ("delta", self.delta)):
            validate.inputs(name, array)
            if array.dtype != np.float32:
                raise TypeError(f"{name} has dtype {array.dtype}; float32 is needed.")
        if self.x.shape != self.delta.shape:
            raise ValueError(
                f"delta has shape {self.delta.shape}; that of x, {self.x.shape}, is needed."
            )

    def digest(self) -> str:
        """SHA-256 of the shapes, both arrays and the metadata, in hexadecimal."""
        described = [_FORMAT, list(self.x.shape), self.metadata]
        found = hashlib.sha256(json.dumps(described, sort_keys=True, allow_nan=False).encode())
        for array in (self.x, self.delta):
            found.update(np.ascontiguousarray(array, "<f4").tobytes())
        return found.hexdigest()


def save(path: str | pathlib.Path, examples: AdversarialExamples) -> None:
    """Writes the file (.npz), atomic.

    Raises:
      OSError: the disk is full or the folder cannot be written; an old file is untouched.
      TypeError, ValueError: metadata is not JSON.
    """
    values = {"format": _FORMAT, "sha256": examples.digest(), "metadata": examples.metadata}
    snapshots.save(path, {"x": examples.x, "delta": examples.delta}, values)


def load(path: str | pathlib.Path) -> AdversarialExamples:
    """The examples of a file that `save` wrote.

    Raises:
      FileNotFoundError: there is none. ValueError: truncated, damaged, changed or another kind.
    """
    arrays, values = snapshots.load(path)
    if values.get("format") != _FORMAT or set(arrays) != {"x", "delta"}:
        raise ValueError(f"{path} holds no adversarial examples of advknow.")
    examples = AdversarialExamples(arrays["x"], arrays["delta"], values["metadata"])
    if examples.digest() != values.get("sha256"):
        raise ValueError(f"{path} was changed since it was saved: its SHA-256 is another.")
    return examples


@dataclasses.dataclass(frozen=True, eq=False)
class Rounded:
    """Adversarial examples as 8-bit images.

    Attributes:
      images: (N, ...) uint8, 255 (x + delta) rounded.
      exceeded: by how much the rounded images leave the eps-ball of x at most, in pixel units; 0
        where they stay in it. None where the metadata has no eps.
      changed: the largest change by rounding, in pixel units, at most 1/510.
    """

    images: np.ndarray
    exceeded: float | None
    changed: float


def export_8bit(path: str | pathlib.Path, examples: AdversarialExamples) -> Rounded:
    """Writes the examples as 8-bit images (.npz, array `images`): lossy, and says how much.

    Raises:
      ValueError: x + delta outside [0, 1], which 8 bits cannot hold. OSError: as `save`.
    """
    moved = examples.x.astype(np.float64) + examples.delta
    low, high = float(moved.min()), float(moved.max())
    if low < -validate.BOUNDS_TOLERANCE or high > 1 + validate.BOUNDS_TOLERANCE:
        raise ValueError(
            f"x + delta has values from {low:.6g} to {high:.6g}; 8-bit images hold [0, 1]."
        )
    images = np.rint(255 * np.clip(moved, 0.0, 1.0)).astype(np.uint8)
    back = images / 255.0
    eps = examples.metadata.get("eps")
    exceeded = None
    if eps is not None:
        exceeded = max(float(np.abs(back - examples.x).max()) - float(eps), 0.0)
    found = Rounded(images, exceeded, float(np.abs(back - moved).max()))
    values = {"exceeded": found.exceeded, "changed": found.changed, **examples.metadata}
    snapshots.save(path, {"images": images}, values)
    return found


def read_delta(path: str | pathlib.Path, x: np.ndarray) -> np.ndarray:
    """The perturbations in the file; ValueError where they are of other inputs than x."""
    examples = load(path)
    if not np.array_equal(examples.x, x):
        raise ValueError(
            f"{path} holds perturbations of other images (shape {examples.x.shape}) than those "
            f"measured here (shape {x.shape}); take the same data set, classes, number and seed."
        )
    return examples.delta


def save_both(
    folder: str | pathlib.Path, x: np.ndarray, deltas: dict[str, np.ndarray], about: dict[str, Any]
) -> dict[str, Any]:
    """Writes both models' examples; by how much 8 bits exceed eps, by name."""
    made, exceeded = make_workdir(folder), {}
    for model, delta in deltas.items():
        name = model.removeprefix("f_")
        examples = AdversarialExamples(x, delta, {**about, "model": name})
        save(made / f"{name}.npz", examples)
        inside = (x + delta).min() >= 0 and (x + delta).max() <= 1 + validate.BOUNDS_TOLERANCE
        if inside:
            rounded = export_8bit(made / f"{name}_8bit.npz", examples)
            exceeded[name] = rounded.exceeded
    return {"folder": str(folder), "eps_exceeded_by_8_bit": exceeded}
