"""Runs a launcher as a user does, in a process of its own; or many that end early, in forks of one."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent


def environment(**more):
    return {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), **more}


def launch(name, *flags, cwd, check=True, timeout=600):
    done = subprocess.run(
        [sys.executable, "-m", f"launch.{name}", *flags],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


# What takes most of a launcher's first seconds, imported once. XLA is not begun before the forks.
_FORKS = """
import json, os, runpy, sys, warnings
import advknow.evidence, advknow.experiments.collection, advknow.ranking, advknow.runs.unfinished
import matplotlib.backends.backend_agg

warnings.filterwarnings("ignore", category=RuntimeWarning)
for folder, (name, *flags) in json.load(sys.stdin):
    if not (child := os.fork()):
        os.chdir(folder)
        for descriptor, file in (1, "stdout"), (2, "stderr"):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
        sys.argv = [f"launch/{name}.py", *flags]
        code = 0
        try:
            runpy.run_module(f"launch.{name}", run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            code = ended.code
        sys.stdout.flush()
        os._exit(code)  # Python would take a second to let go of all that was imported.
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def launch_each(commands, folders):
    """What each command (name and flags) gives in its folder, without the seconds of its imports."""
    given = [(str(folder), command) for folder, command in zip(folders, commands, strict=True)]
    done = subprocess.run(
        [sys.executable, "-u", "-c", _FORKS],
        # A launcher that asks for huge pages starts itself again, and imports all again.
        env=environment(GLIBC_TUNABLES="glibc.malloc.hugetlb=0"),
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [
        subprocess.CompletedProcess(
            command, int(code), *((folder / name).read_text() for name in ("stdout", "stderr"))
        )
        for command, code, folder in zip(commands, done.stdout.split(), folders, strict=True)
    ]
