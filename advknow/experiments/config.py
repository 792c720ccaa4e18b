"""What an experiment of theory.md section 6 is made of, as frozen dataclasses."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from advknow import attacks, data, models, validate
from advknow.runs.settings import changed, replaced
from advknow.training import Adversarial, TrainConfig
from advknow.training.fine_tuning import METHODS
from advknow.typing import AttackFn

DIRECTIONS = ("target_to_source", "source_to_target")
# What configurations of earlier versions lack, and what it was then.
ADDED = {
    "activations": "float32",
    "matmul_precision": "default",
    "objective": "cross_entropy",
    "image_size": data.IMAGE_SIZE,
    "skip_damaged": False,
    "fill_frame": False,
    "adversarial": dataclasses.asdict(Adversarial()),
}


@dataclasses.dataclass(frozen=True)
class Task:
    """Classes of a data set, in the order of their labels; () for all of them.

    The classes of data of one's own are known, and the names here checked, when they are read.
    """

    dataset: str
    classes: tuple[str, ...] = ()

    def __post_init__(self):
        # The same from every folder that a command is started in.
        object.__setattr__(self, "dataset", data.resolved(self.dataset))
        known = data.info(self.dataset).class_names
        for name in self.classes:
            if known is None:
                break
            validate.choice("class", name, known)
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes={self.classes} names a class twice.")

    @property
    def label(self) -> str:
        """The data set, and its classes where they are not all."""
        return f"{self.dataset} ({', '.join(self.classes)})" if self.classes else self.dataset


def task(dataset: str, classes: tuple[str, ...] | None) -> Task:
    """The task of a command: None for all classes.

    Raises:
      ValueError: no class, or an unknown one.
    """
    if classes is not None and not classes:
        raise ValueError("classes=() is empty; at least one class by name is needed.")
    return Task(dataset, classes or ())


@dataclasses.dataclass(frozen=True)
class Source:
    """A source model: a row of the results table.

    Attributes:
      name: the row's label.
      task: what it is trained on.
      model: a name in `models.MODELS`.
      width: its width multiplier; 1 is the poster's size.
      training: how it is trained.
      similarity: share of its classes that are the target's, 0 to 1, or None.
    """

    name: str
    task: Task
    model: str
    width: float
    training: TrainConfig
    similarity: float | None = None

    def __post_init__(self):
        validate.choice("model", self.model, models.MODELS)
        validate.number("width", self.width, above=0.0)
        if self.similarity is not None:
            validate.number("similarity", self.similarity, minimum=0.0, maximum=1.0)


@dataclasses.dataclass(frozen=True)
class Attack:
    """The attack of the experiment, in [0, 1] pixel units, started at random in the eps-ball.

    It raises `objective`, "cross_entropy" to the model's own prediction, as the authors' does, or
    "output_deviation", the distance that alpha1 is evaluated in.
    """

    name: str = "pgd"
    eps: float = 0.1
    num_steps: int = 50
    step_size: float = 0.01
    objective: str = "cross_entropy"

    def __post_init__(self):
        validate.choice("attack", self.name, ("fgsm", "pgd"))
        validate.number("eps", self.eps, above=0.0)
        validate.integer("num_steps", self.num_steps, minimum=1)
        validate.number("step_size", self.step_size, above=0.0)
        validate.choice("objective", self.objective, attacks.OBJECTIVES)

    def make(self) -> AttackFn:
        """The attack function."""
        settings = dataclasses.asdict(self)
        return attacks.named(settings.pop("name"), **settings)


@dataclasses.dataclass(frozen=True)
class Transfer:
    """How knowledge is transferred: a new head (or all layers) trained on the labelled part.

    Attributes:
      method: "last_layer" with f_S frozen, "all" layers, or "closed_form" least squares.
      training: of the head.
      augment: random crops (and flips) of the labelled images in every epoch.
      labelled_per_class: target images a class that carry labels; 0 for all of the train part.
      repeats: independent draws of the labelled part; the table gives mean and standard error.
      batch_norm_drift: the authors' slip: batch-norm statistics of f_S drift during transfer.
    """

    method: str
    training: TrainConfig
    labelled_per_class: int = 0
    repeats: int = 1
    batch_norm_drift: bool = False
    augment: bool = False

    def __post_init__(self):
        validate.choice("transfer method", self.method, METHODS)
        validate.integer("labelled_per_class", self.labelled_per_class, minimum=0)
        validate.integer("transfer_repeats", self.repeats, minimum=1)
        if self.training.adversarial.eps > 0 and self.method != "all":
            raise ValueError(
                f"transfer.training.adversarial.eps={self.training.adversarial.eps:g} goes with "
                f"transfer.method='all'; {self.method!r} has eps=0."
            )


def few_labels(labelled_per_class: int) -> Transfer:
    """A new last layer on a few labelled images of each class, five draws of them."""
    return Transfer(
        method="last_layer",
        training=TrainConfig(epochs=40, learning_rate=0.1),
        labelled_per_class=labelled_per_class,
        repeats=5,
    )


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """One experiment: five sources, one target, one attack, one direction.

    Attributes:
      experiment: "adv2know" or "know2adv".
      preset: the preset's name.
      direction: whose attack is transferred to whom.
      sources: the rows, in order.
      target: the target task.
      target_model, target_width, target_training: the target's own model, trained on all of the
        target's train part.
      attack, transfer: see there.
      source_share: share of the images of a data set that source and target have in common that
        goes to the sources; the rest is the target's. Without common classes each has all.
      num_examples: correctly classified target test images to measure on, at most; 0 for all.
      seed: of everything random.
      data_dir: where the data sets lie, or None for the usual places.
      image_size: height and width of all images.
      skip_damaged: whether damaged images of folder:PATH are left out, in place of an error.
      fill_frame: whether every image, light on dark, is cropped to its ink and enlarged to the same
        frame (`data.fill_frame`), so that margins tell no data set from another.
      attack_batch_size: images in one program; speed and memory only. 0: the largest power of two
        that fits into the memory.
      checkpoint_on_test: the authors' slip: the best epoch picked on the test part.
      augment: random crops (and flips, where the data set's classes survive them) in training.
    """

    experiment: str
    preset: str
    direction: str
    sources: tuple[Source, ...]
    target: Task
    target_model: str
    target_width: float
    target_training: TrainConfig
    attack: Attack
    transfer: Transfer
    source_share: float = 0.5
    num_examples: int = 0
    seed: int = 0
    data_dir: str | None = None
    image_size: int = data.IMAGE_SIZE
    skip_damaged: bool = False
    fill_frame: bool = False
    attack_batch_size: int = 64
    checkpoint_on_test: bool = False
    augment: bool = True

    def __post_init__(self):
        validate.choice("direction", self.direction, DIRECTIONS)
        validate.choice("target_model", self.target_model, models.MODELS)
        validate.number("target_width", self.target_width, above=0.0)
        validate.integer("num_examples", self.num_examples, minimum=0)
        validate.integer("seed", self.seed, minimum=0, maximum=2**31 - 1)
        validate.integer("attack_batch_size", self.attack_batch_size, minimum=0)
        validate.number("source_share", self.source_share, above=0.0, maximum=0.95)
        if not self.sources:
            raise ValueError("sources=() is empty; at least one source model is needed.")
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            raise ValueError(f"sources={names} names a source twice.")
        if "target" in names:
            raise ValueError(f"sources={names}: 'target' is the target's own name; choose another.")

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, ready for JSON."""
        return dataclasses.asdict(self)


# Short names for common settings; values of None leave a setting as it is.
SHORT = {
    "epochs": ("sources.*.training.epochs", "target_training.epochs"),
    "width": ("sources.*.width", "target_width"),
    "activations": (
        "sources.*.training.activations",
        "target_training.activations",
        "transfer.training.activations",
    ),
    "matmul_precision": (
        "sources.*.training.matmul_precision",
        "target_training.matmul_precision",
        "transfer.training.matmul_precision",
    ),
    "objective": ("attack.objective",),
    "transfer_epochs": ("transfer.training.epochs",),
    "transfer_method": ("transfer.method",),
    "transfer_repeats": ("transfer.repeats",),
    "labelled_per_class": ("transfer.labelled_per_class",),
    "batch_norm_drift": ("transfer.batch_norm_drift",),
}


def scaled(
    config: ExperimentConfig, *, settings: Iterable[str] = (), **overrides: Any
) -> ExperimentConfig:
    """The configuration with a launcher's changes; None leaves a setting as it is.

    Args:
      config: a preset.
      settings: "NAME=VALUE" with dotted names, in order, after the others.
      **overrides: those of `SHORT`, bfloat16 (True for activations in bfloat16), eps (PGD's steps
        keep their share of it), and any field of ExperimentConfig by name.

    Raises:
      ValueError, TypeError: an unknown setting, or a value that is not accepted.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if given.pop("bfloat16", False):
        given["activations"] = "bfloat16"
    if (eps := given.pop("eps", None)) is not None:
        validate.number("eps", eps, above=0.0)
        attack = config.attack
        given["attack"] = dataclasses.replace(
            attack, eps=eps, step_size=attack.step_size * eps / attack.eps
        )
    fields = [field.name for field in dataclasses.fields(ExperimentConfig)]
    for name, value in given.items():
        validate.choice("override", name, sorted({*fields, *SHORT, "bfloat16", "eps"}))
        for path in SHORT.get(name, (name,)):
            config = replaced(config, path, value)
    for setting in settings:
        name = setting.partition("=")[0]
        if name in ("experiment", "preset"):
            raise ValueError(f"set={setting!r}: {name} names what is run; choose another command.")
        config = changed(config, setting, such_as="transfer.repeats=3")
    return config
