"""The layout: who may import whom, and what stands at the top."""

import ast
import importlib
import pathlib
import re
import subprocess
import sys
import types

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "advknow"

# Packages of others that only these parts of advknow may import.
RESERVED = {
    "flax": ("models",),
    "tensorflow_datasets": ("data",),
    "tensorflow": ("data",),
    "sklearn": ("data", "scores", "evidence"),
    "matplotlib": ("report", "data"),
    "PIL": ("data",),
    "jinja2": ("report",),
    "markupsafe": ("report",),
    "orbax": ("runs",),
    "optax": ("training", "synthetic", "benchmark"),
    "torch": ("benchmark", "models"),
    "absl": (),
    "tqdm": (),
}
# The other files of these parts work without PyTorch.
NEEDS_TORCH = ("torch_models.py", "torch_peer.py", "theirs.py", "checks.py", "synthetic_peer.py")
NEEDS_TORCH += ("torch_adapter.py", "torch_module.py", "ranker_peer.py")
# Processes of the benchmark, run as python -m advknow.benchmark.NAME.
PROCESSES = (
    "convolutions.py",
    "synthetic_peer.py",
    "growth_point.py",
    "score_times.py",
    "every_pair.py",
    "torch_adapter.py",
    "ranker_peer.py",
    "parts.py",
)
# From the ground up: each floor may import those before it, and its own.
FLOORS = (
    ("typing", "version"),
    ("validate", "programs", "precision"),
    ("passes",),
    ("losses",),
    ("inner_product",),
    ("gram",),
    ("attacks",),
    ("alphas",),
    ("matching",),
    ("generalized",),
    ("links",),
    ("all_pairs",),
    ("audit",),
    ("convolution",),
    ("models",),
    ("data",),
    ("training",),
    ("runs",),
    ("statistics", "scores"),
    ("ranking",),
    ("synthetic",),
    ("experiments",),
    ("evidence",),
    ("report",),
    ("benchmark",),
)
FLOOR = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}


def _part(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(path for path in PACKAGE.rglob("*.py"))
# Parsed here: Python 3.11 cannot parse on two threads, and a thread that prints a traceback does.
TREES = {path: ast.parse(path.read_text()) for path in FILES}


def _imports(path: pathlib.Path) -> set[str]:
    found = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_every_part_has_a_floor():
    assert len(FILES) > 20
    assert {_part(path) for path in FILES} == {*FLOOR, "__init__"}
    assert "advknow.losses" in _imports(PACKAGE / "gram.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    part = _part(path)
    for name in _imports(path):
        top, _, rest = name.partition(".")
        assert top != "launch", f"{path} imports {name}"
        if top in RESERVED:
            assert part in RESERVED[top], f"{path} imports {name}"
        inner = rest.partition(".")[0]
        if top == "advknow" and inner in FLOOR and part != "__init__":
            assert FLOOR[inner] <= FLOOR[part], f"{path} imports {name}"
        if part == "report":
            assert top != "jax", f"{path} imports {name}"
        if top == "torch":
            assert path.name in NEEDS_TORCH, f"{path} imports {name}"


def test_pytorch_is_imported_only_when_it_is_asked_for():
    """By the adapter, inside a function; the rest of `models` never."""
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import advknow\n"
        "try: advknow.adapters.from_torch(None)\n"
        "except ImportError: print('told')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "told\n"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_library_does_not_print_or_unpickle(path):
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            refused = {"print", "eval", "exec"} - ({"print"} if path.name in PROCESSES else set())
            assert node.func.id not in refused, f"{path}:{node.lineno}"
    assert not {name for name in _imports(path) if re.match(r"(pickle|dill|marshal)\b", name)}


def test_no_function_shadows_a_module():
    for package in [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]:
        init = package / "__init__.py"
        if init not in TREES:
            continue
        module = importlib.import_module(".".join(init.parent.relative_to(ROOT).parts))
        inner = {path.stem for path in package.glob("*.py")} | {
            path.name for path in package.iterdir() if (path / "__init__.py").exists()
        }
        for name in inner - {"__init__"}:
            found = getattr(module, name, None)
            assert found is None or isinstance(found, types.ModuleType), f"{package}: {name}"


def test_there_is_one_loop_over_batches():
    """The driver's; the benchmark's own aside."""
    loops = [
        f"{path.relative_to(PACKAGE)}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.For)
        and re.search(r"\bbatches\(", ast.unparse(node.iter))
        and _part(path) != "benchmark"
    ]
    assert loops == ["passes/driver.py"]


def test_only_the_agreed_folders_stand_at_the_top():
    agreed = {"advknow", "launch", "tests", "notebooks"}
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and any(p.rglob("*.py"))}
    hidden = {name for name in folders if name.startswith((".", "build")) or name == "runs"}
    assert folders - hidden <= agreed
