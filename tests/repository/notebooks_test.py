"""The notebooks run as people run them: in a fresh kernel, in another folder, with its pictures shown."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import types

import nbclient
import nbformat
import pytest
import tiny_tfds

ROOT = pathlib.Path(__file__).parents[2]
NAMES = ("quickstart", "poster", "rank", "theory")
# Matplotlib's backend as Colab has set it, in one version or another.
BACKENDS = ("module://matplotlib_inline.backend_inline", "module://ipykernel.pylab.backend_inline")
# All models LeNets: ResNets take most of a minute to compile, and tests/experiments trains them.
SLIM = (
    "target_model=lenet sources.*.model=lenet target_width=0.5 sources.*.width=0.5 "
    "target_training.epochs=2 sources.*.training.epochs=1 target_training.learning_rate=0.02 "
    "sources.*.training.learning_rate=0.02 num_examples=8 transfer.repeats=1 "
    "transfer.training.epochs=2"
)
# What is filled into the forms: the smallest that still has something to show.
SMALL = {
    "quickstart": {"EPOCHS": 3, "EXAMPLES": 64},
    "poster": {"NUM_SOURCES": 2, "SETTINGS": SLIM},
    "rank": {"NUM_EXAMPLES": 50, "DRAWS": 20, "EPOCHS": 1},
    "theory": {"NUM_EXAMPLES": 500, "EPOCHS": 20},
}


def _read(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _filled(name, fields):
    """The notebook with other values in its form."""
    notebook = _read(name)
    for field, value in fields.items():
        found = 0
        for cell in _code(notebook):
            line, filled = rf"^{field} = .*?(?=  # @param)", f"{field} = {value!r}"
            found += len(re.findall(line, cell.source, flags=re.MULTILINE))
            cell.source = re.sub(line, filled, cell.source, flags=re.MULTILINE)
        assert found == 1, f"{name} has {found} fields {field}"
    return notebook


def _client(notebook, folder, *, backend=BACKENDS[0], devices=1):
    flags = f"--xla_force_host_platform_device_count={devices}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": backend, "XLA_FLAGS": flags}
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    return client, env


def _run(notebook, folder, **how):
    client, env = _client(notebook, folder, **how)
    client.execute(env=env)
    _check_shown(notebook)
    return "".join(o.text for cell in _code(notebook) for o in cell.outputs if "text" in o)


def _check_shown(notebook):
    """Every figure is a picture, every page a frame; nothing warns."""
    for cell in _code(notebook):
        shown = [list(o.get("data", ())) for o in cell.outputs]
        figures = len(
            re.findall(r"plt\.show\(\)|display\(\w+\.\w*(?:figure|heat_map)\(", cell.source)
        )
        assert sum("image/png" in kinds for kinds in shown) == figures, cell.source
        frames = sum("<iframe" in o.data["text/html"] for o in cell.outputs
                     if "text/html" in o.get("data", ()))  # fmt: skip
        assert frames == cell.source.count("HTML(pages.framed("), cell.source
        said = "".join(o.text for o in cell.outputs if o.get("name") == "stderr")
        assert "Warning" not in said, said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quickstart", "rank", "theory"])
def test_every_cell_runs_and_every_figure_is_shown(name, tmp_path):
    backend = BACKENDS[NAMES.index(name) % 2]
    said = _run(_filled(name, SMALL[name]), tmp_path, backend=backend)
    assert {"quickstart": "alpha1", "rank": "ranked: ", "theory": "rho^2"}[name] in said


@pytest.mark.slow
def test_a_runtime_that_dies_goes_on_where_it_was(tmp_path):
    """Killed when the first model is trained; the notebook, run again, does not train it again."""
    runs, folder = tmp_path / "runs", tmp_path / "elsewhere"
    folder.mkdir()
    fields = {**SMALL["poster"], "WORKDIR": str(runs)}
    dying, env = _client(_filled("poster", fields), folder)
    journal = runs / "adv2know-digits-seed0" / "metrics.jsonl"
    trained = '"stage", "stage": "train target"'

    def kill():
        while not (journal.exists() and trained in journal.read_text()):
            time.sleep(0.05)
        os.kill(dying.km.provisioner.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(nbclient.exceptions.DeadKernelError):
        dying.execute(env=env)
    killer.join()
    before = journal.read_text()
    said = _run(_filled("poster", fields), folder, backend=BACKENDS[1])
    assert "alpha1" in said
    assert "preset digits" in said
    after = journal.read_text().removeprefix(before)
    assert trained in before
    assert "train target" not in after
    assert "train LeNet" in after


# On two busy cores XLA's eight simulated devices may wait for each other until it gives up.
@pytest.mark.campaign
@pytest.mark.parametrize("name", NAMES)
def test_on_eight_devices(name, tmp_path):
    """The poster at the preset that Colab's accelerators run, on small images of its data sets."""
    fields = SMALL[name]
    if name == "poster":
        data_dir = tiny_tfds.prepare(tmp_path / "data")
        fields = {**fields, "PRESET": "poster", "DATA_DIR": data_dir}
    said = _run(_filled(name, fields), tmp_path, devices=8)
    if name == "poster":
        assert "8 x cpu: preset poster" in said


def _scope(cells, name):
    """What the cells define."""
    scope: dict = {}
    for cell in cells:
        exec(compile(cell.source, name, "exec"), scope)
    return scope


@pytest.mark.parametrize(
    ("kind", "expected"), [("cpu", "digits"), ("gpu", "poster"), ("tpu", "poster")]
)
def test_the_device_chooses_the_preset_and_drive_keeps_it(kind, expected, monkeypatch):
    import jax

    mounted = []
    colab = types.ModuleType("google.colab")
    colab.drive = types.SimpleNamespace(mount=mounted.append)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    monkeypatch.setattr(
        jax, "devices", lambda: [types.SimpleNamespace(platform=kind, device_kind=kind)]
    )
    scope = _scope(_code(_read("poster"))[1:3], "poster")
    assert scope["configuration"]("adv2know").preset == expected
    assert mounted == ["/content/drive"]
    assert str(scope["workdir"]("adv2know")) == (
        f"/content/drive/MyDrive/advknow-runs/adv2know-{expected}-seed0"
    )


def _install(monkeypatch, *, spec, INSTALL=""):
    """The commands that the cell starts where `spec` is what is found of advknow."""
    started = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    monkeypatch.setattr(subprocess, "run", lambda command, check: started.append(command))
    cell = _code(_filled("quickstart", {"INSTALL": INSTALL}))[0]
    _scope([cell], "install")
    return [command[-1] for command in started]


FOLDER = types.SimpleNamespace(origin=None)


def test_the_first_cell_installs_only_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert _install(monkeypatch, spec=types.SimpleNamespace(origin="advknow/__init__.py")) == []
    assert _install(monkeypatch, spec=None, INSTALL="git+https://host/it") == [
        "git+https://host/it"
    ]
    with pytest.raises(SystemExit, match="INSTALL is empty and no clone of advknow is near"):
        _install(monkeypatch, spec=None)
    (tmp_path / "advknow").mkdir()
    (tmp_path / "advknow" / "setup.cfg").touch()
    # The folder of a clone can be imported, as a namespace that holds nothing.
    assert _install(monkeypatch, spec=FOLDER) == ["./advknow"]
    monkeypatch.chdir(tmp_path / "advknow")
    (tmp_path / "setup.cfg").touch()
    assert _install(monkeypatch, spec=None) == [".."]


def test_all_install_alike():
    assert len({_code(_read(name))[0].source for name in NAMES}) == 1


def test_these_are_all():
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_notebook_is(name):
    notebook = _read(name)
    nbformat.validate(notebook)
    assert len(notebook.cells) < 25
    assert notebook.metadata.accelerator == "GPU"
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in _code(notebook):
        assert not cell.outputs
        assert cell.execution_count is None
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    for said in ("**What:**", "**For whom:**", "**How long:**"):
        assert first.source.count(said) == 1
    assert len(first.source.split()) < 200


@pytest.mark.parametrize("name", NAMES)
def test_what_it_names_is_there(name):
    for cell in _read(name).cells:
        for link in re.findall(r"\]\((?!https?:)([^)]+)\)", cell.source):
            assert (ROOT / "notebooks" / link).exists(), link
        for path in re.findall(r"`((?:advknow|launch)/[\w./-]+)`", cell.source):
            assert (ROOT / path).exists(), path


def test_ruff_accepts_every_cell():
    pytest.importorskip("ruff")
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "notebooks"],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_colab_finds_the_forms():
    """A form needs its title first, and what a user changes is a literal with its kind."""
    for name in NAMES:
        for cell in _code(_read(name)):
            fields = re.findall(r"^\w+ = (.*?)  # @param (.*)$", cell.source, flags=re.MULTILINE)
            assert ("@param" in cell.source) == (cell.metadata.get("cellView") == "form")
            assert cell.source.count("# @param") == len(fields)
            for value, kind in fields:
                json.loads(value.replace("True", "true").replace("False", "false"))
                assert re.fullmatch(
                    r"\[.+\]|\{type: \"(string|integer|number|boolean|slider)\".*\}", kind
                )
            if fields:
                assert re.match(r'# @title .+ \{display-mode: "form"\}\n', cell.source)
