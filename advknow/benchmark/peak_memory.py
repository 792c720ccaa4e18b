"""The most memory that a process has held."""

import pathlib
import resource
import sys

STATUS = pathlib.Path("/proc/self/status")


def peak_mib() -> float:
    """The resident memory of this process at its highest, MiB.

    On Linux the kernel's VmHWM: `getrusage` starts there from the peak of the process that began
    this one, so a small program begun by a large one reports the large one's.
    """
    if STATUS.is_file():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
