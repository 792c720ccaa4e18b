"""What devices_test runs in processes of their own: `python devices_programs.py NAME ARGUMENTS`."""

import json
import pathlib
import sys


def measures(num_devices):
    """Alphas and distances of small convolutional models, 29 examples in batches of 12."""
    import jax
    import numpy as np

    from advknow import (
        Paths,
        attacks,
        chain,
        from_deltas,
        generalized_transferability,
        models,
        passes,
        perturb,
        small_eps_transferability,
        transferability,
    )
    from advknow.experiments import quantities
    from advknow.passes import devices

    sharding = devices.data_sharding(num_devices)
    shape = (16, 16, 1)
    created = [
        models.create("mlp", num_classes=4, input_shape=shape, width=0.1),
        models.create("lenet", num_classes=3, input_shape=shape, width=0.5),
    ]
    f, g = (m.bind(m.init(jax.random.key(i))) for i, m in enumerate(created))
    x = np.random.default_rng(0).uniform(size=(29, *shape)).astype(np.float32)
    y = np.eye(3)[np.arange(29) % 3]
    key = jax.random.key(7)
    shared = {"batch_size": 12, "sharding": sharding}
    # Smooth in the last bits: a sign step could go the other way where a gradient is near 0.
    attack = attacks.pgd(eps=0.1, num_steps=2, ord="2", random_start=True)
    deltas = [perturb(h, x, attack=attack, key=key, **shared) for h in (f, g)]
    found = {
        "transferability": transferability(f, g, x, attack=attack, key=key, **shared),
        "from_deltas": from_deltas(f, g, x, *deltas, **shared),
        "chain": chain(f, g, x, y=y, paths=Paths(num_nodes=2), **shared),
        "small_eps": small_eps_transferability(f, g, x, **shared)[0],
    }
    content = {name: record.summary() for name, record in found.items()}
    row = passes.run(
        quantities.measure(quantities.QUANTITIES, "source_to_target"),
        {"f_source": f, "f_target": g},
        x,
        y=y,
        deltas=dict(zip(("f_source", "f_target"), deltas, strict=True)),
        stage="",
        **shared,
    )
    content["row"] = quantities.row(quantities.QUANTITIES, row)
    if num_devices in (1, 8):
        iterative = generalized_transferability(f, g, x, method="iterative", count=2, **shared)
        content["iterative"] = iterative.summary()
        content["kl"] = generalized_transferability(f, g, x, loss="kl", **shared).summary()
    content["deltas"] = [delta.sum(axis=(1, 2, 3)).tolist() for delta in deltas]
    content["devices"] = 1 if sharding is None else int(sharding.mesh.size)
    return content


def small_convolutional_model():
    """Convolutions by every algorithm of the CPU, and batch norm: compiles in a few seconds."""
    import flax.linen as nn

    from advknow.convolution import parts, winograd
    from advknow.models import Model, layers
    from advknow.models.batch_norm import BatchNorm

    # As if these sizes were worth it, and in four parts of a batch of 16.
    winograd.LEAST_PRODUCTS, winograd.LEAST_TILES, winograd.NUMBERS_OF_A_PART = 1, 1, 2**12
    parts.OUTPUTS_OF_A_PART, parts.EXAMPLES_AT_ONCE = 64, 4

    class Backbone(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            for features, stride, padding in ((8, 1, 0), (64, 1, 2), (64, 1, 1), (64, 2, 1)):
                x = layers.conv(features, 3, stride=stride, padding=padding)(x)
                x = nn.relu(BatchNorm()(x, train))
            return layers.global_mean(layers.max_pool(x))

    return Model("small", 3, (8, 8, 1), 1.0, Backbone())


def training(num_devices):
    """Parameters after ten steps, with batch norm and without, and a transfer of each kind."""
    import jax
    import numpy as np
    from blobs import blobs
    from linear_model import Normalised

    from advknow import attacks, data, models
    from advknow.passes import devices
    from advknow.training import TrainConfig, evaluate, fine_tune, fit, objective, predict

    sharding = devices.data_sharding(num_devices)
    train, validation = blobs(80, num_classes=3), blobs(21, num_classes=3, seed=1)
    config = TrainConfig(epochs=2, batch_size=16, learning_rate=0.02)
    augment = data.augment(random_crop=2, flip=True)
    content = {}
    mlp = models.create("mlp", num_classes=3, input_shape=(8, 8, 1), width=0.1)
    for name, model in (("mlp", mlp), ("convolutions", small_convolutional_model())):
        fitted = fit(
            model,
            train,
            validation,
            config=config,
            key=jax.random.key(0),
            augment=augment,
            sharding=sharding,
        )
        content[name] = [np.asarray(a).ravel().tolist() for a in jax.tree.leaves(fitted.variables)]
        content[f"{name} logits"] = predict(
            model, fitted.variables, validation, sharding=sharding
        ).tolist()
        content[f"{name} accuracy"] = evaluate(
            model, fitted.variables, validation, sharding=sharding
        ).accuracy
        # 10 examples a batch: not a multiple of 4 or 8 devices.
        for method in ("last_layer", "all") if name == "mlp" else ():
            _, tuned = fine_tune(
                model,
                fitted.variables,
                blobs(20, num_classes=2, seed=2),
                num_classes=2,
                method=method,
                config=TrainConfig(epochs=2, batch_size=10, learning_rate=0.02),
                key=jax.random.key(1),
                sharding=sharding,
            )
            content[f"{name} {method}"] = [
                np.asarray(a).ravel().tolist() for a in jax.tree.leaves(tuned)
            ]
    attack = attacks.pgd(eps=0.1, num_steps=2, ord="2")
    to = mlp.bind(mlp.init(jax.random.key(5)))
    for name, descended in {
        "adversarial": objective.adversarial(attack=attack),
        "aligned": objective.aligned(to=to, weight=2.0),
    }.items():
        fitted = fit(
            models.Model("normalised", 3, (8, 8, 1), 1.0, Normalised()),
            train,
            validation,
            config=config,
            key=jax.random.key(0),
            augment=augment,
            objective=descended,
            sharding=sharding,
        )
        content[name] = [np.asarray(a).ravel().tolist() for a in jax.tree.leaves(fitted.variables)]
    return content


def experiment(workdir):
    """A whole run into one workdir."""
    from tiny_run import tiny_run

    from advknow.experiments.run import run

    config = tiny_run(target_model="lenet", target_width=0.5)
    return [row["alpha1"] for row in run(config, workdir, save_interval=0.0).rows]


def join(process_id, port):
    """Makes this one of two processes on this machine."""
    import jax

    jax.distributed.initialize(f"localhost:{port}", 2, process_id)


def main():
    name, output, counts, *process = sys.argv[1:]
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
    if process:
        join(int(process[0]), int(process[1]))
    if name == "experiment":
        content = experiment(counts)
    else:
        program = {"measures": measures, "training": training}[name]
        content = {count: program(int(count) or None) for count in counts.split(",")}
    pathlib.Path(output).write_text(json.dumps(content))


if __name__ == "__main__":
    main()
