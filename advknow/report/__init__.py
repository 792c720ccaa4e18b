"""Results into tables and figures, for people; imports no JAX.

poster      the figures that the poster prints
tables      text and Markdown tables, the poster's figures beside ours
figures     the experiments' pictures
"""
