"""The paper's chain for two models: alphas, A1, A2, the three distances, and the theorems.

    python -m launch.chain --source=runs/a/target --target=runs/b/target --workdir=runs/chain

Prints every link with its numbers and the slack of each inequality; writes chain.json, the picture
with the numbers on its arrows (figure.png), the map of A2 (attacks.png) and the page report.html.
"""

import pathlib

from absl import flags

from launch import app, pair

LOSS = flags.DEFINE_string("loss", "l2", "Adversarial loss: l2 (H = I), squared_l2 or kl.")
NUM_EXAMPLES = flags.DEFINE_integer("num_examples", 256, "At most so many test images; 0 for all.")
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 32, "Images in one program; 0 for the largest power of two that fits."
)
flags.adopt_module_key_flags(pair)


def main() -> None:
    """Reads the flags, measures, prints, draws."""
    from advknow.experiments.chain import chain
    from advknow.report import answers, figures, pages, tables
    from advknow.report import chain as report

    before = pair.written("chain.json")
    found = chain(
        pair.sample(NUM_EXAMPLES.value),
        pair.WORKDIR.value,
        loss=LOSS.value,
        batch_size=BATCH_SIZE.value,
        **pair.how(),
    )
    answer = answers.chain(found)
    print(tables.wrapped(answer.sentence))
    print(report.text(found["chain"]))
    print("\n".join([*tables.hanging(tables.audit(found["audit"])), *answer.lines()]))
    if pair.WORKDIR.value is None or not app.is_main():
        return
    folder = pathlib.Path(pair.WORKDIR.value)
    names = {name: pathlib.Path(found[name]).name for name in ("source", "target")}
    figures.save(report.figure(found["chain"], **names), folder / "figure.png")
    figures.save(report.heat_map(found["chain"]), folder / "attacks.png")
    pages.write(folder)
    same = before is not None and before == pair.written("chain.json")
    files = "chain.json, report.html, figure.png and attacks.png"
    print(f"{'finished before; ' * same}{files} are in {folder}")


if __name__ == "__main__":
    app.run(main, usage=__doc__, resumes=pair.resumes)
