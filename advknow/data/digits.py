"""scikit-learn's handwritten digits: 1,797 real images of 8 x 8 pixels, no download."""

import numpy as np

from advknow.data.dataset import Dataset, DatasetSplits, partition
from advknow.data.images import resize

CLASS_NAMES = tuple("0123456789")

# There is no official split; this one is stratified and the same everywhere.
SHARES = (0.5, 0.15, 0.35)
SPLIT_SEED = 0


def load(*, data_dir: str | None, image_size: int) -> DatasetSplits:
    """The digits, enlarged bilinearly; 50 % train, 15 % validation, 35 % test of every class."""
    from sklearn import datasets

    found = datasets.load_digits()
    images = np.rint(found.images * (255.0 / 16.0)).astype(np.uint8)[..., None]
    ids = np.array([f"digits/{i}" for i in range(len(images))])
    dataset = Dataset(resize(images, image_size), found.target.astype(np.int32), CLASS_NAMES, ids)
    return DatasetSplits(*partition(dataset, SHARES, seed=SPLIT_SEED))
