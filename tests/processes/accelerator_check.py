"""What can only be seen on a GPU or TPU; a script, beside `python -m launch.benchmark` there.

    python tests/processes/accelerator_check.py found.json

Prints, and writes into the file: how far identities and measures are from a CPU's float64 in
float32 ("highest", what measures ask for) and in JAX's faster products; whether two trainings of one
seed end in the same bits, with and without --xla_gpu_deterministic_ops; seconds of both routes of
the Gram matrices; and that the measures and trainings of devices_test agree with a CPU's.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
PRECISIONS = ("highest", "tensorfloat32", "bfloat16")
EXAMPLES = 32


def _models(name, dtype):
    import jax

    from advknow import models
    from advknow.benchmark.setting import live_variables

    model = models.create(name, num_classes=10, input_shape=(32, 32, 3))
    with jax.enable_x64(False):  # With 64 bits other numbers would be drawn.
        found = [live_variables(model, seed) for seed in range(2)]
    return [model.bind(jax.tree.map(lambda a: a.astype(dtype), v)) for v in found]


def identities(name, dtype="float32"):
    """Measures of two models of an architecture, and of one against itself."""
    import jax
    import numpy as np

    import advknow
    from advknow import attacks, matching

    f, g = _models(name, dtype)
    x = np.random.default_rng(0).uniform(size=(EXAMPLES, 32, 32, 3)).astype(dtype)
    of_itself = matching.gradient_matching(f_source=f, f_target=f, x=x)
    pair, _ = advknow.small_eps_transferability(f, g, x)
    match = matching.gradient_matching(f_source=f, f_target=g, x=x)
    attack = attacks.pgd(eps=0.1, num_steps=10, random_start=False)
    finite = advknow.transferability(f, g, x, attack=attack, key=jax.random.key(0))
    return {
        "GMD of itself": of_itself.distance / of_itself.norm,
        "theorem 1": advknow.chain(f, g, x).theorem1_error if name == "lenet" else None,
        "alpha1": pair.alpha1,
        "alpha2": pair.alpha2,
        "GMD": match.distance,
        "rho2": match.rho2,
        "alpha1 of PGD": finite.alpha1,
    }


def precisions():
    """The identities by precision of products."""
    import jax

    found = {}
    for name in ("lenet", "resnet18"):
        for precision in PRECISIONS:
            with jax.default_matmul_precision(None if precision == "highest" else precision):
                found[f"{name} {precision}"] = identities(name)
    return found


def exact():
    """The identities in float64."""
    import jax

    with jax.enable_x64(True):
        return {name: identities(name, "float64") for name in ("lenet", "resnet18")}


def trained():
    """The bits of the parameters after some steps."""
    import jax
    import numpy as np

    from advknow import models
    from advknow.benchmark.setting import live_variables
    from advknow.training import sgd
    from advknow.training.config import TrainConfig
    from advknow.training.forward import WholeModel
    from advknow.training.state import create_state

    found = {}
    for name, steps in (("lenet", 50), ("resnet18", 10)):
        model = models.create(name, num_classes=10, input_shape=(32, 32, 3))
        variables = live_variables(model, 0)
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (64 * steps, 32, 32, 3), np.uint8)
        config = TrainConfig(epochs=1, batch_size=64, learning_rate=0.01)
        state = create_state(
            variables["params"], variables.get("batch_stats", {}), config, jax.random.key(0)
        )
        labels = generator.integers(0, 10, len(images))
        *_, (state, _) = sgd.epochs(state, WholeModel(model, None), {}, images, labels, config)
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state.params)]
        found[name] = hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).hexdigest()[:16]
    return found


def routes():
    """Milliseconds of both routes of the Gram matrices, medians of 7, in turns; their MiB."""
    import jax
    import numpy as np

    from advknow import gram
    from advknow.passes import memory

    found = {}
    for outputs, inputs in ((10, 3072), (100, 3072), (10, 150528)):
        key = jax.random.key(0)
        j = jax.random.normal(key, (64 if inputs < 10**5 else 16, outputs, inputs))
        ways = {"host": gram.products_on_host, "device": gram.products_on_device}
        results = {name: way(j, j, len(j)) for name, way in ways.items()}
        times = {name: [] for name in ways}
        for _ in range(7):
            for name, way in ways.items():
                start = time.perf_counter()
                # A fresh array: one that was fetched keeps its copy on the host.
                fresh = jax.block_until_ready(j + 0.0)
                start = time.perf_counter()
                way(fresh, fresh, len(j))
                times[name].append(1000 * (time.perf_counter() - start))
        largest = np.abs(results["host"]).max()
        found[f"{len(j)} x {outputs} + {outputs} outputs, {inputs} inputs"] = {
            **{name: float(np.median(t)) for name, t in times.items()},
            **_mebibytes(gram, memory, j),
            "difference": float(np.abs(results["host"] - results["device"]).max() / largest),
        }
    return found


def _mebibytes(gram, memory, j):
    """What either route holds beside the Jacobians where they lie."""
    import jax

    copies = 2 * j.nbytes + 8 * gram.NUMBERS_AT_ONCE
    with jax.enable_x64(True):
        program = gram._products_on_device.lower(j, j)
        on_device = memory.program_bytes(program) - 2 * j.nbytes
    return {"host MiB": copies / 2**20, "device MiB": on_device / 2**20}


PARTS = {"precisions": precisions, "exact": exact, "trained": trained, "routes": routes}


def _begin(part, folder, tag, *, cpu=False, flags=""):
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    environment["PYTHONPATH"] = f"{HERE.parents[1]}:{environment.get('PYTHONPATH', '')}"
    if cpu:
        environment["JAX_PLATFORMS"] = "cpu"
    if flags:
        environment["XLA_FLAGS"] = flags
    output = folder / f"{part}-{tag}.json"
    command = [sys.executable, __file__, part, output]
    if part in ("measures", "training"):
        command = [sys.executable, HERE / "devices_programs.py", part, output, "0" if cpu else "1"]
    return output, subprocess.Popen(list(map(str, command)), env=environment)


def _finish(begun):
    output, process = begun
    if process.wait() != 0:
        return {"failed": process.returncode}
    return json.loads(output.read_text())


def _largest_difference(a, b):
    """The largest difference of two JSON contents' numbers, each relative to 1 or its size."""
    if isinstance(a, dict):
        return max((_largest_difference(a[k], b[k]) for k in a if k != "devices"), default=0.0)
    if isinstance(a, list):
        pairs = zip(a, b, strict=True)
        return max((_largest_difference(x, y) for x, y in pairs), default=0.0)
    if isinstance(a, float) and isinstance(b, (int, float)):
        return abs(a - b) / max(1.0, abs(b))
    return 0.0 if a == b else float("inf")


def main(path):
    """Runs the parts, those that are timed alone."""
    folder, found = pathlib.Path(tempfile.mkdtemp()), {}
    found["routes"] = _finish(_begin("routes", folder, "device"))
    at_once = {
        "precisions": _begin("precisions", folder, "device"),
        "exact": _begin("exact", folder, "cpu", cpu=True),
        "measures": _begin("measures", folder, "device"),
        "measures on cpu": _begin("measures", folder, "cpu", cpu=True),
        "training": _begin("training", folder, "device"),
        "training on cpu": _begin("training", folder, "cpu", cpu=True),
    }
    results = {name: _finish(begun) for name, begun in at_once.items()}
    found["precisions"], found["float64 on a CPU"] = results["precisions"], results["exact"]
    for name in ("measures", "training"):
        if "failed" not in results[name]:
            one, other = results[name]["1"], results[f"{name} on cpu"]["0"]
            found[f"{name}: largest difference from a CPU"] = {
                part: _largest_difference(one[part], other[part]) for part in one if part in other
            }
    for flags in ("", "--xla_gpu_deterministic_ops=true"):
        twice = [_begin("trained", folder, f"{bool(flags)}{i}", flags=flags) for i in range(2)]
        found[f"two trainings {flags}"] = [_finish(begun) for begun in twice]
    pathlib.Path(path).write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        pathlib.Path(sys.argv[2]).write_text(json.dumps(PARTS[sys.argv[1]]()))
    else:
        main(sys.argv[1])
