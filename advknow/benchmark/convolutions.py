"""Which algorithm is fastest for a convolution: the measurement behind `advknow.convolution`.

    python -m advknow.benchmark.convolutions

The 3 x 3 convolutions of ResNet18 at width 64 and LeNet's 5 x 5, 64 images of 32 x 32: in each mode
(`convolution.trilinear`) milliseconds by XLA's own, by Winograd's filtering, by Toeplitz matrices
and in parts; medians of interleaved runs. "-" where an algorithm does not apply.
"""

import functools

import jax
import numpy as np

from advknow.benchmark.timing import Work, compare
from advknow.convolution import parts, toeplitz, winograd
from advknow.convolution import trilinear as convolution
from advknow.convolution.geometry import Geometry

# Height and width, channels, features, kernel, stride, padding.
LAYERS = (
    (32, 3, 6, 5, 1, 0),
    (14, 6, 16, 5, 1, 0),
    (32, 3, 64, 3, 1, 1),
    (32, 64, 64, 3, 1, 1),
    (32, 64, 128, 3, 2, 1),
    (16, 128, 128, 3, 1, 1),
    (16, 128, 256, 3, 2, 1),
    (8, 256, 256, 3, 1, 1),
    (8, 256, 512, 3, 2, 1),
    (4, 512, 512, 3, 1, 1),
)
BATCH = 64
REPEATS = 7


def _ways(geometry: Geometry, mode: str):
    yield "own", lambda a, b: convolution._reference(a, b, mode=mode, geometry=geometry)
    if geometry.w_shape[0] == 3:
        yield "winograd", lambda a, b: winograd.MODES[mode](a, b, geometry)
    if geometry.strides == (1, 1) and geometry.w_shape[2] * geometry.w_shape[3] <= 192:
        yield "toeplitz", lambda a, b: toeplitz.convolve(a, b, mode, geometry)
    if mode == "w":

        def own(a, b, part):
            return convolution._reference(a, b, mode="w", geometry=part)

        yield "parts", lambda a, b: parts.sum_over_parts(own, a, b, geometry)


def _run(compiled, given) -> None:
    jax.block_until_ready(compiled(*given))


def main() -> None:
    """Prints the table."""
    generator = np.random.default_rng(0)
    print("image x channels -> features, kernel / stride, mode: milliseconds")
    for side, channels, features, kernel, stride, padding in LAYERS:
        outputs = (side + 2 * padding - kernel) // stride + 1
        geometry = Geometry(
            (BATCH, side, side, channels),
            (kernel, kernel, channels, features),
            (BATCH, outputs, outputs, features),
            (stride, stride),
            ((padding, padding), (padding, padding)),
        )
        shapes = {"x": geometry.x_shape, "w": geometry.w_shape, "y": geometry.y_shape}
        arrays = {name: generator.normal(size=shape) for name, shape in shapes.items()}
        for mode, operands in {"y": ("x", "w"), "x": ("y", "w"), "w": ("x", "y")}.items():
            given = [jax.device_put(arrays[name].astype(np.float32)) for name in operands]
            works = {
                name: Work(functools.partial(_run, jax.jit(way).lower(*given).compile(), given))
                for name, way in _ways(geometry, mode)
            }
            own = works.pop("own")
            rows = compare("", "", own, works or {"own": own}, repeats=REPEATS)
            times = {"own": rows[0].seconds} | {row.against: row.other_seconds for row in rows}
            told = (
                f"{name} {1e3 * times[name]:.1f}" if name in times else f"{name} -"
                for name in ("own", "winograd", "toeplitz", "parts")
            )
            print(
                f"{side:>2} x {channels:<3} -> {features:<3} {kernel} / {stride} {mode}:",
                ", ".join(told),
                flush=True,
            )


if __name__ == "__main__":
    main()
