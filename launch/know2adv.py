"""Experiment 2 of the poster: does what a model can teach tell how attacks transfer?

Five ResNet18 sources share 0 to 4 of their four classes with the target; the attack on each is
carried to the target (direction S -> T). Prints the poster's table with the poster's figures beside
it, and writes results.json, results.csv and figure.png.

    python -m launch.know2adv --preset=digits --workdir=runs/know2adv
"""

from absl import flags

from advknow.experiments import know2adv
from launch import app, experiment, memory, tensorboard

HORSE_FOR_DOG = flags.DEFINE_bool(
    "horse_for_dog",
    False,
    "As the authors' code, preset poster only: the 100 % source holds horse where the text says "
    "dog.",
)

flags.adopt_module_key_flags(app)
flags.adopt_module_key_flags(tensorboard)
flags.adopt_module_key_flags(memory)
flags.adopt_module_key_flags(experiment)


def _preset(name: str):
    if HORSE_FOR_DOG.value:
        if name != "poster":
            raise ValueError(f"horse_for_dog goes with preset='poster', not with {name!r}.")
        return know2adv.poster(horse_for_dog=True)
    return know2adv.preset(name)


if __name__ == "__main__":
    experiment.main(_preset, __doc__)
