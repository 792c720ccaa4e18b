"""Models and images from outside, ranked in one command: what a new user brings."""

import csv
import importlib.util
import textwrap

import jax
import numpy as np
import pytest
from blobs import blobs
from launching import launch
from PIL import Image
from small_models import living_variables

from advknow import models
from advknow.runs import checkpoints

NETS = """
    import os
    os.environ["KERAS_BACKEND"] = "jax"

    import equinox as eqx
    import jax
    import keras
    import torch
    from advknow import Source, adapters

    def torch_net():
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)
        ).eval()
        return Source(adapters.from_torch(net), adapters.from_torch(net, features="3"))

    def keras_net():
        keras.utils.set_random_seed(0)
        net = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(4, 3, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dense(4),
            ]
        )
        def of(m):
            weights = [[v.value for v in vs] for vs in (m.trainable_variables, m.non_trainable_variables)]
            return adapters.from_function(
                lambda w, x: m.stateless_call(*w, x, training=False)[0], weights
            )
        return Source(of(net), of(keras.Model(net.inputs, net.layers[-1].input)))

    def equinox_net():
        net = eqx.nn.MLP(64, 3, 16, 1, key=jax.random.key(0))
        def of(m):
            arrays, static = eqx.partition(m, eqx.is_array)
            return adapters.from_function(
                lambda a, x: jax.vmap(eqx.combine(a, static))(x.reshape(len(x), 64)), arrays
            )
        return Source(
            of(net), of(eqx.tree_at(lambda m: m.layers[-1], net, eqx.nn.Identity()))
        )
"""


@pytest.fixture
def folder(tmp_path):
    """60 PNGs of three classes, one JPEG cut in half; nets.py; a checkpoint of advknow."""
    images = blobs(60)
    for i, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
        of_class = tmp_path / "photos" / images.class_names[label]
        of_class.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :, 0]).save(of_class / f"{i:02d}.png")
    damaged = tmp_path / "photos" / images.class_names[0] / "half.jpg"
    Image.fromarray(np.tile(images.images[0, :, :, 0], (8, 8))).save(damaged)
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETS))
    model = models.create("mlp", num_classes=3, input_shape=(8, 8, 1), width=0.1)
    checkpoints.save(
        tmp_path / "ours",
        living_variables(model),
        {**checkpoints.model_metadata(model), "class_names": list(images.class_names)},
    )
    return tmp_path


@pytest.mark.slow
def test_everything_from_outside_is_ranked_in_one_command(folder):
    for needed in ("torch", "keras", "equinox"):
        # Not imported here: Keras would choose its backend for the whole process.
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed; `make frameworks` installs it")
    data = ("--dataset=folder:photos", "--part=all", "--image_size=8")
    done = launch("rank", *data, "--export=images.npz", cwd=folder, check=False)
    assert done.returncode == 2
    assert "half.jpg" in done.stderr
    launch("rank", *data, "--export=images.npz", "--skip_damaged", cwd=folder)
    with np.load(folder / "images.npz", allow_pickle=False) as archive:
        images = dict(archive)
    assert images["x"].shape == (60, 8, 8, 1)
    flat = images["x"].reshape(60, -1) / 255.0
    for seed in range(3):
        mixed = flat @ np.asarray(jax.random.normal(jax.random.key(seed), (64, 10 + seed)))
        np.savez(
            folder / f"outside_{seed}.npz",
            features=mixed,
            logits=mixed[:, :4],
            labels=images["labels"],
            ids=images["ids"],
        )
    sources = [
        *(f"outside_{seed}.npz" for seed in range(3)),
        *(f"{name}=nets:{name}_net" for name in ("torch", "keras", "equinox")),
        "ours",
    ]
    ranked = launch(
        "rank",
        *data,
        "--skip_damaged",
        f"--sources={','.join(sources)}",
        "--target=nets:equinox_net",
        "--scores=logme,leep,cka,fmd,rho2,alpha1_source_to_target",
        "--num_steps=2",
        "--draws=20",
        "--workdir=out",
        cwd=folder,
    )
    assert "half.jpg" in ranked.stdout + ranked.stderr
    assert "equinox" in ranked.stdout
    with open(folder / "out" / "ranking.csv") as file:
        rows = list(csv.DictReader(file))
    by_score = {}
    for row in rows:
        by_score.setdefault(row["score"], {})[row["source"]] = row
    everyone = {"outside_0", "outside_1", "outside_2", "torch", "keras", "equinox", "ours"}
    for score in ("logme", "leep", "cka", "fmd"):
        assert set(by_score[score]) == everyone
    with_gradients = {"torch", "keras", "equinox", "ours"}
    for score in ("rho2", "alpha1_source_to_target"):
        assert set(by_score[score]) == with_gradients
    # The target itself is among the sources.
    assert float(by_score["rho2"]["equinox"]["value"]) == pytest.approx(1.0, abs=1e-5)
    assert by_score["rho2"]["equinox"]["rank"] == "1.0"
    assert (folder / "out" / "ranking.png").stat().st_size > 10_000
    assert "left out of outside_0, outside_1, outside_2: rho2" in ranked.stdout
