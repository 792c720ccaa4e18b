"""Settings by dotted names: any field of a configuration, typed by the field, refused by name."""

import json

import pytest

from advknow.experiments.config import ADDED, scaled
from advknow.experiments.presets import preset
from advknow.runs import files
from advknow.runs.settings import replaced

DIGITS = preset("adv2know", "digits")


@pytest.mark.parametrize(
    ("setting", "read", "value"),
    [
        ("transfer.repeats=3", lambda c: c.transfer.repeats, 3),
        ("transfer.training.learning_rate=1", lambda c: c.transfer.training.learning_rate, 1.0),
        ("attack.eps=0.05", lambda c: c.attack.eps, 0.05),
        ("augment=true", lambda c: c.augment, True),
        ("data_dir=/data", lambda c: c.data_dir, "/data"),
        ("data_dir=None", lambda c: c.data_dir, None),
        ("target.classes=5,6", lambda c: c.target.classes, ("5", "6")),
        ("sources.LeNet.width=0.5", lambda c: [s.width for s in c.sources],
         [0.25, 0.5, 0.25, 0.125, 0.125]),
        ("target_training.adversarial.eps=0.03", lambda c: c.target_training.adversarial.eps, 0.03),
        ("target_training.adversarial.step_size=None",
         lambda c: c.target_training.adversarial.step_size, None),
        ("target_training.adversarial.random_start=false",
         lambda c: c.target_training.adversarial.random_start, False),
        ("sources.*.training.epochs=2", lambda c: [s.training.epochs for s in c.sources], [2] * 5),
    ],
)  # fmt: skip
def test_a_field_by_its_dotted_name(setting, read, value):
    found = scaled(DIGITS, settings=[setting])
    assert read(found) == value
    assert type(read(found)) is type(value)
    assert scaled(found) == found


def test_settings_come_in_order_and_after_the_short_ones():
    found = scaled(DIGITS, settings=["seed=3", "seed=4"], seed=2, transfer_repeats=2)
    assert (found.seed, found.transfer.repeats) == (4, 2)
    assert DIGITS.seed == 0  # the preset itself is as it was


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("transfer.repeat=3", "setting='transfer.repeat' is not known.*Did you mean 'transfer.rep"),
        ("transfr.repeats=3", "setting='transfr' is not known.*Did you mean 'transfer'"),
        ("transfer=3", "transfer has fields of its own; set one of them"),
        ("transfer.repeats.x=3", "transfer.repeats has no fields"),
        ("transfer.repeats", "set='transfer.repeats' must be NAME=VALUE"),
        ("transfer.repeats=0", "transfer_repeats=0 must be a finite number >= 1"),
        ("transfer.repeats=two", "transfer_repeats='two' .* must be an integer"),
        ("transfer.repeats=1.5", "transfer_repeats=1.5 .* must be an integer"),
        ("augment=perhaps", "augment='perhaps' is not known; accepted: true, false"),
        ("sources.lenet.width=1", r"sources='lenet' is not known; accepted: \*, MLP, LeNet"),
        ("sources.LeNet=1", "sources.LeNet is an item; set one of its fields"),
        ("sources.*.model=vgg", "model='vgg' is not known"),
        ("sources=LeNet", "sources has items; set a field of one of them"),
        ("target.classes.x=1", "target.classes has no fields"),
        ("sources.LeNet.name=target", "'target' is the target's own name"),
        ("sources.*.similarity=5", "similarity=5.0 must be a finite number >= 0 and <= 1"),
        ("experiment=know2adv", "experiment names what is run"),
        ("target_training.adversarial=1", "target_training.adversarial has fields of its own"),
        ("target_training.adversarial.eps=-1", "adversarial.eps=-1.0 must be .* >= 0"),
        ("transfer.training.adversarial.eps=0.1", "goes with transfer.method='all'; 'last_layer'"),
    ],
)
def test_what_is_no_setting_is_refused_by_name(setting, message):
    with pytest.raises((ValueError, TypeError), match=message):
        scaled(DIGITS, settings=[setting])


def test_a_value_that_is_no_text_is_taken_as_it_is():
    assert replaced(DIGITS, "target_width", 2.0).target_width == 2.0
    assert scaled(DIGITS, sources=DIGITS.sources[:2]).sources == DIGITS.sources[:2]


def test_workdirs_of_before_adversarial_training_stay_valid(tmp_path):
    def older(value):
        if isinstance(value, dict):
            return {k: older(v) for k, v in value.items() if k != "adversarial"}
        return [older(v) for v in value] if isinstance(value, list | tuple) else value

    config = DIGITS.to_dict()
    assert older(config) != config
    (tmp_path / "config.json").write_text(json.dumps(older(config)))
    files.claim(tmp_path, config, ADDED)
    robust = scaled(DIGITS, settings=["target_training.adversarial.eps=0.1"])
    with pytest.raises(ValueError, match=r"target_training.adversarial.eps: 0.0 -> 0.1"):
        files.claim(tmp_path, robust.to_dict(), ADDED)
