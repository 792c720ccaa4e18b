"""What a study is made of: recipes, sources, targets, settings."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from advknow import attacks, data, models, validate
from advknow.training import TrainConfig

# Share of the images of a data set that sources and targets have in common, part by part; the other
# half is the targets'.
SOURCE_SHARE = 0.5
TUNING = TrainConfig(epochs=25, batch_size=32)
FEW_TRAINING = TrainConfig(epochs=60, batch_size=32, learning_rate=0.02)


def family(dataset: str) -> str:
    """What decides near and far: "glyphs" of "glyphs" and "glyphs/digits"."""
    return dataset.partition("/")[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alignment:
    """A training towards a target's first reference model, or away (`objective.aligned`).

    Attributes:
      target: its name. weight: > 0 towards, < 0 away, 0 neither.
    """

    target: str
    weight: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a source comes about.

    Attributes:
      name: of letters, digits, dots and hyphens.
      dataset, classes: what it learns; no classes: all of them.
      images: at most so many of the train part, as evenly of all classes as these allow; 0 for all.
      label_noise: share of the labels of train and validation that are replaced; with k classes,
        1 - 1/k leaves labels that say nothing.
      augment: random crops (and flips, where the classes survive them).
      training: None for a model that is not trained at all.
      model, width: as `models.create`.
      alignment: of its input gradients, or None.
    """

    name: str
    dataset: str
    classes: tuple[str, ...] = ()
    images: int = 0
    label_noise: float = 0.0
    augment: bool = False
    training: TrainConfig | None = None
    model: str = "lenet"
    width: float = 1.0
    alignment: Alignment | None = None

    def __post_init__(self) -> None:
        validate.choice("dataset", self.dataset, data.DATASETS)
        validate.choice("model", self.model, models.MODELS)
        validate.integer("images", self.images, minimum=0)
        validate.number("label_noise", self.label_noise, minimum=0.0, maximum=1.0)


@dataclasses.dataclass(frozen=True)
class Source:
    """A source model: a recipe and a seed, of its initial weights, order, images and noise.

    Attributes:
      recipe: its recipe. seed: 0, 1, ...
      zoo: "A" (one size), "B" (mixed sizes), or of the control its source and target tasks.
    """

    recipe: Recipe
    seed: int
    zoo: str

    @property
    def name(self) -> str:
        """Of the records: "A fashion-whole 0"."""
        return f"{self.zoo} {self.recipe.name} {self.seed}"

    @property
    def drawn_as(self) -> str:
        """What names its random numbers: those of one seed are the same whatever the alignment."""
        return self.name if self.recipe.alignment is None else f"{self.zoo} {self.seed}"

    @property
    def family(self) -> str:
        """What it has seen; "" for nothing."""
        return family(self.recipe.dataset) if self.recipe.training is not None else ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A target task.

    Attributes:
      name: of the records. dataset, classes: as in `Recipe`.
      epochs: of its reference models.
      tried: whether the trials that the hypotheses were fixed after used it.
    """

    name: str
    dataset: str
    epochs: int
    classes: tuple[str, ...] = ()
    tried: bool = False

    @property
    def family(self) -> str:
        """What decides near and far."""
        return family(self.dataset)

    def relation(self, source: Source) -> str:
        """Whether the source has seen other images of the same data set: "near", else "far"."""
        return "near" if self.family == source.family else "far"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """A study.

    Attributes:
      preset: its name.
      sources, targets: all of them.
      labels: labelled images a class, the first of them that of the primary hypothesis.
      draws: of labelled images; also of seeds of the reference models.
      num_examples: images of the target's train part that models are attacked on.
      test_images: of the target's test part, at most.
      tuned_labels: of full fine-tuning; `tuned_zoos`: whose sources are.
      grid: learning rates and weight decays of full fine-tuning. tuning: its other settings.
      reference, reference_width: the architecture of the reference models.
      few_training: of the reference model that sees the labelled images of the first draw alone.
      pgd_steps: each of eps / 10. eps: of both attacks, in [0, 1] pixel units.
      source_per_font, target_per_font: images of a glyph in a font.
      seed: of everything random.
      batch_size: images in one program of the passes; no result depends on it beyond rounding.
      data_dir: where Fashion-MNIST's files lie, None for the usual place.
    """

    preset: str
    sources: tuple[Source, ...]
    targets: tuple[Target, ...]
    labels: tuple[int, ...] = (10, 100)
    draws: int = 3
    num_examples: int = 256
    test_images: int = 2000
    tuned_labels: int = 10
    tuned_zoos: tuple[str, ...] = ("A",)
    grid: tuple[tuple[float, ...], tuple[float, ...]] = ((0.005, 0.02), (1e-4, 1e-2))
    tuning: TrainConfig = TUNING
    reference: str = "lenet"
    reference_width: float = 1.0
    few_training: TrainConfig = FEW_TRAINING
    pgd_steps: int = 20
    eps: float = 0.1
    source_per_font: int = 20
    target_per_font: int = 40
    seed: int = 0
    batch_size: int = 64
    data_dir: str | None = None

    def __post_init__(self) -> None:
        for what, of in (("sources", self.sources), ("targets", self.targets)):
            names = [one.name for one in of]
            if not names or len(set(names)) < len(names):
                raise ValueError(f"{what}={names} must be names, each once.")
        validate.integer("draws", self.draws, minimum=2)
        for source in self.sources:
            if source.recipe.alignment is not None:
                towards, names = source.recipe.alignment.target, [t.name for t in self.targets]
                validate.choice(f"the alignment of {source.name}", towards, names)

    def attacks(self) -> dict[str, attacks.Named]:
        """Those of the alphas at finite eps, by name."""
        return {
            "fgsm": attacks.Named("fgsm", self.eps),
            "pgd": attacks.Named("pgd", self.eps, self.pgd_steps),
        }

    def settings(self) -> dict[str, Any]:
        """All that results depend on, ready for JSON."""
        found = dataclasses.asdict(self)
        del found["data_dir"]
        return {"launch": "evidence", **found}


def shard(sources: Sequence[Source], text: str) -> tuple[Source, ...]:
    """The sources of "i/n": the i-th of every n, i from 1.

    Raises:
      ValueError: not of this form, or i outside 1 .. n.
    """
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise ValueError(f"shard={text!r} must be I/N with 1 <= I <= N, such as 1/4.")
    return tuple(sources[int(number) - 1 :: int(count)])
