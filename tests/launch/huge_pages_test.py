"""The environment in which a launcher starts."""

import json
import os
import subprocess
import sys

import pytest
from launching import ROOT

from launch import huge_pages

ASKED = "always [madvise] never\n"


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


# Put before Python's own start: a Linux that leaves huge pages to those that ask, whatever this
# one is, and an exec that tells what it would do.
SITE = f"""
import json, os, pathlib, sys
read = pathlib.Path.read_text
os.confstr = lambda name: "glibc 2.36"
pathlib.Path.read_text = lambda self, *a, **b: (
    {ASKED!r} if str(self).startswith("/sys/") else read(self, *a, **b)
)
def execve(path, arguments, environment):
    if os.environ.get("REFUSED"):
        raise OSError("refused")
    print(json.dumps([path, arguments, environment.get("GLIBC_TUNABLES")]), flush=True)
    os._exit(7)
os.execve = execve
"""


def _started(tmp_path, *command: str, **given: str) -> subprocess.CompletedProcess[str]:
    """A Python with that command line."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    kept = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": path, **given},
    )


HELP = ("-X", "dev", "-W", "ignore", "-m", "launch.train", "--helpshort")


def test_a_command_starts_again_with_all_that_it_was_given(tmp_path):
    done = _started(tmp_path, *HELP)
    assert done.returncode == 7, done.stderr
    path, arguments, tunables = json.loads(done.stdout)
    assert path == sys.executable
    assert arguments == [sys.executable, "-X", "advknow_again", *HELP]
    assert tunables == "glibc.malloc.hugetlb=1"


def test_so_does_the_installed_script(tmp_path):
    script = tmp_path / "advknow"
    script.write_text("from launch.__main__ import main\nmain()\n")
    done = _started(tmp_path, str(script), "train", "--helpshort")
    assert done.returncode == 7, done.stderr
    _, arguments, _ = json.loads(done.stdout)
    assert arguments == [
        sys.executable, "-X", "advknow_again", str(script), "train", "--helpshort",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "given"),
    [
        # The second start, also where the variable did not reach it.
        (("-X", "advknow_again"), {}),
        ((), {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}),
        ((), {"REFUSED": "1"}),
    ],
)
def test_a_command_goes_on_where_it_is_not_to_start_again(first, given, tmp_path):
    done = _started(tmp_path, *first, *HELP, **given)
    assert done.returncode == 1, done.stderr  # absl's, after a help
    assert "python -m launch.train" in done.stdout


def test_an_import_does_not_start_again(tmp_path):
    done = _started(tmp_path, "-c", "import launch; print('imported')")
    assert done.stdout == "imported\n", done.stderr


def test_nor_does_what_is_traced(tmp_path):
    code = (
        "import sys; from launch import huge_pages; sys.settrace(lambda *a: None); "
        "huge_pages.start_again(); print('goes on')"
    )
    assert _started(tmp_path, "-c", code).stdout == "goes on\n"
