"""The launchers as a user meets them: subprocesses, exit status, one line for what he can mend."""

import json
import re

import pytest
from launching import launch, launch_each

REFUSED = [
    (
        "adv2know",
        ["--preset=digit"],
        "preset='digit' is not known; accepted: digits, mnist, fashion",
    ),
    ("adv2know", ["--eps=-0.1"], "eps=-0.1 must be a finite number > 0"),
    ("know2adv", ["--workdir=file"], "workdir='file' is a file or lies in one"),
    ("know2adv", ["--horse_for_dog"], "horse_for_dog goes with preset='poster'"),
    ("know2adv", ["--preset=fashion", "--data_dir=no"], "fashion_mnist is not in no. Debian"),
    ("adv2know", ["--preset=poster", "--data_dir=no"], "is not prepared in no"),
    ("adv2know", ["digits"], "unexpected argument 'digits'"),
    ("train", ["--workdir=w", "--dataset=svhn"], "dataset='svhn' is not known"),
    ("train", ["--workdir=w", "--dataset=folder:no"], "no is not there; a folder of class"),
    (
        "measure",
        ["--source=a", "--target=b", "--dataset=folder:"],
        "names nothing; folder:PATH",
    ),
    ("train", ["--workdir=w", "--classes=0,ten"], "class='ten' is not known; accepted: 0, 1"),
    ("train", ["--workdir=w", "--classes="], "class"),
    ("train", [], "workdir=None"),
    ("train", ["--workdir=w", "--set=adversarial.ord=1"], "adversarial.ord='1' is not known"),
    ("train", ["--workdir=w", "--set=adversarial"], "such as adversarial.eps=0.03"),
    ("finetune", ["--checkpoint=nowhere", "--workdir=w"], "nowhere"),
    ("measure", ["--source=a"], "target='': a checkpoint folder or MODULE:CALLABLE is needed"),
    ("measure", ["--source=a", "--target=b", "--eps=-1"], "eps=-1.0 must be"),
    ("rank", [], "dataset=None: images are needed"),
    ("rank", ["--dataset=digits"], "no model is named"),
    ("rank", ["--dataset=digits", "--sources=no.npz"], "no.npz is not there"),
    ("matrix", ["--dataset=digits", "--models=a=no.npz,b=x"], "a is a file of outputs"),
    ("matrix", ["--dataset=digits", "--models=nowhere"], "nowhere"),
    ("evidence", ["--preset=tiny", "--shard=3/2"], "shard='3/2' must be I/N with 1 <= I <= N"),
    ("evidence", ["--records=no.csv"], "no.csv"),
    ("evidence", ["--records=no.csv", "--shard=1/2"], "--shard has no meaning with --records"),
    ("measure", ["--source=a", "--target=b", "--attack=cw"], "attack='cw' is not known"),
]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    folders = [tmp_path_factory.mktemp(name) for name, *_ in REFUSED]
    for folder in folders:
        (folder / "file").write_text("")
    return launch_each([(name, *flags) for name, flags, _ in REFUSED], folders)


@pytest.mark.parametrize("case", range(len(REFUSED)), ids=lambda case: REFUSED[case][0])
def test_what_a_user_can_mend_is_one_line(case, refusals):
    done, message = refusals[case], REFUSED[case][2]
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert done.stdout == ""


def test_a_process_of_its_own_refuses_alike(refusals, tmp_path):
    name, flags, _ = REFUSED[0]
    alone = launch(name, *flags, cwd=tmp_path, check=False)
    assert vars(alone) | {"args": None} == vars(refusals[0]) | {"args": None}


@pytest.mark.parametrize(
    "name", ["adv2know", "know2adv", "train", "finetune", "measure", "rank", "matrix"]
)
def test_help_says_what_it_does_and_how(name, tmp_path):
    done = launch(name, "--help", cwd=tmp_path, check=False)
    assert f"python -m launch.{name}" in done.stdout
    assert "--[no]quiet" in done.stdout
    assert "folder:PATH" in done.stdout
    assert "--[no]skip_damaged" in done.stdout


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
    pair = ("--source=s", "--target=t", "--num_examples=40", "--quiet")
    again = launch("measure", *pair, "--num_steps=5", "--workdir=m", cwd=tmp_path)
    *table, last = again.stdout.splitlines()
    assert [*table, last.removeprefix("finished before; ")] == measured.stdout.splitlines()
    assert last.startswith("finished before; measure.json and report.html are in m")
    first, second = (launch("chain", *pair, "--workdir=chain", cwd=tmp_path) for _ in range(2))
    assert first.stdout.splitlines()[:-1] == second.stdout.splitlines()[:-1]
    assert second.stdout.splitlines()[-1].startswith("finished before; chain.json")
    assert not (tmp_path / "chain" / "unfinished").exists()
    small = launch(
        "measure",
        *("--source=s", "--target=t", "--attack=singular", "--num_examples=30", "--quiet"),
        cwd=tmp_path,
    )
    assert "source_to_target" in small.stdout


@pytest.mark.slow
def test_a_second_start_compiles_nothing_and_says_so(tmp_path):
    flags = ["--model=mlp", "--width=0.05", "--epochs=1", "--noaugment", "--compilation_cache=c"]
    first = launch("train", *flags, "--workdir=a", cwd=tmp_path).stdout.splitlines()[-1]
    again = launch("train", *flags, "--workdir=b", cwd=tmp_path).stdout.splitlines()[-1]
    compiled = re.fullmatch(r"compiled (\d+) programs, (\d+) from the cache \(.* s\)", first)
    assert compiled, first
    assert int(compiled[1]) > 0
    programs = int(compiled[1]) + int(compiled[2])
    assert again.startswith(f"compiled 0 programs, {programs} from the cache"), again
