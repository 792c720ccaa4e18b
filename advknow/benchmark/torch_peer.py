"""The stages in eager PyTorch (theory.md sections 2 to 4 and 6): batched, or one by one.

Images are (B, C, H, W); models return (B, d). Every function works on a batch of any size, so that
the published protocol's form is the same code called with one example (`one_by_one`).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

TorchModel = Callable[[Tensor], Tensor]


def freeze(model: nn.Module) -> nn.Module:
    """The model without parameter gradients: what attacks do not need is not computed."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def input_gradient(model: TorchModel, x: Tensor, label: Tensor) -> Tensor:
    """d cross-entropy(f(x), label) / dx, of x's shape."""
    x = x.detach().requires_grad_(True)
    loss = functional.cross_entropy(model(x), label, reduction="sum")
    return torch.autograd.grad(loss, x)[0]


def pgd(
    model: TorchModel,
    x: Tensor,
    *,
    eps: float,
    step_size: float,
    num_steps: int,
    start: Tensor | None = None,
) -> Tensor:
    """The poster's attack (theory.md section 6): signed steps from a uniform start, in [0, 1]."""
    with torch.no_grad():
        label = model(x).argmax(dim=1)
    if start is None:
        start = torch.empty_like(x).uniform_(-eps, eps)
    delta = (x + start).clamp(0, 1) - x
    for _ in range(num_steps):
        ascent = input_gradient(model, x + delta, label).sign()
        delta = (x + (delta + step_size * ascent).clamp(-eps, eps)).clamp(0, 1) - x
    return delta


class AlphaSums(NamedTuple):
    """Sums over examples of alpha1, u(Delta_11) u(Delta_12)' and alpha1 times that; the count."""

    alpha1: Tensor
    outer: Tensor
    weighted: Tensor
    examples: int


@torch.no_grad()
def alpha_sums(f1: TorchModel, f2: TorchModel, x: Tensor, d1: Tensor, d2: Tensor) -> AlphaSums:
    """The sums of theory.md section 2, direction f1 -> f2, evaluated with the plain norm."""
    y1, moved_11 = f1(torch.cat([x, x + d1])).chunk(2)
    y2, moved_12, moved_22 = f2(torch.cat([x, x + d1, x + d2])).chunk(3)
    delta_11, delta_12 = moved_11 - y1, moved_12 - y2
    length = delta_12.norm(dim=1)
    alpha1 = length / (moved_22 - y2).norm(dim=1)
    u11, u12 = delta_11 / delta_11.norm(dim=1, keepdim=True), delta_12 / length[:, None]
    return AlphaSums(alpha1.sum(), u11.T @ u12, (u11 * alpha1[:, None]).T @ u12, len(x))


def alphas(parts: list[AlphaSums]) -> dict[str, float]:
    """alpha1, alpha2 and alpha1*alpha2 (norms) of the batches' sums."""
    count = sum(part.examples for part in parts)
    alpha1 = torch.stack([part.alpha1 for part in parts]).sum() / count
    outer = torch.stack([part.outer for part in parts]).sum(dim=0) / count
    weighted = torch.stack([part.weighted for part in parts]).sum(dim=0) / count
    return {
        "alpha1": float(alpha1),
        "alpha2": float(outer.norm()),
        "alpha1_alpha2": float(weighted.norm()),
    }


def jacobian(model: TorchModel, x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) (B, d) and the Jacobian (B, d, n) in float64, one backward pass an output."""
    x = x.detach().requires_grad_(True)
    y = model(x)
    rows = [
        torch.autograd.grad(column.sum(), x, retain_graph=True)[0].flatten(1)
        for column in y.unbind(dim=1)
    ]
    return y.detach().double(), torch.stack(rows, dim=1).double()


class GradientSums(NamedTuple):
    """Sums over examples, H = I: all that theory.md section 3 needs."""

    source: Tensor  # (m, m), J_S J_S'
    cross: Tensor  # (d, m), J_T J_S'
    square: Tensor  # (), |J_T|^2
    outer: Tensor  # (r, d, m), Delta_ST^(i) Delta_SS^(i)'
    a1: Tensor  # (r,)
    examples: int


def gradient_sums(
    f_source: TorchModel, f_target: TorchModel, x: Tensor, *, attacks: bool
) -> GradientSums:
    """Sums of one batch; without `attacks` only those of the gradient matching distance."""
    _, j_source = jacobian(f_source, x)
    _, j_target = jacobian(f_target, x)
    gram, cross = j_source @ j_source.mT, j_target @ j_source.mT
    outer, a1 = torch.zeros(0, device=x.device), torch.zeros(0, device=x.device)
    if attacks:
        values, vectors = torch.linalg.eigh(gram)
        values, vectors = values.flip(-1), vectors.flip(-1)
        scale = values.clamp_min(0).sqrt()
        on_source = vectors * scale[:, None]
        on_target = cross @ (vectors / scale[:, None].clamp_min(1e-30))
        top = torch.linalg.eigvalsh(j_target @ j_target.mT)[:, -1].sqrt()
        a1 = (on_target.norm(dim=1) / top[:, None]).sum(dim=0)
        outer = torch.einsum("bdi,bmi->idm", on_target, on_source)
    return GradientSums(gram.sum(0), cross.sum(0), (j_target**2).sum(), outer, a1, len(x))


def _added(parts: list[GradientSums]) -> GradientSums:
    return GradientSums(*(sum(values) for values in zip(*parts, strict=True)))


def generalized(parts: list[GradientSums]) -> dict[str, float]:
    """Mean A1 over attacks and examples, and rho^2 as the sum of the heat map of A2."""
    sums = _added(parts)
    inverse = torch.linalg.pinv(sums.source / sums.examples, hermitian=True)
    means = sums.outer / sums.examples
    heat_map = torch.einsum("idm,mn,jdn->ij", means, inverse, means)
    return {
        "A1": float((sums.a1 / sums.examples).mean()),
        "rho2": float(heat_map.sum() / (sums.square / sums.examples)),
    }


@torch.no_grad()
def outputs(model: TorchModel, x: Tensor) -> Tensor:
    """f(x) in float64."""
    return model(x).double()


def _residual(values: Tensor, features: Tensor) -> float:
    """sqrt(E|values - g(features)|^2) of the best affine g."""
    values, features = values - values.mean(dim=0), features - features.mean(dim=0)
    solution = torch.linalg.lstsq(
        features, values, driver="gels" if values.is_cuda else "gelsd"
    ).solution
    return float(((values - features @ solution) ** 2).sum(dim=1).mean().sqrt())


def distances(
    parts: list[GradientSums], f_source: Tensor, f_target: Tensor, y: Tensor
) -> dict[str, float]:
    """GMD, FMD and KTD (theory.md sections 3 and 4) from sums and all outputs (N, m), (N, d)."""
    sums = _added(parts)
    inverse = torch.linalg.pinv(sums.source / sums.examples, hermitian=True)
    cross = sums.cross / sums.examples
    square = sums.square / sums.examples - (cross * (cross @ inverse)).sum()
    return {
        "gmd": float(square.clamp_min(0).sqrt()),
        "fmd": _residual(f_target, f_source),
        "ktd": _residual(y, f_source),
    }


def optimizer(model: nn.Module, *, total: int) -> tuple:
    """The poster's SGD and its cosine schedule over `total` steps."""
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    return sgd, torch.optim.lr_scheduler.CosineAnnealingLR(sgd, total)


def train_step(model: nn.Module, sgd, schedule, images: Tensor, labels: Tensor) -> Tensor:
    """One step on uint8 images (B, C, H, W) in training mode; the mean loss."""
    x = images.to(next(model.parameters()).dtype) / 255
    sgd.zero_grad(set_to_none=True)
    loss = functional.cross_entropy(model(x), labels)
    loss.backward()
    sgd.step()
    schedule.step()
    return loss.detach()
