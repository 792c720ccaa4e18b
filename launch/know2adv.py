"""Experiment 2 of the poster: does what a model can teach tell how attacks transfer?

Five ResNet18 sources share 0 to 4 of their four classes with the target; the attack on each is
carried to the target (direction S -> T). Prints the poster's table with the poster's figures beside
it, and writes results.json, results.csv, records.csv and figure.png.

    python -m launch.know2adv --preset=digits --workdir=runs/know2adv
"""

from absl import flags

from launch import experiment

HORSE_FOR_DOG = flags.DEFINE_bool(
    "horse_for_dog",
    False,
    "As the authors' code, preset poster only: the 100 % source holds horse where the text says "
    "dog.",
)
flags.adopt_module_key_flags(experiment)

if __name__ == "__main__":
    experiment.main("know2adv", __doc__, lambda: {"horse_for_dog": HORSE_FOR_DOG.value})
