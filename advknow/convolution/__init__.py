"""Convolutions by the algorithm that is fastest where they run."""
