"""What has hung must finish: batched LAPACK calls on two cores, PyTorch's callbacks on one.

The first: jaxlib 0.10.0 to 0.10.2, `advknow.attacks.singular`. The second: `advknow.models.host`.
What has not, and a campaign alone tries: an experiment that compiles in a thread while it works.
"""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import oracles
import pytest

import advknow
from advknow import attacks, losses

IMPORT_FROM = [
    str(pathlib.Path(module.__file__).parents[up]) for module, up in ((oracles, 0), (advknow, 1))
]

PROGRAM = """
import jax, numpy as np
import advknow, oracles

f1, f2 = (oracles.tanh_network(seed, n=30, d=10, h=32) for seed in (0, 1))
x = np.random.default_rng(2).uniform(size=(5000, 30)).astype(np.float32)
record = advknow.transferability(
    f1, f2, x, attack=advknow.attacks.singular(), key=jax.random.key(0), linearize=True,
    batch_size=5000,
)
assert record.n == 5000 and 0 < record.alpha1 < 1, record
print("finished")
"""

TORCH = """
import jax, numpy as np, torch
import advknow
from torch import nn

def network(seed):
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1800, 10)
    return advknow.adapters.from_torch(nn.Sequential(*layers).eval())

f, g = network(0), network(1)
# At no multiple of 64 bytes, so that JAX would copy what it hands to a callback of its own.
memory = np.random.default_rng(2).uniform(size=128 * 3072 + 16).astype(np.float32)
start = next(i for i in range(16) if memory[i:].ctypes.data % 64 == 16)
x = memory[start : start + 128 * 3072].reshape(128, 32, 32, 3)
jax.block_until_ready(jax.jit(lambda f, g, x: f(x) + g(x))(f, g, x))
attack = advknow.attacks.pgd(eps=0.05)
record = advknow.transferability(f, g, x, attack=attack, key=jax.random.key(0))
distance = advknow.matching.gradient_matching(f_source=f, f_target=g, x=x).distance
assert record.n == 128 and 0 < record.alpha1 < 1 and distance > 0, (record, distance)
print("finished")
"""
AHEAD = """
import tempfile
from tiny_run import tiny_run
from advknow.experiments.run import run

rows = run(tiny_run(), tempfile.mkdtemp(), compile_ahead=True).rows
assert len(rows) == 2 and all(0 < row["alpha1"] for row in rows), rows
print("finished")
"""
PROGRAMS = {"lapack": PROGRAM, "torch": TORCH, "ahead": AHEAD}


@pytest.mark.parametrize("attempt", range(3))
def test_two_models_of_ten_outputs_finish(attempt):
    # It takes about 5 s; the hang is for ever, and does not come every time.
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(IMPORT_FROM)},
    )
    assert result.returncode == 0, result.stderr
    assert "finished" in result.stdout


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are not chosen here")
def test_callbacks_finish_on_one_core():
    """There `jax.pure_callback` waits for ever, at the first call."""
    pytest.importorskip("torch")
    one_core = "import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])\n"
    result = subprocess.run(
        [sys.executable, "-c", one_core + TORCH],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*IMPORT_FROM, *sys.path])},
    )
    assert result.returncode == 0, result.stderr
    assert "finished" in result.stdout


def _decompositions(compiled_text):
    return sum("custom-call" in line and "syevd" in line for line in compiled_text.splitlines())


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="LAPACK is what hangs")
@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_one_batched_decomposition_a_program(name):
    """What the hang needs is two of them in one program; each attack is a program of its own."""
    attack = attacks.singular(loss=name)
    f = oracles.tanh_network(0, n=30, d=10)
    program = jax.jit(attack).lower(f, jnp.ones((50, 30)), jax.random.key(0)).compile()
    assert _decompositions(program.as_text()) == 1
