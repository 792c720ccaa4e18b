"""Launchers where people start them: notebooks, ASCII terminals, odd homes and folders."""

import os
import subprocess
import sys
from importlib import metadata

import pytest
from launching import ROOT

TINY = ("--model=mlp", "--width=0.05", "--epochs=1", "--noaugment", "--quiet")


def start(*arguments, cwd, command=(sys.executable, "-m"), **environment):
    return subprocess.run(
        [*command, *arguments],
        cwd=cwd,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline",
                                     "module://no.such.module", "qtagg"])  # fmt: skip
def test_a_notebooks_backend_does_not_matter(backend, tmp_path):
    done = start("launch.synthetic", "--num_inputs=4", "--num_outputs=2", "--num_examples=40",
                 "--source_hidden=3", "--target_hidden=3", "--epochs=1", "--num_steps=2",
                 "--workdir=w", cwd=tmp_path, MPLBACKEND=backend)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "w" / "figure.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_whole_experiment_in_a_hostile_home(tmp_path):
    """What CI runs of a stranger's surroundings: ASCII, a home nobody may write, a notebook."""
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    flags = ("--preset=digits", "--epochs=1", "--width=0.05", "--num_examples=8", "--quiet",
             "--transfer_repeats=1", "--workdir=w", "--compilation_cache=")  # fmt: skip
    done = start("launch.know2adv", *flags, cwd=tmp_path, HOME=str(home), XDG_CACHE_HOME="",
                 PYTHONIOENCODING="ascii", MPLBACKEND="module://no.such.module")  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode("ascii")
    assert "alpha2^2" in text
    assert "+-" in text or "n = 5" in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_without_the_letters_gets_others(encoding, tmp_path):
    script = (
        "from launch import app\n"
        "app._print_anywhere()\n"
        "print('alpha2² ± 0.1 → g∘f, ∇f ≤ 1, Poincaré, 漢')\n"
    )
    done = start("-c", script, cwd=tmp_path, command=(sys.executable,), PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    assert "->" in text
    assert "grad f <= 1" in text
    assert "?" in text
    assert ("^2" in text) == (encoding == "ascii")


@pytest.mark.slow
def test_a_tilde_is_the_home(tmp_path):
    done = start(
        "launch.train", *TINY, "--workdir=~/runs/a", cwd=tmp_path, HOME=str(tmp_path / "h")
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "h" / "runs" / "a" / "train.json").is_file()
    done = start("launch.measure", "--source=~/runs/a", "--target=~/runs/a", "--num_steps=1",
                 "--num_examples=4", "--save_examples=~/examples", "--quiet",
                 cwd=tmp_path, HOME=str(tmp_path / "h"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "h" / "examples" / "source.npz").is_file()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("platform", ["gpu", "cuda", "tpu"])
def test_a_device_that_is_not_there_is_one_line(platform, tmp_path):
    done = start("launch.measure", "--source=a", "--target=b", cwd=tmp_path, JAX_PLATFORMS=platform)
    errors = done.stderr.decode()
    assert done.returncode == 2
    assert "Traceback" not in errors
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert f"JAX_PLATFORMS='{platform}'" in lines[0]


def test_a_file_launch_py_of_the_users_own_hides_nothing_from_the_command(tmp_path):
    (tmp_path / "launch.py").write_text("raise SystemExit('mine')")
    # A console script has its own folder first on the path, not the working directory.
    command = (sys.executable, "-P", "-c", "from launch.__main__ import main; main()")
    done = start("synthetic", "--help", cwd=tmp_path, command=command)
    assert b"python -m launch.synthetic" in done.stdout
    done = start("synthetics", cwd=tmp_path, command=command)
    assert done.returncode == 2
    assert b"command='synthetics' is not known; accepted: adv2know" in done.stderr


@pytest.mark.parametrize("name", ["modèle", "Größe", "模型"])
def test_a_path_that_the_locale_cannot_spell(name, tmp_path):
    """Not called damage: in a process whose file names are ASCII the array store knows no others."""
    flags = (*TINY, "--dataset=digits", f"--workdir={name}")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = start("launch.train", *flags, cwd=tmp_path, **ascii_only)
    assert done.returncode == 2
    assert b"letters that this process cannot spell" in done.stderr
    assert b"PYTHONUTF8=1" in done.stderr
    done = start("launch.train", *flags, cwd=tmp_path, LC_ALL="C")
    assert done.returncode == 0, done.stderr
    measure = ("launch.measure", f"--source={name}", f"--target={name}", "--num_examples=4",
               "--nocorrect_only")  # fmt: skip
    done = start(*measure, cwd=tmp_path, **ascii_only)
    assert done.returncode == 2
    assert b"letters that this process cannot spell" in done.stderr
    assert b"damaged" not in done.stderr


TRITON = "--xla_gpu_enable_triton_gemm"


@pytest.mark.parametrize(
    ("plugin", "flags", "given", "wanted"),
    [
        (None, (), "", ""),
        (None, (), "--xla_a=1", "--xla_a=1"),
        (None, ("--deterministic",), "", "--xla_gpu_deterministic_ops=true"),
        ("xla_tpu", (), "", ""),
        ("xla_cuda12", (), "", f"{TRITON}=false"),
        ("xla_cuda13", (), f"{TRITON}=true", f"{TRITON}=true"),
        ("xla_cuda13", ("--deterministic",), "--xla_a=1",
         f"--xla_a=1 {TRITON}=false --xla_gpu_deterministic_ops=true"),
        ("xla_cuda13", (), f"{TRITON}_int4=true", f"{TRITON}_int4=true {TRITON}=false"),
        # The last of a name holds.
        (None, ("--deterministic",), "--xla_gpu_deterministic_ops=false",
         "--xla_gpu_deterministic_ops=false --xla_gpu_deterministic_ops=true"),
        # A file of flags.
        ("xla_cuda13", (), "/a/file", "/a/file"),
    ],
)  # fmt: skip
def test_xla_is_told_to_compile_quickly_on_gpus(plugin, flags, given, wanted, tmp_path):
    installed = [found.name for found in metadata.entry_points(group="jax_plugins")]
    if any("cuda" in name for name in installed):
        pytest.skip("JAX has a GPU's plugin here")
    if plugin is not None:
        info = tmp_path / "plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[jax_plugins]\n{plugin} = nowhere\n")
    script = (
        "import os, sys\n"
        "from launch import app\n"
        "app.flags.FLAGS(['app', *sys.argv[1:]])\n"
        "app._set_xla_flags()\n"
        "print(os.environ['XLA_FLAGS'])\n"
    )
    done = start("-c", script, *flags, cwd=tmp_path, command=(sys.executable,),
                 PYTHONPATH=os.pathsep.join((str(tmp_path), str(ROOT))), XLA_FLAGS=given)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().strip() == wanted


def test_a_file_of_flags_cannot_be_added_to(tmp_path):
    file = tmp_path / "flags"
    file.write_text("--xla_gpu_deterministic_ops=true\n")
    flags = ("launch.measure", "--source=nowhere", "--target=nowhere", "--workdir=w")
    done = start(*flags, "--deterministic", cwd=tmp_path, XLA_FLAGS=str(file))
    assert done.returncode == 2
    assert b"names a file, to which --deterministic cannot add" in done.stderr
    done = start(*flags, cwd=tmp_path, XLA_FLAGS=str(file))
    assert done.returncode == 2
    assert b"nowhere" in done.stderr
