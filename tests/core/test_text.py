"""Numbers and ids as text from kernels: a wrong digit is a wrong order."""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import text
from alephtx.core.identity import to_text
from alephtx.core.kernel import kernel
from alephtx.core.units import format_scaled

WORDS = st.one_of(
    st.integers(0, 2**63 - 1), st.sampled_from([10**k + d for k in range(19) for d in (-1, 0, 1)])
)
_few = settings(max_examples=150, deadline=None)
pytestmark = pytest.mark.kernel
OUT = np.zeros(256, np.uint8)
AT = OUT.ctypes.data
ROOM = 96


@kernel
def _all(what, at, value, scale):
    """Enter each writer from one kernel, as the stages do."""
    if what == 0:
        return text.put_integer(at, value)
    if what == 1:
        return text.put_decimal(at, value, scale)
    if what == 2:
        return text.put_order_text(at, value)
    if what == 3:
        return text.put_word(at, value)
    if what == 4:
        return text.put_hex(at, value, scale)
    if what == 6:
        return text.put_hex_word(at, value)
    if what == 7:
        return text.copy_bytes(at, value, scale)
    return text.copy_text(at, value, scale)


def written(what, value, scale=0):
    """Return what a writer left, which must be all that it changed."""
    OUT[:] = 250
    end = _all(what, AT, value, scale) - AT
    assert what == 5 or (OUT[end:] == 250).all(), "it wrote behind its end"
    return bytes(OUT[:end])


@_few
@given(WORDS)
def test_integers_are_written_as_python_writes_them(value):
    assert written(0, value) == str(value).encode()
    assert written(3, value) == value.to_bytes(8, "big")
    assert written(6, value) == value.to_bytes(8, "big").hex().encode()


@_few
@given(WORDS, st.integers(0, 18))
def test_decimals_are_written_as_the_slow_path_writes_them(value, scale):
    assert written(1, value, scale) == format_scaled(value, scale, trim=True).encode()


@_few
@given(st.integers(1, 2**63 - 1))
def test_order_ids_are_written_as_identity_writes_them(order_id):
    assert written(2, order_id) == to_text(order_id).encode()


@_few
@given(st.binary(min_size=1, max_size=ROOM))
def test_bytes_are_copied_and_written_as_hex(data):
    source = ctypes.create_string_buffer(data, len(data) + text.BLOCK)
    assert written(4, ctypes.addressof(source), len(data)) == data.hex().encode()
    assert written(7, ctypes.addressof(source), len(data)) == data
    assert written(5, ctypes.addressof(source), len(data)) == data
    assert (OUT[len(data) + text.BLOCK :] == 250).all()
