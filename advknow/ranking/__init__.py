"""Which pre-trained model to fine-tune: every score of every source, with intervals of its rank.

observed      what is known of a source on the labelled examples: outputs, alphas, Gram matrices
catalogue     `SCORES`: every score as a function of that
halves        half-samples: what a score would have been on other examples
record        `Ranking`: values, standard errors, ranks and their intervals
order         `rank`
"""

from advknow.ranking.catalogue import SCORES, Score
from advknow.ranking.observed import Source
from advknow.ranking.order import rank
from advknow.ranking.record import Ranking

__all__ = ["SCORES", "Ranking", "Score", "Source", "rank"]
