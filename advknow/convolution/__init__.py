"""Convolutions by the algorithm that is fastest where they run; it knows no architecture.

trilinear   `convolve`, one primitive for a convolution and its derivatives; the off switch:
            with ADVKNOW_CONVOLUTION=xla in the environment everything is `jax.lax`'s
winograd    minimal filtering, for many channels
toeplitz    products with block Toeplitz matrices, for few
parts       a part of the batch at a time
geometry    the shapes, and modes by transposition
"""

from advknow.convolution.trilinear import convolve

__all__ = ["convolve"]
