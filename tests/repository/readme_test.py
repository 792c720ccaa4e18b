"""What the README tells a user to do works, and what it shows is there."""

import pathlib
import re

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_example_is_short_and_ends_in_alpha1(capsys):
    block = BLOCKS[0]
    assert len([line for line in block.splitlines() if line.strip()]) < 15
    exec(compile(block, "README.md", "exec"), {})
    alpha1, alpha2, product, n = (float(v) for v in capsys.readouterr().out.split())
    assert 0 < product <= alpha2 <= 1
    assert 0 < alpha1 <= 1.2
    assert n == 500


def test_the_adapters_work_as_shown(capsys):
    from adapters_test import Linen, Nnx, X, linen, nnx

    nnx_module = Nnx(nnx.Rngs(0))
    nnx_module.eval()
    given = {
        "linen_module": Linen(),
        "variables": linen(0),
        "nnx_module": nnx_module,
        "apply": lambda variables, x: Linen().apply(variables, x, train=False),
        "x": X,
    }
    assert len(BLOCKS) == 2
    exec(compile(BLOCKS[1], "README.md", "exec"), given)
    assert capsys.readouterr().out == "()\n"
    np.testing.assert_allclose(given["f1"](X), given["f3"](X), rtol=1e-6)
    assert given["f2"](X).shape == (20, 3)


def test_every_picture_and_launcher_named_is_there():
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / picture).is_file(), picture
    named = set(re.findall(r"python -m launch\.(\w+)", README))
    assert {"adv2know", "know2adv", "train", "finetune", "measure"} <= named
    for name in named:
        assert (ROOT / "launch" / f"{name}.py").is_file(), name


def test_the_make_targets_named_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
