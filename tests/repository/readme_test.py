"""What every README tells a user to do works, and what it shows is there."""

import functools
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from flax_models import Linen, Nnx, X, linen, nnx
from launching import ROOT
from readmes import FENCE, blocks

from advknow import passes
from advknow.experiments import quantities

READMES = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "launch").glob("*.md"),
        *(ROOT / "advknow").rglob("*.md"),
        *(ROOT / "notebooks").glob("*.md"),
    )
)
# Run with models of each library by tests/models/recipes_test.py.
RECIPES = ROOT / "advknow" / "models" / "README.md"
NAMES = [str(path.relative_to(ROOT)) for path in READMES]
# Of the package's own modules and of the launchers, as a line of a shell or in a sentence.
COMMAND = re.compile(r"python3? (?:-m ([\w.]+)|((?:tests|advknow|launch)/[\w/]+\.py))([^\n`|]*)")


def _prose(path):
    return FENCE.sub("", path.read_text())


def _anchors(path):
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", _prose(path), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {name.strip().replace(" ", "-") for name in plain}


def _links(path):
    return re.findall(r"\]\(([^)\s]+)\)", _prose(path))


def test_there_are_readmes_beside_the_code():
    assert {"README.md", "advknow/theory.md", "launch/README.md", "CONTRIBUTING.md"} <= set(NAMES)
    for part in ("experiments", "runs", "models", "passes", "benchmark", "synthetic"):
        assert f"advknow/{part}/README.md" in NAMES


def test_the_first_page_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("path", READMES, ids=NAMES)
def test_every_relative_link_and_picture_resolves(path):
    for link in _links(path):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        found = (path.parent / target).resolve() if target else path
        assert found.exists(), link
        if anchor:
            assert anchor in _anchors(found), link


def test_a_broken_link_would_be_seen():
    assert "the-experiments" in _anchors(ROOT / "README.md")
    assert "no-such-heading" not in _anchors(ROOT / "README.md")
    assert len(_links(ROOT / "README.md")) > 10


def _given():
    """What the block on a user's own models leaves to the user."""
    module = Nnx(nnx.Rngs(0))
    module.eval()
    return {
        "linen_module": Linen(),
        "variables": linen(0),
        "nnx_module": module,
        "apply": lambda variables, x: Linen().apply(variables, x, train=False),
        "x": X,
    }


@pytest.mark.parametrize(
    ("path", "block"),
    [(path, block) for path in READMES if path != RECIPES for block in blocks(path, "python")],
    ids=[f"{name} {i}" for path, name in zip(READMES, NAMES, strict=True) if path != RECIPES
         for i, _ in enumerate(blocks(path, "python"))],
)  # fmt: skip
def test_every_python_block_runs(path, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, str(path), "exec"), _given() if "nnx_module" in block else {})


def test_the_new_quantity_of_the_readme_can_be_measured():
    (block,) = blocks(ROOT / "advknow" / "experiments" / "README.md", "python")
    made = {}
    exec(compile(block, "experiments/README.md", "exec"), made)
    models = {
        f"f_{role}": lambda x: x @ np.ones((6, 2), np.float32) for role in ("source", "target")
    }
    found = passes.run(
        quantities.measure(made["MINE"], "source_to_target"),
        models,
        X,
        y=np.eye(2)[np.arange(len(X)) % 2],
        deltas={name: 0.1 * X for name in models},
        stage="",
    )
    assert quantities.row(made["MINE"], found)["fooling_rate"] == 0.0
    assert quantities.examples(made["MINE"], found)["fooling_rate"] == len(X)


def test_the_example_prints_what_stands_beside_it(capsys):
    block = blocks(ROOT / "README.md", "python")[0]
    assert len([line for line in block.splitlines() if line.strip()]) < 15
    exec(compile(block, "README.md", "exec"), {})
    printed = [float(value) for value in capsys.readouterr().out.split()]
    shown = [float(value) for value in block.split("# about")[1].split()]
    # The README has three digits.
    np.testing.assert_allclose(printed, shown, atol=6e-4)


def test_the_adapters_agree(capsys):
    given = _given()
    exec(compile(blocks(ROOT / "README.md", "python")[1], "README.md", "exec"), given)
    assert capsys.readouterr().out == "()\n"
    np.testing.assert_allclose(given["f1"](X), given["f3"](X), rtol=1e-6)
    assert given["f2"](X).shape == (20, 3)


def _commands():
    """(module, file, arguments) of every command in every README."""
    for path in READMES:
        for module, file, arguments in COMMAND.findall(path.read_text()):
            yield module, file, arguments.split("  #")[0].strip(" .,;:)")


# NAME stands for any of them.
LAUNCHED = sorted({m[7:] for m, _, _ in _commands() if m.startswith("launch.")} - {"NAME"})


@functools.cache
def _parsed(launcher):
    """Parses all that the READMEs give this launcher with its own flags, without running it."""
    lines = sorted({a for m, _, a in _commands() if m == f"launch.{launcher}" and "..." not in a})
    program = (
        "import sys, importlib, shlex\n"
        "from absl import flags\n"
        f"importlib.import_module('launch.{launcher}')\n"
        "for line in sys.argv[1:]:\n"
        "    rest = flags.FLAGS(['x', *shlex.split(line)])[1:]\n"
        "    assert not rest, (line, rest)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *lines],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("launcher", LAUNCHED)
def test_every_command_of_a_launcher_parses(launcher):
    assert (ROOT / "launch" / f"{launcher}.py").is_file()
    done = _parsed(launcher)
    assert done.returncode == 0, done.stderr


def test_every_other_command_names_what_is_there():
    assert len(LAUNCHED) >= 9
    for module, file, arguments in _commands():
        assert not file or (ROOT / file).is_file(), file
        if module.startswith("advknow."):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
        if module == "pytest":
            for part in shlex.split(arguments):
                assert not part.startswith("tests/") or (ROOT / part).exists(), part


@pytest.mark.parametrize("path", READMES, ids=NAMES)
def test_the_make_targets_named_are_there(path):
    makefile = (ROOT / "Makefile").read_text()
    text = "\n".join([*re.findall(r"`([^`\n]+)`", path.read_text()), *blocks(path, "sh")])
    for target in re.findall(r"^make (\w+)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_every_path_in_a_code_span_is_there():
    """Of the repository's own folders; what a run writes is not among them."""
    for path in READMES:
        for span in re.findall(r"`((?:advknow|launch|tests|notebooks)/[\w./-]+)`", _prose(path)):
            # NAME stands for what a reader adds.
            assert "NAME" in span or (ROOT / span).exists(), f"{path}: {span}"
