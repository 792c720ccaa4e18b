"""Results into tables and figures, for people; no JAX code.

answers     what was asked, the answer in one sentence, what to do next
pages       report.html: a page for every run
poster      the figures that the poster prints
tables      text and Markdown tables of the experiments, the poster's figures beside ours
figures     the experiments' pictures
commands    what train, finetune and measure print
chain       the paper's picture with measured numbers on its arrows
synthetic   the synthetic experiment's table and figure
growth      time and memory against the size of the work
"""
