"""What the stages cost against what people would use instead (`python -m launch.benchmark`).

    torch_models      our architectures in PyTorch, with our weights
    torch_peer        attack, metrics, all attacks, distances and a training step in PyTorch
    torch_adapter     PGD through adapters.from_torch, a process of its own
    synthetic_peer    the synthetic table in PyTorch, a process of its own
    bare              the compiled gradient passes that a stage cannot do without
    checks            both sides compute the same numbers: else nothing is timed
    stages            who does what, on which data
    timing            interleaved runs, medians, ratios, spread
    growth            time and memory as the work grows, a process a measurement
    peak_memory       of a process, whoever began it
    score_times       seconds and memory of every score, a process of its own
    ranker_peer       the scores beside the package transformer-ranker's, a process of its own

PyTorch comes with the extra advknow[benchmark]; only `torch_*`, `synthetic_peer` and
`ranker_peer` import it.
"""
