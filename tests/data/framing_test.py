"""Margins made alike."""

import numpy as np
import pytest

from advknow import data
from advknow.data.framing import ink_box


def _dataset(images):
    n = len(images)
    ids = np.array([f"x/{i}" for i in range(n)])
    return data.Dataset(images, np.zeros(n, np.int32), ("a",), ids)


def test_the_box_of_the_ink():
    image = np.zeros((9, 9, 3), np.uint8)
    assert ink_box(image, 25) is None
    image[2, 3, 1] = image[5, 7, 2] = 26
    image[8, 8, 0] = 25
    assert ink_box(image, 25) == (2, 6, 3, 8)
    assert ink_box(image, 24) == (2, 9, 3, 9)


def test_a_block_fills_the_frame_wherever_it_was_and_whatever_its_size():
    images = np.zeros((4, 20, 20, 1), np.uint8)
    images[0, 0:4, 0:2] = 200  # 4 x 2 in a corner
    images[1, 8:16, 10:14] = 200  # 8 x 4
    images[2, 2:18, 6:14] = 200  # 16 x 8: what comes out
    framed = data.fill_frame(_dataset(images), margin=0.1).images
    np.testing.assert_array_equal(framed[0], images[2])
    np.testing.assert_array_equal(framed[1], images[2])
    np.testing.assert_array_equal(framed[2], images[2])
    np.testing.assert_array_equal(framed[3], images[3])
    whole = data.fill_frame(_dataset(images), margin=0.0).images
    assert ink_box(whole[1], 25) == (0, 20, 5, 15)
    assert images[0, 0, 0] == 200


def test_digits_and_padded_digits_fill_the_frame_alike():
    digits = data.load("digits").test.take(np.arange(60))
    padded = data.Dataset(
        np.pad(digits.images, ((0, 0), (8, 8), (8, 8), (0, 0))),
        digits.labels,
        digits.class_names,
        digits.ids,
    )

    def sides(dataset):
        boxes = [ink_box(image, 25) for image in data.fill_frame(dataset).images]
        return (
            np.array([max(box[1] - box[0], box[3] - box[2]) for box in boxes])
            / dataset.images.shape[1]
        )

    for dataset in (digits, padded):
        # 80 % of the side, but for one pixel on either side where thin ink fades below 25.
        assert np.abs(sides(dataset) - 0.8).max() <= 2 / 32 + 1e-9
    again = data.fill_frame(data.fill_frame(digits))
    assert again.labels is digits.labels


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"margin": 0.5}, "margin=0.5 must be"),
        ({"margin": float("nan")}, "margin=nan must be"),
        ({"threshold": 255}, "threshold=255 must be"),
    ],
)
def test_settings_that_are_not_accepted(how, message):
    with pytest.raises(ValueError, match=message):
        data.fill_frame(_dataset(np.zeros((1, 4, 4, 1), np.uint8)), **how)
    with pytest.raises(ValueError, match="images of 4 x 6 pixels: square ones"):
        data.fill_frame(_dataset(np.zeros((1, 4, 6, 1), np.uint8)))
