"""PyTorch modules: the module's own numbers, those of the same network in flax, and what is refused."""

import gc
import weakref

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import advknow
from advknow import attacks, matching
from advknow.models import adapters

torch = pytest.importorskip("torch")

KEY = jax.random.key(0)
SHAPE = (6, 6, 2)


class Flax(nn.Module):
    """The network of `network`, with channels last."""

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Conv(4, (3, 3), name="conv")(x))
        x = nn.BatchNorm(use_running_average=True, name="norm")(x)
        x = nn.avg_pool(x, (2, 2), strides=(2, 2))
        return nn.Dense(5, name="fc")(x.reshape(x.shape[0], -1))


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(36, 5)

    def forward(self, x):
        x = self.norm(torch.tanh(self.conv(x)))
        x = torch.nn.functional.avg_pool2d(x, 2).permute(0, 2, 3, 1)
        return self.fc(x.flatten(1))


def network(seed, dtype=torch.float32):
    """In evaluation mode, with running statistics that are not 0 and 1."""
    torch.manual_seed(seed)
    made = Network().to(dtype).eval()
    made.norm.running_mean.uniform_(-0.5, 0.5)
    made.norm.running_var.uniform_(0.5, 1.5)
    return made


def flax(module):
    """The same function as a flax module with copied weights."""
    of = {name: jnp.asarray(value.numpy()) for name, value in module.state_dict().items()}
    params = {
        "conv": {"kernel": of["conv.weight"].transpose(2, 3, 1, 0), "bias": of["conv.bias"]},
        "norm": {"scale": of["norm.weight"], "bias": of["norm.bias"]},
        "fc": {"kernel": of["fc.weight"].T, "bias": of["fc.bias"]},
    }
    statistics = {"norm": {"mean": of["norm.running_mean"], "var": of["norm.running_var"]}}
    variables = {"params": params, "batch_stats": statistics}
    return adapters.from_linen(Flax(), variables), variables


def batch(n=8, dtype=np.float32):
    return np.random.default_rng(0).uniform(0.1, 0.9, (n, *SHAPE)).astype(dtype)


def test_outputs_and_products_are_the_modules_own(variant):
    """float64, through jit and not."""
    module, x = network(0, torch.float64), batch(3, np.float64)
    cotangents = np.random.default_rng(1).normal(size=(4, 3, 5))
    leaf = torch.tensor(x.transpose(0, 3, 1, 2)).requires_grad_()
    y = module(leaf)
    expected = [
        torch.autograd.grad(y, leaf, torch.tensor(c), retain_graph=True)[0].permute(0, 2, 3, 1)
        for c in cotangents
    ]
    with jax.enable_x64(True):
        f = adapters.from_torch(module)

        def all_products(x, cotangents):
            y, pullback = jax.vjp(f, x)
            return y, jax.vmap(lambda c: pullback(c)[0])(cotangents), pullback(cotangents[0])[0]

        mine, many, one = variant(all_products)(jnp.asarray(x), jnp.asarray(cotangents))
        tangent = jnp.asarray(np.random.default_rng(2).normal(size=x.shape))
        forward = variant(lambda x, t: jax.jvp(f, (x,), (t,)))(jnp.asarray(x), tangent)[1]
        assert mine.dtype == many.dtype == forward.dtype == jnp.float64
        assert variant(f)(x.astype(np.float32)).dtype == jnp.float64
    np.testing.assert_allclose(mine, y.detach(), atol=1e-12)
    np.testing.assert_allclose(many, torch.stack(expected), atol=1e-12)
    np.testing.assert_allclose(one, expected[0], atol=1e-12)
    # <c, J t> = <J' c, t>
    np.testing.assert_allclose(
        (np.asarray(forward) * cotangents[0]).sum(),
        (expected[0].numpy() * np.asarray(tangent)).sum(),
        rtol=1e-10,
    )


def test_examples_and_batches_may_be_mapped():
    f, x = adapters.from_torch(network(0)), batch(4)
    one_by_one = jax.jit(jax.vmap(lambda row: f(row[None])[0]))(x)
    np.testing.assert_allclose(one_by_one, f(x), atol=1e-6)
    rows = jax.jit(jax.vmap(jax.jacrev(lambda row: f(row[None])[0])))(x)
    _, expected = advknow.passes.apply_fn.vjp_rows(f, jnp.asarray(x))
    np.testing.assert_allclose(rows.reshape(expected.shape), expected, atol=1e-6)


CALLS = {
    "pgd": lambda f, g, x: attacks.pgd(eps=0.1, random_start=False)(f, x, KEY),
    "fgsm": lambda f, g, x: attacks.fgsm(eps=0.1)(f, x, KEY),
    "alphas": lambda f, g, x: advknow.transferability(
        f, g, x, attack=attacks.pgd(eps=0.1), key=KEY
    ).summary(),
    "linearized": lambda f, g, x: advknow.transferability(
        f, g, x, attack=attacks.singular(), key=KEY, linearize=True
    ).summary(),
    "small eps": lambda f, g, x: advknow.small_eps_transferability(f, g, x)[0].summary(),
    "A1, A2": lambda f, g, x: advknow.generalized_transferability(f, g, x).A1_mean,
    "rho2": lambda f, g, x: advknow.generalized_transferability(f, g, x).rho2,
    "GMD": lambda f, g, x: matching.gradient_matching(f_source=f, f_target=g, x=x).distance,
    "FMD": lambda f, g, x: matching.function_matching(f_source=f, f_target=g, x=x).distance,
    "chain": lambda f, g, x: advknow.chain(f, g, x).gradient.distance,
    "audit": lambda f, g, x: advknow.check_model(f, x, num_steps=4).values,
}


@pytest.mark.parametrize("call", CALLS)
def test_every_measure_is_that_of_the_same_network_in_flax(call):
    modules = [network(seed, torch.float64) for seed in (0, 1)]
    with jax.enable_x64(True):
        x = batch(24, np.float64)
        found = CALLS[call](*map(adapters.from_torch, modules), x)
        expected = CALLS[call](*(flax(module)[0] for module in modules), x)
    found, expected = (
        [np.asarray(leaf) for leaf in jax.tree.leaves(tree) if np.asarray(leaf).dtype.kind in "fi"]
        for tree in (found, expected)
    )
    assert found
    # Both in float64; distances and pseudo-inverses amplify rounding.
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-9)


def test_features_are_what_the_layer_is_given():
    module, x = network(0), batch()
    f = adapters.from_torch(module, features="fc")
    variables = flax(module)[1]
    theirs = adapters.from_linen(Flax(), variables, features="fc")
    assert f(x).shape == (8, 36)
    np.testing.assert_allclose(f(x), theirs(x), atol=1e-6)
    head = variables["params"]["fc"]
    logits = adapters.from_torch(module)(x)
    np.testing.assert_allclose(
        jax.jit(f)(x) @ head["kernel"] + head["bias"][None], logits, atol=1e-5
    )
    # Of a convolution: flattened, in the module's own order of axes.
    given = adapters.from_torch(module, features="conv")(x)
    np.testing.assert_array_equal(given, x.transpose(0, 3, 1, 2).reshape(8, -1))
    assert not module.fc._forward_pre_hooks


def test_a_change_in_place_gives_new_numbers_and_programs_are_not_mixed_up():
    first, second, x = network(0), network(1), jnp.asarray(batch())
    f, g = adapters.from_torch(first), adapters.from_torch(second)
    call = jax.jit(lambda f, x: jax.value_and_grad(lambda x: f(x).sum())(x))
    before, gradient = call(f, x)
    assert not np.allclose(before, call(g, x)[0])
    with torch.no_grad():
        first.fc.weight.mul_(2.0)
        first.fc.bias.zero_()
    after, doubled = call(f, x)
    np.testing.assert_allclose(after, f(x).sum(), rtol=1e-5)
    np.testing.assert_allclose(doubled, 2 * gradient, rtol=1e-4, atol=1e-6)
    first.load_state_dict(second.state_dict())
    for mine, theirs in zip(call(f, x), call(g, x), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
    # Between the pass forward and the one backward: the weights of then.
    _, pullback = jax.vjp(f, x)
    with torch.no_grad():
        first.fc.weight.mul_(3.0)
    direction = jnp.ones((8, 5))
    np.testing.assert_allclose(
        pullback(direction)[0], 3 * jax.vjp(g, x)[1](direction)[0], rtol=1e-4, atol=1e-5
    )


def test_the_module_is_left_as_it_was():
    module, x = network(0), batch()
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    given, other = x.copy(), network(1)
    with torch.inference_mode():
        advknow.transferability(
            adapters.from_torch(module), adapters.from_torch(other), x,
            attack=attacks.fgsm(eps=0.1), key=KEY,
        )  # fmt: skip
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert all(torch.equal(kept[name], value) for name, value in module.state_dict().items())
    np.testing.assert_array_equal(x, given)
    assert torch.is_grad_enabled()


class InPlace(torch.nn.Module):
    """Writes into its input, and uses `view`."""

    def __init__(self):
        super().__init__()
        self.last = torch.nn.Linear(8, 3)

    def forward(self, x):
        x.sub_(0.5)
        return self.last(x.view(len(x), -1))


@pytest.mark.parametrize(
    ("shape", "layout"), [((8,), "NCHW"), ((2, 4, 1), "NCHW"), ((2, 2, 2), "NHWC")]
)
def test_a_module_that_works_in_place_does_not_write_into_arrays_of_jax(shape, layout):
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(5, *shape)).astype(np.float32))
    before, module = np.array(x), InPlace().eval()
    f = adapters.from_torch(module, layout=layout)
    moved = torch.tensor(before - 0.5).flatten(1)
    for way in (f, jax.jit(f)):
        np.testing.assert_allclose(way(x), module.last(moved).detach(), atol=1e-6)
    gradient = jax.jit(jax.grad(lambda x: f(x)[:, 0].sum()))(x)
    expected = np.broadcast_to(module.last.weight[0].detach(), (5, 8))
    np.testing.assert_allclose(gradient.reshape(5, 8), expected, atol=1e-6)
    np.testing.assert_array_equal(x, before)


def test_modules_that_nobody_holds_are_freed():
    x, gone = jnp.asarray(batch()), []
    for seed in range(5):
        module = network(seed)
        gone.append(weakref.ref(module))
        f = adapters.from_torch(module)
        jax.jit(lambda f, x: jax.grad(lambda x: f(x).sum())(x))(f, x)
        advknow.perturb(f, x, attack=attacks.fgsm(eps=0.1), key=KEY)
    del module, f
    gc.collect()
    assert [ref() for ref in gone] == [None] * 5


def test_copies_hold_the_module():
    f = jax.tree.map(lambda leaf: leaf, adapters.from_torch(network(0)))
    gc.collect()
    assert f(batch()).shape == (8, 5)


class Returns(torch.nn.Module):
    """Returns what `what` makes of the logits."""

    def __init__(self, what):
        super().__init__()
        self.inner, self.what = torch.nn.Linear(6, 3), what

    def forward(self, x):
        return self.what(self.inner(x))


def test_output_picks_the_logits():
    x = np.ones((4, 6), np.float32)
    module = Returns(lambda y: {"logits": y}).eval()
    f = adapters.from_torch(module, output=lambda y: y["logits"])
    np.testing.assert_allclose(f(x), module.inner(torch.ones(4, 6)).detach(), atol=1e-6)
    assert adapters.from_torch(module, features="inner")(x).shape == (4, 6)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda y: {"logits": y}, r"returns a dict; .*output=lambda y: y.logits"),
        (lambda y: (y, y), r"returns a tuple; one tensor \(batch, outputs\)"),
        (lambda y: y[:, None], r"returns \(2, 1, 3\) for a batch of 2; .*\(2, d\) is needed"),
        (lambda y: y.sum(), r"returns \(\) for a batch of 2"),
        (lambda y: y.half(), "returns torch.float16; float32 or float64 is needed"),
    ],
)
def test_outputs_that_are_no_logits(what, message):
    f = adapters.from_torch(Returns(what).eval())
    with pytest.raises(ValueError, match=message):
        advknow.check_model(f, np.full((4, 6), 0.5, np.float32))


def test_hostile_input():
    module, x = network(0), batch()
    f = adapters.from_torch(module)
    for given, error, message in (
        ({"module": 3}, TypeError, "module is a int; a torch.nn.Module is needed"),
        ({"layout": "CHW"}, ValueError, "layout='CHW' is not known; accepted: NCHW, NHWC"),
        ({"features": "fcc"}, ValueError, "features='fcc' is not known; .*Did you mean 'fc'"),
        ({"features": ""}, ValueError, "features='' is not known"),
        ({"output": "logits"}, TypeError, "output='logits' must be a function"),
        ({"output": len, "features": "fc"}, ValueError, "with features= leave it out"),
        ({"module": network(0).half()}, TypeError, r"holds torch.float16 .* module.float\(\)"),
    ):
        with pytest.raises(error, match=message):
            adapters.from_torch(**{"module": module, **given})
    with pytest.raises(ValueError, match="training mode .*evaluation mode is needed: module.eval"):
        adapters.from_torch(Network())
    with torch.inference_mode():
        fixed = network(0)
    with pytest.raises(ValueError, match="made in torch.inference_mode.*has no gradients"):
        adapters.from_torch(fixed)
    with pytest.raises(ValueError, match=r"float64 and JAX has no such numbers here; accepted"):
        advknow.check_model(adapters.from_torch(network(0).double()), x)
    # The channels come last, whatever the module's layout.
    with pytest.raises(ValueError, match="does not accept a batch of shape"):
        advknow.check_model(f, x.transpose(0, 3, 1, 2))
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        jax.hessian(lambda row: f(row[None])[0, 0])(jnp.asarray(x[0]))
    unused = torch.nn.Sequential(torch.nn.Linear(6, 3))
    unused.other = torch.nn.Module()
    unused.forward = lambda x: unused[0](x)
    with pytest.raises(ValueError, match="the module does not call that layer"):
        adapters.from_torch(unused.eval(), features="other")(np.ones((2, 6), np.float32))
    cut = adapters.from_torch(Returns(torch.Tensor.detach).eval())
    with pytest.raises(ValueError, match="no gradient to its input"):
        jax.grad(lambda x: cut(x).sum())(jnp.ones((2, 6)))


def test_training_mode_afterwards_is_an_error():
    module, x = network(0), jnp.asarray(batch())
    f = adapters.from_torch(module)
    call = jax.jit(f)
    call(x)
    module.norm.train()
    with pytest.raises((jax.errors.JaxRuntimeError, ValueError), match=r"in training mode \(norm"):
        jax.block_until_ready(call(x))
