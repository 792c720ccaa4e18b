"""The environment in which a launcher starts."""

import os
import subprocess
import sys

import pytest

from launch import huge_pages

ASKED = "always [madvise] never\n"
SHOWS = "import os; print(os.environ.get('GLIBC_TUNABLES', 'none'))"


@pytest.mark.parametrize(
    ("given", "libc", "enabled", "wanted"),
    [
        ("", "glibc 2.36", ASKED, "glibc.malloc.hugetlb=1"),
        ("", "glibc 2.35", ASKED, "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.check=1", "glibc 3.0", ASKED, "glibc.malloc.check=1:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0", "glibc 2.36", ASKED, None),
        ("glibc.malloc.hugetlb=2", "glibc 2.36", ASKED, None),
        ("", "glibc 2.34", ASKED, None),
        ("", "", ASKED, None),
        ("", "musl 1.2", ASKED, None),
        ("", "glibc", ASKED, None),
        ("", "glibc 2.36", "[always] madvise never\n", None),
        ("", "glibc 2.36", "always madvise [never]\n", None),
        ("", "glibc 2.36", "", None),
    ],
)
def test_huge_pages_are_asked_for_where_programs_have_to(given, libc, enabled, wanted):
    assert huge_pages.tunables(given, libc=libc, enabled=enabled) == wanted


def _shown(argv: str, given: dict[str, str]) -> str:
    """What is printed by the command that importing the launchers leaves running."""
    code = (
        f"import sys; sys.argv = [{argv!r}]; sys.orig_argv = [sys.executable, '-c', {SHOWS!r}]\n"
        "import os, pathlib\n"
        "os.confstr = lambda name: 'glibc 2.36'\n"
        f"pathlib.Path.read_text = lambda path, *a, **b: {ASKED!r}\n"
        "import launch\n"
        "print('imported')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment | given,
    )
    return done.stdout.strip()


def test_a_command_starts_again_once():
    assert _shown("-m", {}) == "glibc.malloc.hugetlb=1"
    # As the second time, and as somebody who wants none.
    for value in ("glibc.malloc.hugetlb=1", "glibc.malloc.hugetlb=0"):
        assert _shown("-m", {"GLIBC_TUNABLES": value}) == "imported"


def test_an_import_does_not():
    assert _shown("pytest", {}) == "imported"
    assert _shown("", {}) == "imported"
