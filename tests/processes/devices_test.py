"""1, 2, 4 and 8 devices, and two processes, give the same results (simulated on the CPU)."""

import json
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from kill_campaign import outcome
from launching import ROOT, environment

from advknow.passes import devices

PROGRAMS = ROOT / "tests" / "processes" / "devices_programs.py"


def begin(arguments, *, simulated=None, program=(str(PROGRAMS),)):
    # Most of their time is compilation, by as many processes at once as there are cores.
    settings = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    if simulated:
        settings["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={simulated}"
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        env=environment(**settings),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes):
    for process in processes:
        try:
            output, _ = process.communicate(timeout=600)
        finally:
            for other in processes:
                if process.returncode is None or process.returncode != 0:
                    other.kill()
        assert process.returncode == 0, output


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def leaves(content):
    return jax.tree_util.tree_leaves_with_path(content, is_leaf=lambda v: v is None)


def assert_same(found, expected, *, atol):
    """Every number of two JSON contents, but for how many devices there were."""
    found, expected = leaves(found), leaves(expected)
    assert len(found) == len(expected) > 40
    for (path, a), (other, b) in zip(found, expected, strict=True):
        assert path == other
        if isinstance(a, float):
            np.testing.assert_allclose(a, b, atol=atol, rtol=atol, err_msg=str(path))
        elif "devices" not in str(path[-1]):
            assert a == b, path


AGREE = [("measures", 1e-5), ("training", 1e-4)]


@pytest.mark.campaign
@pytest.mark.parametrize(("program", "atol"), AGREE)
def test_one_to_eight_devices_and_two_processes_agree(program, atol, tmp_path):
    assert_agreement(("1", "2", "4", "8"), program, atol, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("program", "atol"), AGREE[1:])
def test_eight_devices_and_two_processes_agree(program, atol, tmp_path):
    assert_agreement(("1", "8"), program, atol, tmp_path)


def assert_agreement(counts, program, atol, tmp_path):
    finish(begin([program, tmp_path / "devices", ",".join(counts)], simulated=8))
    by_count = json.loads((tmp_path / "devices").read_text())
    port = free_port()
    finish(*(begin([program, tmp_path / f"process{i}", 0, i, port]) for i in (0, 1)))
    one = by_count["1"]
    if program == "measures":
        assert {"kl", "iterative"} <= set(by_count["8"])
        assert [by_count[count]["devices"] for count in counts] == list(map(int, counts))
    for count in counts[1:]:
        assert_same(by_count[count], {n: one[n] for n in by_count[count]}, atol=atol)
    for i in (0, 1):
        of_process = json.loads((tmp_path / f"process{i}").read_text())["0"]
        assert_same(of_process, {n: one[n] for n in of_process}, atol=atol)
        if program == "measures":
            assert of_process["devices"] == 2


@pytest.mark.campaign
def test_two_processes_run_an_experiment_into_one_workdir(tmp_path):
    port = free_port()
    finish(
        *(begin(["experiment", tmp_path / f"alphas{i}", tmp_path / "two", i, port]) for i in (0, 1))
    )
    finish(begin(["experiment", tmp_path / "alphas", tmp_path / "one"]))
    names = [sorted(p.name for p in (tmp_path / n).iterdir()) for n in ("one", "two")]
    assert names[0] == names[1]
    journal = (tmp_path / "two" / "metrics.jsonl").read_text()
    assert journal.count('"kind": "start"') == 1
    assert (tmp_path / "alphas0").read_text() == (tmp_path / "alphas1").read_text()
    one, other = (outcome(tmp_path / name)[0] for name in ("one", "two"))
    for a, b in zip(one["rows"], other["rows"], strict=True):
        assert a["n"] == b["n"]
        # PGD takes signs of gradients, which rounding can turn where they are near 0.
        np.testing.assert_allclose(a["alpha1"], b["alpha1"], rtol=1e-2)
        np.testing.assert_allclose(a["gmd_relative"], b["gmd_relative"], rtol=1e-3)


@pytest.mark.slow
def test_two_processes_by_flags(tmp_path):
    flags = ["--model=mlp", "--dataset=digits", "--epochs=1", "--width=0.05", "--noaugment"]
    together = [f"--coordinator_address=localhost:{free_port()}", "--num_processes=2"]
    both = [
        begin(
            [*flags, *together, f"--process_id={i}", f"--workdir={tmp_path}/two"],
            program=("-m", "launch.train"),
        )
        for i in (0, 1)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert ["test_accuracy" in output for output in outputs] == [True, False]
    assert (tmp_path / "two" / "train.json").exists()
    partly = begin(
        [*flags, "--num_processes=2", f"--workdir={tmp_path}/x"], program=("-m", "launch.train")
    )
    output, _ = partly.communicate(timeout=300)
    assert partly.returncode == 2
    assert "--process_id go together" in output


def test_a_single_device_needs_no_sharding():
    assert devices.data_sharding(1) is None
    assert devices.rounded_up(7, None) == 7
    assert not devices.divides(8, None)
    tree = {"a": np.zeros(3)}
    assert devices.replicate(tree, None) is tree
    assert devices.put(tree["a"], None) is tree["a"]
    assert devices.is_main()
    assert devices.agreed("x", lambda: 3) == 3
    assert devices.any_process(True)


def test_more_devices_than_there_are_is_refused():
    many = jax.device_count() + 1
    with pytest.raises(ValueError, match=f"num_devices={many} must be .* <= {many - 1}"):
        devices.data_sharding(many)
    with pytest.raises(ValueError, match="num_devices=0 must be"):
        devices.data_sharding(0)
