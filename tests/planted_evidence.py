"""Records of a study that was never run: truth, and scores of which it is known what they say."""

import functools

import numpy as np

from advknow.evidence import records
from advknow.evidence.design import Recipe, Source
from advknow.evidence.hypotheses import PRIMARY
from advknow.evidence.studies import TARGETS
from advknow.evidence.verdict import verdict
from advknow.training import TrainConfig

DRAWS, LABELS = 2, (10,)
# Some of what every study has; values are noise where `planted` is not told otherwise.
LABELLED = ("logme", "linear_probe")
OF_PAIRS = ("rho2", "gmd", "fmd", "cka")
ALPHAS = tuple(
    f"alpha1_alpha2_squared_{direction}" for direction in ("source_to_target", "target_to_source")
)


def sources(count=10, zoo="A"):
    """Half of them of Fashion-MNIST, half of glyphs, two seeds a recipe."""
    trained = TrainConfig(epochs=1)
    recipes = [
        Recipe(name=f"r{k}", dataset=("fashion_mnist", "glyphs")[k % 2], training=trained)
        for k in range(count // 2)
    ]
    return [Source(recipe, seed, zoo) for recipe in recipes for seed in (0, 1)]


def planted(scores, *, seed=0, zoo="A", count=10):
    """Records of `count` sources on the study's targets.

    Args:
      scores: {(quantity, attack): (truth (T, S), rng) -> (T, S)}; the others are noise.
    """
    rng, of = np.random.default_rng(seed), sources(count, zoo)
    shape = len(TARGETS), len(of)
    truth = 60 + 10 * rng.normal(size=shape)
    found = []

    def write(quantity, values, attack="", **setup):
        for t, target in enumerate(TARGETS):
            found.extend(
                records.record(
                    source, target, quantity, values[t, s], n=100, attack=attack, **setup
                )
                for s, source in enumerate(of)
            )

    def values(quantity, attack=""):
        made = scores.get((quantity, attack))
        return rng.normal(size=shape) if made is None else made(truth, rng)

    for labels in LABELS:
        for draw in range(DRAWS):
            write("probe_accuracy", truth, labels=labels, draw=draw)
            for name in LABELLED:
                write(name, values(name), labels=labels, draw=draw)
    for reference in (*map(str, range(DRAWS)), "few"):
        for name in OF_PAIRS:
            write(name, values(name), reference=reference)
        for attack in ("small_eps", "fgsm", "pgd"):
            for name in ALPHAS:
                write(name, values(name, attack), attack, reference=reference)
    write("ktd", values("ktd"))
    for source in of:
        found += [
            records.record(source, None, "source_accuracy", rng.uniform(50, 90), n=100),
            records.record(source, None, "num_params", rng.integers(10, 99), n=1),
        ]
    return found


def whole():
    """Both zoos, both truths, a copy of a reference model, and a score that is not defined once.

    The primary score is the truth with noise; of zoo B, and of the others, all is noise.
    """
    score = {tuple(PRIMARY): lambda truth, rng: truth / 10 + rng.normal(size=truth.shape)}
    found = planted(score, count=8)
    found += [
        {**one, "quantity": "fine_tuned_accuracy"}
        for one in found
        if one["quantity"] == "probe_accuracy"
    ]
    copied = ("rho2", "cka", PRIMARY.quantity)
    found += [
        {**one, "zoo": "control", "source": "copy", "value": 1e6}
        for one in found
        if one["source"] == "A r0 0" and one["quantity"] in copied
    ]
    next(one for one in found if one["quantity"] == "logme")["value"] = ""
    return found + planted({}, seed=1, zoo="B", count=4)


@functools.cache
def whole_verdict():
    """The records of `whole` and what they say; nobody changes either."""
    found = whole()
    return found, verdict(found)
