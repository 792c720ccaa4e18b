"""The sentence says what the numbers say, and no more."""

import pytest
from planted_results import FALLING, MIXED, RISING, found

from advknow.report import answers, tables


@pytest.mark.parametrize(
    ("alphas", "begins", "holds"),
    [
        (
            (MIXED, MIXED, MIXED),
            "Not shown by these 5 sources and one seed",
            "alpha1: Pearson +0.30",
        ),
        (
            (RISING, MIXED, MIXED),
            "Yes, for these 5 sources",
            "of 3 alphas, alpha1 (Pearson +1.00, p",
        ),
        ((RISING, RISING, MIXED), "Yes", "alpha1 (Pearson +1.00, p = 0.017) and alpha2 (squared)"),
        ((FALLING, MIXED, MIXED), "The reverse", "alpha1 (Pearson -1.00"),
        ((RISING, FALLING, MIXED), "Both ways", "alpha2 (squared) (Pearson -1.00"),
        (((1, 2), (1, 2), (1, 2)), "It cannot be told: 2 sources", ""),
    ],
)
def test_the_answer_is_that_of_the_correlations(alphas, begins, holds):
    answer = answers.experiment(found(*alphas), "runs/x")
    assert answer.sentence.startswith(begins)
    assert holds in answer.sentence


def test_the_best_teacher_and_the_largest_alpha1_are_named():
    sentence = answers.experiment(found(FALLING, MIXED, MIXED)).sentence
    assert "ResNet50 teaches best (90.0 %), MLP has the largest alpha1 (0.500)." in sentence
    sentence = answers.experiment(found(RISING, MIXED, MIXED)).sentence
    assert "ResNet50 teaches best (90.0 %), and has the largest alpha1 (0.500)." in sentence


def test_what_to_do_next_are_commands_beside_the_run():
    answer = answers.experiment(found(RISING, MIXED, MIXED), "runs/x")
    assert [command for _, command in answer.following] == [
        "python -m launch.adv2know --seed=4 --workdir=runs/x-seed-4",
        "python -m launch.chain --source=runs/x/sources/ResNet50 --target=runs/x/target "
        "--workdir=runs/x-chain",
    ]
    spoilt = found(RISING, MIXED, MIXED, findings={"LeNet": [{"name": "a", "message": "m"}]})
    why, command = answers.experiment(spoilt, "runs/x").following[0]
    assert "LeNet" in why
    assert command.endswith("--objective=output_deviation --workdir=runs/x-deviation")
    assert answers.experiment(found(RISING, MIXED, MIXED, command="")).following[0][1] == ""


def test_a_shell_takes_names_as_they_are():
    results = found(RISING, MIXED, MIXED, command="python -m launch.adv2know '--set=a b'")
    command = answers.experiment(results, "my runs/$(x)").following[0][1]
    assert command.endswith("'--set=a b' --seed=4 '--workdir=my runs/$(x)-seed-4'")


@pytest.mark.parametrize("experiment", ["adv2know", "know2adv"])
def test_the_table_fits_a_terminal_of_100_columns(experiment):
    """The largest counts, and the names of the presets."""
    results = found(RISING, MIXED, MIXED, experiment=experiment)
    for row in results.rows:
        row |= {"alpha1_se": 0.01, "alpha2_squared_se": 0.01, "alpha1_alpha2_squared_se": 0.001,
                "knowledge_transfer_se": 1.25}  # fmt: skip
    text = tables.text(results)
    assert max(map(len, text.splitlines())) <= 100
    assert "12345" in text
    assert "1234" in text
    # The poster's figures are under the table, not in it.
    heading = next(line for line in text.splitlines() if "transfer %" in line)
    assert "poster" not in heading
    assert ("What the poster prints" in text) == (experiment == "adv2know")


def measured(**changes):
    one = {"alpha1": 0.125, "alpha1_se": 0.01, "n": 40}
    return {"source": "runs/a/LeNet", "target": "runs/b/target", "source_to_target": one,
            "target_to_source": {**one, "alpha1": 0.5, "alpha1_se": None}, **changes}  # fmt: skip


def test_a_measurement_says_both_directions():
    answer = answers.measure(measured())
    assert answer.sentence == (
        "The attack on LeNet moves the outputs of target by 12.5 ± 1.0 % of what target's own "
        "attack does (alpha1, the mean of 40 examples); the other way it is 50.0 %."
    )
    assert "runs/a/x" in answers.measure(measured(source="runs/a/x", target="runs/b/x")).question


def test_a_chain_says_what_fails():
    of = {
        "inequalities": [
            {"guaranteed": True, "holds": True},
            {"guaranteed": False, "holds": False},
        ],
        "generalized": {"num_attacks": 3, "rho2": 0.25},
        "function": {"relative": 0.5},
    }
    pair = {"source": "a", "target": "b", "chain": of}
    assert answers.chain(pair).sentence.endswith("all 1 guaranteed inequalities hold.")
    assert "rho² = 25.0 %" in answers.chain(pair).sentence
    of["inequalities"][0]["holds"] = False
    assert answers.chain(pair).sentence.endswith("1 of 1 guaranteed inequalities FAIL.")
    of["generalized"]["rho2"] = None
    assert "an unknown share" in answers.chain(pair).sentence


def primary(low, high, **changes):
    row = {"hypothesis": "primary", "scope": "all", "of": "a score", "labels": 10, "sources": 48,
           "targets": 8, "mean": (low + high) / 2, "low": low, "high": high, **changes}  # fmt: skip
    return {"verdict": {"level": 0.95, "hypotheses": [row]}}


@pytest.mark.parametrize(
    ("low", "high", "head", "interval"),
    [
        (0.1, 0.3, "Yes, more than a random order does, for these 48", "+0.10 to +0.30, excludes"),
        (-0.1, 0.3, "Not shown by these 48", "-0.10 to +0.30, includes"),
        (-0.3, -0.1, "The reverse, for these 48", "-0.30 to -0.10, excludes"),
        # Zero is in an interval that ends there; digits tell an end beside zero from zero.
        (0.0, 0.3, "Not shown by these 48", "+0.00 to +0.30, includes"),
        (0.0042, 0.3, "Yes", "+0.004 to +0.300, excludes"),
        (-0.3, -0.0004, "The reverse", "-0.3000 to -0.0004, excludes"),
    ],
)
def test_the_studys_answer_is_that_of_the_interval(low, high, head, interval):
    sentence = answers.evidence(primary(low, high)).sentence
    assert sentence.startswith(head)
    assert f"its 95 % interval, {interval} zero." in sentence
    assert "a score has a weighted tau of " in sentence


def test_a_study_without_the_primary_hypothesis_cannot_tell():
    for changes in ({"scope": "near"}, {"hypothesis": "second"}):
        sentence = answers.evidence(primary(0.1, 0.3, **changes)).sentence
        assert sentence.startswith("It cannot be told")


def test_what_to_do_after_a_study():
    commands = [
        command
        for preset in ("tiny", "digits", "full")
        for _, command in answers.evidence({**primary(0, 1), "preset": preset}, "runs/x").following
    ]
    again = "python -m launch.evidence --records=runs/x/evidence.csv --workdir=runs/x-again"
    assert commands == [
        "python -m launch.evidence --preset=digits --workdir=runs/x-digits",
        again,
        "python -m launch.evidence --preset=full --workdir=runs/x-full",
        again,
        again,
    ]
    assert answers.evidence(primary(0, 1)).following == ()
    given = {"command": "python -m launch.evidence --shard=2/4 --workdir=y", "preset": "full"}
    assert answers.evidence_goes_on(given, "x") == (
        "python -m launch.evidence --shard=1/1 --workdir=x"
    )
    assert answers.evidence_goes_on({**given, "command": ""}, "x") == (
        "python -m launch.evidence --preset=full --workdir=x"
    )


def test_the_synthetic_answer_says_which_way_each_number_goes():
    names = ("alpha1_S_T", "alpha2_S_T", "gradient_matching", "loss_f_S")
    rows = [{"scale": 0.0, **dict.fromkeys(names, 0.5)},
            {"scale": 0.9, **dict(zip(names, (0.1, 0.5, 0.9, 0.6), strict=True))}]  # fmt: skip
    sentence = answers.synthetic({"rows": rows, "settings": {"seed": 1}, "command": ""}).sentence
    assert "alpha1 falls from 0.500 to 0.100" in sentence
    assert "alpha2 stays from 0.500 to 0.500" in sentence
    assert "distance rises from 0.500 to 0.900 and the loss rises" in sentence
