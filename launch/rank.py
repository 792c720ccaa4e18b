"""Which of these models should be fine-tuned? Ranks them by every score that can be had.

    python -m launch.rank --sources=runs/a,net=module:make,mine=outputs.npz --dataset=folder:photos

A source is a checkpoint folder, MODULE:CALLABLE, or an .npz with features, logits and labels of the
images that --export writes, from any framework (then nothing that needs a gradient is computed).
NAME=PLACE names it. With --target, the target's own model, also CKA, RSA, FMD, rho², GMD and the
alphas. Prints the order first, with what cannot be told apart; writes ranking.csv, ranking.json,
ranking.png and report.html into --workdir.
"""

from absl import flags

from launch import app, collection

SOURCES = flags.DEFINE_list(
    "sources", None, "Checkpoint folders, MODULE:CALLABLE or .npz files, with commas; NAME=PLACE."
)
TARGET = flags.DEFINE_string(
    "target", None, "The target's own model, likewise, for the scores that need one."
)
FIT_TARGET = flags.DEFINE_string(
    "fit_target",
    None,
    "In place of --target, an architecture (lenet, ...) to train on the labelled images alone: it "
    "knows little more than their labels, and so do the scores that use it.",
)
PART = flags.DEFINE_enum(
    "part", "train", ["train", "validation", "test", "all"], "Which part of the data is labelled."
)
SCORES = flags.DEFINE_list("scores", None, "Names of scores, with commas; all by default.")
BY = flags.DEFINE_string(
    "by", None, "The score that the first sentence answers by; logme where sources have features."
)
DRAWS = flags.DEFINE_integer("draws", 200, "Half-samples behind every interval.")
LEVEL = flags.DEFINE_float("level", 0.95, "Of the intervals of all ranks together.")
EXPORT = flags.DEFINE_string(
    "export",
    None,
    "Write the labelled images to this .npz (x uint8, labels, ids, class_names), for sources of "
    "other frameworks, and end.",
)
flags.adopt_module_key_flags(collection)


def main() -> None:
    """Reads the flags, ranks, prints, draws."""
    from advknow.experiments.collection import write_examples
    from advknow.experiments.rank import rank
    from advknow.report import ranking as report

    images = collection.images(PART.value)
    if EXPORT.value:
        chosen, _ = images.read(SOURCES.value or ())
        write_examples(chosen, EXPORT.value)
        print(f"{len(chosen)} images of {len(chosen.class_names)} classes are in {EXPORT.value}")
        return
    found = rank(
        SOURCES.value or (),
        images,
        collection.WORKDIR.value,
        target=TARGET.value,
        fit_target=FIT_TARGET.value,
        scores=SCORES.value,
        by=BY.value,
        draws=DRAWS.value,
        level=LEVEL.value,
        **collection.how(),
    )
    collection.show(found, report, "ranking")


if __name__ == "__main__":
    app.run(main, usage=__doc__, resumes=collection.resumes)
