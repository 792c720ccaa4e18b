"""The stages that experiments share; whole runs of them are in experiments_test.py."""

import dataclasses

import pytest
from blobs import random_variables
from tiny_run import tiny_run

from advknow import models
from advknow.experiments import stages, tasks
from advknow.runs.session import session
from advknow.training import evaluate


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({}, 1),
        ({"augment": False}, 1),
        ({"method": "closed_form", "augment": False}, 1),
        ({"batch_norm_drift": True}, 3),
        ({"method": "all"}, 3),
    ],
)
def test_draws_of_a_transfer_share_what_the_backbone_makes_of_the_test_part(
    settings, passes, monkeypatch
):
    config = tiny_run()
    transfer = dataclasses.replace(config.transfer, repeats=3, **settings)
    config = dataclasses.replace(config, transfer=transfer)
    parts, _ = tasks.load(config)
    model = models.create("resnet18", num_classes=2, input_shape=(32, 32, 1), width=0.05)
    variables = random_variables(model)
    tuned, extracted = [], []

    def recorded(function, found):
        def called(*args, **kwargs):
            found.append(function(*args, **kwargs))
            return found[-1]

        return called

    monkeypatch.setattr(stages, "fine_tune", recorded(stages.fine_tune, tuned))
    monkeypatch.setattr(stages, "extract_features", recorded(stages.extract_features, extracted))
    of = session(None, ends_with="")
    accuracies = stages.transferred(of, config, config.sources[0], model, variables, parts)
    assert len(extracted) == passes
    # Each by a pass of its own.
    assert accuracies == [100.0 * evaluate(*found, parts.test).accuracy for found in tuned]
    assert len(accuracies) == 3
