"""Results of an experiment with five sources in order of transfer, and alphas as asked."""

import dataclasses

from advknow.experiments.results import Results

NAMES = ("MLP", "LeNet", "AlexNet", "ResNet18", "ResNet50")
# In order of transfer: the permutation p of a perfect order of five is 2/120 = 0.017.
RISING, FALLING, MIXED = (1, 2, 3, 4, 5), (5, 4, 3, 2, 1), (3, 1, 5, 2, 4)


def found(alpha1, alpha2, product, *, transfer=(50.0, 60.0, 70.0, 80.0, 90.0), **changes):
    rows = [
        {"source": NAMES[i], "knowledge_transfer": transfer[i], "knowledge_transfer_se": None,
         "source_accuracy": 99.0, "alpha1": alpha1[i] / 10, "alpha2_squared": alpha2[i] / 10,
         "alpha1_alpha2_squared": product[i] / 100, "n": 12345, "n_degenerate": 12,
         "n_alpha1_above_one": 1234, "similarity": None, "num_params": 10 + i}
        for i in range(len(alpha1))
    ]  # fmt: skip
    results = Results(
        "adv2know", "digits", "target_to_source", 3, rows, {"n_test": 20000, "accuracy": 97.0},
        {"attack": {"name": "fgsm", "eps": 0.1}, "transfer": {"repeats": 1}}, {}, {},
        command="python -m launch.adv2know --seed=3 --workdir=runs/x",
    )  # fmt: skip
    return dataclasses.replace(results, **changes)
