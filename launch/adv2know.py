"""Experiment 1 of the poster: does attacking a model tell what it can teach?

Five architectures learn a source task; the attack on the target's model is carried to each source
(direction T -> S), and each is transferred to the target with few labels. Prints the poster's
table with the poster's figures beside it, and writes results.json, results.csv, records.csv and
figure.png.

    python -m launch.adv2know --preset=digits --workdir=runs/adv2know
"""

from absl import flags

from launch import experiment

flags.adopt_module_key_flags(experiment)

if __name__ == "__main__":
    experiment.main("adv2know", __doc__)
