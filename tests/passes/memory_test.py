"""Batch sizes that fit: the compiler's account, the search, and what a user is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from launching import launch

from advknow import models
from advknow.passes import memory

MODELS = [
    models.create(name, num_classes=10, input_shape=(16, 16, 1), width=0.1)
    for name in ("mlp", "lenet")
]
LOWER = memory.jacobians_of(*(model.bind_abstract() for model in MODELS), (16, 16, 1))


def test_the_account_of_a_program_is_what_its_arrays_hold():
    x = jax.ShapeDtypeStruct((1000,), jnp.float32)
    y = jax.ShapeDtypeStruct((), jnp.float32)
    lowered = jax.jit(lambda x, y: x * y).lower(x, y)
    # 1,000 numbers in and out, and one more.
    assert memory.program_bytes(lowered) == pytest.approx(4 * 2001, abs=64)
    # A product of 200 x 200 matrices has its two factors' sums between.
    between = jax.jit(lambda a: jnp.sin(a @ a) @ a).lower(jnp.ones((200, 200)))
    assert memory.program_bytes(between) >= 4 * 200 * 200 * 3


def test_jacobians_are_counted():
    # J of both models: outputs x inputs numbers an example.
    assert memory.program_bytes(LOWER(64)) >= 64 * 2 * 10 * 16 * 16 * 4
    assert memory.program_bytes(LOWER(64)) > 1.8 * memory.program_bytes(LOWER(32))
    gradients = memory.gradients_of(*(model.bind_abstract() for model in MODELS), (16, 16, 1))
    assert memory.program_bytes(gradients(64)) < memory.program_bytes(LOWER(64))


@pytest.mark.parametrize("exponent", [0, 3, 5])
def test_the_largest_that_fits_fits_and_the_next_does_not(exponent):
    needed = memory.program_bytes(LOWER(2**exponent))
    for limit in (needed, needed + 1):
        assert memory.largest_batch_size(LOWER, limit=limit, at_most=64) == 2**exponent
    if exponent:
        found = memory.largest_batch_size(LOWER, limit=needed - 1, at_most=64)
        assert found == 2 ** (exponent - 1)


def test_the_search_compiles_few_programs():
    asked = []

    class Program:
        def __init__(self, size):
            asked.append(size)
            self.size = size

        def compile(self):
            return self

        def memory_analysis(self):
            from types import SimpleNamespace

            names = ("argument", "output", "temp", "alias")
            given = dict.fromkeys((f"{name}_size_in_bytes" for name in names), 0)
            return SimpleNamespace(**{**given, "temp_size_in_bytes": 1000 * self.size})

    assert memory.largest_batch_size(Program, limit=20_000) == 16
    assert len(asked) <= 5
    assert memory.fitting_batch_size(Program, 20, limit=20_000) == 20
    with pytest.raises(memory.MemoryLimitError, match="batch_size=21 needs .* batch_size=16 fits"):
        memory.fitting_batch_size(Program, 21, limit=20_000)
    with pytest.raises(memory.MemoryLimitError, match="a batch of 1 needs .*: no batch fits"):
        memory.fitting_batch_size(Program, 4, limit=999)
    # A device's share counts; without a limit nothing is compiled.
    gib = 20_000 / memory.GIB
    assert memory.asked_batch_size(Program, 0, limit_gib=gib, num_devices=4) == 64
    assert memory.asked_batch_size(Program, 77, limit_gib=gib, num_devices=4) == 77
    asked.clear()
    assert memory.asked_batch_size(Program, 10**6, limit_gib=None) == 10**6
    assert memory.fitting_batch_size(Program, 0, limit=None) == 1024
    assert asked == []


def test_the_device_says_what_is_free():
    limit = memory.device_limit()
    assert limit is None or limit > 2**20


def test_hostile_input():
    with pytest.raises(ValueError, match="batch_size=-1 must be a finite number >= 0"):
        memory.asked_batch_size(LOWER, -1, limit_gib=None)
    with pytest.raises(ValueError, match="memory_limit_gib=0 must be a finite number > 0"):
        memory.asked_batch_size(LOWER, 4, limit_gib=0)


SETTINGS = (
    *("--preset=digits", "--width=0.05", "--epochs=1", "--transfer_epochs=1"),
    *("--num_examples=24", "--transfer_repeats=1", "--labelled_per_class=2", "--eps=0.05"),
)


@pytest.mark.slow
def test_an_experiment_names_a_batch_size_that_fits_before_it_trains(tmp_path):
    refused = launch(
        "adv2know",
        *(*SETTINGS, "--attack_batch_size=512", "--memory_limit_gib=0.1", "--workdir=a"),
        cwd=tmp_path,
        check=False,
    )
    assert refused.returncode == 2
    assert "error: batch_size=512 needs" in refused.stderr
    named = int(refused.stderr.split("batch_size=")[-1].split(" ")[0])
    assert named < 512
    assert list((tmp_path / "a").iterdir()) == []
    assert np.log2(named) % 1 == 0
