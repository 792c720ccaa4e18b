"""The models of the study: sources, and the targets' own models beside which alphas are taken."""

import re
from typing import Any, NamedTuple

import jax.numpy as jnp

from advknow import data, models
from advknow.data import Dataset, DatasetSplits
from advknow.evidence import images, records
from advknow.evidence.design import Recipe, Source, Study, Target
from advknow.evidence.records import Record
from advknow.experiments import stages
from advknow.models import Model
from advknow.passes import keys
from advknow.runs.session import Session
from advknow.training import TrainConfig, evaluate, objective
from advknow.training.objective import Objective
from advknow.training.objective import alignment as of_losses
from advknow.typing import PyTree

# Of the labelled images, what chooses the epoch of the reference model that sees them alone.
HELD_OUT = 0.2
# Of an alignment: models of other classes have no label in common.
AGAINST = "prediction"
WEIGHT, ALIGNMENT = "alignment_weight", "alignment"
# The name of the reference model that saw only the labelled images of the first draw.
FEW = "few"


class Trained(NamedTuple):
    """A model and its variables."""

    model: Model
    variables: PyTree


def _created(name: str, train: Dataset, width: float) -> Model:
    return models.create(
        name,
        num_classes=len(train.class_names),
        input_shape=train.images.shape[1:],
        width=width,
    )


def _folder(session: Session, role: str, name: str) -> Any:
    assert session.folder is not None
    return session.folder / role / re.sub(r"[^A-Za-z0-9.]+", "_", name)


def source_model(
    session: Session, source: Source, study: Study, towards: Trained | None = None
) -> Trained:
    """The source, trained where the workdir does not have it; with an alignment, to `towards`."""
    recipe, parts = source.recipe, images.of_source(source, study)
    model = _created(recipe.model, parts.train, recipe.width)
    key = keys.of_stage(study.seed, f"train/{source.drawn_as}")
    if recipe.training is None:
        return Trained(model, model.init(key))
    variables, _ = stages.trained(
        session,
        _folder(session, "sources", source.name),
        source.name,
        model,
        parts.train,
        parts.validation,
        training=recipe.training,
        key=key,
        augment=stages.augmentation(recipe.dataset, recipe.augment),
        metadata={"dataset": recipe.dataset, "class_names": list(parts.train.class_names)},
        objective=None if towards is None else _aligned(recipe, towards),
    )
    return Trained(model, variables)


def _aligned(recipe: Recipe, towards: Trained) -> Objective:
    assert recipe.alignment is not None
    to = towards.model.bind(towards.variables)
    return objective.aligned(to=to, weight=recipe.alignment.weight, against=AGAINST)


def about(
    session: Session, source: Source, of: Trained, study: Study, towards: Trained | None = None
) -> list[Record]:
    """What the source's own images tell: accuracy on their test part, alignment; and the size."""

    def make() -> list[Record]:
        test = images.of_source(source, study).test
        test = data.take_balanced(test, study.test_images, seed=study.seed)
        right = evaluate(of.model, of.variables, test, sharding=session.sharding)
        found = [
            records.record(source, None, "source_accuracy", 100.0 * right.accuracy, n=right.n),
            records.record(source, None, "num_params", of.model.num_params(), n=1),
        ]
        return found if towards is None else [*found, *_alignment(source, of, towards, test, study)]

    return records.kept(session, "sources", source.name, make)


def _alignment(
    source: Source, of: Trained, towards: Trained, test: Dataset, study: Study
) -> list[Record]:
    """The weight of the alignment, and what came of it on images of the source's task."""
    alignment = source.recipe.alignment
    assert alignment is not None
    (target,) = [target for target in study.targets if target.name == alignment.target]
    chosen = data.take_balanced(test, study.num_examples, seed=study.seed)
    x = jnp.asarray(chosen.pixels())
    u, v = (of_losses.input_gradients(one.model.bind(one.variables), x) for one in (of, towards))
    aligned = abs(float(of_losses.cosines(u, v).mean()))
    return [
        records.record(source, target, WEIGHT, alignment.weight, n=1, reference="0"),
        records.record(source, target, ALIGNMENT, aligned, n=len(chosen), reference="0"),
    ]


def references(
    session: Session, target: Target, parts: DatasetSplits, study: Study
) -> dict[str, Trained]:
    """The target's own models by name: "0", "1", ... of all its train part, and `FEW`."""
    model = _created(study.reference, parts.train, study.reference_width)

    def trained(name: str, train: Dataset, validation: Dataset, training: TrainConfig) -> Trained:
        stage = f"{target.name} reference {name}"
        variables, _ = stages.trained(
            session,
            _folder(session, "targets", stage),
            stage,
            model,
            train,
            validation,
            training=training,
            key=keys.of_stage(study.seed, f"reference/{stage}"),
            augment=None,
            metadata={"dataset": target.dataset, "class_names": list(train.class_names)},
        )
        return Trained(model, variables)

    whole = TrainConfig(epochs=target.epochs, learning_rate=0.02)
    found = {
        str(seed): trained(str(seed), parts.train, parts.validation, whole)
        for seed in range(study.draws)
    }
    few = images.labelled(parts.train, study.labels[0], draw=0, target=target.name, seed=study.seed)
    learned, held_out = data.partition(few, (1.0 - HELD_OUT, HELD_OUT), seed=study.seed)
    found[FEW] = trained(FEW, learned, held_out, study.few_training)
    return found
