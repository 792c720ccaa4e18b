"""Which examples are kept, by their rule, and that they come back as they were."""

import numpy as np
import pytest

from advknow.runs import gallery, snapshots
from advknow.runs.gallery import Carried


def carried(name="a", n=5, k=2):
    rng = np.random.default_rng(0)
    image = rng.uniform(size=(k, 4, 4, 1)).astype(np.float32)
    return Carried(
        name, "source", "target", (("0", "1"), (), ("x/y",)), rng.uniform(size=n),
        np.arange(k), image, -image, np.zeros(k, np.int64), np.ones((k, 2, 2), np.int32),
    )  # fmt: skip


def test_the_examples_at_the_quantiles_are_chosen():
    # 21 values: 5 % is number 1 + 0.05 * 20 = 2, and so on.
    order = np.random.default_rng(0).permutation(21)
    alpha1 = np.empty(21)
    alpha1[order] = np.arange(21.0)
    np.testing.assert_array_equal(gallery.at_quantiles(alpha1), order[[1, 5, 10, 15, 19]])


def test_what_is_not_defined_is_never_chosen():
    alpha1 = np.full(50, np.nan)
    alpha1[[3, 7, 9]] = [0.5, 0.1, 0.3]
    np.testing.assert_array_equal(gallery.at_quantiles(alpha1), [7, 9, 3])
    assert len(gallery.at_quantiles(np.full(4, np.nan))) == 0
    np.testing.assert_array_equal(gallery.at_quantiles(np.ones(1)), [0])


def test_values_of_valid_examples_find_their_places():
    valid = np.array([True, False, True])
    found = gallery.of_every_example(np.array([0.25, 0.75]), valid)
    np.testing.assert_array_equal(found, [0.25, np.nan, 0.75])


def test_a_gallery_comes_back_bit_for_bit(tmp_path):
    kept = (carried("a"), carried("<b>/../c", n=3, k=0))
    gallery.save(tmp_path, kept)
    for one, back in zip(kept, gallery.load(tmp_path), strict=True):
        assert back.names() == one.names()
        for name, array in one.arrays().items():
            np.testing.assert_array_equal(back.arrays()[name], array)
            assert back.arrays()[name].dtype == array.dtype


def test_none_is_no_error_and_another_file_is(tmp_path):
    assert gallery.load(tmp_path) == ()
    np.savez(tmp_path / gallery.FILE, a=np.zeros(3))
    with pytest.raises(ValueError, match=r"gallery\.npz"):
        gallery.load(tmp_path)
    kept = carried()
    arrays = {f"0/{name}": array for name, array in kept.arrays().items() if name != "label"}
    values = {"format": "advknow gallery 1", "carried": [kept.names()]}
    for wrong in (values, {**values, "format": "advknow gallery 2"}, {}):
        snapshots.save(tmp_path / gallery.FILE, arrays, wrong)
        with pytest.raises(ValueError, match=r"gallery\.npz is no gallery of this version"):
            gallery.load(tmp_path)
    (tmp_path / gallery.FILE).write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"gallery\.npz"):
        gallery.load(tmp_path)
