"""The three distances between a target and what an affine map makes of a source.

    gradient_matching    GMD = min_g |∇f_T' - ∇(g∘f_S)'|_{D,H_T}    theory.md section 3
    function_matching    FMD = min_g |f_T - g∘f_S|_{D,H_T}          theory.md section 4
    knowledge_transfer   KTD = min_g |y - g∘f_S|_{D,H_T}            theory.md section 4

Cost is linear in the examples, memory does not grow with them.
"""

from advknow.matching.distances import function_matching, gradient_matching, knowledge_transfer
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
    "function_matching",
    "gradient_matching",
    "knowledge_transfer",
]
