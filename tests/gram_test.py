"""The Gram matrices of Jacobians: exact float64, whatever part of the batch is multiplied at once."""

import concurrent.futures

import chex
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import threadpoolctl
from absl.testing import parameterized
from jax.tree_util import Partial

from advknow import gram, losses, matching
from advknow.passes import devices
from advknow.passes.apply_fn import as_pytree

N, M, D, INPUTS = 60, 3, 4, 700


def _integers(rng, *shape):
    return rng.integers(-3, 4, shape).astype(np.float32)


def _setting():
    """Models A (x * x / 2) with Jacobian A diag(x), exact in float32 for small integers."""
    rng = np.random.default_rng(0)
    a, b, x = _integers(rng, M, INPUTS), _integers(rng, D, INPUTS), _integers(rng, N, INPUTS)
    models = [lambda x, w=w: (x * x / 2) @ jnp.asarray(w, x.dtype).T for w in (a, b)]
    return models, x, a * x[:, None].astype(np.float64), b * x[:, None].astype(np.float64)


def _of_batch(models, x, count=N):
    models = [as_pytree(f, name="f") for f in models]
    return gram.of_batch(*models, x, count, loss=losses.l2, source_loss=losses.l2)


ROUTES = (gram.products_on_host, gram.products_on_device)


class RoutesTest(chex.TestCase):
    """Where Jacobians are multiplied: on the host, or on the device that holds them."""

    @parameterized.product(route=ROUTES, dtype=(jnp.float32, jnp.bfloat16), count=(1, 7, N))
    def test_products_of_integers_are_exact(self, route, dtype, count):
        _, _, j_source, j_target = _setting()
        both = np.concatenate([j_source, j_target], axis=1)[:count]
        found = route(jnp.asarray(j_source, dtype), jnp.asarray(j_target, dtype), count)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, both @ both.swapaxes(1, 2))

    @parameterized.product(cores=(1, 2, 7), count=(1, 5, N))
    def test_shares_of_several_threads_are_the_whole(self, cores, count):
        _, _, j_source, j_target = _setting()
        both = np.concatenate([j_source, j_target], axis=1)[:count]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(devices, "usable_cores", lambda: cores)
            patch.setattr(gram, "NUMBERS_AT_ONCE", 2 * (M + D) * INPUTS)
            found = gram.products_on_host(j_source, j_target, count)
        np.testing.assert_array_equal(found, both @ both.swapaxes(1, 2))

    def test_two_at_once_leave_the_number_of_threads_of_blas(self):
        """The limit is the process's."""
        before = gram._blas().info()
        _, _, j_source, j_target = _setting()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for _ in range(50):
                list(pool.map(lambda _: gram.products_on_host(j_source, j_target, N), range(2)))
        assert gram._blas().info() == before

    @parameterized.parameters(1, 3 * (M + D) * INPUTS, 2**30)
    def test_in_parts_on_the_device(self, numbers_at_once):
        rng = np.random.default_rng(0)
        j_source, j_target = (rng.normal(size=(11, k, INPUTS)).astype(np.float32) for k in (M, D))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gram, "NUMBERS_AT_ONCE_ON_DEVICE", numbers_at_once)
            gram._products_on_device.clear_cache()
            found = gram.products_on_device(jnp.asarray(j_source), jnp.asarray(j_target), 11)
        expected = gram.products_on_host(jnp.asarray(j_source), jnp.asarray(j_target), 11)
        # Sums of 700 float64 products in two orders.
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-11)
        gram._products_on_device.clear_cache()

    def test_a_model_matches_itself_on_the_device(self):
        f, g = (oracles.tanh_network(i, n=40, d=d) for i, d in ((0, 5), (1, 4)))
        x = np.random.default_rng(0).uniform(size=(50, 40)).astype(np.float32)

        def match(f_target):
            return matching.gradient_matching(f_source=f, f_target=f_target, x=x)

        by_host = match(g)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gram, "products_on_host", gram.products_on_device)
            itself, other = match(f), match(g)
        assert itself.distance < 1e-4 * itself.norm
        np.testing.assert_allclose(other.distance, by_host.distance, rtol=1e-12)

    def test_sixty_four_bits_end_with_it(self):
        gram.products_on_device(jnp.ones((2, 3, 5)), jnp.ones((2, 1, 5)), 2)
        assert jnp.ones(2).dtype == jnp.float32

    def test_not_finite_is_found(self):
        j = jnp.ones((2, 3, 5)).at[1, 2, 3].set(jnp.nan)
        found = gram.products_on_device(j, jnp.ones((2, 1, 5)), 2)
        assert np.isfinite(found[0]).all()
        assert not np.isfinite(found[1]).all()


class GramTest(chex.TestCase):
    @parameterized.parameters(1, 26 * (M + D) * INPUTS, 2**30)
    def test_of_every_division_are_the_exact_products(self, numbers_at_once):
        models, x, j_source, j_target = _setting()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gram, "NUMBERS_AT_ONCE", numbers_at_once)
            found = _of_batch(models, jnp.asarray(x), N - 1)
        across = j_source.swapaxes(1, 2)
        np.testing.assert_array_equal(found.source, (j_source @ across)[:-1])
        np.testing.assert_array_equal(found.cross, (j_target @ across)[:-1])
        np.testing.assert_array_equal(found.target, (j_target @ j_target.swapaxes(1, 2))[:-1])

    @parameterized.parameters(jnp.bfloat16, jnp.float32)
    def test_of_any_dtype_are_float64(self, dtype):
        models, x, j_source, _ = _setting()
        found = _of_batch(models, jnp.asarray(x, dtype))
        assert found.eps == float(jnp.finfo(dtype).eps)
        # The entries, products of two integers up to 3, are exact in bfloat16 too.
        np.testing.assert_array_equal(found.source, j_source @ j_source.swapaxes(1, 2))

    def test_squares_that_float32_cannot_hold_are_finite(self):
        models, x, j_source, _ = _setting()
        large = [lambda x, f=f: 2.0**90 * f(x) for f in models]
        found = _of_batch(large, jnp.asarray(x))
        np.testing.assert_array_equal(found.source, 2.0**180 * j_source @ j_source.swapaxes(1, 2))

    @parameterized.parameters(jnp.nan, jnp.inf, -jnp.inf)
    def test_name_the_model_and_count_the_examples_that_are_not_finite(self, value):
        (f_source, f_target), x, _, _ = _setting()
        x[[3, 50, 59], 0] = 1000.0  # the last is padding

        def broken(x):
            return f_target(x) * jnp.where(x[:, :1] > 100, value, 1.0)

        with pytest.raises(ValueError, match="f_target or its gradient .* for 2 of 59 examples"):
            _of_batch((f_source, broken), jnp.asarray(x), N - 1)
        with pytest.raises(ValueError, match="f_source or its gradient .* for 3 of 60 examples"):
            _of_batch((broken, f_source), jnp.asarray(x))

    def test_leave_the_threads_of_blas_as_they_were(self):
        def threads():
            return [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]

        models, x, _, _ = _setting()
        _of_batch(models, jnp.asarray(x))
        with threadpoolctl.threadpool_limits(3, user_api="blas"):
            before = threads()
            _of_batch(models, jnp.asarray(x))
            assert 3 in before
            assert threads() == before


def _network(w, x):
    return jnp.tanh(x @ w)


def test_a_model_is_compiled_once_as_source_and_as_target_of_any(compiled):
    def of(w):
        return Partial(_network, jnp.asarray(w))

    x = np.ones((N, 5), np.float32)
    one, two = of(np.ones((5, M), np.float32)), of(np.full((5, D), 0.5, np.float32))
    first = _of_batch((one, two), x)
    assert compiled.count("jit(_jacobian)") == 2
    again = _of_batch((two, one), x)
    _of_batch((of(np.zeros((5, M), np.float32)), two), x)
    assert compiled.count("jit(_jacobian)") == 2
    np.testing.assert_array_equal(first.source, again.target)
    np.testing.assert_array_equal(first.cross, again.cross.swapaxes(1, 2))
