"""What a run says of its machine is what the run had."""

import os
import subprocess
import sys

import pytest

PROGRAM = (
    "import os; cores = sorted(os.sched_getaffinity(0))[:1]; os.sched_setaffinity(0, cores); "
    "from advknow.runs.versions import versions; print(versions()['cores'])"
)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinity, as Linux has it")
def test_the_cores_are_those_that_a_run_may_use():
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "1"
