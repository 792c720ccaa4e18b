"""Anybody's data: folders of images, npz archives, any set of tensorflow-datasets."""

import io
import os
import pathlib
import struct
import zipfile
import zlib

import numpy as np
import pytest
import tiny_tfds
from PIL import Image

from advknow import data
from advknow.data import folder, prepared
from advknow.data.images import resize, resize_one

UNICODE = ("<script>alert(1)</script>".replace("/", "⁄"), "fünf", "猫 & 🐈")


def _noise(seed, shape=(20, 20, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def _save(path, array, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **how)
    return path


def _folder(root, *, classes=("cat", "dog"), count=10, shape=(20, 20, 3), parts=("",)):
    for p, part in enumerate(parts):
        for c, name in enumerate(classes):
            for i in range(count):
                _save(root / part / name / f"{i}.png", _noise([p, c, i], shape))
    return root


def _load(path, **how):
    """The data set of a folder or archive, and what was said of it."""
    notes = []
    kind = "npz" if str(path).endswith(".npz") else "folder"
    return data.load(f"{kind}:{path}", on_note=notes.append, **how), notes


def _all(splits):
    return data.concatenate(*splits)


def test_a_folder_is_split_by_class_and_keeps_its_pixels(tmp_path):
    splits, notes = _load(_folder(tmp_path, classes=("dog", "cat", "ant")), image_size=20)
    assert [len(part) for part in splits] == [21, 3, 6]
    assert splits.test.class_names == ("ant", "cat", "dog")
    for part, count in zip(splits, (7, 1, 2), strict=True):
        assert np.bincount(part.labels).tolist() == [count] * 3
        for image, label, id_ in zip(part.images, part.labels, part.ids, strict=True):
            c = ("dog", "cat", "ant").index(part.class_names[label])
            i = int(pathlib.Path(id_).stem)
            assert id_ == f"folder:{tmp_path}/{part.class_names[label]}/{i}.png"
            np.testing.assert_array_equal(image, _noise([0, c, i]))
    assert notes == [
        "30 images, colour",
        "split class by class by seed 0: train, validation, test 70 %, 10 %, 20 %; 21, 3 and 6 "
        "images",
    ]
    again, _ = _load(tmp_path, image_size=20)
    assert data.fingerprint(again) == data.fingerprint(splits)
    other = folder.load(tmp_path, image_size=20, shares=(0.5, 0.2, 0.3), seed=1)
    assert [len(part) for part in other] == [15, 6, 9]


def test_a_changed_image_class_or_label_is_another_fingerprint(tmp_path):
    first = data.fingerprint(_load(_folder(tmp_path / "a"))[0])
    for change in ("image", "name", "moved"):
        root = _folder(tmp_path / change)
        if change == "image":
            array = _noise([0, 0, 3])
            array[0, 0, 0] ^= 128
            _save(root / "cat" / "3.png", array)
        elif change == "name":
            (root / "cat").rename(root / "bat")
        else:
            (root / "cat" / "3.png").rename(root / "dog" / "99.png")
        assert data.fingerprint(_load(root, image_size=20)[0]) != first, change


@pytest.mark.parametrize(
    ("parts", "sizes", "said"),
    [
        (("train", "validation", "test"), [20, 20, 20], "as they are there"),
        (("train", "val", "test"), [20, 20, 20], "as they are there"),
        (("train", "test"), [18, 2, 20], "validation is a tenth of train by seed 0"),
        (("train", "val"), [18, 2, 20], "validation is the test part, validation is a tenth of"),
        (("train",), [14, 2, 4], "split class by class by seed 0"),
    ],
)
def test_the_parts_of_a_folder(tmp_path, parts, sizes, said):
    splits, notes = _load(_folder(tmp_path, parts=parts))
    assert [len(part) for part in splits] == sizes
    assert said in notes[-1]
    if len(parts) > 1:
        assert all(f"/{parts[-1]}/" in id_ for id_ in splits.test.ids)
    assert len(set(_all(splits).ids)) == sum(sizes)


def test_a_test_image_that_is_in_train_too_is_said(tmp_path):
    root = _folder(tmp_path, parts=("train", "test"))
    for i in range(3):
        _save(root / "test" / "dog" / f"{i}.png", _noise([0, 0, i]))
    splits, notes = _load(root)
    # A tenth of train is validation, and only what is in train itself counts.
    kept = [f"folder:{root}/train/cat/{i}.png" in splits.train.ids for i in range(3)]
    assert f"; {sum(kept)} test images are in train too, pixel by pixel" in notes[-1]
    assert "pixel" not in _load(_folder(tmp_path / "other"))[1][-1]


def test_a_class_may_be_called_train(tmp_path):
    splits, _ = _load(_folder(tmp_path, classes=("train", "plane")))
    assert splits.train.class_names == ("plane", "train")


def _one(path, **how):
    """The pixels of one file."""
    return folder.decode(pathlib.Path(path), **how)


def test_every_kind_of_pixel(tmp_path):
    grey, colour = _noise(0, (6, 4)), _noise(1, (6, 4, 3))
    np.testing.assert_array_equal(_one(_save(tmp_path / "l.png", grey)), grey[..., None])
    np.testing.assert_array_equal(_one(_save(tmp_path / "rgb.png", colour)), colour)
    deep = np.random.default_rng(2).integers(0, 65536, (6, 4), np.uint16)
    deep[0, :2] = 0, 65535
    # 16 bits: v / 257 takes 0 to 0 and 65535 to 255.
    expected = np.rint(deep / 257).astype(np.uint8)[..., None]
    np.testing.assert_array_equal(_one(_save(tmp_path / "16.png", deep)), expected)
    clear = np.dstack([colour, _noise(3, (6, 4))])
    clear[0, 0, 3], clear[0, 1, 3] = 0, 255
    found = _one(_save(tmp_path / "rgba.png", clear))
    alpha = clear[..., 3:].astype(np.float64) / 255
    # One unit: where the sum is within float32's rounding of a half.
    np.testing.assert_allclose(found, np.rint(colour * alpha + 255 * (1 - alpha)), atol=1)
    np.testing.assert_array_equal(found[0, 0], 255)
    np.testing.assert_array_equal(found[0, 1], colour[0, 1])
    palette = Image.fromarray(colour).quantize(4)
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(_one(tmp_path / "p.png"), np.asarray(palette.convert("RGB")))
    Image.fromarray(colour).quantize(4).save(tmp_path / "clear.png", transparency=0)
    index = np.asarray(Image.open(tmp_path / "clear.png"))
    np.testing.assert_array_equal(_one(tmp_path / "clear.png")[index == 0], 255)
    Image.fromarray(grey > 127).save(tmp_path / "1.png")
    np.testing.assert_array_equal(_one(tmp_path / "1.png")[..., 0], 255 * (grey > 127))
    Image.fromarray(grey).convert("LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(_one(tmp_path / "la.png"), np.repeat(grey[..., None], 3, -1))
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "cmyk.jpg")
    assert _one(tmp_path / "cmyk.jpg").shape == (6, 4, 3)
    lossless = _save(tmp_path / "a.webp", colour, lossless=True)
    np.testing.assert_array_equal(_one(lossless), colour)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_says(tmp_path, orientation):
    upright = _noise(0, (6, 4, 3))
    # By the standard: which of the stored rows and columns is the top and the left side.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = _save(tmp_path / "a.png", np.ascontiguousarray(stored), exif=exif)
    np.testing.assert_array_equal(_one(path), upright)


def test_a_set_is_colour_if_any_pixel_is(tmp_path):
    root = _folder(tmp_path, shape=(20, 20))
    grey, notes = _load(root, image_size=20)
    assert grey.train.images.shape[-1] == 1
    assert notes[0] == "20 images, grey"
    # Saved in colour, but grey: the files' modes do not matter.
    for path in root.rglob("*.png"):
        Image.open(path).convert("RGB").save(path)
    same, _ = _load(root, image_size=20)
    assert data.fingerprint(same) == data.fingerprint(grey)
    array = np.asarray(Image.open(root / "cat" / "0.png")).copy()
    array[3, 3, 0] ^= 255
    _save(root / "cat" / "0.png", array)
    colour, notes = _load(root, image_size=20)
    assert notes[0] == "20 images, colour"
    assert colour.train.images.shape[-1] == 3
    others = ~np.char.endswith(colour.train.ids, "/cat/0.png")
    np.testing.assert_array_equal(
        data.match_channels(grey.train, 3).images[others], colour.train.images[others]
    )


def test_any_size_becomes_one_and_it_is_said(tmp_path):
    root = _folder(tmp_path, shape=(32, 32, 3))
    _save(root / "cat" / "wide.png", _noise(5, (40, 90, 3)))
    _save(root / "cat" / "dot.png", _noise(6, (1, 1, 3)))
    splits, notes = _load(root)
    assert splits.train.images.shape[1:] == (32, 32, 3)
    assert splits.train.images.dtype == np.uint8
    every = _all(splits)
    (dot,) = every.images[every.ids == f"folder:{root}/cat/dot.png"]
    np.testing.assert_array_equal(dot, np.broadcast_to(_noise(6, (1, 1, 3)), (32, 32, 3)))
    assert (
        "resized 2 of 22 images to 32 x 32, from 1 x 1 to 40 x 90 pixels; 1 are not square and "
        "were stretched" in notes
    )


@pytest.mark.parametrize("shape", [(28, 28, 1), (96, 96, 3), (8, 8, 1), (33, 47, 3)])
def test_one_image_is_resized_as_many_are(shape):
    images = _noise(0, (3, *shape))
    for image, expected in zip(images, resize(images, 32), strict=True):
        # Both are the triangle filter; Pillow rounds its weights and after each of two passes.
        np.testing.assert_allclose(resize_one(image, 32, 32), expected.astype(int), atol=2)


def test_what_is_no_image_is_skipped_and_said(tmp_path):
    root = _folder(tmp_path)
    (root / ".hidden").mkdir()
    (root / "cat" / ".DS_Store").write_bytes(b"x")
    (root / "cat" / "notes.txt").write_text("a note")
    (root / "cat" / "empty.txt").write_text("")
    (root / "dog" / "more").mkdir()
    _save(root / "dog" / "x.bmp", _noise(0))
    (root / "README").write_text("of the folder")
    splits, notes = _load(root)
    assert sum(map(len, splits)) == 20
    assert "skipped as hidden: 1, '.DS_Store'" in notes
    assert "skipped as no image: 4, 'empty.txt', 'notes.txt', 'more', 'x.bmp'" in notes


def test_pillow_decides_what_a_file_is(tmp_path):
    root = _folder(tmp_path)
    _save(root / "cat" / "0.jpg", _noise(7), format="PNG")
    _save(root / "cat" / "no suffix", _noise(8), format="PNG")
    _save(root / "cat" / "2.txt", _noise(9), format="PNG")
    every = _all(_load(root, image_size=20)[0])
    assert len(every) == 23
    (found,) = every.images[every.ids == f"folder:{root}/cat/2.txt"]
    np.testing.assert_array_equal(found, _noise(9))


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _huge_png(path):
    """A header of 20,000 x 20,000 pixels and nothing to it: 400 megapixels in 60 bytes."""

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end)


def _page(path):
    path.write_text("<html>404</html>")


@pytest.mark.parametrize(
    ("name", "damage", "why"),
    [
        ("half.jpg", _cut, "is damaged: .*truncated"),
        ("half.png", _cut, "is damaged"),
        ("half.webp", _cut, "is damaged"),
        ("empty.jpg", lambda path: path.write_bytes(b""), "is empty"),
        ("page.jpeg", _page, "is no PNG, JPEG, WEBP, whatever its name"),
        ("huge.png", _huge_png, "is too large: more than PIL.Image.MAX_IMAGE_PIXELS="),
        ("gone.png", lambda path: (path.unlink(), path.symlink_to("nowhere")), "is no file"),
    ],
)
def test_a_damaged_image_is_named_or_skipped(tmp_path, name, damage, why):
    root = _folder(tmp_path)
    damage(_save(root / "dog" / name, _noise(0, (64, 64, 3))))
    with pytest.raises(ValueError, match=rf"dog/{name} {why}.*skip_damaged"):
        _load(root)
    splits, notes = _load(root, skip_damaged=True)
    assert sum(map(len, splits)) == 20
    (said,) = [note for note in notes if "skipped" in note]
    assert f"skipped as damaged: {root}/dog/{name} " in said


def _hostile(root, what):
    root.mkdir()
    if what == "one class":
        _folder(root, classes=("cat",))
    elif what == "empty class":
        _folder(root)
        (root / "eel").mkdir()
    elif what == "two images":
        _folder(root, count=2)
    elif what == "few images":
        _folder(root, count=4)
    elif what == "flat":
        _save(root / "0.png", _noise(0))
    elif what == "other classes":
        _folder(root / "train")
        _folder(root / "test", classes=("cat", "dgo"))
    elif what == "val twice":
        _folder(root, parts=("train", "val", "validation"))
    elif what == "empty train":
        (root / "train").mkdir()
        _folder(root, parts=("test",))
    elif what == "parts and more":
        _folder(root, parts=("train", "test", "extra"))
    return root


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nothing", "has no folders; a folder of images for each class is needed"),
        ("flat", "has no folders"),
        ("one class", r"has the classes \('cat',\); at least two are needed"),
        ("empty class", "eel has no images"),
        ("two images", "class 'cat' has no image in the test part"),
        ("few images", r"too few images \(6\) for a validation part"),
        ("other classes", "train and test have other classes, such as 'dgo'"),
        ("val twice", "has both validation and val"),
        ("empty train", "train has no folders"),
        ("parts and more", "extra has no images.*Parts are recognised where all folders are"),
    ],
)
def test_folders_that_are_not_accepted(tmp_path, what, message):
    with pytest.raises(ValueError, match=message):
        _load(_hostile(tmp_path / "x", what))


def test_a_folder_that_is_not_there_or_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not there; a folder of class folders"):
        _load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is a file; a folder of class folders"):
        _load(tmp_path / "file")
    for name in ("folder:", "npz: ", "tfds:"):
        with pytest.raises(ValueError, match="names nothing; .* is accepted"):
            data.load(name)


def test_any_name_of_a_class(tmp_path):
    splits, _ = _load(_folder(tmp_path, classes=UNICODE))
    assert splits.train.class_names == tuple(sorted(UNICODE))
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    with pytest.raises(ValueError, match="the name of a class must be UTF-8"):
        _load(tmp_path)


def test_a_path_from_home_or_from_another_folder(tmp_path, monkeypatch):
    root = _folder(tmp_path / "home" / "photos")
    (tmp_path / "work").mkdir()
    (tmp_path / "link").symlink_to(root)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    whole = f"folder:{root}"
    for name in ("folder:~/photos", "folder:../home/photos", "folder:../link", whole):
        assert data.resolved(name) == whole
        splits = data.load(name)
        with pytest.raises(ValueError, match="overlapping"):
            data.check_disjoint(splits.test, data.load(whole).test)
    assert data.resolved("digits") == "digits"
    assert data.resolved("tfds:mnist") == "tfds:mnist"


# Archives.


def _npz(path, **arrays):
    np.savez(path, **arrays)
    return path


X, LABELS = _noise(0, (30, 32, 32)), np.arange(30) % 3


def test_an_archive_of_bytes_or_floats(tmp_path):
    splits, notes = _load(_npz(tmp_path / "a.npz", x=X, labels=LABELS + 5))
    assert splits.train.class_names == ("5", "6", "7")
    assert [len(part) for part in splits] == [21, 3, 6]
    for part in splits:
        for image, label, id_ in zip(part.images, part.labels, part.ids, strict=True):
            i = int(id_.rpartition("/")[2])
            np.testing.assert_array_equal(image[..., 0], X[i])
            assert label == i % 3
    assert notes[0] == "30 images, grey"
    for dtype in (np.float32, np.float64, ">f4"):
        floats, notes = _load(
            _npz(tmp_path / "f.npz", x=(X / 255).astype(dtype), labels=LABELS + 5)
        )
        assert data.fingerprint(floats) == data.fingerprint(splits)
        assert f"{np.dtype(dtype)} rounded to 8 bits" in notes
    names = np.array(["<script>", "猫", "c"])
    named, _ = _load(_npz(tmp_path / "n.npz", x=X, labels=LABELS, class_names=names))
    assert named.train.class_names == tuple(names)
    np.testing.assert_array_equal(named.train.labels, splits.train.labels)
    texts, _ = _load(_npz(tmp_path / "s.npz", x=X, labels=names[LABELS]))
    assert texts.train.class_names == ("<script>", "c", "猫")
    both, _ = _load(_npz(tmp_path / "b.npz", x=X, labels=names[LABELS], class_names=names))
    assert data.fingerprint(both) == data.fingerprint(named)


def test_the_parts_of_an_archive(tmp_path):
    test = {"x_test": X[:9], "labels_test": LABELS[:9]}
    splits, notes = _load(_npz(tmp_path / "a.npz", x=X, labels=LABELS, **test))
    assert [len(part) for part in splits] == [27, 3, 9]
    np.testing.assert_array_equal(splits.test.images[..., 0], X[:9])
    validation = {"x_validation": X[:6], "labels_validation": LABELS[:6]}
    path = _npz(tmp_path / "b.npz", x=X, labels=LABELS, **test, **validation)
    splits, notes = _load(path, image_size=16)
    assert [len(part) for part in splits] == [30, 6, 9]
    assert "resized all from 32 x 32 to 16 x 16 pixels" in notes
    colour = _npz(tmp_path / "c.npz", x=_noise(0, (30, 32, 32, 4)), labels=LABELS)
    assert _load(colour)[0].train.images.shape[1:] == (32, 32, 3)


OBJECTS = np.array([None, "a"], object)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": X, "y": LABELS}, "lacks x; it has images, y. x .N, H, W, C. or"),
        ({"x": X}, "lacks labels; it has x"),
        (
            {"x": X, "labels": np.resize(OBJECTS, 30)},
            "labels holds Python objects, which are never",
        ),
        ({"x": X, "labels": LABELS[:-1]}, r"labels has shape \(29,\); \(30,\) is needed"),
        ({"x": X, "labels": np.eye(3)[LABELS]}, r"of one-hot labels take labels.argmax\(1\)"),
        ({"x": X, "labels": LABELS / 1.0}, "labels has dtype float64; integers or strings"),
        ({"x": np.full(X.shape, np.nan), "labels": LABELS}, "x holds NaN or infinity"),
        ({"x": X * 1.0, "labels": LABELS}, "x has values from 0 to 255; floats in"),
        ({"x": X - 256.0, "labels": LABELS}, "x has values from -256 to -1; floats in"),
        ({"x": X.astype(np.int32), "labels": LABELS}, "x has dtype int32; uint8, or floats"),
        ({"x": X.reshape(30, -1), "labels": LABELS}, r"x has shape \(30, 1024\)"),
        ({"x": _noise(0, (30, 3, 32, 32)), "labels": LABELS}, "channels come last: x.transpose"),
        ({"x": X[:0], "labels": LABELS[:0]}, r"x has shape \(0, 32, 32, 1\).*none 0"),
        ({"x": X, "labels": LABELS * 0}, r"has the classes \('0',\); at least two"),
        ({"x": X, "labels": LABELS, "x_test": X}, "has one of x_test and labels_test"),
        (
            {"x": X, "labels": LABELS, "x_test": X[:, :8], "labels_test": LABELS},
            "images of one shape in x, of another",
        ),
        (
            {"x": X, "labels": LABELS, "class_names": np.array(["a", "b"])},
            "labels go from 0 to 2; class_names has 2, so 0 to 1 are accepted",
        ),
        (
            {"x": X, "labels": LABELS, "class_names": np.array(["a", "b", "a"])},
            "a list of different strings is needed",
        ),
        (
            {"x": X, "labels": np.array(["a", "b", "c"])[LABELS], "class_names": np.array(["a"])},
            "the label 'b' is not one of class_names",
        ),
        (
            {
                **{"x": X, "labels": LABELS, "x_test": X},
                "labels_test": np.array(["0", "1", "2"])[LABELS],
            },
            "integer labels in one part and strings in another",
        ),
        ({"x": X[:2], "labels": LABELS[:2]}, "class '0' has no image in the test part"),
    ],
)
def test_archives_that_are_not_accepted(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        _load(_npz(tmp_path / "a.npz", **arrays))


def test_files_that_are_no_whole_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.npz is no file; a .npz archive is needed"):
        _load(tmp_path / "nowhere.npz")
    np.save(tmp_path / "array.npy", X)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    (tmp_path / "text.npz").write_text("x, labels")
    _cut(_npz(tmp_path / "half.npz", x=X, labels=LABELS))
    for name in ("array", "text", "half"):
        with pytest.raises(ValueError, match=rf"{name}.npz is no .npz archive"):
            _load(tmp_path / f"{name}.npz")
    path = _npz(tmp_path / "bit.npz", x=X, labels=LABELS)
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bit.npz is truncated or damaged"):
        _load(path)
    # A header that promises more than any machine has.
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 10**6, 9)}
    )
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
        archive.writestr("labels.npy", header.getvalue())
    with pytest.raises(ValueError, match="bomb.npz is truncated or damaged"):
        _load(tmp_path / "bomb.npz")


# tensorflow-datasets.


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    return tiny_tfds.prepare_others(tmp_path_factory.mktemp("tfds"))


def test_any_set_of_tfds_is_read_by_its_features(tfds_folder):
    notes = []
    splits = data.load("tfds:tiny_photos", data_dir=tfds_folder, on_note=notes.append)
    assert splits.train.class_names == tiny_tfds.TinyPhotos.CLASS_NAMES
    assert [len(part) for part in splits] == [66, 6, 24]
    assert notes == [
        "of train, test: validation is a tenth of train by seed 0; 66, 6 and 24 images"
    ]
    assert splits.test.images.shape == (24, 32, 32, 3)
    assert all(id_.startswith("tiny_photos/test/") for id_ in splits.test.ids)
    expected = {
        (label, i): resize_one(tiny_tfds.photo(label, 1000 + i), 32, 32)
        for label in range(3)
        for i in range(8)
    }
    for image, label in zip(splits.test.images, splits.test.labels, strict=True):
        matches = [key for key, value in expected.items() if np.array_equal(value, image)]
        assert [key[0] for key in matches] == [label]


def test_registered_names_read_the_same_images_through_tfds(tmp_path_factory):
    folder_of_tfds = tiny_tfds.prepare(tmp_path_factory.mktemp("tfds"))
    named = data.load("cifar10", data_dir=folder_of_tfds)
    anyhow = data.load("tfds:cifar10", data_dir=folder_of_tfds)
    assert data.fingerprint(anyhow) == data.fingerprint(named)
    with pytest.raises(ValueError, match="overlapping"):
        data.check_disjoint(named.test, anyhow.test)


def test_sets_of_tfds_that_are_not_accepted(tfds_folder, tmp_path):
    with pytest.raises(ValueError, match=r"features image, score; one Image and one ClassLabel"):
        data.load("tfds:tiny_scores", data_dir=tfds_folder)
    with pytest.raises(FileNotFoundError, match="nothing_such cannot be opened"):
        data.load("tfds:nothing_such", data_dir=str(tmp_path))
    for bad in (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 1), np.int32)):
        with pytest.raises(ValueError, match="8 or 16 bits are accepted"):
            prepared._of_one_size("x", [bad], 8)
