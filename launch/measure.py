"""Measures two models: alpha1, alpha2 and alpha1*alpha2 in both directions.

    python -m launch.measure --source=runs/a/target --target=runs/b/target --dataset=digits

The models are folders that launch.train, launch.finetune, launch.adv2know or launch.know2adv wrote,
or MODULE:CALLABLE. Prints a table (squares and norms) and writes measure.json and the page
report.html into --workdir.
"""

from absl import flags

from launch import app, pair

ATTACK = flags.DEFINE_string("attack", "pgd", "fgsm, pgd or singular.")
EPS = flags.DEFINE_float("eps", 0.1, "Radius of fgsm and pgd in [0, 1] pixel units.")
NUM_STEPS = flags.DEFINE_integer("num_steps", 50, "Steps of pgd, each of eps/10.")
INDEX = flags.DEFINE_integer(
    "index", 0, "Which attack of singular, from 0, in the small-eps limit."
)
OBJECTIVE = flags.DEFINE_enum(
    "objective",
    "cross_entropy",
    ["cross_entropy", "output_deviation"],
    "What fgsm and pgd raise; alpha1 is evaluated in the outputs' distance, output_deviation.",
)
NUM_EXAMPLES = flags.DEFINE_integer(
    "num_examples", 0, "Measure on at most so many test images; 0 for all."
)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 64, "Images in one program; 0 for the largest power of two that fits."
)
SAVE_EXAMPLES = flags.DEFINE_string(
    "save_examples", None, "Folder for both models' adversarial examples, float32 and 8-bit."
)
DELTAS_SOURCE = flags.DEFINE_string(
    "deltas_source", None, "Adversarial examples of the source to read in place of attacking it."
)
DELTAS_TARGET = flags.DEFINE_string("deltas_target", None, "The same of the target.")
flags.adopt_module_key_flags(pair)


def main() -> None:
    """Reads the flags, measures, prints."""
    from advknow.attacks import Named
    from advknow.experiments.measure import measure
    from advknow.report import answers, commands, pages

    before = pair.written("measure.json")
    attack = Named(ATTACK.value, EPS.value, NUM_STEPS.value, INDEX.value, OBJECTIVE.value)
    found = measure(
        pair.sample(NUM_EXAMPLES.value),
        pair.WORKDIR.value,
        attack=attack,
        batch_size=BATCH_SIZE.value,
        save_examples=SAVE_EXAMPLES.value,
        deltas={"source": DELTAS_SOURCE.value, "target": DELTAS_TARGET.value},
        **pair.how(),
    )
    print(commands.measured(found))
    print("\n".join(answers.measure(found).lines()))
    if pair.WORKDIR.value is not None:
        if app.is_main():
            pages.write(pair.WORKDIR.value)
        same = before is not None and before == pair.written("measure.json")
        print(
            f"{'finished before; ' * same}measure.json and report.html are in {pair.WORKDIR.value}"
        )


if __name__ == "__main__":
    app.run(main, usage=__doc__, resumes=pair.resumes)
