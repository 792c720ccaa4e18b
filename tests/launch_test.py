"""The launchers as a user meets them: subprocesses, exit status, one line for what he can mend."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import tiny_tfds

ROOT = pathlib.Path(__file__).parent.parent
FAST = ("--epochs=2", "--transfer_epochs=2", "--transfer_repeats=2")


def launch(name, *flags, cwd, check=True, timeout=600):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", f"launch.{name}", *flags],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("adv2know", ["--preset=digit"], "preset='digit' is not known; accepted: digits, fashion"),
        ("adv2know", ["--eps=-0.1"], "eps=-0.1 must be a finite number > 0"),
        ("know2adv", ["--workdir=file"], "workdir='file' is a file or lies in one"),
        ("know2adv", ["--horse_for_dog"], "horse_for_dog goes with preset='poster'"),
        ("know2adv", ["--preset=fashion", "--data_dir=no"], "fashion_mnist is not in no. Debian"),
        ("adv2know", ["--preset=poster", "--data_dir=no"], "is not prepared in no"),
        ("adv2know", ["digits"], "unexpected argument 'digits'"),
        ("train", ["--workdir=w", "--dataset=mnist"], "dataset='mnist' is not known"),
        ("train", ["--workdir=w", "--classes=0,ten"], "class='ten' is not known; accepted: 0, 1"),
        ("train", ["--workdir=w", "--classes="], "class"),
        ("train", [], "workdir=None"),
        ("finetune", ["--checkpoint=nowhere", "--workdir=w"], "nowhere"),
        ("measure", ["--source=a"], "two checkpoint folders are needed"),
        ("measure", ["--source=a", "--target=b", "--eps=-1"], "eps=-1.0 must be"),
        ("measure", ["--source=a", "--target=b", "--attack=cw"], "attack='cw' is not known"),
    ],
)
def test_what_a_user_can_mend_is_one_line(name, flags, message, tmp_path):
    (tmp_path / "file").write_text("")
    done = launch(name, *flags, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["adv2know", "know2adv", "train", "finetune", "measure"])
def test_help_says_what_it_does_and_how(name, tmp_path):
    done = launch(name, "--help", cwd=tmp_path, check=False)
    assert f"python -m launch.{name}" in done.stdout
    assert "--[no]quiet" in done.stdout


@pytest.mark.slow
def test_train_transfer_and_measure(tmp_path):
    source = launch(
        "train",
        *("--model=mlp", "--width=0.2", "--classes=0,1,2,3", "--epochs=8", "--workdir=s"),
        "--noaugment",
        "--batch_size=32",
        cwd=tmp_path,
    )
    assert "test_accuracy" in source.stdout
    launch(
        "finetune",
        *("--checkpoint=s", "--classes=5,6,7,8", "--epochs=20", "--workdir=t", "--method=all"),
        "--learning_rate=0.02",
        "--quiet",
        cwd=tmp_path,
    )
    measured = launch(
        "measure",
        *("--source=s", "--target=t", "--num_steps=5", "--num_examples=40", "--workdir=m"),
        "--quiet",
        cwd=tmp_path,
    )
    assert measured.stderr == ""
    record = json.loads((tmp_path / "m" / "measure.json").read_text())
    for direction in ("source_to_target", "target_to_source"):
        assert record[direction]["n"] <= 40
        assert f"{record[direction]['alpha1']:.4f}" in measured.stdout
    small = launch(
        "measure",
        *("--source=s", "--target=t", "--attack=singular", "--num_examples=30", "--quiet"),
        cwd=tmp_path,
    )
    assert "source_to_target" in small.stdout


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return tiny_tfds.prepare(tmp_path_factory.mktemp("tfds"))


# Width 0.03: two channels in the first stage. What is tested is the pipeline, not the numbers.
POSTER = ("--preset=poster", "--width=0.03", "--epochs=3", "--transfer_epochs=2", "--quiet")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adv2know", "know2adv"])
def test_the_poster_runs_whole_on_prepared_data(name, prepared, tmp_path):
    done = launch(
        name,
        *POSTER,
        f"--data_dir={prepared}",
        "--num_examples=12",
        "--workdir=poster",
        cwd=tmp_path,
    )
    stored = json.loads((tmp_path / "poster" / "results.json").read_text())
    names = {
        "adv2know": ["MLP", "LeNet", "AlexNet", "ResNet18", "ResNet50"],
        "know2adv": ["0%", "25%", "50%", "75%", "100%"],
    }
    assert [row["source"] for row in stored["rows"]] == names[name]
    assert stored["settings"]["target"]["dataset"] == "stl10"
    assert {s["task"]["dataset"] for s in stored["settings"]["sources"]} == {"cifar10"}
    assert "SQUARES" in done.stdout
    for file in ("config.json", "results.csv", "figure.png"):
        assert (tmp_path / "poster" / file).stat().st_size > 0
    again = launch(
        name,
        *POSTER,
        f"--data_dir={prepared}",
        "--num_examples=12",
        "--workdir=poster",
        "--seed=1",
        cwd=tmp_path,
        check=False,
    )
    assert again.returncode == 2
    assert "seed: 0 -> 1" in again.stderr


@pytest.mark.slow
def test_the_authors_slips_can_be_switched_back(prepared, tmp_path):
    launch(
        "know2adv",
        *POSTER,
        f"--data_dir={prepared}",
        "--num_examples=4",
        "--horse_for_dog",
        "--checkpoint_on_test",
        "--batch_norm_drift",
        "--attack_batch_size=1",
        "--workdir=slips",
        cwd=tmp_path,
    )
    settings = json.loads((tmp_path / "slips" / "results.json").read_text())["settings"]
    assert settings["sources"][-1]["task"]["classes"] == ["bird", "cat", "deer", "horse"]
    assert settings["checkpoint_on_test"]
    assert settings["transfer"]["batch_norm_drift"]
    assert settings["attack_batch_size"] == 1
