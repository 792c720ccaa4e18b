"""Data sets: parts that stay disjoint, files that are whole, augmentation by key."""

import gzip
import struct

import jax
import numpy as np
import pytest
import tiny_tfds

from advknow import data
from advknow.data import fashion_mnist
from advknow.data.images import pad_or_resize, resize


def _toy(per_class=6, classes=("a", "b", "c")):
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), per_class)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4, 1), np.uint8)
    ids = np.array([f"toy/{i}" for i in range(len(labels))])
    return data.Dataset(images, labels, classes, ids)


def test_digits_are_those_of_scikit_learn():
    splits = data.load("digits")
    assert sum(len(part) for part in splits) == 1797
    every = np.concatenate([part.ids for part in splits])
    assert len(set(every)) == 1797
    for part, share in zip(splits, (0.5, 0.15, 0.35), strict=True):
        counts = np.bincount(part.labels, minlength=10)
        # Every class has 174 to 183 images; a share is right to one image.
        assert np.all(np.abs(counts - share * 180) <= 0.02 * 180 + 1)
        assert part.images.shape[1:] == (32, 32, 1)
        pixels = part.pixels()
        assert pixels.dtype == np.float32
        assert 0 <= pixels.min() < pixels.max() <= 1
    small = data.load("digits", image_size=8)
    from sklearn.datasets import load_digits

    index = int(small.train.ids[3].split("/")[1])
    np.testing.assert_array_equal(
        small.train.images[3, :, :, 0], np.rint(load_digits().images[index] * 255 / 16)
    )
    again = data.load("digits")
    np.testing.assert_array_equal(again.test.ids, splits.test.ids)


def _write_idx(folder, *, zipped=True, images=None, labels=None, parts=("train", "t10k")):
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    for part in parts:
        labels_of_part = np.arange(40, dtype=np.uint8) % 10 if labels is None else labels
        images_of_part = (
            generator.integers(0, 256, (40, 28, 28), np.uint8) if images is None else images
        )
        contents = {
            f"{part}-images-idx3-ubyte": struct.pack(">IIII", 0x803, *images_of_part.shape)
            + images_of_part.tobytes(),
            f"{part}-labels-idx1-ubyte": struct.pack(">II", 0x801, len(labels_of_part))
            + labels_of_part.tobytes(),
        }
        for name, content in contents.items():
            if zipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files_are_read_and_padded(tmp_path, zipped):
    images = np.random.default_rng(1).integers(0, 256, (40, 28, 28), np.uint8)
    folder = _write_idx(tmp_path / "idx", zipped=zipped, images=images)
    splits = data.load("fashion_mnist", data_dir=str(folder))
    assert len(splits.train) + len(splits.validation) == 40
    assert len(splits.test) == 40
    np.testing.assert_array_equal(splits.test.images[:, 2:30, 2:30, 0], images)
    assert not splits.test.images[:, :2].any()
    assert not splits.test.images[:, :, 30:].any()
    np.testing.assert_array_equal(splits.test.labels, np.arange(40) % 10)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def _flip_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _other_kind(path):
    path.write_bytes(gzip.compress(b"PK\x03\x04 this is a zip file, not an IDX file"))


@pytest.mark.parametrize("damage", [_truncate, _flip_bit, _other_kind])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_a_damaged_file_is_refused_by_name(tmp_path, damage, name):
    folder = _write_idx(tmp_path / "idx")
    damage(folder / name)
    with pytest.raises(ValueError, match=rf"{name} is (truncated or damaged|no IDX file)"):
        data.load("fashion_mnist", data_dir=str(folder))


def test_other_hostile_idx_folders(tmp_path):
    plain = _write_idx(tmp_path / "plain", zipped=False)
    _truncate(plain / "train-images-idx3-ubyte")
    with pytest.raises(ValueError, match="train-images-idx3-ubyte is truncated or damaged"):
        data.load("fashion_mnist", data_dir=str(plain))
    short = _write_idx(tmp_path / "short", labels=np.zeros(39, np.uint8))
    with pytest.raises(ValueError, match="has 40 images, .* 39 labels"):
        data.load("fashion_mnist", data_dir=str(short))
    eleven = _write_idx(tmp_path / "eleven", labels=np.full(40, 10, np.uint8))
    with pytest.raises(ValueError, match="has the label 10; 0 to 9 are accepted"):
        data.load("fashion_mnist", data_dir=str(eleven))
    half = _write_idx(tmp_path / "half", parts=("train",))
    with pytest.raises(FileNotFoundError, match="lacks t10k-images.*apt-get install"):
        data.load("fashion_mnist", data_dir=str(half))
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        with pytest.raises(FileNotFoundError, match="fashion_mnist is not in .*apt-get install"):
            data.load("fashion_mnist", data_dir=str(tmp_path / folder))


@pytest.mark.skipif(
    not fashion_mnist.DEBIAN_FOLDER.exists(), reason="Debian's dataset-fashion-mnist is not there"
)
def test_the_real_fashion_mnist_is_found_by_itself():
    splits = data.load("fashion_mnist")
    assert [len(part) for part in splits] == [54_000, 6_000, 10_000]
    np.testing.assert_array_equal(np.bincount(splits.test.labels), 1_000)
    np.testing.assert_array_equal(np.bincount(splits.validation.labels), 600)
    # The mean pixel of the training images, as published beside the data: 0.2860 of 28 x 28.
    images = data.concatenate(splits.train, splits.validation).images
    np.testing.assert_allclose(images.mean() / 255 * (32 / 28) ** 2, 0.2860, atol=1e-4)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return tiny_tfds.prepare(tmp_path_factory.mktemp("tfds"))


@pytest.mark.parametrize(("name", "size"), [("cifar10", 32), ("stl10", 96)])
def test_data_that_tfds_prepared_are_read_without_tensorflow(prepared, name, size):
    splits = data.load(name, data_dir=prepared)
    assert [len(part) for part in splits] == [220, 20, 80]
    assert splits.train.class_names == data.info(name).class_names
    assert splits.test.images.shape == (80, 32, 32, 3)
    expected = {
        (label, i): tiny_tfds.image(label, 1000 + i, size) for label in range(10) for i in range(8)
    }
    stored = [resize(image[None], 32)[0] for image in expected.values()]
    for image, label in zip(splits.test.images[:5], splits.test.labels[:5], strict=True):
        matches = [key for key, s in zip(expected, stored, strict=True) if np.array_equal(s, image)]
        assert [key[0] for key in matches] == [label]


def test_data_that_are_not_prepared_say_how_to_get_them(tmp_path):
    pattern = "cifar10 (is not prepared in .*advknow.tfds|could not be downloaded)"
    with pytest.raises(FileNotFoundError, match=pattern):
        data.load("cifar10", data_dir=str(tmp_path))


def test_classes_are_selected_in_the_order_asked():
    toy = _toy()
    chosen = data.select_classes(toy, ("c", "a"))
    assert chosen.class_names == ("c", "a")
    assert chosen.ids.tolist() == [f"toy/{i}" for i in (*range(6), *range(12, 18))]
    assert chosen.labels.tolist() == [1] * 6 + [0] * 6


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ((), ValueError, r"classes=\(\) is empty; accepted: a, b, c"),
        (("a", "d"), ValueError, "class='d' is not known; accepted: a, b, c"),
        (("a", "a"), ValueError, "names a class twice"),
        ("abc", TypeError, "must be a list of names"),
    ],
)
def test_classes_that_are_not_accepted(names, error, message):
    with pytest.raises(error, match=message):
        data.select_classes(_toy(), names)


def test_a_partition_is_disjoint_whole_and_stratified():
    toy = _toy(per_class=10)
    parts = data.partition(toy, (0.5, 0.3, 0.2), seed=1)
    assert sorted(np.concatenate([p.ids for p in parts])) == sorted(toy.ids)
    assert [np.bincount(p.labels).tolist() for p in parts] == [[5] * 3, [3] * 3, [2] * 3]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        data.check_disjoint(parts[a], parts[b])
    with pytest.raises(ValueError, match="overlapping source and target images: 15 are in both S "):
        data.check_disjoint(parts[0], toy, names=("S", "T"))
    # Selecting classes first gives the same images: source and target divide alike.
    first = data.select_classes(parts[0], ("a",))
    assert set(first.ids) < set(parts[0].ids)
    other = data.partition(toy, (0.5, 0.3, 0.2), seed=2)
    assert set(other[0].ids) != set(parts[0].ids)


@pytest.mark.parametrize("fractions", [(), (0.5, 0.6), (-0.1, 0.5), (0.0, 1.0), (float("nan"),)])
def test_shares_that_are_not_accepted(fractions):
    with pytest.raises(ValueError, match="fractions"):
        data.partition(_toy(), fractions, seed=0)


def test_a_few_of_each_class():
    few = data.take_per_class(_toy(), 2, seed=0)
    assert np.bincount(few.labels).tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match="count=7 images a class were asked for; class 'a' has 6"):
        data.take_per_class(_toy(), 7, seed=0)


def test_grey_becomes_colour_but_not_back():
    toy = data.match_channels(_toy(), 3)
    assert toy.images.shape == (18, 4, 4, 3)
    np.testing.assert_array_equal(toy.images[..., 0], toy.images[..., 2])
    with pytest.raises(ValueError, match="channels=1: images of 3 channels"):
        data.match_channels(toy, 1)


def test_colour_becomes_grey_as_the_eye_weighs_it():
    images = np.zeros((1, 1, 4, 3), np.uint8)
    images[0, 0] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]]
    colour = data.Dataset(images, np.zeros(1, np.int32), ("a",), np.array(["x/0"]))
    # ITU-R BT.601: 0.299, 0.587 and 0.114 of 255.
    assert data.to_grey(colour).images[0, 0, :, 0].tolist() == [76, 150, 29, 90]
    back = data.to_grey(data.match_channels(_toy(), 3))
    np.testing.assert_array_equal(back.images, _toy().images)
    small = data.to_size(_toy(), 8)
    assert small.images.shape == (18, 8, 8, 1)
    np.testing.assert_array_equal(small.images, resize(_toy().images, 8))


def test_label_noise_changes_a_share_of_every_class():
    toy = _toy(per_class=40)
    noisy = data.with_label_noise(toy, 0.3, seed=1)
    changed = noisy.labels != toy.labels
    assert [int(changed[toy.labels == label].sum()) for label in range(3)] == [12, 12, 12]
    assert noisy.images is toy.images
    np.testing.assert_array_equal(noisy.ids, toy.ids)
    # What less noise changes, more noise changes to the same labels.
    more = data.with_label_noise(toy, 0.6, seed=1)
    np.testing.assert_array_equal(more.labels[changed], noisy.labels[changed])
    other = data.with_label_noise(toy, 0.3, seed=2)
    assert (other.labels != noisy.labels).any()
    assert data.with_label_noise(toy, 0.0, seed=1).labels.tolist() == toy.labels.tolist()
    every = data.with_label_noise(_toy(per_class=3000), 1.0, seed=0)
    old = np.repeat(np.arange(3), 3000)
    table = np.array([[np.sum(every.labels[old == a] == b) for b in range(3)] for a in range(3)])
    assert np.diag(table).tolist() == [0, 0, 0]
    # 3,000 fair coins a class: within five standard deviations of one half.
    assert np.abs(table[~np.eye(3, dtype=bool)] - 1500).max() < 5 * 3000**0.5 / 2
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="share"):
            data.with_label_noise(toy, share, seed=0)
    with pytest.raises(ValueError, match="label noise needs two classes"):
        data.with_label_noise(_toy(classes=("a",)), 0.1, seed=0)


def test_batches_cover_the_data_once():
    indices = list(data.batches(_toy(), 5, key=jax.random.key(0)))
    assert [len(i) for i in indices] == [5, 5, 5, 3]
    assert sorted(np.concatenate(indices)) == list(range(18))
    assert np.concatenate(list(data.batches(_toy(), 5))).tolist() == list(range(18))


def test_padding_keeps_pixels_and_resizing_keeps_means():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    np.testing.assert_array_equal(pad_or_resize(images, 32)[:, 2:-2, 2:-2], images)
    flat = np.full((1, 96, 96, 3), 77, np.uint8)
    np.testing.assert_array_equal(resize(flat, 32), np.full((1, 32, 32, 3), 77))
    ramp = np.tile(np.arange(96, dtype=np.uint8)[:, None, None], (1, 1, 96, 3))
    # Away from the borders a ramp shrinks to a ramp through the middle of each three pixels.
    np.testing.assert_allclose(resize(ramp, 32)[0, 2:-2, 0, 0], 1 + 3 * np.arange(2, 30), atol=0.5)


def _windows(image, pad):
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    size = image.shape[0]
    steps = range(2 * pad + 1)
    return [padded[i : i + size, j : j + size] for i in steps for j in steps]


def test_augmentation_cuts_windows_and_mirrors_half():
    image = np.random.default_rng(0).random((6, 6, 1), np.float32)
    images = np.tile(image, (400, 1, 1, 1))
    augmented = np.asarray(data.augment(random_crop=2, flip=True)(images, jax.random.key(0)))
    plain = _windows(image, 2)
    mirrored = [w[:, ::-1] for w in plain]
    kinds = [
        (any(np.array_equal(a, w) for w in plain), any(np.array_equal(a, w) for w in mirrored))
        for a in augmented
    ]
    assert all(p or m for p, m in kinds)
    # 400 fair coins: within five standard deviations of one half.
    assert abs(np.mean([m and not p for p, m in kinds]) - 0.5) < 5 * 0.5 / 20
    seen = {
        next(i for i, w in enumerate(plain + mirrored) if np.array_equal(a, w)) % 25
        for a in augmented
    }
    assert len(seen) == 25


def test_augmentation_of_an_example_depends_on_its_key_alone():
    images = np.random.default_rng(0).random((5, 8, 8, 3), np.float32)
    augmented = data.augment(random_crop=3, flip=True)
    key = jax.random.key(7)
    together = augmented(images, key)
    alone = augmented(images[3:4], jax.random.fold_in(key, 3)[None])
    np.testing.assert_array_equal(together[3], alone[0])
    np.testing.assert_array_equal(jax.jit(augmented)(images, key), together)
    assert np.any(np.asarray(augmented(images, jax.random.key(8))) != np.asarray(together))
    nothing = data.augment(random_crop=0, flip=False)
    np.testing.assert_array_equal(nothing(images, key), images)
    with pytest.raises(ValueError, match="random_crop=-1 must be"):
        data.augment(random_crop=-1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.load("svhn"), "dataset='svhn' is not known; accepted: digits"),
        (lambda: data.load("digits", image_size=4), "image_size=4 must be"),
        (lambda: data.info("cifar"), "Did you mean 'cifar10'"),
    ],
)
def test_unknown_data_sets(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_data_set_that_does_not_hold_together_is_refused():
    toy = _toy()
    with pytest.raises(ValueError, match=r"\(N, H, W, C\) uint8 is needed"):
        data.Dataset(toy.images / 255.0, toy.labels, toy.class_names, toy.ids)
    with pytest.raises(ValueError, match="labels go from 0 to 2; 0 to 1 are accepted"):
        data.Dataset(toy.images, toy.labels, ("a", "b"), toy.ids)
    with pytest.raises(ValueError, match="equal numbers are needed"):
        data.Dataset(toy.images, toy.labels[:-1], toy.class_names, toy.ids)
