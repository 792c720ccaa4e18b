"""The synthetic experiment (theory.md section 7): the authors' tables, other files, wrong files."""

import csv
import io
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
import synthetic_oracle

from advknow.report import pages
from advknow.report import synthetic as report
from advknow.runs import journal
from advknow.synthetic import experiment as synthetic
from advknow.synthetic import files as synthetic_files
from advknow.synthetic import rbf, sigmoid_network

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT.parent / "shared" / "golden"
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason=f"the authors' data are not in {GOLDEN}; their tables go unchecked"
)
FILES = ("--data={}/data.npz", "--weights={}/weights.npz")
ALPHAS = [name for name in synthetic.COLUMNS if name.startswith("alpha")]


def _table(text):
    rows = list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0]) == synthetic.COLUMNS
    return {name: np.array([float(row[name]) for row in rows]) for name in synthetic.COLUMNS}


def _compare(found, expected, *, alphas, rest):
    for name in synthetic.COLUMNS:
        np.testing.assert_allclose(
            found[name], expected[name], atol=alphas if name in ALPHAS else rest, err_msg=name
        )


def _arrays(*, seed, n, d, m_s, m_t, count):
    """A data and a weights file's arrays, of any sizes."""
    rng = np.random.default_rng(seed)
    data = {"X": rng.normal(size=(n, count)), "Y": rng.normal(size=(d, count)) + 1.0}
    weights = {}
    for role, m in (("target", m_t), ("source", m_s), ("deviate", m_s)):
        shapes = {"W1": (m, n), "b1": (m, 1), "W2": (d, m), "b2": (d, 1)}
        for name, shape in shapes.items():
            weights[f"{role}_{name}"] = (
                rng.uniform(-0.5, 0.5, shape) if role == "deviate" else rng.normal(size=shape) / 2
            )
    return (
        {name: a.astype(np.float32) for name, a in data.items()},
        {name: a.astype(np.float32) for name, a in weights.items()},
    )


@pytest.fixture
def files(tmp_path):
    data, weights = _arrays(seed=0, n=7, d=3, m_s=9, m_t=11, count=60)
    np.savez(tmp_path / "data.npz", **data)
    np.savez(tmp_path / "weights.npz", **weights)
    return tmp_path


@needs_golden
@pytest.mark.slow
@pytest.mark.parametrize(("hidden", "level"), [(100, 1), (50, 0)])
def test_the_authors_tables(hidden, level):
    data = synthetic_files.read_data(GOLDEN / "rbf_data.npz")
    networks = synthetic_files.read_weights(
        GOLDEN / f"rbf_weights_source_m{hidden}.npz", num_inputs=50, num_outputs=10
    )
    rows, degenerate = synthetic.measure_steps(data, networks, level=level, batch_size=2500)
    golden = GOLDEN / f"rbf_results_source_m{hidden}_level{level}.csv"
    # 2e-5 and 1e-4 are asked for, and 1e-6 is what is reached, but for the first row of m100:
    # identical models, where the authors' float32 leaves a distance of 8e-6 instead of 0.
    _compare(_table(synthetic.to_csv(rows)), _table(golden.read_text()), alphas=1e-6, rest=1e-5)
    if hidden == 100:
        assert rows[0]["gradient_matching"] < 1e-6
    assert degenerate == 0


@pytest.mark.parametrize(
    ("n", "d", "m_s", "m_t", "count", "level"),
    [(7, 3, 9, 11, 60, 0), (7, 3, 9, 11, 60, 2), (3, 5, 4, 4, 80, 1), (5, 1, 6, 2, 50, 0)],
)
def test_other_sizes_against_float64(n, d, m_s, m_t, count, level, tmp_path):
    data, weights = _arrays(seed=n + level, n=n, d=d, m_s=m_s, m_t=m_t, count=count)
    np.savez(tmp_path / "data.npz", **data)
    np.savez(tmp_path / "weights.npz", **weights)
    read = synthetic_files.read_data(tmp_path / "data.npz")
    networks = synthetic_files.read_weights(tmp_path / "weights.npz", num_inputs=n, num_outputs=d)
    rows, _ = synthetic.measure_steps(read, networks, level=level, batch_size=32)
    expected = synthetic_oracle.rows(data["X"], data["Y"], weights, level=level)
    expected = dict(zip(synthetic.COLUMNS, expected.T, strict=True))
    _compare(_table(synthetic.to_csv(rows)), expected, alphas=1e-5, rest=2e-5)


@needs_golden
def test_the_oracle_is_right_about_the_authors_first_step():
    data, weights = (
        dict(np.load(GOLDEN / name, allow_pickle=False))
        for name in ("rbf_data.npz", "rbf_weights_source_m50.npz")
    )
    golden = _table((GOLDEN / "rbf_results_source_m50_level0.csv").read_text())
    (row,) = synthetic_oracle.rows(data["X"], data["Y"], weights, level=0, num_steps=1)
    for name, value in zip(synthetic.COLUMNS, row, strict=True):
        np.testing.assert_allclose(value, golden[name][0], atol=1e-6, err_msg=name)


def test_the_steps_are_cumulative():
    weights = sigmoid_network.Weights(*(np.zeros((2, 2), np.float32) for _ in range(4)))
    deviation = sigmoid_network.Weights(*(np.ones((2, 2), np.float32) for _ in range(4)))
    for k in range(4):
        weights = sigmoid_network.moved(weights, deviation, synthetic.STEP * k)
    np.testing.assert_allclose(weights.W1, 0.1 + 0.2 + 0.3, rtol=1e-6)


def test_a_run_writes_its_files_and_can_be_measured_again(tmp_path):
    config = synthetic.SyntheticConfig(
        num_inputs=6,
        num_outputs=3,
        num_examples=200,
        source_hidden=8,
        target_hidden=8,
        epochs=5,
        num_steps=3,
        level=1,
    )
    results = synthetic.run(config, tmp_path / "a", command="here")
    first = results.rows[0]
    # Of equal widths, f_S starts as a copy of f_T.
    assert first["gradient_matching"] < 1e-5
    assert first["alpha1_S_T"] == first["alpha1_T_S"]
    assert first["loss_f_S"] <= first["loss_f_T"] + 1e-6
    assert results.rows[2]["gradient_matching"] > 10 * first["gradient_matching"]
    assert [row["scale"] for row in results.rows] == [0.0, 0.1, 0.2]
    content = json.loads((tmp_path / "a" / "results.json").read_text())
    assert content == json.loads(json.dumps(results.to_dict()))
    assert "norms, not squares" in content["convention"]
    again = synthetic.run(
        synthetic.SyntheticConfig(num_steps=3, level=1),
        tmp_path / "b",
        data_file=tmp_path / "a" / "data.npz",
        weights_file=tmp_path / "a" / "weights.npz",
    )
    a, b = ((tmp_path / name / "results.csv").read_text() for name in "ab")
    _compare(_table(a), _table(b), alphas=1e-6, rest=1e-6)
    assert again.settings["source_hidden"] == 8
    with pytest.raises(ValueError, match="holds a run with other settings: level"):
        synthetic.run(
            synthetic.SyntheticConfig(num_steps=3, level=0),
            tmp_path / "b",
            data_file=tmp_path / "a" / "data.npz",
            weights_file=tmp_path / "a" / "weights.npz",
        )
    text = report.text(content)
    assert f"{first['loss_f_T']:.4f}" in text
    left, middle, right = report.figure(content).axes
    for axes, names in (
        (left, ("alpha1_S_T", "alpha1_T_S")),
        (middle, ("alpha2_S_T", "alpha2_T_S")),
        (right, ("gradient_matching", "loss_f_S", "loss_f_T")),
    ):
        for line, name in zip(axes.lines, names, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), [r[name] for r in results.rows])


@pytest.mark.parametrize(("source_hidden", "trained"), [(8, ["f_T"]), (4, ["f_T", "f_S"])])
def test_the_journal_has_every_epoch_and_the_page_draws_them(tmp_path, source_hidden, trained):
    config = synthetic.SyntheticConfig(
        num_inputs=4, num_outputs=2, num_examples=200, source_hidden=source_hidden,
        target_hidden=8, epochs=6, num_steps=1,
    )  # fmt: skip
    synthetic.run(config, tmp_path, command="python -m launch.synthetic --here")
    events = journal.read(tmp_path / journal.FILE)
    assert (events[0]["kind"], events[-1]["kind"]) == ("start", "end")
    assert events[0]["command"] == "python -m launch.synthetic --here"
    epochs = [event for event in events if event["kind"] == "epoch"]
    told = []
    data = rbf.generate(seed=0, num_inputs=4, num_outputs=2, num_examples=200)
    key_target, key_source, _ = jax.random.split(jax.random.key(0), 3)
    for name, key, hidden in (("f_T", key_target, 8), ("f_S", key_source, source_hidden)):
        if name in trained:
            sigmoid_network.train(
                key, *data, hidden=hidden, epochs=6, stage=f"train {name}",
                on_epoch=lambda *one: told.append(one),
            )  # fmt: skip
    assert [(e["stage"], e["epoch"], e["loss"]) for e in epochs] == told
    assert len(told) == 6 * len(trained)
    page = pages.html(tmp_path)
    assert "<h2>Training</h2>" in page
    assert "--here" in page
    # Gone on with: nothing is trained or told again.
    synthetic.run(config, tmp_path)
    assert journal.read(tmp_path / journal.FILE) == events


def test_data_and_training_depend_on_the_seed_alone():
    one, two, other = (rbf.generate(seed=s, num_inputs=4, num_examples=300) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.y, two.y)
    assert np.abs(one.x - other.x).max() > 0.1
    assert one.x.shape == (300, 4)
    assert one.y.shape == (300, 10)
    np.testing.assert_allclose(one.y.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.mean(one.y.var(axis=0)), rbf.OUTPUT_STD**2, rtol=1e-4)
    trained = [sigmoid_network.train(jax.random.key(3), *one, hidden=5, epochs=2) for _ in range(2)]
    for a, b in zip(*trained, strict=True):
        np.testing.assert_array_equal(a, b)
    d = sigmoid_network.deviations(jax.random.key(0), trained[0])
    assert max(np.abs(leaf).max() for leaf in d) <= 0.5
    assert np.abs(d.W1).max() > 0.3


def test_training_lowers_the_loss_and_stops_on_nan():
    data = rbf.generate(seed=0, num_inputs=5, num_outputs=2, num_examples=500)
    notes = []
    sigmoid_network.train(
        jax.random.key(0), *data, hidden=20, epochs=30, progress=lambda *a: notes.append(a)
    )
    losses = [float(note.split()[1]) for *_, note in notes]
    assert losses[-1] < 0.5 * np.sqrt(np.mean(np.sum(data.y**2, axis=1)))
    with pytest.raises(FloatingPointError, match="learning_rate=1e\\+30"):
        sigmoid_network.train(jax.random.key(0), *data, hidden=4, epochs=3, learning_rate=1e30)


def _rewrite(path, **changes):
    content = dict(np.load(path))
    for name, array in changes.items():
        if array is None:
            del content[name]
        else:
            content[name] = array
    np.savez(path, **content)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("data.npz", {"X": None}, r"data.npz lacks the array X; it holds Y"),
        ("data.npz", {"X": np.zeros(5)}, r"data.npz: the array X has shape \(5,\); \(n, N\)"),
        ("data.npz", {"Y": np.zeros((3, 59))}, r"array Y has shape \(3, 59\); \(d, 60\) is needed"),
        ("data.npz", {"Y": np.zeros((0, 60))}, r"array Y has shape \(0, 60\)"),
        ("data.npz", {"X": np.full((7, 60), np.nan)}, "the array X holds NaN"),
        ("data.npz", {"X": np.full((7, 60), "a")}, "the array X has dtype <U1; floats"),
        ("data.npz", {"X": np.full((7, 60), None)}, "the array X cannot be read .*plain numbers"),
        ("weights.npz", {"source_b1": None, "deviate_W2": None}, "arrays source_b1, deviate_W2"),
        (
            "weights.npz",
            {"target_W1": np.zeros((11, 8))},
            r"target_W1 .* \(m, 7\) is needed",
        ),
        ("weights.npz", {"source_b1": np.zeros(9)}, r"source_b1 has shape \(9,\); \(9, 1\)"),
        ("weights.npz", {"target_W2": np.zeros((2, 11))}, r"target_W2 .* \(3, 11\) is needed"),
        (
            "weights.npz",
            {"deviate_W1": np.zeros((11, 7))},
            r"deviate_W1 .* \(9, 7\) is needed",
        ),
        ("weights.npz", {"deviate_b2": np.zeros((1, 3))}, r"deviate_b2 .* \(3, 1\) is needed"),
    ],
)
def test_wrong_files_are_named_with_array_and_shape(files, file, change, message):
    _rewrite(files / file, **change)
    with pytest.raises(ValueError, match=message) as error:
        synthetic.run(
            synthetic.SyntheticConfig(),
            files / "run",
            data_file=files / "data.npz",
            weights_file=files / "weights.npz",
        )
    assert "\n" not in str(error.value)
    assert not (files / "run" / "results.csv").exists()


def test_what_is_no_npz_file_is_refused(files):
    for name, content in (("text.npz", b"X, Y\n1, 2\n"), ("empty.npz", b"")):
        (files / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is not an .npz file"):
            synthetic_files.read_data(files / name)
    np.save(files / "one.npy", np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"one.npy is not an .npz file"):
        synthetic_files.read_data(files / "one.npy")
    whole = (files / "data.npz").read_bytes()
    (files / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut.npz is not an .npz file"):
        synthetic_files.read_data(files / "cut.npz")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        synthetic_files.read_data(files / "none.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": 10}, "level=10 must be at most 9: 10 outputs of 50 inputs have 10 attacks"),
        ({"level": -1}, "level=-1 must be"),
        ({"num_inputs": 0}, "num_inputs=0 must be"),
        ({"num_steps": 1.5}, "num_steps=1.5"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_wrong_settings(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        synthetic.SyntheticConfig(**change)


def _launch(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "launch.synthetic", "--compilation_cache=", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        check=False,
    )


@pytest.mark.slow
def test_the_launcher_on_files(files):
    given = (f"--data={files}/data.npz", f"--weights={files}/weights.npz", "--level=1", "--quiet")
    done = _launch(f"--workdir={files}/run", *given)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    table = _table((files / "run" / "results.csv").read_text())
    assert len(table["scale"]) == 10
    assert f"{table['alpha1_S_T'][3]:.4f}" in done.stdout
    for name in ("results.json", "config.json", "figure.png"):
        assert (files / "run" / name).stat().st_size > 100
    content = json.loads((files / "run" / "results.json").read_text())
    assert content["command"].startswith("python -m launch.synthetic")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data=data.npz"], "both files are needed, or neither"),
        (
            ["--data={}/data.npz", "--weights={}/weights.npz", "--level=3"],
            "level=3 must be at most 2",
        ),
        (
            ["--data={}/weights.npz", "--weights={}/weights.npz"],
            "weights.npz lacks the arrays X, Y",
        ),
        (["--data={}/data.npz", "--weights={}/weights.npz", "--seed=1"], "--seed has no meaning"),
        (["--level=10"], "level=10 must be at most 9"),
        (["--workdir={}/data.npz"], "is a file or lies in one"),
    ],
)
def test_the_launcher_says_what_is_wrong_in_one_line(files, arguments, message):
    arguments = [argument.format(files) for argument in arguments]
    if not any("workdir" in argument for argument in arguments):
        arguments.append(f"--workdir={files}/run")
    done = _launch(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
