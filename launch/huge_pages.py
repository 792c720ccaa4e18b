"""Lets a launcher's process have huge pages where Linux gives them to those that ask.

XLA's CPU backend takes new memory for every call of a program, and the kernel clears it page by
page, which in pages of 4 kB costs a good part of a step of training (advknow/benchmark/README.md).
glibc asks for huge ones if its environment says so when it starts, so a launcher starts itself once
more, before anything is imported; processes that it starts inherit the variable. No result depends
on it. GLIBC_TUNABLES=glibc.malloc.hugetlb=0 leaves everything as it is.
"""

import contextlib
import os
import pathlib
import sys

TUNABLE = "glibc.malloc.hugetlb"
# Whose choice says "always [madvise] never" where programs have to ask.
ENABLED = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
# The first that knows the tunable.
GLIBC = (2, 35)
# Python's option -X takes any word.
AGAIN = "advknow_again"


def tunables(given: str, *, libc: str, enabled: str) -> str | None:
    """GLIBC_TUNABLES with huge pages, or None where it is to stay.

    Args:
      given: the variable, "" for none; one that names the tunable stays.
      libc: "glibc 2.36", or "" for another.
      enabled: the text of `ENABLED`, "" where there is none.
    """
    name, _, version = libc.partition(" ")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if name != "glibc" or numbers < GLIBC or "[madvise]" not in enabled or TUNABLE in given:
        return None
    return f"{given}:{TUNABLE}=1" if given else f"{TUNABLE}=1"


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return ""


def _enabled() -> str:
    try:
        return ENABLED.read_text()
    except OSError:
        return ""


def start_again() -> None:
    """Starts the command of this process once more, in its place, if it is to have huge pages.

    What the second start is told in its command line tells it from the first even where the
    variable does not reach it.
    """
    # A tracer (a debugger, coverage) would lose what it follows.
    if AGAIN in sys._xoptions or not sys.executable or sys.gettrace() is not None:
        return
    found = tunables(os.environ.get("GLIBC_TUNABLES", ""), libc=_libc(), enabled=_enabled())
    if found is None:
        return
    arguments = [sys.executable, "-X", AGAIN, *sys.orig_argv[1:]]
    # Where that is refused it goes on, with small pages.
    with contextlib.suppress(OSError):
        os.execve(sys.executable, arguments, {**os.environ, "GLIBC_TUNABLES": found})
