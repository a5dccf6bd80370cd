"""Records byte by byte, written out here from the format's table, and the kernels that judge them.

The crc is the one of RFC 3720, bit by bit: nothing here is computed with the code that is tested.
"""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.errors import JournalError
from alephtx.matrix.journal_append import (
    FULL,
    HALTED,
    J_ADDRESS,
    J_END,
    J_FAILED,
    J_HALTED,
    J_LARGEST,
    J_NULL,
    J_SELF,
    J_SEQ,
    JOURNAL_WORDS,
    UNFIT,
    journal_append,
    journal_failed,
    journal_room,
    make_map,
    null_journal,
)
from alephtx.matrix.journal_format import (
    BAD_END,
    BAD_RECORD,
    BAD_SEQ,
    BAD_SHORT,
    PREVIOUS_AT,
    SYNCED_AT,
    decode_header,
    encode_header,
    encode_previous,
    encode_synced,
    last_word,
    record_after,
    record_check,
    records_scan,
)
from tests.matrix.journals import header, instruments

pytestmark = pytest.mark.kernel

GRAIN = 64


def checksum(data):
    """CRC-32C, one bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(seq, payload, *, kind=1, version=1, input_seq=0, ts=0):
    """A record as the format says."""
    size = -(-(40 + len(payload)) // GRAIN) * GRAIN
    head = struct.pack("<IHH", len(payload), kind, version)
    rest = struct.pack("<qqq", seq, input_seq, ts) + payload
    rest = rest.ljust(size - 16, b"\0")
    crc = checksum(head + bytes(8) + rest)
    return head + struct.pack("<II", crc, 0) + rest


class Page:
    """Memory of a few grains, and a map that appends to it."""

    def __init__(self, grains=16, *, before=b""):
        self.bytes = np.zeros(grains * GRAIN, np.uint8)
        self.bytes[: len(before)] = np.frombuffer(before, np.uint8)
        self.at = int(self.bytes.ctypes.data)
        self.map = make_map()
        self.map[J_ADDRESS], self.map[J_END] = self.at, self.at + len(self.bytes)
        self.map[J_LARGEST] = len(self.bytes)

    def append(self, payload=b"", kind=1, version=1, input_seq=0, ts=0):
        """Append; what lies behind the payload is rubbish."""
        room = payload.ljust(len(payload) // 8 * 8 + 8, b"\xee")
        words = np.frombuffer(room, np.int64).copy()
        return journal_append(
            self.map, kind, version, input_seq, ts, words.ctypes.data, len(payload)
        )

    def check(self, offset=0, available=None, seq=1):
        left = len(self.bytes) - offset if available is None else available
        return record_check(self.at + offset, left, seq)


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=150), st.integers(1, 0xFFFF), st.integers(0, 0x7FFF),
            st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-(1 << 63), (1 << 63) - 1),
        ),
        max_size=3,
    )
)  # fmt: skip
def test_records_are_what_the_format_says(rows):
    page, want = Page(), b""
    for seq, (payload, kind, version, input_seq, ts) in enumerate(rows, 1):
        assert page.append(payload, kind, version, input_seq, ts) == seq
        want += record(seq, payload, kind=kind, version=version, input_seq=input_seq, ts=ts)
        assert (page.map[J_SEQ], page.map[J_ADDRESS] - page.at) == (seq, len(want))
        assert journal_room(page.map) == len(page.bytes) - len(want)
    assert page.bytes.tobytes() == want.ljust(len(page.bytes), b"\0")
    out = np.zeros(2, np.int64)
    assert records_scan(page.at, page.at + len(page.bytes), 1, out) == BAD_END
    assert list(out) == [len(want), len(rows) + 1]


@pytest.mark.parametrize("length", range(50))
def test_every_length_is_padded_with_zeros_whatever_lies_behind_it(length):
    page = Page(2)
    payload = bytes(range(1, length + 1))
    assert page.append(payload) == 1
    size = 64 if length <= 24 else 128
    assert page.bytes.tobytes()[:size] == record(1, payload)
    assert page.check() == size
    assert page.map[J_ADDRESS] == page.at + size


@pytest.mark.parametrize(
    ("kind", "version", "want"),
    [(0, 1, UNFIT), (-1, 1, UNFIT), (1, 1, 1), (0xFFFF, 1, 1), (0x10000, 1, UNFIT), (1, 0, 1),
     (1, -1, UNFIT), (1, 0x7FFF, 1), (1, 0x8000, UNFIT)],
)  # fmt: skip
def test_kinds_and_versions_have_bounds(kind, version, want):
    page = Page()
    assert page.append(b"x", kind, version) == want
    assert page.map[J_SEQ] == max(want, 0)


def test_record_fits_to_the_last_byte_and_no_further():
    page = Page(4)
    page.map[J_LARGEST] = 192
    assert page.append(bytes(152)) == 1  # 192 with its head
    assert page.append(bytes(153)) == UNFIT
    assert page.append(bytes(25)) == FULL
    assert page.append(bytes(24)) == 2
    assert journal_room(page.map) == 0
    assert page.append() == FULL
    page.map[J_HALTED] = 1
    assert page.append() == HALTED
    assert journal_append(page.map, 1, 1, 0, 0, 0, -1) == HALTED
    assert page.map[J_SEQ] == 2


def test_map_leads_nowhere_at_first_and_that_of_nothing_only_counts():
    jmap = make_map()
    assert jmap.shape == (JOURNAL_WORDS,) == (8,)
    assert {J_ADDRESS, J_END, J_SEQ, J_HALTED, J_FAILED, J_NULL, J_SELF, J_LARGEST} == set(range(8))
    assert [int(x) for k, x in enumerate(jmap) if k != J_SELF] == [0] * 7
    assert jmap[J_SELF] == jmap.ctypes.data
    assert journal_append(jmap, 1, 1, 0, 0, 0, 0) == UNFIT
    jmap = null_journal()
    for seq in range(1, 4):
        assert journal_append(jmap, 1, 1, 0, 0, 0, 1 << 30) == seq == jmap[J_SEQ]
    assert journal_failed(jmap) == 0
    jmap[J_FAILED] = 1
    assert journal_failed(jmap) == 1
    assert len({FULL, HALTED, UNFIT} | set(range(10))) == 13


def test_codes_are_told_apart_and_only_sizes_are_above_zero():
    assert len({BAD_END, BAD_SHORT, BAD_RECORD, BAD_SEQ}) == 4
    assert max(BAD_END, BAD_SHORT, BAD_RECORD, BAD_SEQ) <= 0


@pytest.mark.parametrize("length", [0, 24, 25, 88, 89])
def test_record_is_good_where_it_stands_whole(length):
    data = record(7, bytes(range(length)), kind=0x8001, version=3)
    page = Page(before=data)
    assert page.check(seq=7) == len(data)
    assert page.check(seq=7, available=len(data)) == len(data)
    assert page.check(seq=6) == page.check(seq=8) == BAD_SEQ
    for available in (0, 8, 63, len(data) - 1):
        assert page.check(seq=7, available=available) == BAD_SHORT
    assert page.check(len(data), seq=8) == BAD_END


def test_any_byte_that_changed_is_seen():
    data = record(1, bytes(range(30)), kind=2)
    for at in range(len(data)):
        page = Page(before=data)
        page.bytes[at] ^= 0x40
        assert page.check() in (BAD_RECORD, BAD_SHORT), at
    page = Page(before=record(1, b"abc", kind=0))  # a right crc and no kind
    assert page.check() == BAD_RECORD


def test_scan_ends_at_the_first_that_is_not_good_and_says_why():
    rows = [record(seq, bytes(seq * 10)) for seq in (5, 6, 7)]
    ends = np.cumsum([len(row) for row in rows])
    out = np.zeros(2, np.int64)

    def scanned(page, end, seq=5):
        code = records_scan(page.at, page.at + end, seq, out)
        return code, int(out[0]), int(out[1])

    page = Page(before=b"".join(rows))
    assert scanned(page, len(page.bytes)) == (BAD_END, ends[2], 8)
    assert scanned(page, ends[2]) == (BAD_SHORT, ends[2], 8)
    assert scanned(page, ends[2] - 1) == (BAD_SHORT, ends[1], 7)
    assert scanned(page, 0) == (BAD_SHORT, 0, 5)
    assert scanned(page, len(page.bytes), 4) == (BAD_SEQ, 0, 4)
    page.bytes[ends[0] + 20] ^= 1
    assert scanned(page, len(page.bytes)) == (BAD_RECORD, ends[0], 6)


@pytest.mark.parametrize("gap", [0, 1, 2, 5])
def test_good_record_behind_a_hole_is_found_wherever_it_begins(gap):
    page = Page(12, before=b"\x07" * (gap * GRAIN) + record(9, b"x" * 30))
    end = page.at + len(page.bytes)
    for seq in (1, 8, 9):
        assert record_after(page.at, end, seq) == gap * GRAIN
    assert record_after(page.at, end, 10) == -1
    assert record_after(page.at, page.at + gap * GRAIN + 127, 9) == -1  # cut
    assert record_after(page.at, page.at + gap * GRAIN + 128, 9) == gap * GRAIN
    assert record_after(page.at, page.at, 9) == -1


def test_number_that_could_not_stand_there_is_no_record():
    """Between an address and its end there is room for so many records at most."""
    for seq, grains, want in ((9, 4, 0), (10, 4, -1), (8, 4, 0)):
        page = Page(grains, before=record(seq, b""))
        assert record_after(page.at, page.at + len(page.bytes), 5) == want


def test_last_word_that_is_not_zero_is_found():
    page = Page(2)
    end = page.at + len(page.bytes)
    assert last_word(page.at, end) == 0
    for at in (0, 7, 8, 64, 127):
        page.bytes[at] = 1
        assert last_word(page.at, end) == at // 8 * 8 + 8
    assert last_word(page.at, page.at + 64) == 16
    assert last_word(page.at + 16, page.at + 64) == 0
    assert last_word(end, end) == 0


# -- the header -------------------------------------------------------------------------


@pytest.mark.parametrize("names", [1, 40])
def test_header_says_what_it_was_given(names):
    table = instruments(*(f"C{n}" for n in range(names)))
    given = header(node="n\u00f6de", engine=77, epoch=12, table=table, accounts=b'["a","b"]')
    data = encode_header(given, 3, 1 << 40, 1 << 26)
    assert len(data) % 4096 == 0
    assert (len(data) == 4096) == (names == 1)
    told = decode_header(data, "x")
    assert told.header == given
    assert (told.number, told.first_seq, told.header_bytes) == (3, 1 << 40, len(data))
    assert (told.segment_bytes, told.previous, told.synced_seq) == (1 << 26, None, 0)
    assert decode_header(data + b"\1" * 64, "x") == told
    with pytest.raises(JournalError, match="cut or damaged"):
        decode_header(data[:-1], "x")


def test_places_in_the_header_never_change():
    """Journals outlive versions: magic, schema, sizes and what is written later, at their bytes."""
    data = encode_header(header(engine=7, epoch=9), 3, 4, 1 << 15)
    assert data[:8] == b"AXJOURN1"
    assert struct.unpack_from("<IIQQQII", data, 8) == (1, 4096, 3, 4, 1 << 15, 7, 9)
    assert (PREVIOUS_AT, SYNCED_AT) == (128, 192)
    assert set(data[120:256]) <= set(data[120:128]) | {0}
    assert data[256:258] == b'{"'
    assert encode_previous(bytes(32)) == bytes(32) + struct.pack("<II", checksum(bytes(32)), 1)
    assert encode_synced(5) == struct.pack("<qq", 5, -6)


def test_fields_that_are_written_later_are_read_and_checked():
    data = bytearray(encode_header(header(), 1, 1, 1 << 15))
    digest = bytes(range(32))
    data[PREVIOUS_AT : PREVIOUS_AT + 40] = encode_previous(digest)
    data[SYNCED_AT : SYNCED_AT + 16] = encode_synced(1 << 33)
    told = decode_header(bytes(data), "x")
    assert (told.previous, told.synced_seq) == (digest, 1 << 33)
    for at in range(PREVIOUS_AT, PREVIOUS_AT + 40):
        data[at] ^= 1
        with pytest.raises(JournalError, match="hash of the previous segment is damaged"):
            decode_header(bytes(data), "x")
        data[at] ^= 1
    for at in range(SYNCED_AT, SYNCED_AT + 16):
        data[at] ^= 1
        assert decode_header(bytes(data), "x").synced_seq == 0
        data[at] ^= 1
