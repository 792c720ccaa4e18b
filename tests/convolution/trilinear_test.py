"""Convolutions: every algorithm, mode and derivative against `jax.lax` in float64."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from advknow.convolution import parts, toeplitz, winograd
from advknow.convolution import trilinear as convolution
from advknow.convolution.geometry import Geometry
from advknow.models import layers

# size, (height, breadth), channels, features, kernel, stride, padding
CASES = {
    "winograd": (3, (8, 6), 8, 8, 3, 1, 1),
    "winograd, odd sizes": (5, (9, 7), 9, 4, 3, 1, 1),
    "winograd, stride": (4, (8, 12), 4, 10, 3, 2, 1),
    "winograd, stride, odd sizes": (2, (9, 6), 10, 4, 3, 2, 1),
    "winograd, stride, one pixel": (3, (1, 2), 4, 5, 3, 2, 1),
    "toeplitz, padding": (2, (6, 5), 1, 4, 5, 1, 2),
    "toeplitz": (2, (8, 33), 3, 6, 5, 1, 0),
    "toeplitz, even kernel": (3, (7, 10), 2, 5, 4, 1, 1),
    "parts, stride": (6, (9, 8), 3, 70, 3, 2, 1),
    "lax, large kernel": (1, (13, 12), 3, 64, 11, 4, 5),
}


def _arrays(case, dtype=np.float64):
    size, shape, channels, features, kernel, stride, padding = CASES[case]
    generator = np.random.default_rng(0)
    x = generator.normal(size=(size, *shape, channels)).astype(dtype)
    w = generator.normal(size=(kernel, kernel, channels, features)).astype(dtype)
    return x, w, (stride, stride), ((padding, padding), (padding, padding))


def _lax(x, w, strides, padding):
    return lax.conv_general_dilated(
        x, w, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _geometry(case):
    x, w, strides, padding = _arrays(case)
    y = jax.eval_shape(lambda: _lax(x, w, strides, padding))
    return Geometry(x.shape, w.shape, y.shape, strides, padding)


@pytest.fixture
def everywhere(monkeypatch):
    """Every algorithm wherever it is possible, not only where it pays."""
    monkeypatch.setattr(winograd, "LEAST_TILES", 1)
    monkeypatch.setattr(winograd, "LEAST_PRODUCTS", 1)
    monkeypatch.setattr(winograd, "LEAST_CHANNELS", 4)
    monkeypatch.setattr(winograd, "NUMBERS_OF_A_PART", 60)
    monkeypatch.setattr(toeplitz, "OUTPUTS_OF_A_PART", 150)
    monkeypatch.setattr(parts, "OUTPUTS_OF_A_PART", 8)
    monkeypatch.setattr(parts, "EXAMPLES_AT_ONCE", 1)
    jax.clear_caches()
    yield
    jax.clear_caches()


def _functions(case):
    x, w, strides, padding = _arrays(case)
    y = np.random.default_rng(1).normal(size=_geometry(case).y_shape)
    v, u = np.cos(x), np.sin(w)

    def of(conv):
        def total(x, w):
            return jnp.sum(jnp.tanh(conv(x, w, strides, padding)) * y)

        gradient = jax.grad(total, argnums=(0, 1))
        # Forward over reverse and reverse over reverse: every transpose of every mode.
        return {
            "y": lambda: conv(x, w, strides, padding),
            "jvp": lambda: jax.jvp(lambda *a: conv(*a, strides, padding), (x, w), (v, u))[1],
            "gradient": lambda: gradient(x, w),
            "hessian-vector": lambda: jax.jvp(gradient, (x, w), (v, u))[1],
            "twice reverse": lambda: jax.grad(
                lambda x, w: sum(jnp.sum(g**2) for g in gradient(x, w)), argnums=(0, 1)
            )(x, w),
        }

    return of(convolution.convolve), of(_lax)


@pytest.mark.parametrize("case", CASES)
def test_every_derivative_is_that_of_lax(case, everywhere):
    with jax.enable_x64(True):
        ours, theirs = _functions(case)
        for name, function in ours.items():
            found, wanted = jax.jit(function)(), jax.jit(theirs[name])()
            scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(wanted))
            assert scale > 0, name
            chex.assert_trees_all_close(found, wanted, rtol=1e-10, atol=1e-11 * scale)


def test_the_cases_reach_every_algorithm(everywhere):
    by_winograd = {case: winograd.suits(_geometry(case)) for case in CASES}
    by_toeplitz = {case: toeplitz.suits(_geometry(case), "y") for case in CASES}
    assert [case for case, suits in by_winograd.items() if suits] == list(CASES)[:5]
    rest = list(CASES)[5:]
    assert [case for case in rest if by_toeplitz[case]] == rest[:3]
    looped = [winograd.num_parts(_geometry(case)) for case in list(CASES)[:5]]
    assert looped == [3, 5, 4, 2, 1]
    looped = [toeplitz.num_parts(_geometry(case)) for case in rest[:3]]
    assert looped == [1, 2, 3]
    counts = [parts.num_parts(_geometry(case)) for case in rest[3:]]
    assert counts == [6, 1]


@pytest.mark.parametrize("mode", ["y", "x", "w"])
@pytest.mark.parametrize("stride", [1, 2])
def test_float32_is_as_accurate_as_the_direct_convolution(mode, stride, everywhere):
    side = 8 // stride
    geometry = Geometry(
        (8, 8, 8, 64), (3, 3, 64, 64), (8, side, side, 64), (stride, stride), ((1, 1), (1, 1))
    )
    generator = np.random.default_rng(0)
    shapes = {"x": geometry.x_shape, "w": geometry.w_shape, "y": geometry.y_shape}
    first, second = (generator.normal(size=shapes[name]) for name in convolution._OPERANDS[mode])
    with jax.enable_x64(True):
        exact = np.asarray(convolution._reference(first, second, mode=mode, geometry=geometry))
    narrow = jnp.float32(first), jnp.float32(second)
    direct = convolution._reference(*narrow, mode=mode, geometry=geometry)
    with jax.enable_x64(True):
        found = winograd.MODES[mode](*narrow, geometry)
    worst = [float(np.abs(np.asarray(a) - exact).max()) for a in (direct, found)]
    # Sums and differences of four values before the products cost two bits at most.
    assert worst[1] <= 4 * worst[0]
    assert found.dtype == jnp.float32


@pytest.mark.parametrize("case", ["winograd", "winograd, stride", "toeplitz", "parts, stride"])
@pytest.mark.parametrize("of", ["x", "w", "both"])
def test_vmap_is_a_loop(case, of, everywhere):
    x, w, strides, padding = _arrays(case, np.float32)
    many_x, many_w = np.stack([x, 2 * x, x - 1]), np.stack([w, -w, w + 1])
    given = {"x": (many_x, w), "w": (x, many_w), "both": (many_x, many_w)}[of]
    axes = {"x": (0, None), "w": (None, 0), "both": (0, 0)}[of]

    def gradient(x, w):
        return jax.grad(
            lambda x, w: jnp.sum(convolution.convolve(x, w, strides, padding) ** 2), argnums=(0, 1)
        )(x, w)

    found = jax.jit(jax.vmap(gradient, axes))(*given)
    each = [
        jax.jit(gradient)(
            given[0] if axes[0] is None else given[0][i],
            given[1] if axes[1] is None else given[1][i],
        )
        for i in range(3)
    ]
    wanted = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(wanted))
    # float32 sums in another order.
    chex.assert_trees_all_close(found, wanted, atol=1e-5 * scale)


def test_what_is_not_plain_is_left_to_lax():
    x, w, strides, padding = _arrays("parts, stride", np.float32)
    options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "rhs_dilation": (2, 2)}
    found = convolution.convolve(x, w, (1, 1), padding, **options)
    np.testing.assert_array_equal(found, lax.conv_general_dilated(x, w, (1, 1), padding, **options))
    half = convolution.convolve(
        jnp.bfloat16(x),
        jnp.bfloat16(w),
        strides,
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    assert half.dtype == jnp.bfloat16


def test_max_pool_is_flaxs_and_so_is_its_gradient():
    import flax.linen as nn

    # Whole numbers, so that there are equal values in many windows.
    x = jnp.asarray(np.random.default_rng(0).integers(0, 3, (2, 7, 6, 5)), jnp.float32)
    y = np.random.default_rng(1).normal(size=(2, 3, 3, 5)).astype(np.float32)

    def of(pool):
        return jax.value_and_grad(lambda x: jnp.sum(pool(x) * y))(x)

    flax = of(lambda x: nn.max_pool(x, (2, 2), (2, 2)))
    ours = of(layers.max_pool)
    chex.assert_trees_all_close(ours, flax, rtol=1e-6)
    assert bool(jnp.isnan(layers.max_pool(x.at[0, 0, 0, 0].set(jnp.nan))[0, 0, 0, 0]))


def test_the_off_switch_leaves_everything_to_jax(monkeypatch):
    x, w = jnp.ones((2, 6, 6, 3)), jnp.ones((3, 3, 3, 4))
    options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}

    def primitives():
        jaxpr = jax.make_jaxpr(
            lambda x: convolution.convolve(x, w, (1, 1), ((1, 1), (1, 1)), **options)
        )(x)
        return {equation.primitive.name for equation in jaxpr.jaxpr.eqns}

    assert primitives() == {"advknow_convolution"}
    monkeypatch.setattr(convolution, "ENABLED", False)
    assert primitives() == {"conv_general_dilated"}
