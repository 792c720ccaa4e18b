"""What the README tells a user to do works, and what it shows is there."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_is_short_and_ends_in_alpha1(capsys):
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) < 15
    exec(compile(block, "README.md", "exec"), {})
    alpha1, alpha2, product, n = (float(v) for v in capsys.readouterr().out.split())
    assert 0 < product <= alpha2 <= 1
    assert 0 < alpha1 <= 1.2
    assert n == 500


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
