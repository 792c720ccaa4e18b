"""Training a classifier, measuring it, and transferring it (theory.md section 6).

    config        the settings
    state         where a training stands, to go on bit for bit
    sgd           one compiled step of SGD, and the epochs of them
    forward       what is trained: the whole model, or a new last layer
    objective     what is descended: cross-entropy, of adversarial examples, aligned with a model
    fitting       `fit`: the best of its epochs by validation
    fine_tuning   `fine_tune`: a new last layer, all layers, or ridge regression
    evaluation    logits, features and accuracy of whole data sets

Test images have no way into training: neither `fit` nor `fine_tune` takes any (the authors' code
picked its checkpoints on the test set).
"""

from advknow.training import objective
from advknow.training.config import Adversarial, TrainConfig
from advknow.training.evaluation import Evaluation, evaluate, extract_features, predict
from advknow.training.fine_tuning import fine_tune, ridge_head
from advknow.training.fitting import FitResult, fit
from advknow.training.sgd import EpochRecord
from advknow.training.state import TrainState

__all__ = [
    "Adversarial",
    "EpochRecord",
    "Evaluation",
    "FitResult",
    "TrainConfig",
    "TrainState",
    "evaluate",
    "extract_features",
    "fine_tune",
    "fit",
    "objective",
    "predict",
    "ridge_head",
]
