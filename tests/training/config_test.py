import pytest

from advknow.training.config import Adversarial, TrainConfig


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"epochs": 0}, ValueError, r"epochs=0 must be a finite number >= 1"),
        ({"epochs": 1.5}, TypeError, r"epochs=1\.5 \(float\) must be an integer"),
        ({"epochs": True}, TypeError, r"epochs=True"),
        ({"batch_size": 0}, ValueError, r"batch_size=0 .* >= 1"),
        ({"batch_size": -3}, ValueError, r"batch_size=-3 .* >= 1"),
        ({"learning_rate": 0.0}, ValueError, r"learning_rate=0\.0 .* > 0"),
        ({"learning_rate": float("nan")}, ValueError, r"learning_rate=nan"),
        ({"learning_rate": "0.1"}, TypeError, r"learning_rate='0\.1' \(str\)"),
        ({"momentum": 1.0}, ValueError, r"momentum=1\.0"),
        ({"momentum": -0.1}, ValueError, r"momentum=-0\.1 .* >= 0"),
        ({"weight_decay": -1e-4}, ValueError, r"weight_decay=-0\.0001 .* >= 0"),
        ({"weight_decay": float("inf")}, ValueError, r"weight_decay=inf"),
        ({"schedule": "cosin"}, ValueError, r"schedule='cosin' .* cosine, constant.*'cosine'\?"),
        ({"adversarial": 0.1}, TypeError, r"adversarial=0\.1 must be a training\.Adversarial"),
    ],
)
def test_hostile_settings_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        TrainConfig(**{"epochs": 1, **settings})


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"eps": -0.1}, ValueError, r"adversarial\.eps=-0\.1 .* >= 0"),
        ({"eps": "8/255"}, TypeError, r"adversarial\.eps='8/255' \(str\)"),
        ({"num_steps": 0}, ValueError, r"adversarial\.num_steps=0"),
        ({"step_size": 0.0}, ValueError, r"adversarial\.step_size=0\.0 .* > 0"),
        ({"ord": "1"}, ValueError, r"adversarial\.ord='1' is not known; accepted: inf, 2"),
    ],
)
def test_hostile_settings_of_an_attack_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        Adversarial(**{"eps": 0.1, **settings})
