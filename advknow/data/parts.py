"""Whatever parts a data set of others comes in, as disjoint train, validation and test."""

from collections.abc import Mapping, Sequence

import numpy as np

from advknow.data.dataset import Dataset, DatasetSplits, partition

# Of a data set that comes in one part: train, validation, test.
SHARES = (0.7, 0.1, 0.2)
# Of train, where there is no validation part.
VALIDATION_SHARE = 0.1
SPLIT_SEED = 0


def arranged(
    parts: Mapping[str, Dataset],
    *,
    where: str,
    shares: Sequence[float] = SHARES,
    seed: int = SPLIT_SEED,
) -> tuple[DatasetSplits, str]:
    """Train, validation and test of the parts that there are, and what is to be said of them: how
    they came about, and how many test images equal one of train.

    All three are taken as they are. Without validation, a tenth of train becomes it. Train and
    validation without test, as where the labels of test are secret: validation is the test part.
    One part alone is divided, class by class, by `shares`.

    Args:
      parts: by "train", "validation", "test"; one part alone may have any name.
      where: name of the data set, for messages.
      shares: of one part: train, validation, test.
      seed: of every division.

    Raises:
      ValueError: fewer than two classes; a class without an image in train or test; an empty
        validation part; parts without train.
    """
    parts = dict(parts)
    if len(parts) == 1:
        (whole,) = parts.values()
        splits = DatasetSplits(*partition(whole, shares, seed=seed))
        percent = " %, ".join(f"{100 * s:g}" for s in shares)
        said = f"split class by class by seed {seed}: train, validation, test {percent} %"
    elif "train" not in parts:
        raise ValueError(f"{where} has the parts {', '.join(parts)}; a part train is needed.")
    elif len(parts) == 3:
        splits, said = DatasetSplits(**parts), "train, validation and test as they are there"
    else:
        (other,) = set(parts) - {"train"}
        train, validation = partition(
            parts["train"], (1.0 - VALIDATION_SHARE, VALIDATION_SHARE), seed=seed
        )
        splits = DatasetSplits(train, validation, parts[other])
        named = "" if other == "test" else f"{other} is the test part, "
        said = f"{named}validation is a tenth of train by seed {seed}"
    _check(splits, where)
    said = f"{said}; {len(splits[0])}, {len(splits[1])} and {len(splits[2])} images"
    seen = {image.tobytes() for image in splits.train.images}
    twice = sum(image.tobytes() in seen for image in splits.test.images)
    return splits, said + f"; {twice} test images are in train too, pixel by pixel" * (twice > 0)


def _check(splits: DatasetSplits, where: str) -> None:
    names = splits.train.class_names
    if len(names) < 2:
        raise ValueError(f"{where} has the classes {names}; at least two are needed.")
    for part in ("train", "test"):
        dataset = getattr(splits, part)
        counts = np.bincount(dataset.labels, minlength=len(names))
        if not counts.all():
            raise ValueError(
                f"{where}: class {names[int(counts.argmin())]!r} has no image in the {part} part; "
                "at least one is needed, of a class that is split at least three."
            )
    if not len(splits.validation):
        raise ValueError(
            f"{where}: too few images ({len(splits.train)}) for a validation part; ten a class are "
            "enough."
        )
