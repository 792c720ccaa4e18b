"""First weights, drawn on the host: no program is compiled for them, and none depends on a backend.

A kernel's numbers come from the random key and the kernel's path, so that they depend neither on
the order of the layers nor on what else is drawn.
"""

import math
import zlib
from typing import Any

import numpy as np
import scipy.special

from advknow.passes import keys
from advknow.typing import Array

# Where a normal distribution is cut, in its standard deviations; what is left of its deviation.
CUT = 2.0
DEVIATION_OF_CUT = 0.87962566103423978


def truncated_normal(key: Array, path: str, shape: tuple[int, ...], *, deviation: float) -> Any:
    """Normal numbers of this standard deviation, none beyond `CUT` of the uncut one's; float32.

    Args:
      key: a random key. path: of what is drawn; other paths give independent numbers.
      shape: of the result. deviation: its standard deviation.
    """
    size = math.prod(shape)
    raw = keys.bits(key, zlib.crc32(path.encode()), count=(size + 1) // 2).view("<u4")[:size]
    low, high = scipy.special.ndtr([-CUT, CUT])
    uniform = (raw + 0.5) / 2.0**32
    numbers = scipy.special.ndtri(low + (high - low) * uniform)
    return (numbers * (deviation / DEVIATION_OF_CUT)).astype(np.float32).reshape(shape)


def he(key: Array, path: str, shape: tuple[int, ...]) -> Any:
    """He et al. 2015, for what a ReLU follows: variance 2 / inputs of a unit."""
    return truncated_normal(key, path, shape, deviation=math.sqrt(2.0 / math.prod(shape[:-1])))


def lecun(key: Array, path: str, shape: tuple[int, ...]) -> Any:
    """LeCun et al. 1998: variance 1 / inputs of a unit."""
    return truncated_normal(key, path, shape, deviation=math.sqrt(1.0 / math.prod(shape[:-1])))
