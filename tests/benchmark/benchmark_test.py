"""The benchmark: both sides compute the same numbers, and what a ratio is."""

import importlib.util
import json
import sys

import jax
import numpy as np
import pytest
from launching import launch

from advknow import models
from advknow.benchmark import ranker_peer, stages, timing
from advknow.benchmark.setting import Setting, Sizes, live_variables
from advknow.benchmark.timing import Work


def _tiny(name="mlp", **sizes):
    given = {"num_examples": 6, "batch_size": 4, "num_steps": 1, "one_by_one": 2, "repeats": 1}
    return Setting(name, Sizes(**{**given, "num_sources": 1, "train_batch": 6, **sizes}), width=0.1)


@pytest.mark.parametrize(
    ("name", "shape", "width"),
    [
        ("mlp", (5, 7, 3), 0.05),
        ("lenet", (20, 24, 1), 0.5),
        ("alexnet", (61, 34, 3), 0.1),
        ("resnet18", (9, 8, 3), 0.1),
        ("resnet50", (8, 8, 1), 0.1),
    ],
)
def test_pytorch_has_the_same_model(name, shape, width):
    torch = pytest.importorskip("torch")
    from advknow.benchmark import torch_models

    model = models.create(name, num_classes=4, input_shape=shape, width=width)
    variables = live_variables(model, 3)
    peer = torch_models.classifier(model, variables)
    x = np.random.default_rng(0).uniform(size=(3, *shape)).astype(np.float32)
    theirs = peer(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).detach().numpy()
    ours = np.asarray(jax.jit(model.apply)(variables, x))
    assert np.abs(ours).max() > 0
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5 * np.abs(ours).max())
    assert sum(p.numel() for p in peer.parameters()) == model.num_params()


def test_live_variables_have_no_dead_branch():
    model = models.create("resnet18", num_classes=3, input_shape=(8, 8, 3), width=0.1)
    scale = live_variables(model, 0)["params"]["backbone"]["BasicBlock_0"]["BatchNorm_1"]["scale"]
    assert float(np.abs(scale).min()) >= 0.5


def test_the_adapter_and_pytorchs_own_loop_find_the_same():
    pytest.importorskip("torch")
    from advknow.benchmark import torch_adapter

    (row,) = torch_adapter.measure(_tiny("lenet"))
    assert (row.stage, row.model, row.repeats) == ("from_torch", "lenet", 1)
    assert row.ratio > 0


def test_a_stage_that_differs_is_not_timed(monkeypatch):
    pytest.importorskip("torch")
    from advknow.benchmark import checks, ours

    setting = _tiny()
    assert checks.check("attack", setting) <= checks.TOLERANCE
    genuine = ours.attack
    monkeypatch.setattr(ours, "attack", lambda *given: genuine(*given) * (1 + 1e-4))
    monkeypatch.setattr(timing, "_seconds", lambda work: pytest.fail("timed"))
    with pytest.raises(checks.DisagreementError, match=r"attack on mlp: delta of model 0 differs"):
        stages.measure("attack", setting)


def test_nan_on_one_side_is_a_disagreement():
    pytest.importorskip("torch")
    from advknow.benchmark import checks

    with pytest.raises(checks.DisagreementError, match="nan of its size"):
        checks.agree("it", {"a": float("nan")}, {"a": 1.0})


@pytest.mark.parametrize("stage", stages.STAGES)
def test_without_pytorch_the_bare_passes_are_still_compared(stage, monkeypatch):
    monkeypatch.setattr(stages, "has_torch", lambda: False)
    monkeypatch.setitem(sys.modules, "torch", None)
    rows = stages.measure(stage, _tiny(train_steps=1))
    against = [stages.BARE, *([stages.CONSTANT] if stage == "training" else [])]
    assert [(row.stage, row.model, row.against) for row in rows] == [
        (stage, "mlp", name) for name in against
    ]
    assert all(row.ratio > 0 and row.seconds > 0 for row in rows)


def test_a_row_is_medians_of_neighbours():
    # Ratios 2, 3 and 1: their median is 2, and not the ratio of the medians, 6 / 2 = 3.
    row = timing.row("s", "m", "a", [(1.0, 2.0), (2.0, 6.0), (8.0, 8.0)])
    assert row.ratio == 2.0
    assert row.spread == (3.0 - 1.0) / 2.0
    assert (row.seconds, row.other_seconds, row.repeats) == (2.0, 6.0, 3)


def test_ways_take_turns_and_a_share_is_scaled(monkeypatch):
    clock, order = [0.0], []

    def taking(name, seconds):
        def run():
            order.append(name)
            clock[0] += seconds

        return run

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    rows = timing.compare(
        "s",
        "m",
        Work(taking("ours", 2.0)),
        {"a": Work(taking("a", 3.0)), "b": Work(taking("b", 1.0), share=0.25)},
        repeats=2,
    )
    assert order == ["ours", "a", "b"] + ["ours", "a", "ours", "b"] * 2
    assert [(row.against, row.ratio, row.share) for row in rows] == [("a", 1.5, 1), ("b", 2, 0.25)]


@pytest.mark.slow
def test_the_launcher_writes_rows_and_machine(tmp_path):
    pytest.importorskip("torch")
    done = launch(
        *("benchmark", "--smoke", "--quiet", "--stages=attack,training", "--json=rows.json"),
        cwd=tmp_path,
    )
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {(row["stage"], row["against"]) for row in rows} == {
        ("attack", stages.PYTORCH),
        ("attack", stages.PROTOCOL),
        ("attack", stages.BARE),
        ("training", stages.PYTORCH),
        ("training", stages.BARE),
        ("training", stages.CONSTANT),
    }
    for row in rows:
        assert {"stage", "model", "against", "ratio", "spread", "seconds"} <= set(row)
        assert row["against"] in done.stdout
    machine = json.loads((tmp_path / "rows-machine.json").read_text())
    assert {"jax", "torch", "cores", "command"} <= set(machine)


def test_a_wrong_stage_is_one_line(tmp_path):
    done = launch("benchmark", "--stages=atack", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "error: stages='atack' is not known; accepted: attack" in done.stderr


def test_growth_has_exponents_and_a_picture(tmp_path):
    from advknow.benchmark import growth
    from advknow.report import growth as report

    found = growth.measure(growth.SMALL)
    assert [p["size"] for p in found["models"]["points"]] == [2, 3]
    for of_axis in found.values():
        for p in of_axis["points"]:
            assert min(p["seconds"], p["first_seconds"]) > 0
            assert p["peak_mib"] >= p["start_mib"] > 10
    report.figure(found).savefig(tmp_path / "growth.png")
    assert growth.text(found).count("exponent") == 2
    # Seven of size^2.
    assert growth.exponent([2, 4, 8], [28, 112, 448]) == pytest.approx(2)
    with pytest.raises(RuntimeError, match="growth of examples at -1 failed"):
        growth.point("examples", -1)


@pytest.mark.slow
def test_the_synthetic_table_is_the_one_of_an_example_at_a_time(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from advknow.benchmark import synthetic

    synthetic._write(tmp_path, 320)
    assert synthetic._check(tmp_path, 300) <= synthetic.TOLERANCE
    # Again without the processes: our table is still there, theirs has other numbers.
    own = np.loadtxt(tmp_path / "check" / "results.csv", delimiter=",", skiprows=1)
    other = (1 + 10 * synthetic.TOLERANCE) * own
    monkeypatch.setattr(synthetic, "_ours", lambda *given: 0.0)
    monkeypatch.setattr(synthetic, "_theirs", lambda *given: (0.0, 0.0, other))
    with pytest.raises(synthetic.DisagreementError, match="a column differs from PyTorch's by"):
        synthetic._check(tmp_path, 300)


@pytest.mark.slow
def test_scores_beside_transformer_ranker():
    pytest.importorskip("torch")
    pytest.importorskip("torchmetrics")
    if importlib.util.find_spec("transformer_ranker") is None:
        pytest.skip("transformer-ranker is not installed")
    for row in ranker_peer.compare(120, 10, 3, repeats=1):
        _, _, name, ours, theirs, plain, order, _, _ = (cell.strip() for cell in row.split("|"))
        # The package keeps parts of its H-score in float32, and ends LogME at a change of 1e-3.
        assert float(ours) == pytest.approx(float(theirs), rel=1e-4), name
        assert float(ours) == pytest.approx(float(plain), rel=1e-7), name
        assert order == "yes"


def test_without_transformer_ranker_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(ranker_peer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps transformer-ranker"):
        ranker_peer.estimators()


@pytest.mark.parametrize("shape", [(120, 10, 3), (40, 64, 4)])
def test_the_plain_scores_of_the_comparison_are_ours(shape):
    (*_, features), labels = ranker_peer.sources(*shape)
    for name, ours in ranker_peer.OURS.items():
        plain = ranker_peer.PLAIN[name](features, labels)
        assert ours(features, labels) == pytest.approx(plain, rel=1e-7), name
