"""Who transfers to whom? Alphas, rho² and distances of all ordered pairs of models, in one pass.

    python -m launch.matrix --models=runs/a,runs/b,mine=my_module:make --dataset=digits

A model is a checkpoint folder or MODULE:CALLABLE; NAME=PLACE names it. Each is attacked once.
Prints (K, K) tables, source in rows; writes matrix.csv, matrix.json, matrix.png and
report.html into --workdir.
"""

from absl import flags

from launch import app, collection

MODELS = flags.DEFINE_list(
    "models", None, "Checkpoint folders or MODULE:CALLABLE, with commas; NAME=PLACE names one."
)
PART = flags.DEFINE_enum(
    "part", "test", ["train", "validation", "test", "all"], "Which part of the data is measured on."
)
LOSS = flags.DEFINE_string("loss", "l2", "Adversarial loss: l2 (H = I), squared_l2 or kl.")
flags.adopt_module_key_flags(collection)


def main() -> None:
    """Reads the flags, measures, prints, draws."""
    from advknow.experiments.matrix import matrix
    from advknow.report import matrix as report

    found = matrix(
        MODELS.value or (),
        collection.images(PART.value),
        collection.WORKDIR.value,
        loss=LOSS.value,
        **collection.how(),
    )
    collection.show(found, report, "matrix")


if __name__ == "__main__":
    app.run(main, usage=__doc__, resumes=collection.resumes)
