"""The metric program must finish on two cores (jaxlib 0.10.0 to 0.10.2, `advknow.attacks.singular`)."""

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
