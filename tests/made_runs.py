"""One small run of each kind, a few seconds each."""

import dataclasses

from planted_evidence import whole_verdict
from tiny_run import trained_run

from advknow.attacks import Named
from advknow.evidence.run import write_again
from advknow.experiments import chain, matrix, measure, rank, run
from advknow.experiments.collection import Images
from advknow.experiments.config import Task
from advknow.experiments.sample import Sample
from advknow.synthetic import experiment as synthetic

KINDS = ("know2adv", "measure", "chain", "matrix", "ranking", "synthetic", "evidence")


def made(folder):
    """The workdirs, by kind."""
    there = {kind: folder / kind for kind in KINDS}
    config = trained_run(num_examples=40)
    same = dataclasses.replace(
        config.sources[0], name="100%", task=Task("digits", ("5", "6")), similarity=1.0
    )
    config = dataclasses.replace(config, sources=(*config.sources, same))
    run.run(config, there["know2adv"], command="python -m launch.know2adv --preset=tiny")
    models = {"source": there["know2adv"] / "sources" / "0", "target": there["know2adv"] / "target"}
    sample = Sample(**models, num_examples=16)
    attack = Named("pgd", 0.1, 3, 0, "cross_entropy")
    measure.measure(sample, there["measure"], attack=attack, command="python -m launch.measure")
    chain.chain(sample, there["chain"], command="python -m launch.chain")
    images = Images(dataset="digits", part="test", classes=("5", "6"), num_examples=16)
    every = [f"{name}={there['know2adv'] / 'sources' / name}" for name in ("0", "50", "100")]
    matrix.matrix(
        every[::2], images, there["matrix"], attack=None, command="python -m launch.matrix"
    )
    how = {"scores": ("logme", "knn"), "draws": 40, "command": "python -m launch.rank"}
    rank.rank(every[::2], images, there["ranking"], **how)
    small = synthetic.SyntheticConfig(
        num_inputs=4, num_outputs=2, num_examples=40, source_hidden=3, target_hidden=3, epochs=1,
        num_steps=3,
    )  # fmt: skip
    synthetic.run(small, there["synthetic"], command="python -m launch.synthetic")
    write_again(there["evidence"], *whole_verdict(), command="python -m launch.evidence")
    return there
