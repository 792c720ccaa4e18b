"""What training descends; each factory returns an `Objective`, two pure functions.

    cross_entropy()         E_x l(f(x), label)
    adversarial(attack=)    E_x l(f(x + delta(x)), label), delta raising l (Madry et al. 2018)
    aligned(to=, weight=)   E_x l(f(x), label) - weight |E_x cos(g_f(x), g_to(x))|

Batch norm is in training mode in all that is done with f, the attack and g_f too: what they raise
and compare is the function whose loss is descended, with this batch's statistics (the running ones
lag behind, and early in a training belong to no model). One forward pass a step moves the running
statistics: that of the adversarial batch where there is one, never those of its attack.
"""

from advknow.training.objective.alignment import aligned
from advknow.training.objective.by_settings import check, chosen
from advknow.training.objective.perturbed import adversarial
from advknow.training.objective.record import Objective, cross_entropy

__all__ = ["Objective", "adversarial", "aligned", "check", "chosen", "cross_entropy"]
