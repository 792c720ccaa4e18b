"""`advknow NAME --flags` is `python -m launch.NAME --flags`, wherever it is called.

A file launch.py in the working directory hides the launchers from `python -m`, not from this.
"""

import pathlib
import runpy
import sys

from launch import huge_pages


def main() -> None:
    """Runs the launcher that the first argument names; may start the process anew for it."""
    huge_pages.start_again()
    folder = pathlib.Path(__file__).parent
    names = sorted(p.stem for p in folder.glob("*.py") if "app.run(" in p.read_text() or p.stem in (
        "adv2know", "know2adv"))  # fmt: skip
    names = [name for name in names if name not in ("app", "experiment", "__main__")]
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        given = sys.argv[1] if len(sys.argv) > 1 else ""
        print(
            f"error: command={given!r} is not known; accepted: {', '.join(names)} (advknow NAME "
            "--help).",
            file=sys.stderr,
        )
        sys.exit(2)
    name = sys.argv.pop(1)
    sys.argv[0] = str(folder / f"{name}.py")
    runpy.run_module(f"launch.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
