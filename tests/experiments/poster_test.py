"""The poster preset, whole, on small data sets of the real names and features."""

import json

import pytest
import tiny_tfds
from launching import launch


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
