"""What a process says it has held is its own."""

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import sys
    from advknow.benchmark.peak_memory import peak_mib
    before = peak_mib()
    held = bytearray(200 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    del held
    print(before, peak_mib())
"""


def _peaks():
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], capture_output=True, text=True, check=True
    )
    return map(float, found.stdout.split())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")
def test_of_a_large_process_a_small_child_is_small():
    before, after = _peaks()
    held = bytearray(2**30)
    held[::4096] = b"x" * len(held[::4096])
    before_of_large, after_of_large = _peaks()
    # What imports take differs a little from time to time.
    assert abs(before_of_large - before) < 20
    for first, last in ((before, after), (before_of_large, after_of_large)):
        assert 195 < last - first < 210
