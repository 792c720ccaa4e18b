"""One pass over a sample, and what it takes (README.md beside this file).

measure     what is summed of a sample, as pure functions; measures combine
driver      the one loop over batches: `states`, and `run` to its end
batching    a sample as batches of one size
keys        a random key an example
apply_fn    models as functions of a batch
devices     batches over many devices and processes
memory      batch sizes that fit
loops       the same step many times, as the backend likes it
"""

from advknow.passes.driver import Run, State, begin, checked, record, run, states
from advknow.passes.measure import Batch, Measure, Need, Shapes, Totals, combine, merge

__all__ = [
    "Batch",
    "Measure",
    "Need",
    "Run",
    "Shapes",
    "State",
    "Totals",
    "begin",
    "checked",
    "combine",
    "merge",
    "record",
    "run",
    "states",
]
