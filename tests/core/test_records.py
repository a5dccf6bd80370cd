"""Rows are on disk and in shared memory: their sizes and offsets are a contract."""

import numpy as np
import pytest

from alephtx.core import records


@pytest.mark.smoke
def test_sizes_are_as_documented():
    sizes = {
        "EVENT": 48, "TICK": 32, "TOP_ROW": 64, "SIGNAL_ROW": 64, "INTENT": 128, "UPDATE": 160,
        "ORDER": 160, "POSITION": 128, "INSTRUMENT": 256, "BAR": 48,
    }  # fmt: skip
    assert {n: getattr(records, n).itemsize for n in sizes} == sizes


@pytest.mark.smoke
def test_offsets_never_move():
    """A moved field would make old journals lie; add at the end or bump the record's version."""
    assert digest_of_layout() == "52792348280ac797"


def digest_of_layout():
    import hashlib

    rows = [
        (name, field, value.fields[field][1], value.fields[field][0].str)
        for name, value in sorted(vars(records).items())
        if isinstance(value, np.dtype)
        for field in value.names
    ]
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", ["INTENT", "UPDATE", "EVENT", "ORDER"])
def test_rows_as_integers_and_copies_say_what_the_rows_say(name):
    dtype = getattr(records, name)
    rows = np.frombuffer(np.random.default_rng(1).bytes(3 * dtype.itemsize), dtype)
    assert list(records.unpacker(dtype).iter_unpack(rows.tobytes())) == rows.tolist()
    mine = records.copied(rows[1:])
    assert mine.tolist() == rows[1:].tolist()
    mine[0] = mine[1]
    assert mine.tolist() == [rows[2].item()] * 2
    assert rows[1:].tolist() != mine.tolist(), "a copy is no view"
    assert records.blank(dtype, 2).tolist() == np.zeros(2, dtype).tolist()


def test_record_with_a_gap_has_no_unpacker():
    with pytest.raises(AssertionError, match="gaps"):
        records.unpacker(np.dtype([("a", "u1"), ("b", "i8")], align=True))
