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

# Of the control, at its largest weight less 0, on the target of the pull: PRIMARY and rho^2 rise;
# the source's accuracy is equal, its interval within so many points of 0; and the question, asked
# to both sides, is whether TRUTH at the fewest labels moves.
EQUAL = 1.0


def equal(low: float, high: float) -> bool:
    """Whether an interval of a difference of accuracies, in points, says that they are equal."""
    return low >= -EQUAL and high <= EQUAL
