"""Adversarial examples in files: bit for bit, or refused; and what 8 bits cost."""

import numpy as np
import pytest

from advknow.runs import adversarial_examples, snapshots
from advknow.runs.adversarial_examples import AdversarialExamples

RNG = np.random.default_rng(0)
X = RNG.uniform(0.1, 0.9, size=(5, 4, 4, 1)).astype(np.float32)
EPS = 0.03
DELTA = (EPS * RNG.choice([-1.0, 1.0], size=X.shape)).astype(np.float32)
EXAMPLES = AdversarialExamples(X, DELTA, {"attack": "fgsm", "eps": EPS})


def test_what_is_read_back_is_what_was_saved(tmp_path):
    adversarial_examples.save(tmp_path / "a.npz", EXAMPLES)
    found = adversarial_examples.load(tmp_path / "a.npz")
    assert found.x.tobytes() == X.tobytes()
    assert found.delta.tobytes() == DELTA.tobytes()
    assert found.metadata == EXAMPLES.metadata
    assert found.digest() == EXAMPLES.digest()


def test_every_part_is_in_the_digest():
    others = (
        AdversarialExamples(X + np.float32(1e-7), DELTA, EXAMPLES.metadata),
        AdversarialExamples(X, -DELTA, EXAMPLES.metadata),
        AdversarialExamples(X, DELTA, {"attack": "fgsm", "eps": 0.031}),
        AdversarialExamples(X[:, :, :, 0], DELTA[:, :, :, 0], EXAMPLES.metadata),
    )
    assert len({example.digest() for example in (EXAMPLES, *others)}) == 5


def test_changed_truncated_and_foreign_files_are_refused_by_name(tmp_path):
    path = tmp_path / "a.npz"
    adversarial_examples.save(path, EXAMPLES)
    arrays, values = snapshots.load(path)
    snapshots.save(path, {**arrays, "delta": -DELTA}, values)
    with pytest.raises(ValueError, match="a.npz was changed since it was saved"):
        adversarial_examples.load(path)
    snapshots.save(path, {"x": X}, {})
    with pytest.raises(ValueError, match="a.npz holds no adversarial examples"):
        adversarial_examples.load(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="a.npz is truncated, damaged"):
        adversarial_examples.load(path)
    with pytest.raises(FileNotFoundError):
        adversarial_examples.load(tmp_path / "none.npz")


def test_eight_bits_say_by_how_much_they_exceed_eps(tmp_path):
    found = adversarial_examples.export_8bit(tmp_path / "b.npz", EXAMPLES)
    by_hand = np.round((X.astype(np.float64) + DELTA) * 255) / 255
    np.testing.assert_allclose(found.exceeded, np.abs(by_hand - X).max() - EPS, atol=1e-12)
    assert 0 < found.exceeded <= 1 / 510 + 1e-7
    assert found.changed <= 1 / 510 + 1e-12
    arrays, values = snapshots.load(tmp_path / "b.npz")
    np.testing.assert_array_equal(arrays["images"], found.images)
    assert values["exceeded"] == found.exceeded
    # On the grid of 8 bits nothing is lost.
    grid = AdversarialExamples(
        np.float32(np.rint(X * 255) / 255), np.full_like(X, 5 / 255), {"eps": 5 / 255}
    )
    exact = adversarial_examples.export_8bit(tmp_path / "c.npz", grid)
    assert exact.exceeded < 1e-7
    assert (
        adversarial_examples.export_8bit(
            tmp_path / "d.npz", AdversarialExamples(X, DELTA, {})
        ).exceeded
        is None
    )


def test_hostile_input(tmp_path):
    with pytest.raises(ValueError, match=r"delta has shape \(4, 4, 4, 1\)"):
        AdversarialExamples(X, DELTA[:4], {})
    with pytest.raises(TypeError, match="x has dtype float64; float32"):
        AdversarialExamples(X.astype(np.float64), DELTA, {})
    with pytest.raises(ValueError, match="x holds NaN"):
        AdversarialExamples(X * np.float32(np.nan), DELTA, {})
    outside = AdversarialExamples(X + 1, DELTA, {})
    with pytest.raises(ValueError, match="8-bit images hold .0, 1."):
        adversarial_examples.export_8bit(tmp_path / "e.npz", outside)
    assert not list(tmp_path.iterdir())
