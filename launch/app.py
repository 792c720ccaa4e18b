"""What every launcher shares: absl flags, one-line errors, a private compilation cache."""

import os
import pathlib
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

QUIET = flags.DEFINE_bool("quiet", False, "Print nothing but the results and errors.")
COMPILATION_CACHE = flags.DEFINE_string(
    "compilation_cache",
    None,
    "Folder for compiled programs, so that a second start compiles nothing; ~/.cache/advknow/jax "
    "by default, '' for none.",
)


def _use_compilation_cache() -> None:
    import jax

    folder = COMPILATION_CACHE.value
    if folder is None:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        folder = os.path.join(home, "advknow", "jax")
    if not folder:
        return
    # Compiled programs are code: only this user may write where they are read from.
    try:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        print(f"note: no compilation cache in {folder}: {error}", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def run(main: Callable[[], None], *, usage: str) -> None:
    """Parses the flags and calls `main()`; what a user can mend is one line, no traceback.

    Args:
      main: reads its flags and does the work. ValueError, TypeError, OSError and ImportError that
        it raises are printed as `error: ...`, and the exit status is 2.
      usage: the launcher's docstring, shown by --help.
    """
    sys.modules["__main__"].__doc__ = usage

    def guarded(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            print(
                f"error: unexpected argument {argv[1]!r}; settings are flags, --name=value (--help "
                "lists them).",
                file=sys.stderr,
            )
            sys.exit(2)
        # orbax tells of every file it writes.
        logging.set_verbosity(logging.WARNING)
        try:
            _use_compilation_cache()
            main()
        except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
            if os.environ.get("ADVKNOW_TRACEBACK"):
                raise
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)

    app.run(guarded)
