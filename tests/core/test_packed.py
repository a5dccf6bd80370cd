"""Many arrays behind one argument: a wrong extent would read foreign memory."""

import numpy as np
import pytest

from alephtx.core.kernel import kernel
from alephtx.core.packed import FIELD_WORDS, bytes_at, field, pack_fields, rows_at
from alephtx.core.records import EVENT

TWO, FIVE = np.zeros((1, 1), np.int64), np.zeros((1, 1, 1, 1, 1), np.int64)

ROW = np.zeros(1, EVENT)


@kernel
def _look(text, size, rows):
    number = 0
    seen = bytes_at(text, size)
    for k in range(size):
        number = number * 256 + seen[k]
    rows_at(rows, 2, ROW)[1]["price"] = number
    return len(rows_at(rows, 2, ROW)) * 1000 + len(seen)


@kernel
def _change(packed, number):
    field(packed, 0, TWO)[1, 2] = number
    return field(packed, 1, FIVE)[1, 0, 1, 0, 2]


@pytest.mark.kernel
@pytest.mark.smoke
def test_packed_fields_are_the_arrays_themselves():
    two, five = np.zeros((2, 3), np.int64), np.arange(2 * 1 * 2 * 1 * 3).reshape(2, 1, 2, 1, 3)
    packed = pack_fields([two, five])
    assert packed[1:3].tolist() == [2, 3]
    assert packed[FIELD_WORDS + 1 : FIELD_WORDS + 6].tolist() == [2, 1, 2, 1, 3]
    assert _change(packed, 7) == five[1, 0, 1, 0, 2]
    assert two[1, 2] == 7


def test_an_array_that_is_not_in_order_is_refused():
    with pytest.raises(AssertionError):
        pack_fields([np.zeros((4, 4), np.int64)[:, ::2]])


@pytest.mark.kernel
def test_bytes_and_rows_at_an_address_are_the_memory_itself():
    """A stage gets addresses; what it builds on them must be no copy and have the right extent."""
    text, rows = np.frombuffer(b"\xffb", np.uint8), np.zeros(2, EVENT)
    assert _look(text.ctypes.data, 2, rows.ctypes.data) == 2002
    assert rows["price"].tolist() == [0, 255 * 256 + ord("b")]
