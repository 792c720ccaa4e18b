"""The synthetic table (theory.md section 7) in PyTorch, one example at a time: its own process.

    python -m advknow.benchmark.synthetic_peer DATA.npz WEIGHTS.npz LEVEL NUM_STEPS NUM_EXAMPLES

Reads the files that `launch.synthetic` writes and measures the first NUM_EXAMPLES. Prints JSON:
`rows`, the table's rows, and `loop_seconds`, the part of the time that grows with the examples.
"""

import json
import sys
import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

STEP = 0.1


class Network(NamedTuple):
    """W2 sigmoid(W1 x + b1) + b2; W1 (m, n), b1 (m, 1), W2 (d, m), b2 (d, 1)."""

    W1: Tensor
    b1: Tensor
    W2: Tensor
    b2: Tensor

    def hidden(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.W1 @ x + self.b1[:, 0])

    def __call__(self, x: Tensor) -> Tensor:
        return self.W2 @ self.hidden(x) + self.b2[:, 0]


def _jacobian(f: Network, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_(True)
    y = f(x)
    return torch.stack([torch.autograd.grad(v, x, retain_graph=True)[0] for v in y])


def _direction(j_1: Tensor, j_2: Tensor, level: int) -> tuple[Tensor, Tensor]:
    """alpha1 and the outer product of the two deviations' directions."""
    _, _, rows = torch.linalg.svd(j_1, full_matrices=False)
    on_1, on_2 = j_1 @ rows[level], j_2 @ rows[level]
    alpha1 = on_2.norm() / torch.linalg.matrix_norm(j_2, ord=2)
    return alpha1, torch.outer(on_1 / on_1.norm(), on_2 / on_2.norm())


def _row(x: Tensor, y: Tensor, target: Network, source: Network, level: int) -> list[float]:
    found: dict[str, list[Tensor]] = {name: [] for name in ("ss", "ts", "tt", "hidden", "error")}
    directions: tuple[list, list] = ([], [])
    for example, wanted in zip(x, y, strict=True):
        j_s, j_t = _jacobian(source, example), _jacobian(target, example)
        directions[0].append(_direction(j_s, j_t, level))
        directions[1].append(_direction(j_t, j_s, level))
        with torch.no_grad():
            found["ss"].append(j_s @ j_s.T)
            found["ts"].append(j_t @ j_s.T)
            found["tt"].append((j_t**2).sum())
            found["hidden"].append(source.hidden(example))
            found["error"].append(((wanted - target(example)) ** 2).sum())
    mean = {name: torch.stack(values).mean(dim=0) for name, values in found.items()}
    square = mean["tt"] - (mean["ts"] @ torch.linalg.pinv(mean["ss"]) * mean["ts"]).sum()
    features = torch.cat([torch.stack(found["hidden"]), torch.ones(len(x), 1)], dim=1)
    rest = y - features @ torch.linalg.lstsq(features, y, driver="gelsd").solution
    columns: list[Tensor] = []
    sums = []
    for pairs in directions:
        alpha1 = torch.stack([a for a, _ in pairs])
        outer = torch.stack([o for _, o in pairs])
        sums.append(
            (
                alpha1.mean(),
                outer.mean(dim=0).norm(),
                (alpha1[:, None, None] * outer).mean(0).norm(),
            )
        )
    for of_s_t, of_t_s in zip(*sums, strict=True):
        columns += [of_s_t, of_t_s]
    columns += [square.clamp_min(0).sqrt(), (rest**2).sum(dim=1).mean().sqrt()]
    return [float(value) for value in (*columns, mean["error"].sqrt())]


def main(data: str, weights: str, level: int, num_steps: int, num_examples: int) -> None:
    """Prints the table; float64, whose inverses need no care."""
    torch.set_default_dtype(torch.float64)
    with np.load(data, allow_pickle=False) as content:
        x, y = (torch.tensor(content[name].T[:num_examples].astype(float)) for name in "XY")
    with np.load(weights, allow_pickle=False) as content:
        target, source, deviation = (
            Network(*(torch.tensor(content[f"{role}_{n}"].astype(float)) for n in Network._fields))
            for role in ("target", "source", "deviate")
        )
    rows, seconds = [], 0.0
    for k in range(num_steps):
        source = Network(*(w + STEP * k * d for w, d in zip(source, deviation, strict=True)))
        begin = time.perf_counter()
        rows.append([STEP * k, *_row(x, y, target, source, level)])
        seconds += time.perf_counter() - begin
    print(json.dumps({"rows": rows, "loop_seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
