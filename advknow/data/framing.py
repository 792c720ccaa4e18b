"""Margins made alike: MNIST's digits have wide ones, scikit-learn's none."""

import dataclasses

import numpy as np

from advknow import validate
from advknow.data.dataset import Dataset
from advknow.data.images import resize_one


def ink_box(image: np.ndarray, threshold: int) -> tuple[int, int, int, int] | None:
    """Top, bottom, left and right (ends excluded) of what is brighter than the threshold.

    Args:
      image: (H, W, C) uint8, light on dark. threshold: 0 to 254.

    Returns:
      None where nothing is.
    """
    ink = image.max(axis=-1) > threshold
    if not ink.any():
        return None
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def fill_frame(dataset: Dataset, *, margin: float = 0.1, threshold: int = 25) -> Dataset:
    """The same images, light on dark, each cropped to its ink and enlarged to the same frame.

    The longer side of the ink's box becomes 1 - 2 * margin of the image's, the shorter keeps the
    proportion; the box is put into the middle, zeros around it. So digits of any source fill the
    frame alike. An image without ink stays as it is.

    Args:
      dataset: of square images.
      margin: share of the side on each of the two sides, 0 to 0.45.
      threshold: what is brighter, 0 to 254 of 255, is ink.

    Raises:
      ValueError, TypeError: images that are not square; a setting out of its range.
    """
    validate.number("margin", margin, minimum=0.0, maximum=0.45)
    validate.integer("threshold", threshold, minimum=0, maximum=254)
    side, width = dataset.images.shape[1:3]
    if side != width:
        raise ValueError(f"images of {side} x {width} pixels: square ones are needed.")
    longer = max(1, round((1 - 2 * margin) * side))
    framed = dataset.images.copy()
    for i, image in enumerate(dataset.images):
        box = ink_box(image, threshold)
        if box is None:
            continue
        ink = image[box[0] : box[1], box[2] : box[3]]
        scale = longer / max(ink.shape[:2])
        h, w = (max(1, round(scale * s)) for s in ink.shape[:2])
        top, left = (side - h) // 2, (side - w) // 2
        framed[i] = 0
        framed[i, top : top + h, left : left + w] = resize_one(ink, h, w)
    return dataclasses.replace(dataset, images=framed)
