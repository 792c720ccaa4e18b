"""What a source is worth on a target: accuracies on the target's test part, in percent.

probe_accuracy        (a) a ridge classifier on frozen features, its strength by leave-one-out
fine_tuned_accuracy   (b) all layers trained on, learning rate and weight decay by a held-out part
"""

import dataclasses
import itertools

import numpy as np
import threadpoolctl

from advknow import data
from advknow.data import Dataset, DatasetSplits
from advknow.evidence import images, records
from advknow.evidence.design import Source, Study, Target
from advknow.evidence.hypotheses import TRUTH, TUNED
from advknow.evidence.records import Record
from advknow.evidence.zoo import Trained
from advknow.experiments import stages
from advknow.experiments.config import Transfer
from advknow.passes import keys
from advknow.runs.session import Session
from advknow.training import TrainConfig, evaluate

STRENGTHS = np.logspace(-3, 5, 17)
# Of the labelled images of the first draw, what chooses learning rate and weight decay.
HELD_OUT = 0.3


def probe(
    features: np.ndarray, labels: np.ndarray, test_features: np.ndarray, test_labels: np.ndarray
) -> float:
    """Accuracy in percent of scikit-learn's RidgeClassifierCV on features scaled to unit variance.

    Args:
      features, test_features: (N, D), (M, D). labels, test_labels: (N,), (M,) integers.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=STRENGTHS))
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        classifier.fit(np.asarray(features, np.float64), labels)
        right = classifier.predict(np.asarray(test_features, np.float64)) == test_labels
    return 100.0 * float(np.mean(right))


def tuned(
    session: Session,
    source: Source,
    of: Trained,
    target: Target,
    parts: DatasetSplits,
    study: Study,
) -> list[Record]:
    """Accuracy after full fine-tuning, of every draw of the labelled images."""

    def one(train: Dataset, test: Dataset, config: TrainConfig, stage: str) -> float:
        found = stages.fine_tuned(
            session,
            stage,
            of.model,
            of.variables,
            train,
            transfer=Transfer(method="all", training=config),
            dataset=target.dataset,
            key=keys.of_stage(study.seed, stage),
        )
        session.unfinished.clear(stage)
        return evaluate(*found, test, sharding=session.sharding).accuracy

    def make() -> list[Record]:
        draws = [
            images.labelled(
                parts.train, study.tuned_labels, draw=draw, target=target.name, seed=study.seed
            )
            for draw in range(study.draws)
        ]
        learned, held_out = data.partition(draws[0], (1 - HELD_OUT, HELD_OUT), seed=study.seed)
        name = f"tune {source.name} {target.name}"

        def chosen_by(config: TrainConfig) -> float:
            stage = f"{name} {config.learning_rate:g} {config.weight_decay:g}"
            return one(learned, held_out, config, stage)

        configs = [
            dataclasses.replace(study.tuning, learning_rate=rate, weight_decay=decay)
            for rate, decay in itertools.product(*study.grid)
        ]
        # Of equal ones the first: the smaller learning rate, the smaller decay.
        best = max(configs, key=chosen_by)
        return [
            records.record(
                source,
                target,
                TUNED,
                100.0 * one(few, parts.test, best, f"{name} draw {draw}"),
                n=len(parts.test),
                labels=study.tuned_labels,
                draw=draw,
            )
            for draw, few in enumerate(draws)
        ]

    return records.kept(session, "tuned", f"{target.name} by {source.name}", make)


def probed(
    source: Source,
    target: Target,
    features: np.ndarray,
    few: Dataset,
    test_features: np.ndarray,
    test: Dataset,
    *,
    labels: int,
    draw: int,
) -> Record:
    """The record of one draw of the labelled images `few`, whose features are given."""
    accuracy = probe(features, few.labels, test_features, test.labels)
    return records.record(source, target, TRUTH, accuracy, n=len(test), labels=labels, draw=draw)
