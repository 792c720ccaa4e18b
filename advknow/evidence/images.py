"""The images of every source and target; none in common, whatever the parts.

fashion_mnist, mnist   every part is halved: the sources' half, the targets'
glyphs                 sources: the fonts of its train part to learn and choose the epoch,
                       those of its validation part to test; targets: those of its test part
digits                 the targets' alone
"""

import functools
from collections.abc import Sequence

from advknow import data
from advknow.data import Dataset, DatasetSplits, glyphs
from advknow.evidence.design import SOURCE_SHARE, Recipe, Source, Study, Target, family
from advknow.passes import keys

HALVED = ("fashion_mnist", "mnist")
CHARACTERS = {"glyphs": glyphs.LETTERS, "glyphs/digits": glyphs.DIGITS}
# Of the fonts of a source's train part: train, validation. Of a target's: train, validation, test.
SOURCE_SHARES, TARGET_SHARES = (0.9, 0.1), (0.5, 0.1, 0.4)
# Of digits, whose own train part has 89 images of a class: 104 and more here.
DIGITS_SHARES = (0.6, 0.1, 0.3)


@functools.lru_cache(maxsize=8)
def _glyphs(dataset: str, per_font: int) -> DatasetSplits:
    return glyphs.load(
        data_dir=None,
        image_size=data.IMAGE_SIZE,
        characters=CHARACTERS[dataset],
        per_font=per_font,
    )


@functools.lru_cache(maxsize=4)
def _loaded(dataset: str, data_dir: str | None) -> DatasetSplits:
    return data.load(dataset, data_dir=data_dir if dataset == "fashion_mnist" else None)


def _half(splits: DatasetSplits, study: Study, which: int) -> DatasetSplits:
    shares = (SOURCE_SHARE, 1.0 - SOURCE_SHARE)
    return DatasetSplits(
        *(
            data.partition(part, shares, seed=keys.stage_seed(study.seed, f"division/{name}"))[
                which
            ]
            for name, part in zip(("train", "validation", "test"), splits, strict=True)
        )
    )


def _selected(splits: DatasetSplits, classes: Sequence[str]) -> DatasetSplits:
    if not classes:
        return splits
    return DatasetSplits(*(data.select_classes(part, classes) for part in splits))


def of_recipe(recipe: Recipe, study: Study) -> DatasetSplits:
    """All images that a recipe's sources may see, with their right labels.

    Raises:
      ValueError: a data set that is the targets' alone. FileNotFoundError: it is not there.
    """
    if family(recipe.dataset) == "glyphs":
        splits = _glyphs(recipe.dataset, study.source_per_font)
        seed = keys.stage_seed(study.seed, "division/fonts")
        train, validation = data.partition(splits.train, SOURCE_SHARES, seed=seed)
        splits = DatasetSplits(train, validation, splits.validation)
    elif recipe.dataset in HALVED:
        splits = _half(_loaded(recipe.dataset, study.data_dir), study, 0)
    else:
        raise ValueError(f"{recipe.dataset} is the targets' alone; choose another for a source.")
    return _selected(splits, recipe.classes)


def of_source(source: Source, study: Study) -> DatasetSplits:
    """What a source learns from, with the label noise of its recipe; the test part has none."""
    recipe, name = source.recipe, source.drawn_as
    train, validation, test = of_recipe(recipe, study)
    train = data.take_balanced(
        train, recipe.images, seed=keys.stage_seed(study.seed, f"images/{name}")
    )
    if recipe.label_noise:
        train, validation = (
            data.with_label_noise(
                part, recipe.label_noise, seed=keys.stage_seed(study.seed, f"noise/{name}/{which}")
            )
            for which, part in (("train", train), ("validation", validation))
        )
    return DatasetSplits(train, validation, test)


def of_target(target: Target, study: Study) -> DatasetSplits:
    """A target's parts; of the test part at most `test_images`.

    Raises:
      FileNotFoundError: its data set is not there.
    """
    if target.family == "glyphs":
        part = _glyphs(target.dataset, study.target_per_font).test
        seed = keys.stage_seed(study.seed, "division/target fonts")
        splits = DatasetSplits(*data.partition(part, TARGET_SHARES, seed=seed))
    elif target.dataset in HALVED:
        splits = _half(_loaded(target.dataset, study.data_dir), study, 1)
    else:
        whole = data.concatenate(*_loaded(target.dataset, study.data_dir))
        seed = keys.stage_seed(study.seed, f"division/{target.dataset}")
        splits = DatasetSplits(*data.partition(whole, DIGITS_SHARES, seed=seed))
    train, validation, test = _selected(splits, target.classes)
    seed = keys.stage_seed(study.seed, f"test/{target.name}")
    return DatasetSplits(train, validation, data.take_balanced(test, study.test_images, seed=seed))


def check_disjoint(study: Study) -> None:
    """Raises ValueError where any part of a source and any of a target share an image."""
    recipes = {(s.recipe.dataset, s.recipe.classes): s for s in study.sources}
    seen = {s.name: of_recipe(s.recipe, study) for s in recipes.values()}
    for target in study.targets:
        for of_target_part in of_target(target, study):
            for name, splits in seen.items():
                for part in splits:
                    data.check_disjoint(part, of_target_part, names=(name, target.name))


def labelled(train: Dataset, labels: int, *, draw: int, target: str, seed: int) -> Dataset:
    """One draw of so many labelled images a class of a target's train part.

    Raises:
      ValueError: a class has fewer.
    """
    found = keys.stage_seed(seed, f"labelled/{target}/{labels}/{draw}")
    return data.take_per_class(train, labels, seed=found)
