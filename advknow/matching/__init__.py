"""The three distances between a target and what an affine map makes of a source.

    gradient_matching    GMD = min_g |∇f_T' - ∇(g∘f_S)'|_{D,H_T}    theory.md section 3
    function_matching    FMD = min_g |f_T - g∘f_S|_{D,H_T}          theory.md section 4
    knowledge_transfer   KTD = min_g |y - g∘f_S|_{D,H_T}            theory.md section 4

Cost is linear in the examples, memory does not grow with them.

    sums        the least-squares problem that all three are, and its solution
    records     `GradientMatching`, `FunctionMatching`, `KnowledgeTransfer`
    outputs     the outputs of a batch, which the last two read
    distances   the measures and the calls
"""

from advknow.matching.distances import (
    function_distance,
    function_matching,
    gradient_distance,
    gradient_matching,
    knowledge_distance,
    knowledge_transfer,
)
from advknow.matching.outputs import OutputsOf
from advknow.matching.records import (
    AffineMatch,
    FunctionMatching,
    GradientMatching,
    KnowledgeTransfer,
)

__all__ = [
    "AffineMatch",
    "FunctionMatching",
    "GradientMatching",
    "KnowledgeTransfer",
    "OutputsOf",
    "function_distance",
    "function_matching",
    "gradient_distance",
    "gradient_matching",
    "knowledge_distance",
    "knowledge_transfer",
]
