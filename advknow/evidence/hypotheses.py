"""What the study asks, fixed before any result; README.md here has it in words."""

from typing import NamedTuple


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
