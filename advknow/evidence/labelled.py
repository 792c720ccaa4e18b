"""What others rank sources by, on the labelled images of each draw; and the probe's truth there."""

from typing import Any

import threadpoolctl

from advknow import scores
from advknow.data import DatasetSplits
from advknow.evidence import images, records, truth
from advknow.evidence.design import Source, Study, Target
from advknow.evidence.records import Record
from advknow.evidence.zoo import Trained
from advknow.ranking.catalogue import SCORES
from advknow.ranking.observed import Observed
from advknow.runs.session import Session
from advknow.training import extract_features

NAMES = (*scores.OF_FEATURES, "nce", "leep")


def value(name: str, known: Observed) -> float | None:
    """The score of that name in `ranking.SCORES`; None where it is not defined for the source."""
    try:
        return SCORES[name].value(known)
    except ValueError:
        return None


def scored(
    session: Session,
    source: Source,
    of: Trained,
    target: Target,
    parts: DatasetSplits,
    study: Study,
) -> list[Record]:
    """Every score and the accuracy of the linear probe, of all numbers of labels and draws."""

    def make() -> list[Record]:
        head = of.variables["params"]["head"]
        test_features = extract_features(*of, parts.test, sharding=session.sharding)
        found = []
        for labels in study.labels:
            for draw in range(study.draws):
                few = images.labelled(
                    parts.train, labels, draw=draw, target=target.name, seed=study.seed
                )
                features = extract_features(*of, few, sharding=session.sharding)
                logits = features @ head["kernel"] + head["bias"]
                known = Observed(few.labels, logits, features)
                setup: dict[str, Any] = {"labels": labels, "draw": draw}
                with threadpoolctl.threadpool_limits(1, user_api="blas"):
                    found += [
                        records.record(
                            source, target, name, value(name, known), n=len(few), **setup
                        )
                        for name in NAMES
                    ]
                found.append(
                    truth.probed(source, target, features, few, test_features, parts.test, **setup)
                )
        return found

    return records.kept(session, "labelled", f"{target.name} by {source.name}", make)
