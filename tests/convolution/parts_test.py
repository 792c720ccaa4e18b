"""Into how many parts a batch is divided."""

import pytest

from advknow.convolution import parts
from advknow.convolution.geometry import Geometry


def test_parts_divide_the_batch():
    def of(size, side):
        shape = (size, side, side, 1)
        return Geometry(shape, (3, 3, 1, 1), shape, (1, 1), ((1, 1), (1, 1)))

    counts = {size: parts.num_parts(of(size, 32)) for size in (1, 2, 7, 62, 64, 640)}
    assert counts == {1: 1, 2: 1, 7: 1, 62: 2, 64: 8, 640: 8}
    assert [parts.num_parts(of(64, side)) for side in (1, 4, 8, 16)] == [1, 1, 4, 8]


@pytest.mark.parametrize("size", [8, 16, 24, 32, 40, 48, 72, 96, 256])
def test_parts_are_of_as_many_examples_as_are_read_at_once(size):
    shape = (size, 32, 32, 1)
    geometry = Geometry(shape, (3, 3, 1, 1), shape, (1, 1), ((1, 1), (1, 1)))
    count = parts.num_parts(geometry)
    assert size % count == 0
    assert size // count % 8 == 0
    # As small as they can be, of at most eight.
    assert not any(size % (8 * more) == 0 for more in range(count + 1, 9))
