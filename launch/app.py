"""What every launcher shares: absl flags, one-line errors, a private compilation cache."""

import codecs
import io
import os
import pathlib
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

from absl import app, flags, logging

# How the tables are spelt where the terminal has no more letters.
ASCII = {"²": "^2", "±": "+-", "→": "->", "≤": "<=", "∇": "grad ", "∘": " o ", "é": "e", "ö": "oe"}

QUIET = flags.DEFINE_bool("quiet", False, "Print nothing but the results and errors.")
COMPILATION_CACHE = flags.DEFINE_string(
    "compilation_cache",
    None,
    "Folder for compiled programs, so that a second start compiles nothing; ~/.cache/advknow/jax "
    "by default, '' for none.",
)
SAVE_INTERVAL = flags.DEFINE_float(
    "save_interval", 30.0, "Seconds between two snapshots of unfinished work in the workdir."
)
STRICT = flags.DEFINE_bool(
    "strict", False, "A finding of the audit of a model ends the command with an error."
)
NUM_DEVICES = flags.DEFINE_integer(
    "num_devices", None, "Devices over which every batch is divided; all by default."
)
DETERMINISTIC = flags.DEFINE_bool(
    "deterministic",
    False,
    "On a GPU, only kernels that give the same bits every time (XLA's "
    "--xla_gpu_deterministic_ops), some of them slower; on CPUs and TPUs all do.",
)
DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "One of several processes; cloud TPU and SLURM tell which, elsewhere the three flags below.",
)
COORDINATOR_ADDRESS = flags.DEFINE_string(
    "coordinator_address", None, "HOST:PORT of process 0; needs --num_processes and --process_id."
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes there are.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which one this is, from 0.")


def _join_processes() -> None:
    """Joins the other processes, if any; only process 0 prints."""
    three = (COORDINATOR_ADDRESS.value, NUM_PROCESSES.value, PROCESS_ID.value)
    if not DISTRIBUTED.value and all(value is None for value in three):
        return
    if any(value is not None for value in three) and any(value is None for value in three):
        raise ValueError(
            "--coordinator_address, --num_processes and --process_id go together; given: "
            f"{three[0]!r}, {three[1]!r}, {three[2]!r}."
        )
    import jax

    try:
        jax.distributed.initialize(*three)
    except RuntimeError as error:
        raise ValueError(f"the processes could not be joined: {error}") from error
    if jax.process_index() != 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)


def _set_xla_flags() -> None:
    """Before JAX looks for its devices, after which it reads no more of XLA's flags."""
    given = os.environ.get("XLA_FLAGS", "").strip()
    if given and not given.startswith("-"):  # The name of a file of flags, and nothing else.
        if DETERMINISTIC.value:
            raise ValueError(
                f"XLA_FLAGS={given!r} names a file, to which --deterministic cannot add; write "
                "--xla_gpu_deterministic_ops=true into it instead."
            )
        return
    words = given.split()
    # XLA would try many kernels of Triton for every product while it compiles for a GPU, which is
    # most of what a first start takes there (advknow/benchmark/README.md).
    triton = "--xla_gpu_enable_triton_gemm"
    plugins = metadata.entry_points(group="jax_plugins")
    named = any(word.partition("=")[0] == triton for word in words)
    if not named and any("cuda" in plugin.name for plugin in plugins):
        words.append(f"{triton}=false")
    if DETERMINISTIC.value:  # The last of a name holds.
        words.append("--xla_gpu_deterministic_ops=true")
    if words:
        os.environ["XLA_FLAGS"] = " ".join(words)


def _expand_home() -> None:
    """A ~ at the start of a path: no shell expands it behind the = of a flag."""
    for name in flags.FLAGS:
        value = flags.FLAGS[name].value
        if isinstance(value, str) and value.startswith("~"):
            flags.FLAGS[name].value = os.path.expanduser(value)


def _print_anywhere() -> None:
    """What the terminal's encoding lacks is spelt in ASCII, in place of an error."""
    codecs.register_error("advknow-ascii", _spelt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="advknow-ascii")


def _spelt(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(ASCII.get(character, "?") for character in lacking), error.end


def _check_devices() -> None:
    """Raises ValueError where JAX finds none of the devices that it is told to use."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # JAX asserts that it has a backend
        why = (str(error).splitlines() or ["no backend"])[0]
        raise ValueError(
            f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')!r}: JAX finds no such device here "
            f"({why}); unset it, or JAX_PLATFORMS=cpu."
        ) from error


def _use_compilation_cache() -> None:
    import jax

    folder = COMPILATION_CACHE.value
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    cache = os.path.join(home, "advknow")
    # matplotlib keeps a list of fonts; all that is written outside the workdir is in one folder.
    os.environ.setdefault("MPLCONFIGDIR", os.path.join(cache, "matplotlib"))
    if folder is None:
        folder = os.path.join(cache, "jax")
    if not folder:
        return
    # Compiled programs are code: only this user may write where they are read from.
    try:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        print(f"note: no compilation cache in {folder}: {error}", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", folder)
    # Small programs too: a second start is to compile nothing.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _count_programs() -> Callable[[], str]:
    """Counts compiled programs from now on; the function returned tells of them."""
    import jax

    programs, hits = [], []

    def on_duration(event: str, duration_secs: float, **about: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            programs.append(duration_secs)

    def on_event(event: str, **about: str | int) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            hits.append(event)

    jax.monitoring.register_event_duration_secs_listener(on_duration)
    jax.monitoring.register_event_listener(on_event)

    def told() -> str:
        compiled = len(programs) - len(hits)
        return (
            f"compiled {compiled} program{'s' * (compiled != 1)}, {len(hits)} from the cache "
            f"({sum(programs):.1f} s)"
        )

    return told


_asked_to_stop: list[int] = []


def is_main() -> bool:
    """Whether this process is the one that writes files."""
    import jax

    return jax.process_index() == 0


def stop_requested() -> bool:
    """Whether SIGTERM or Ctrl-C came; long work asks after every step and saves before it stops."""
    return bool(_asked_to_stop)


def _on_signal(number: int, frame: object) -> None:
    if _asked_to_stop:
        raise KeyboardInterrupt
    _asked_to_stop.append(number)
    print("stopping: saving what is done (once more stops at once)", file=sys.stderr, flush=True)


def session() -> dict[str, Any]:
    """The keyword arguments of `advknow.runs.session.session` that the flags decide."""
    from launch.progress import reporter

    return {
        "progress": reporter(quiet=QUIET.value),
        "save_interval": SAVE_INTERVAL.value,
        "stop": stop_requested,
        "num_devices": NUM_DEVICES.value,
    }


def command() -> str:
    """The command line that started this process."""
    name = pathlib.Path(sys.argv[0]).stem
    return shlex.join(["python", "-m", f"launch.{name}", *sys.argv[1:]])


def run(
    main: Callable[[], None], *, usage: str, resumes: Callable[[], bool] = lambda: False
) -> None:
    """Parses the flags and calls `main()`; what a user can mend is one line, no traceback.

    Args:
      main: reads its flags and does the work. ValueError, TypeError, OSError and ImportError that
        it raises are printed as `error: ...`, and the exit status is 2.
      usage: the launcher's docstring, shown by --help.
      resumes: whether, with these flags, `main` asks `stop_requested` and raises StoppedError when
        its work is saved; the exit status is then 128 + the signal's number, and the command that
        goes on is printed.
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
        _expand_home()
        _print_anywhere()
        # What a notebook chose for its own process; nothing is shown on a screen here.
        os.environ["MPLBACKEND"] = "agg"
        # orbax tells of every file it writes.
        logging.set_verbosity(logging.WARNING)
        if resumes():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, _on_signal)
        from advknow.runs.unfinished import StoppedError

        try:
            _set_xla_flags()
            _join_processes()
            _check_devices()
            _use_compilation_cache()
            programs = _count_programs()
            main()
            if not QUIET.value:
                print(programs())
        except StoppedError as error:
            print(f"{error}; what is done is saved, this goes on: {command()}", file=sys.stderr)
            sys.exit(128 + _asked_to_stop[0])
        except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
            if os.environ.get("ADVKNOW_TRACEBACK"):
                raise
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)

    app.run(guarded)
