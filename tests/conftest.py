"""What every test shares: JAX on the CPU unless told otherwise, set before JAX is imported."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the suite's time is compilation; the launchers keep their programs there too.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.expanduser("~/.cache/advknow/jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import jax
import pytest

# The theory never promotes ranks by itself: a (B,) met by a (B, d) is a mistake there.
THEORY = {"alphas", "attacks", "apply_fn_test", "inner_product_test", "keys_test", "loops_test"}
THEORY |= {"losses_test", "torch_test", "validate_test"}
# Small programs, each run a few times, whose results are compared with NumPy's or with each other's.
QUICKLY_COMPILED = {"generalized", "matching", "models", "audit_test", "gram_test"}
QUICKLY_COMPILED |= {
    "alignment_test",
    "evaluation_test",
    "perturbed_test",
    "resume_test",
    "strange_models_test",
}


# First, so that no worker is left alone with them at the end.
LONGEST = ("kill_test", "devices_test", "notebooks_test", "white_box_test", "poster_test")
LONGEST += ("resume_test", "audit_test", "experiments_test")


def pytest_collection_modifyitems(items):
    """The longest files first; the order within a file stays."""

    def rank(item):
        name = item.path.stem
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    items.sort(key=rank)


def _is_of(names, path):
    """Whether a test file, or its folder, is one of the names."""
    return bool(names & {path.stem, path.parent.name})


@pytest.fixture(autouse=True, scope="module")
def quick_compilation(request):
    """Most of the suite's time is compilation: little of it where no program runs for long."""
    if not _is_of(THEORY | QUICKLY_COMPILED, request.path):
        yield
        return
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def strict_ranks(request):
    if not _is_of(THEORY, request.path):
        yield
        return
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True, scope="module")
def no_programs_left_behind():
    """Thousands of compiled programs in one process end in a crash of XLA's compiler."""
    yield
    jax.clear_caches()


@pytest.fixture(params=[False, True], ids=["plain", "jit"])
def variant(request):
    """Both ways to call a function of arrays: as it is, and through `jax.jit`."""
    return jax.jit if request.param else lambda fn: fn


@pytest.fixture
def compiled():
    """Names of the programs that XLA compiles, from now on."""
    found = []

    def listen(event, duration, fun_name="", **about):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)
