"""Many arrays behind one argument: a wrong extent would read foreign memory."""

import numpy as np
import pytest

from alephtx.core.kernel import kernel
from alephtx.core.packed import FIELD_WORDS, field, pack_fields

TWO, FIVE = np.zeros((1, 1), np.int64), np.zeros((1, 1, 1, 1, 1), np.int64)


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
