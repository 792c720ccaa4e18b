"""What the study is made of, and what it asks: fixed before any result.

python -m launch.evidence --preset=tiny|digits|full
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from advknow import attacks, data, models, validate
from advknow.training import TrainConfig

SEEDS = (0, 1)
# Share of the images of a data set that sources and targets have in common, part by part; the other
# half is the targets'.
SOURCE_SHARE = 0.5
TUNING = TrainConfig(epochs=25, batch_size=32)
FEW_TRAINING = TrainConfig(epochs=60, batch_size=32, learning_rate=0.02)


def family(dataset: str) -> str:
    """What decides near and far: "glyphs" of "glyphs" and "glyphs/digits"."""
    return dataset.partition("/")[0]


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

    def __post_init__(self) -> None:
        validate.choice("dataset", self.dataset, data.DATASETS)
        validate.choice("model", self.model, models.MODELS)
        validate.integer("images", self.images, minimum=0)
        validate.number("label_noise", self.label_noise, minimum=0.0, maximum=1.0)


@dataclasses.dataclass(frozen=True)
class Source:
    """A source model: a recipe and a seed, of its initial weights, order, images and noise.

    Attributes:
      recipe: its recipe. seed: 0, 1, ... zoo: "A" (one size) or "B" (mixed sizes).
    """

    recipe: Recipe
    seed: int
    zoo: str

    @property
    def name(self) -> str:
        """Of the records: "A fashion-whole 0"."""
        return f"{self.zoo} {self.recipe.name} {self.seed}"

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
      tuned_labels: of full fine-tuning; `tuned_zoo`: whose sources are.
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
    tuned_zoo: str = "A"
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
            names = [one.name for one in of]  # type: ignore[attr-defined]
            if not names or len(set(names)) < len(names):
                raise ValueError(f"{what}={names} must be names, each once.")
        validate.integer("draws", self.draws, minimum=2)

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


class Ranker(NamedTuple):
    """What sources are ranked by: a quantity of the records.

    Attributes:
      quantity: its name. attack: of which attack, "" where there is none.
    """

    quantity: str
    attack: str = ""


# The hypotheses, in the order of the protocol. Signs: larger is better, of every one.
PRIMARY = Ranker("alpha1_alpha2_squared_source_to_target", "small_eps")
POSTER = {
    "experiment 1: attack -> knowledge": Ranker("alpha1_alpha2_squared_target_to_source", "fgsm"),
    "experiment 2: knowledge -> attack": Ranker("alpha1_alpha2_squared_source_to_target", "pgd"),
}
LOGME, CKA, PROBE = Ranker("logme"), Ranker("cka"), Ranker("linear_probe")
SOURCE_ACCURACY, SIZE = Ranker("source_accuracy"), Ranker("num_params")
STATIC, RANDOM = Ranker("static"), Ranker("random")
# The family of paired differences that Holm's correction is over.
COMPARED = (STATIC, LOGME, CKA, PROBE)
TRUTH, TUNED = "probe_accuracy", "fine_tuned_accuracy"
LEVEL = 0.95

TOPS = ("T-shirt/top", "Pullover", "Coat", "Shirt")
SHOES_AND_BAGS = ("Sandal", "Sneaker", "Bag", "Ankle boot")
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

TARGETS = (
    Target(name="digits", dataset="digits", epochs=20, tried=True),
    Target(name="MNIST", dataset="mnist", epochs=20, tried=True),
    Target(name="Fashion tops", dataset="fashion_mnist", classes=TOPS, epochs=4, tried=True),
    Target(
        name="Fashion shoes and bags",
        dataset="fashion_mnist",
        classes=SHOES_AND_BAGS,
        epochs=4,
        tried=True,
    ),
    Target(name="Fashion all ten", dataset="fashion_mnist", epochs=3),
    Target(name="letters A-M", dataset="glyphs", classes=LETTERS[:13], epochs=20),
    Target(name="letters N-Z", dataset="glyphs", classes=LETTERS[13:], epochs=20),
    Target(name="numerals", dataset="glyphs/digits", epochs=20),
)
# Those that the trials used: the study's mean over the others is reported apart.
TRIED = frozenset(target.name for target in TARGETS if target.tried)


def _sgd(epochs: int, **settings: Any) -> TrainConfig:
    return TrainConfig(epochs=epochs, learning_rate=0.02, **settings)


def _against(eps: float, epochs: int) -> TrainConfig | None:
    """Adversarial training."""
    return _sgd(epochs)


def zoo_a() -> tuple[Recipe, ...]:
    """24 recipes of one architecture and size."""

    def fashion(name: str, epochs: int = 4, **rest: Any) -> Recipe:
        training = rest.pop("training", _sgd(epochs))
        return Recipe(name=f"fashion-{name}", dataset="fashion_mnist", training=training, **rest)

    def mnist(name: str, epochs: int = 20, **rest: Any) -> Recipe:
        training = rest.pop("training", _sgd(epochs))
        return Recipe(name=f"mnist-{name}", dataset="mnist", training=training, **rest)

    return (
        fashion("whole"),
        fashion("one-epoch", epochs=1),
        fashion("long", epochs=12),
        fashion("500", epochs=40, images=500),
        fashion("2000", epochs=25, images=2000),
        fashion("augmented", augment=True),
        *(fashion(f"noise-{share:g}", label_noise=share) for share in (0.2, 0.5, 0.8)),
        fashion("five", classes=("T-shirt/top", "Dress", "Sandal", "Bag", "Shirt")),
        fashion("other-five", classes=("Trouser", "Pullover", "Coat", "Sneaker", "Ankle boot")),
        fashion("two", classes=("Trouser", "Sneaker")),
        fashion("adversarial-0.03", training=_against(0.03, 3)),
        fashion("adversarial-0.1", training=_against(0.1, 3)),
        mnist("whole"),
        mnist("one-epoch", epochs=1),
        mnist("300", epochs=40, images=300),
        mnist("noise-0.5", label_noise=0.5),
        mnist("five", classes=tuple("02468")),
        mnist("adversarial-0.1", training=_against(0.1, 20)),
        Recipe(name="letters", dataset="glyphs", training=_sgd(10)),
        Recipe(name="numerals", dataset="glyphs/digits", training=_sgd(15)),
        fashion("random-labels", label_noise=0.9),
        Recipe(name="untrained", dataset="fashion_mnist"),
    )


# Widths of the experiments' fashion preset, and whether the architecture has batch norm.
ARCHITECTURES = {
    "mlp": (1.0, False),
    "lenet": (1.0, False),
    "alexnet": (0.25, False),
    "resnet18": (0.25, True),
    "resnet50": (0.125, True),
}
# Epochs without batch norm, and with.
TASKS = {"fashion_mnist": (4, 2), "mnist": (20, 8), "glyphs": (10, 4)}


def zoo_b() -> tuple[Recipe, ...]:
    """Five architectures of several sizes, three source tasks each."""
    return tuple(
        Recipe(
            name=f"{model}-{dataset}",
            dataset=dataset,
            model=model,
            width=width,
            training=TrainConfig(epochs=normalised, learning_rate=0.1) if norm else _sgd(plain),
        )
        for model, (width, norm) in ARCHITECTURES.items()
        for dataset, (plain, normalised) in TASKS.items()
    )


def _sources(recipes: Sequence[Recipe], zoo: str) -> tuple[Source, ...]:
    return tuple(Source(recipe, seed, zoo) for recipe in recipes for seed in SEEDS)


def full(**settings: Any) -> Study:
    """The study: 78 sources, 8 targets of 4 data sets.

        python -m launch.evidence --preset=full --shard=1/4 --workdir=runs/evidence

    Four times, 1/4 to 4/4, in one workdir or in four (README.md beside this file).
    """
    sources = (*_sources(zoo_a(), "A"), *_sources(zoo_b(), "B"))
    return Study(preset="full", sources=sources, targets=TARGETS, **settings)


def digits(**settings: Any) -> Study:
    """A small study that needs no download: sources from glyphs, targets digits and glyphs.

    python -m launch.evidence --preset=digits --workdir=runs/evidence-digits
    """

    def letters(name: str, epochs: int = 4, **rest: Any) -> Recipe:
        return Recipe(name=f"letters-{name}", dataset="glyphs", training=_sgd(epochs), **rest)

    a = (
        letters("whole"),
        letters("one-epoch", epochs=1),
        letters("500", epochs=20, images=500),
        letters("noise-0.5", label_noise=0.5),
        letters("five", classes=tuple("AEIOU"), epochs=10),
        Recipe(name="numerals", dataset="glyphs/digits", training=_sgd(10)),
        letters("random-labels", label_noise=25 / 26),
        Recipe(name="untrained", dataset="glyphs"),
    )
    b = tuple(
        Recipe(
            name=f"{model}-{dataset.replace('/', '-')}",
            dataset=dataset,
            model=model,
            width=width,
            training=_sgd(4),
        )
        for model, width in (("mlp", 0.5), ("lenet", 1.0), ("alexnet", 0.125))
        for dataset in ("glyphs", "glyphs/digits")
    )
    return Study(
        preset="digits",
        sources=(*_sources(a, "A"), *_sources(b, "B")),
        targets=tuple(
            dataclasses.replace(target, epochs=10)
            for target in TARGETS
            if target.dataset not in ("mnist", "fashion_mnist")
        ),
        labels=(10, 50),
        num_examples=128,
        tuning=TrainConfig(epochs=10, batch_size=32),
        pgd_steps=10,
        **settings,
    )


def tiny(**settings: Any) -> Study:
    """For tests: six small sources, two targets, no download.

    python -m launch.evidence --preset=tiny --workdir=runs/evidence-tiny
    """

    def letters(name: str, **rest: Any) -> Recipe:
        return Recipe(
            name=f"letters-{name}", dataset="glyphs", classes=LETTERS[:5], width=0.25, **rest
        )

    a = (
        letters("whole", training=_sgd(3)),
        letters("noise-0.8", training=_sgd(1), label_noise=0.8),
        letters("untrained"),
    )
    return Study(
        preset="tiny",
        sources=_sources(a, "A"),
        targets=(
            Target(name="digits", dataset="digits", classes=tuple("01234"), epochs=2, tried=True),
            Target(name="letters N-Z", dataset="glyphs", classes=tuple("NOPQR"), epochs=2),
        ),
        labels=(4, 8),
        draws=2,
        num_examples=32,
        test_images=100,
        tuned_labels=4,
        grid=((0.01, 0.02), (1e-4,)),
        tuning=TrainConfig(epochs=2, batch_size=8),
        reference_width=0.25,
        few_training=TrainConfig(epochs=2, batch_size=8, learning_rate=0.02),
        pgd_steps=3,
        source_per_font=6,
        target_per_font=6,
        batch_size=32,
        **settings,
    )


PRESETS: dict[str, Callable[..., Study]] = {"tiny": tiny, "digits": digits, "full": full}


def study(preset: str, **settings: Any) -> Study:
    """The study of that name.

    Args:
      preset: "tiny", "digits" or "full". settings: fields of `Study` to change.

    Raises:
      ValueError, TypeError: an unknown preset; a setting that is not accepted.
    """
    validate.choice("preset", preset, PRESETS)
    return PRESETS[preset](**settings)
