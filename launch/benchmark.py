"""What the stages cost against PyTorch, the published protocol and the bare gradient passes.

    python -m launch.benchmark --json=benchmark.json
    python -m launch.benchmark --stages=attack,metrics --models=lenet,resnet18 --repeats=9
    python -m launch.benchmark --growth --workdir=runs/growth

Every stage is first computed by both sides, in float64 on a few images, and timed only where they
agree; then all ways take turns, and the table has the medians of the ratios (theirs over ours:
above 1 ours is faster) and their spread. Comparisons with PyTorch need advknow[benchmark].
--json writes the rows, and what they were measured on into FILE-machine.json beside it. --growth
measures instead how time and memory grow with examples, inputs, outputs and models, and writes
growth.json and growth.png.
"""

import io
import json
import pathlib
from typing import Any

from absl import flags

from launch import app
from launch.progress import reporter

STAGES = flags.DEFINE_list(
    "stages",
    ["attack", "metrics", "singular", "distances", "training", "synthetic"],
    "Which stages, with commas.",
)
MODELS = flags.DEFINE_list("models", ["lenet", "resnet18"], "Which architectures, with commas.")
WIDTH = flags.DEFINE_float("width", 1.0, "Width multiplier of the models; 1 is the poster's.")
REPEATS = flags.DEFINE_integer("repeats", 5, "How often every way is timed.")
NUM_EXAMPLES = flags.DEFINE_integer(
    "num_examples", None, "Images of a stage; 64 by default, 512 of the models without residuals."
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images in one program.")
NUM_STEPS = flags.DEFINE_integer("num_steps", 10, "Steps of PGD.")
ONE_BY_ONE = flags.DEFINE_integer(
    "one_by_one", 4, "Images that the protocol's form does; its time is scaled to all."
)
TRAIN_STEPS = flags.DEFINE_integer(
    "train_steps", None, "Training steps; 2 by default, 200 without residuals."
)
TRAIN_BATCH = flags.DEFINE_integer("train_batch", 64, "Images in a training step; 8 with --smoke.")
BFLOAT16 = flags.DEFINE_bool(
    "bfloat16",
    False,
    "Train with bfloat16 activations, PyTorch with float32; of the other stages "
    "JAX_DEFAULT_MATMUL_PRECISION decides.",
)
SMOKE = flags.DEFINE_bool(
    "smoke", False, "Tiny sizes, to see that all works; the ratios mean nothing."
)
JSON = flags.DEFINE_string("json", None, "File for the rows.")
GROWTH = flags.DEFINE_bool("growth", False, "Measure how time and memory grow instead.")
WORKDIR = flags.DEFINE_string("workdir", "runs/growth", "Folder for what --growth finds.")
flags.adopt_module_key_flags(app)


def _settings() -> list:
    from advknow.benchmark.setting import Setting, Sizes

    if SMOKE.value:
        sizes = Sizes(
            num_examples=8,
            batch_size=8,
            num_steps=1,
            one_by_one=2,
            num_sources=1,
            train_steps=1,
            train_batch=8,
            repeats=1,
        )
        return [Setting("lenet", sizes, width=0.5)]
    found = []
    for name in MODELS.value:
        # A quick model gets more to do, so that a run is long against the clock.
        examples, steps = (64, 2) if name.startswith("resnet") else (512, 200)
        sizes = Sizes(
            num_examples=examples if NUM_EXAMPLES.value is None else NUM_EXAMPLES.value,
            batch_size=BATCH_SIZE.value,
            num_steps=NUM_STEPS.value,
            one_by_one=ONE_BY_ONE.value,
            train_steps=steps if TRAIN_STEPS.value is None else TRAIN_STEPS.value,
            train_batch=TRAIN_BATCH.value,
            repeats=REPEATS.value,
        )
        activations = "bfloat16" if BFLOAT16.value else "float32"
        found.append(Setting(name, sizes, width=WIDTH.value, activations=activations))
    return found


def _grow() -> None:
    from advknow.benchmark import growth
    from advknow.report import growth as report
    from advknow.runs import files

    folder = files.make_workdir(WORKDIR.value)
    axes = growth.SMALL if SMOKE.value else growth.AXES
    found = growth.measure(axes, progress=reporter(quiet=app.QUIET.value))
    content = json.dumps({"axes": found, "machine": _machine()}, indent=2, allow_nan=False)
    files.write_atomically(folder / "growth.json", content + "\n")
    picture = io.BytesIO()
    report.figure(found).savefig(picture, format="png", dpi=120)
    files.write_atomically(folder / "growth.png", picture.getvalue())
    print(growth.text(found))
    print(f"growth.json and growth.png are in {folder}")


def main() -> None:
    """Reads the flags, checks, times, prints the table."""
    from advknow import models, validate
    from advknow.benchmark import stages, synthetic, timing
    from advknow.benchmark.synthetic import SyntheticSizes
    from advknow.runs import files

    if GROWTH.value:
        _grow()
        return
    for name in STAGES.value:
        validate.choice("stages", name, (*stages.STAGES, "synthetic"))
    for name in MODELS.value:
        validate.choice("models", name, models.MODELS)
    if not stages.has_torch():
        print(
            "note: PyTorch is not installed, only the comparisons with the bare compiled passes "
            "run; pip install 'advknow[benchmark]' brings it."
        )
    machine = _machine()
    progress = reporter(quiet=app.QUIET.value)
    rows: list[timing.Row] = []
    for setting in _settings():
        for stage in STAGES.value:
            if stage != "synthetic":
                rows += stages.measure(stage, setting, progress=progress)
    if "synthetic" in STAGES.value and stages.has_torch():
        few = {"num_examples": 400, "num_steps": 2, "one_by_one": 20, "repeats": 1}
        rows += synthetic.measure(SyntheticSizes(**few if SMOKE.value else {}), progress=progress)
    print(timing.table(rows))
    print("; ".join(f"{name} {value}" for name, value in machine.items()))
    if JSON.value:
        path = pathlib.Path(JSON.value)
        for file, content in (
            (path, [row._asdict() for row in rows]),
            (path.with_name(f"{path.stem}-machine.json"), machine),
        ):
            files.write_atomically(file, json.dumps(content, indent=2, allow_nan=False) + "\n")


def _machine() -> dict[str, Any]:
    """Versions, cores and threads; PyTorch gets as many threads as XLA takes, all cores."""
    from advknow.benchmark import stages
    from advknow.passes.devices import usable_cores
    from advknow.runs.versions import versions

    found: dict[str, Any] = {**versions(), "command": app.command()}
    if stages.has_torch():
        import torch

        # A smoke run beside other processes would wait for its own threads.
        torch.set_num_threads(1 if SMOKE.value else usable_cores())
        found |= {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}
    return found


if __name__ == "__main__":
    app.run(main, usage=__doc__)
