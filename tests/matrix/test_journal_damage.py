"""Damaged journals: a torn end is cut and reported, anything else is refused by name."""

import mmap
import os
import random
import shutil
import struct
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.atomics import store_release
from alephtx.core.errors import JournalError
from alephtx.core.kernel import kernel
from alephtx.core.log import configure
from alephtx.matrix.crc32c import crc32c
from alephtx.matrix.journal import journal_append, read, tail
from alephtx.matrix.journal_format import (
    BAD_END,
    BAD_RECORD,
    BAD_SEQ,
    BAD_SHORT,
    SYNCED_AT,
    last_word,
    layout_hash,
    record_check,
)
from alephtx.matrix.journal_read import list_segments, read_header
from tests.matrix.journals import (
    SEGMENT,
    abandon,
    check_records,
    child,
    fill,
    open_journal,
    payload_of,
)

HEADER = 4096
COUNT = 12
SIZES = [-(-(40 + seq * 37 % 200) // 64) * 64 for seq in range(1, COUNT + 1)]
ENDS = [sum(SIZES[:k]) for k in range(COUNT + 1)]


@cache
def killed_bytes():
    with tempfile.TemporaryDirectory() as directory:
        journal = open_journal(directory)
        fill(journal, COUNT)
        data = (Path(directory) / "00000001.seg").read_bytes()
        abandon(journal)
    return data


@pytest.fixture
def killed():
    """Return the bytes of a segment whose writer was killed after COUNT records."""
    return killed_bytes()


def place(directory, data, number=1):
    path = directory / f"{number:08d}.seg"
    path.write_bytes(data)
    return path


def whole_records(cut):
    return sum(end <= cut for end in ENDS[1:])


@settings(max_examples=80)
@given(cut=st.integers(0, ENDS[-1] + 200))
def test_file_cut_anywhere_keeps_every_whole_record(tmp_path_factory, cut):
    directory = tmp_path_factory.mktemp("cut")
    place(directory, killed_bytes()[: HEADER + cut])
    kept = whole_records(cut)
    check_records(read(directory), kept)
    with open_journal(directory) as journal:
        assert journal.last_seq == kept
        torn = any(killed_bytes()[HEADER + ENDS[kept] : HEADER + cut])
        assert (journal.repaired is not None) == torn
        if torn:
            assert journal.repaired.torn_bytes <= cut - ENDS[kept]
            assert journal.repaired.lost_records == 0
        fill(journal, 3)
    check_records(read(directory), kept + 3)
    assert open_journal(directory).close() is None


@settings(max_examples=40)
@given(cut=st.integers(0, HEADER - 1))
def test_file_cut_in_its_header_is_refused(tmp_path_factory, cut):
    directory = tmp_path_factory.mktemp("head")
    place(directory, killed_bytes()[:cut])
    for opening in (open_journal, lambda place: list(read(place))):
        with pytest.raises(JournalError, match=r"00000001\.seg"):
            opening(directory)


@settings(max_examples=150)
@given(bit=st.integers(0, 8 * ENDS[-1] - 1))
def test_flipped_bit_is_never_believed(tmp_path_factory, bit):
    """In the last record it looks like a torn end; before it, it is corruption."""
    directory = tmp_path_factory.mktemp("flip")
    data = bytearray(killed_bytes())
    data[HEADER + bit // 8] ^= 1 << bit % 8
    place(directory, data)
    hurt = next(k for k in range(COUNT) if bit // 8 < ENDS[k + 1])
    if hurt == COUNT - 1:
        check_records(read(directory), COUNT - 1)
        with open_journal(directory) as journal:
            assert journal.last_seq == COUNT - 1
            assert journal.repaired is not None
        return
    where = rf"00000001\.seg: the record at offset {HEADER + ENDS[hurt]}, number {hurt + 1},"
    with pytest.raises(JournalError, match=where):
        open_journal(directory)
    found = []
    with pytest.raises(JournalError, match=where):
        found.extend(read(directory))
    assert (directory / "00000001.seg").read_bytes() == bytes(data)  # nothing was mended


@settings(max_examples=80)
@given(bit=st.integers(0, 8 * 600))
def test_flipped_bit_of_a_header_is_never_believed(tmp_path_factory, bit):
    directory = tmp_path_factory.mktemp("flip")
    data = bytearray(killed_bytes())
    data[bit // 8] ^= 1 << bit % 8
    place(directory, data)
    try:
        records = list(read(directory))
    except JournalError as error:
        assert "00000001.seg" in str(error)
    else:
        # Only bytes that say nothing yet (no hash, no sync, padding) may change unnoticed.
        assert bit // 8 in range(128, 256) or bit // 8 >= 256 + 300
        check_records(records, COUNT)


@pytest.mark.parametrize("last", [16, 64, 4096])
def test_header_that_begins_with_zeros_is_refused(tmp_path, last):
    """Zeros are what a hole in a file reads as; the header's size is then zero too."""
    place(tmp_path, bytes(last) + killed_bytes()[last:])
    with pytest.raises(JournalError, match=r"00000001\.seg"):
        list(read(tmp_path))


@pytest.mark.parametrize("stored", range(1, 14))
def test_writer_killed_between_any_two_stores_leaves_a_whole_journal(tmp_path, killed, stored):
    """The stores of an append in their order: seq, input_seq, ts, payload words, crc; then head."""
    data = bytearray(killed)
    order = [16, 24, 32, *range(40, 40 + 8 * 9, 8), 8]
    for k, at in enumerate(order[:stored]):
        struct.pack_into("<q", data, HEADER + ENDS[-1] + at, COUNT + 1 if k == 0 else 0x0101 + k)
    place(tmp_path, data)
    check_records(read(tmp_path), COUNT)
    with open_journal(tmp_path) as journal:
        assert journal.last_seq == COUNT
        assert journal.repaired.torn_bytes > 0
        fill(journal, 2)
    check_records(read(tmp_path), COUNT + 2)


@pytest.mark.kernel
def test_lost_end_that_was_on_disk_is_refused(tmp_path):
    with open_journal(tmp_path) as journal:
        fill(journal, COUNT)
    path = list_segments(tmp_path)[0]
    os.truncate(path, HEADER + ENDS[5])
    for opening in (open_journal, lambda place: list(read(place))):
        with pytest.raises(JournalError, match=rf"records 6 to {COUNT} were on disk and are gone"):
            opening(tmp_path)


@pytest.mark.kernel
def test_crash_of_the_machine_loses_what_was_not_synced_and_says_how_much(tmp_path):
    """Another boot id: pages beyond the last sync may be lost in any order."""
    journal = open_journal(tmp_path)
    fill(journal, 4)
    journal.sync()
    fill(journal, COUNT - 4)
    abandon(journal)
    path = list_segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[HEADER + ENDS[7] : HEADER + ENDS[8]] = bytes(SIZES[7])
    path.write_bytes(data)
    with pytest.raises(JournalError, match="number 8, is damaged"):
        open_journal(tmp_path)  # the same boot: nothing can explain the hole
    _other_boot(path)
    with open_journal(tmp_path) as journal:
        assert journal.last_seq == 7
        assert journal.repaired.lost_records == COUNT - 8
    check_records(read(tmp_path), 7)


@pytest.mark.kernel
def test_hole_before_the_last_sync_is_refused_even_after_a_crash(tmp_path):
    journal = open_journal(tmp_path)
    fill(journal, COUNT)
    journal.sync()
    abandon(journal)
    path = list_segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[HEADER + ENDS[3] + 50] ^= 1
    path.write_bytes(data)
    _other_boot(path)
    with pytest.raises(JournalError, match="records 4 to 12 were on disk and are gone"):
        open_journal(tmp_path)


def _other_boot(path):
    """Make a segment look as if it had been written before the last restart of the machine."""
    _edit_header(path, 88, bytes(range(16)))
    assert read_header(path).boot == bytes(range(16))


def _edit_header(path, offset, value):
    data = bytearray(path.read_bytes())
    data[offset : offset + len(value)] = value
    (meta,) = struct.unpack_from("<I", data, 80)
    crc = crc32c(bytes(data[:84] + data[88:128] + data[256 : 256 + meta]))
    struct.pack_into("<I", data, 84, crc)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (8, b"\x02", "journal schema 2, this version reads 1"),
        (48, b"\xff" * 32, "another layout"),
        (256, b"[", "tables do not parse"),
        (256 + 9, b"\xff", "tables do not parse"),
    ],
)
def test_foreign_schema_is_refused(tmp_path, offset, value, message):
    open_journal(tmp_path).close()
    _edit_header(list_segments(tmp_path)[0], offset, value)
    with pytest.raises(JournalError, match=message):
        open_journal(tmp_path)
    assert len(layout_hash()) == 32


def segments_of(directory, count=600):
    with open_journal(directory) as journal:
        fill(journal, count)
    return list_segments(directory)


def refused(directory, message):
    for opening in (open_journal, lambda place: list(read(place))):
        with pytest.raises(JournalError, match=message):
            opening(directory)


def test_missing_segment_is_named(tmp_path):
    segments = segments_of(tmp_path)
    segments[1].unlink()
    refused(tmp_path, r"segment 00000002\.seg is missing \(found 00000003\.seg\)")


def test_missing_first_segment_is_named(tmp_path):
    segments_of(tmp_path)[0].unlink()
    refused(tmp_path, r"segment 00000001\.seg is missing")


def test_hole_longer_than_a_read_is_noticed(tmp_path):
    journal = open_journal(tmp_path, segment_bytes=1 << 20)
    for seq in range(1, 4000):
        journal.append(1, b"x" * 80, ts=seq)
    abandon(journal)
    path = list_segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[HEADER + 128 * 5 : HEADER + 128 * 3990] = bytes(128 * 3985)
    path.write_bytes(data)
    refused(tmp_path, "number 6, is damaged")


def test_swapped_segments_are_refused(tmp_path):
    segments = segments_of(tmp_path)
    spare = tmp_path / "spare"
    segments[0].rename(spare)
    segments[1].rename(segments[0])
    spare.rename(segments[1])
    refused(tmp_path, r"00000001\.seg: the file holds segment 2")


def test_segment_of_another_journal_is_refused(tmp_path):
    ours = segments_of(tmp_path / "ours")
    theirs = segments_of(tmp_path / "theirs", 900)
    with open_journal(tmp_path / "odd") as journal:
        fill(journal, 5)
        journal.roll()
        fill(journal, 5)
    shutil.copy(tmp_path / "odd" / "00000002.seg", ours[1])
    refused(tmp_path / "ours", r"00000002\.seg starts at (record )?6")
    assert len(theirs) > len(ours)


def test_segment_cut_at_a_record_before_the_last_is_refused(tmp_path):
    segments = segments_of(tmp_path)
    os.truncate(segments[0], HEADER + ENDS[4])
    refused(tmp_path, "ends at record 4|records 5 to .* were on disk and are gone")


def test_junk_behind_a_finished_segment_is_refused(tmp_path):
    segments = segments_of(tmp_path)
    with segments[0].open("ab") as file:
        file.write(b"\x07" * 64)
    refused(tmp_path, "junk follows record|is damaged or out of place")


@pytest.mark.kernel
def test_swapped_records_are_refused(tmp_path, killed):
    """Two good records of one size in the wrong order."""
    data = bytearray(killed)
    pair = next((a, b) for a in range(COUNT) for b in range(a + 1, COUNT) if SIZES[a] == SIZES[b])
    one, two = (slice(HEADER + ENDS[k], HEADER + ENDS[k + 1]) for k in pair)
    data[one], data[two] = data[two], data[one]
    place(tmp_path, data)
    refused(tmp_path, f"number {pair[0] + 1}, is damaged or out of place")


@pytest.mark.kernel
def test_doubled_record_is_refused(tmp_path, killed):
    data = bytearray(killed)
    last = data[HEADER + ENDS[-2] : HEADER + ENDS[-1]]
    data[HEADER + ENDS[-1] : HEADER + ENDS[-1] + len(last)] = last
    place(tmp_path, data)
    refused(tmp_path, f"number {COUNT + 1}, is damaged or out of place")


@pytest.mark.kernel
def test_zeroed_record_before_good_ones_is_refused(tmp_path, killed):
    data = bytearray(killed)
    data[HEADER + ENDS[4] : HEADER + ENDS[5]] = bytes(SIZES[4])
    place(tmp_path, data)
    refused(tmp_path, "number 5, is damaged")


@settings(max_examples=60)
@given(st.binary(max_size=9000), st.integers(0, 5000))
def test_any_bytes_in_the_place_of_a_segment_are_an_error_or_a_journal(
    tmp_path_factory, junk, keep
):
    directory = tmp_path_factory.mktemp("junk")
    place(directory, killed_bytes()[:keep] + junk)
    try:
        count = len(list(read(directory)))
    except JournalError:
        return
    check_records(read(directory), count)


def test_empty_directory_is_an_empty_journal_and_none_is_an_error(tmp_path):
    assert list(read(tmp_path)) == []
    with pytest.raises(JournalError, match="nowhere cannot be read"):
        list(read(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot be opened"):
        open_journal(tmp_path / "file")


def test_unreadable_segment_is_named(tmp_path):
    (tmp_path / "00000001.seg").mkdir()
    refused(tmp_path, r"00000001\.seg cannot be read")


def test_damaged_hash_of_the_previous_segment_is_refused(tmp_path):
    segments = segments_of(tmp_path)
    data = bytearray(segments[1].read_bytes())
    data[130] ^= 4
    segments[1].write_bytes(data)
    refused(tmp_path, "hash of the previous segment is damaged")


def test_torn_sync_mark_is_no_mark(tmp_path):
    with open_journal(tmp_path) as journal:
        fill(journal, 3)
    path = list_segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[SYNCED_AT] = 99
    path.write_bytes(data)
    assert read_header(path).synced_seq == 0
    check_records(read(tmp_path), 3)


def test_cut_end_is_logged(tmp_path, killed, capsys):
    configure()
    place(tmp_path, killed[: HEADER + ENDS[-1] - 1])
    open_journal(tmp_path).close()
    assert "journal_end_cut" in capsys.readouterr().err


@kernel
def pour(jmap, acknowledged: int, address: int, count: int) -> int:
    """Append rows of 8 words as fast as the machine can, acknowledging each in shared memory."""
    for _ in range(count):
        seq = journal_append(jmap, 1, 1, 7, 8, address, 64)
        if seq < 0:
            return seq
        store_release(acknowledged, seq)
    return 0


def pour_forever(directory, acknowledged):
    row = np.arange(8)
    journal = open_journal(directory, background=True, segment_bytes=1 << 20)
    while True:
        if pour(journal.map, acknowledged, row.ctypes.data, 100_000) < 0:
            journal.roll()


def check_poured(directory):
    count = 0
    for count, record in enumerate(read(directory), 1):
        assert record.seq == count
        assert bytes(record.payload) == np.arange(8).tobytes()
    return count


def kill_writers(tmp_path, seconds, rounds):
    """Kill a writer in full flow, over and over, on one growing journal; returns torn ends seen."""
    shared = mmap.mmap(-1, 4096)
    word = np.frombuffer(shared, np.int64)
    address = int(word.ctypes.data)
    row = np.zeros(8, np.int64)
    with open_journal(tmp_path / "warm") as journal:  # compile before the clock runs
        assert pour(journal.map, address, row.ctypes.data, 1) == 0
    word[0] = 0
    rng, torn, place, until = random.Random(1), 0, tmp_path / "j", time.monotonic() + seconds
    while rounds > 0 or time.monotonic() < until:
        rounds -= 1
        start = int(word[0])
        with child(lambda: pour_forever(place, address)):
            deadline = time.monotonic() + 20
            while word[0] == start:
                assert time.monotonic() < deadline, "the writer never wrote"
            time.sleep(rng.random() / 500)
        acknowledged = int(word[0])
        with open_journal(place, segment_bytes=1 << 20) as journal:
            assert journal.last_seq in (acknowledged, acknowledged + 1)
            torn += journal.repaired is not None
            word[0] = journal.last_seq
        if word[0] > 100_000 or rounds == 0:
            assert check_poured(place) == word[0]
            shutil.rmtree(place)
            word[0] = 0
    del word
    shared.close()
    return torn


def test_writer_killed_at_random_points_loses_nothing_it_acknowledged(tmp_path):
    kill_writers(tmp_path, 0, 12)


@pytest.mark.soak
def test_writer_killed_for_a_long_time_loses_nothing_it_acknowledged(tmp_path):
    seconds = int(os.environ.get("ALEPHTX_TEST_SECONDS", "1"))
    torn = kill_writers(tmp_path, seconds, 1)
    assert torn or seconds < 60, "a minute of kills never met an append half-way"


def test_follower_of_a_damaged_journal_says_so(tmp_path, killed):
    data = bytearray(killed)
    data[HEADER + ENDS[6] + 45] ^= 1
    place(tmp_path, data)
    with tail(tmp_path) as follower:
        found = follower.poll(6)
        check_records(found, 6)
        with pytest.raises(JournalError, match="number 7, is damaged"):
            follower.poll()


@pytest.mark.kernel
def test_records_are_judged_by_every_rule(killed):
    data = np.frombuffer(killed, np.uint8).copy()
    at = int(data.ctypes.data) + HEADER
    assert record_check(at, SIZES[0], 1) == SIZES[0]
    assert record_check(at, SIZES[0] + 64, 1) == SIZES[0]
    assert record_check(at, SIZES[0] - 64, 1) == BAD_SHORT
    assert record_check(at, 8, 1) == BAD_SHORT
    assert record_check(at, SIZES[0], 2) == BAD_SEQ
    assert record_check(at + ENDS[-1], 64, COUNT + 1) == BAD_END
    assert last_word(at + ENDS[-1], at + ENDS[-1] + 640) == 0
    assert 0 < last_word(at, at + ENDS[-1] + 640) <= ENDS[-1]
    data[HEADER + 4] = 0  # a record of kind 0
    assert record_check(at, SIZES[0], 1) == BAD_RECORD


def test_payloads_of_these_tests_differ():
    assert len({payload_of(seq) for seq in range(1, 50)}) == 50 - 1
    assert HEADER + ENDS[-1] + 256 < SEGMENT
