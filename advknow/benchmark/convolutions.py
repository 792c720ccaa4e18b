"""Which algorithm is fastest for a convolution: the measurement behind `advknow.convolution`.

    python -m advknow.benchmark.convolutions --batch_size=64

The 3 x 3 convolutions of ResNet18 with 64 and with 8 channels at first, and LeNet's 5 x 5, images
of 32 x 32: in each mode (`convolution.trilinear`) milliseconds by XLA's own, by Winograd's
filtering, by Toeplitz matrices, in parts, and in twice as many smaller parts; medians of
interleaved runs. "-" where an algorithm does not apply, or a batch is one part.
"""

import argparse
import functools

import jax
import numpy as np

from advknow import validate
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
    (32, 8, 8, 3, 1, 1),
    (32, 8, 16, 3, 2, 1),
    (16, 16, 16, 3, 1, 1),
    (8, 32, 32, 3, 1, 1),
    (4, 64, 64, 3, 1, 1),
)
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

        count = parts.num_parts(geometry)
        yield "parts", lambda a, b: parts.sum_over_parts(own, a, b, geometry, count)
        if count > 1 and geometry.y_shape[0] % (2 * count) == 0:
            yield (
                "smaller parts",
                lambda a, b: parts.sum_over_parts(own, a, b, geometry, 2 * count),
            )


def _run(compiled, given) -> None:
    jax.block_until_ready(compiled(*given))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=64, help="Images in one convolution.")
    size = parser.parse_args().batch_size
    validate.integer("batch_size", size, minimum=1)
    generator = np.random.default_rng(0)
    print("image x channels -> features, kernel / stride, mode: milliseconds")
    for side, channels, features, kernel, stride, padding in LAYERS:
        outputs = (side + 2 * padding - kernel) // stride + 1
        geometry = Geometry(
            (size, side, side, channels),
            (kernel, kernel, channels, features),
            (size, outputs, outputs, features),
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
                for name in ("own", "winograd", "toeplitz", "parts", "smaller parts")
            )
            print(
                f"{side:>2} x {channels:<3} -> {features:<3} {kernel} / {stride} {mode}:",
                ", ".join(told),
                flush=True,
            )


if __name__ == "__main__":
    main()
