"""The journal in normal use: order, rolling, reading, following, durability, refusals."""

import hashlib
import os
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from alephtx.core.errors import JournalError
from alephtx.core.kernel import kernel
from alephtx.core.records import INTENT, UPDATE
from alephtx.matrix import journal as journals_module
from alephtx.matrix.journal import (
    FULL,
    HALTED,
    UNFIT,
    Journal,
    journal_append,
    journal_failed,
    journal_room,
    null_journal,
    read,
    tail,
    verify_chain,
)
from alephtx.matrix.journal_read import list_segments, read_header
from tests.matrix.journals import (
    SEGMENT,
    abandon,
    check_records,
    fill,
    header,
    instruments,
    open_journal,
    small_disk,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "journal"


@kernel
def pour(jmap, count: int, address: int, size: int) -> int:
    """Append the same row until refused; returns how many fitted."""
    for k in range(count):
        if journal_append(jmap, 1, 1, k, k, address, size) < 0:
            return k
    return count


@pytest.mark.kernel
@pytest.mark.smoke
def test_records_are_read_back_exactly(tmp_path):
    with open_journal(tmp_path / "deep" / "journal") as journal:
        assert (journal.last_seq, journal.size) == (0, 0)
        assert fill(journal, 40) == list(range(1, 41))
        check_records(read(tmp_path / "deep" / "journal"), 40)  # while it is being written
    check_records(read(tmp_path / "deep" / "journal"), 40)
    check_records(read(tmp_path / "deep" / "journal", 17), 40, first=18)


@pytest.mark.kernel
def test_rows_survive_as_rows(tmp_path):
    intent, update = np.zeros(1, INTENT), np.zeros(1, UPDATE)
    intent["order_id"], update["trade_id"] = 7, -9
    with open_journal(tmp_path) as journal:
        seq = journal_append(journal.map, 1, 1, 5, 6, intent.ctypes.data, INTENT.itemsize)
        assert seq == 1
        assert journal_append(journal.map, 2, 1, 5, 6, update.ctypes.data, UPDATE.itemsize) == 2
        assert journal.size == 192 + 256
    first, second = read(tmp_path)
    assert np.array_equal(np.frombuffer(first.payload, INTENT), intent)
    assert np.array_equal(np.frombuffer(second.payload, UPDATE), update)


@pytest.mark.kernel
def test_full_segment_asks_for_a_roll(tmp_path):
    row = np.arange(16)
    with open_journal(tmp_path) as journal:
        fitted = pour(journal.map, 10_000, row.ctypes.data, 128)
        assert fitted == (SEGMENT - 4096) // 192
        assert journal_append(journal.map, 1, 1, 0, 0, row.ctypes.data, 128) == FULL
        assert 0 <= journal_room(journal.map) < 192
        journal.roll()
        assert pour(journal.map, 3, row.ctypes.data, 128) == 3
        assert journal.last_seq == fitted + 3
        assert journal.size == (fitted + 3) * 192
    assert [record.seq for record in read(tmp_path)] == list(range(1, fitted + 4))
    assert len(list_segments(tmp_path)) == 2


@pytest.mark.kernel
def test_records_that_never_fit_are_refused(tmp_path):
    row = np.zeros(8, np.int64)
    with open_journal(tmp_path) as journal:
        for kind, version, size in [
            (0, 1, 8), (65536, 1, 8), (-1, 1, 8), (1, -1, 8), (1, 32768, 8), (1, 1, -1),
            (1, 1, SEGMENT), (1, 1, 1 << 40),
        ]:  # fmt: skip
            code = journal_append(journal.map, kind, version, 0, 0, row.ctypes.data, size)
            assert code == UNFIT, (kind, version, size)
        with pytest.raises(JournalError, match="does not fit a segment"):
            journal.append(1, bytes(SEGMENT), ts=1)
        assert journal.append(65535, b"", ts=-1, version=32767) == 1
        largest = SEGMENT - 4096 - 40
        assert journal.append(10, b"x" * largest, ts=1) == 2
    one, two = read(tmp_path)
    assert (one.kind, one.version, one.ts, bytes(one.payload)) == (65535, 32767, -1, b"")
    assert bytes(two.payload) == b"x" * largest


@pytest.mark.kernel
def test_null_journal_only_counts():
    jmap = null_journal()
    assert journal_append(jmap, 1, 1, 0, 0, 0, 128) == 1
    assert journal_append(jmap, 1, 1, 0, 0, 0, 160) == 2
    assert journal_room(jmap) > 1 << 60
    assert journal_failed(jmap) == 0


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("durability", ["process", "host", "order"])
def test_rolling_loses_and_reorders_nothing(tmp_path, background, durability):
    options = {"background": background, "durability": durability, "host_ms": 2}
    with open_journal(tmp_path, **options) as journal:
        fill(journal, 900)
        size = journal.size
    check_records(read(tmp_path), 900)
    segments = list_segments(tmp_path)
    assert len(segments) > 3
    assert verify_chain(tmp_path) == len(segments) - 1
    assert not (tmp_path / "next").exists()
    assert sum(path.stat().st_size for path in segments) == size + 4096 * len(segments)


def test_reopened_journal_goes_on_densely(tmp_path):
    for start in range(1, 5):
        with open_journal(tmp_path) as journal:
            assert (journal.last_seq, journal.repaired) == ((start - 1) * 50, None)
            assert journal.header.epoch == start
            fill(journal, 50)
            assert (
                journal.size
                == sum(path.stat().st_size - 4096 for path in list_segments(tmp_path)[:-1])
                + int(journal.map[0])
                - journal._first_address
            )
    check_records(read(tmp_path), 200)
    verify_chain(tmp_path)


def test_chain_names_the_segment_that_was_changed(tmp_path):
    with open_journal(tmp_path) as journal:
        fill(journal, 600)
    segments = list_segments(tmp_path)
    stated = read_header(segments[1]).previous
    assert stated == hashlib.sha256(segments[0].read_bytes()).digest()
    data = bytearray(segments[0].read_bytes())
    data[250] ^= 1  # behind the header's own checksum: only the chain can tell
    segments[0].write_bytes(data)
    with pytest.raises(JournalError, match=r"00000001\.seg: its SHA-256"):
        verify_chain(tmp_path)


def test_missing_link_is_filled_in_by_the_next_start(tmp_path):
    journal = open_journal(tmp_path)
    journal._finish = lambda job: None  # killed before the side thread came to it
    fill(journal, 600)
    abandon(journal)
    segments = len(list_segments(tmp_path))
    assert verify_chain(tmp_path) == 0
    with open_journal(tmp_path) as journal:
        assert journal.repaired is None
    assert verify_chain(tmp_path) == segments
    check_records(read(tmp_path), 600)
    used = sum(path.stat().st_size - 4096 for path in list_segments(tmp_path)[:-1])
    assert used == sum(-(-(40 + seq * 37 % 200) // 64) * 64 for seq in range(1, 601))


def test_follower_sees_every_record_once_while_the_writer_rolls(tmp_path):
    (tmp_path / "j").mkdir()
    follower = tail(tmp_path / "j")
    assert follower.poll() == []
    found = []
    journal = open_journal(tmp_path / "j", background=True)
    writer = threading.Thread(target=fill, args=(journal, 3_000))
    writer.start()
    deadline = time.monotonic() + 30
    while len(found) < 3_000 and time.monotonic() < deadline:
        found += follower.poll(97)
    writer.join()
    journal.close()
    assert follower.poll() == []
    check_records(found, 3_000)
    follower.close()
    with tail(tmp_path / "j", 2_990) as late:
        check_records(late.poll(), 3_000, first=2_991)


def test_follower_in_the_middle_starts_at_its_segment(tmp_path):
    with open_journal(tmp_path) as journal:
        fill(journal, 700)
    for after in (0, 1, 350, 699, 700, 900):
        with tail(tmp_path, after) as follower:
            records = follower.poll(10_000)
        check_records(records, 700, first=after + 1) if after < 700 else None
        assert len(records) == max(0, 700 - after)


def test_record_larger_than_a_read_is_followed(tmp_path):
    with open_journal(tmp_path, segment_bytes=1 << 20) as journal:
        journal.append(10, b"y" * 600_000, ts=1)
        journal.append(10, b"z", ts=2)
    assert [len(record.payload) for record in read(tmp_path)] == [600_000, 1]


def test_follower_takes_what_appears_while_it_looks(tmp_path):
    """The moments between two looks of a poll, one by one."""
    with open_journal(tmp_path) as journal, tail(tmp_path) as follower:
        fill(journal, 1)
        check_records(follower.poll(), 1)
        assert not follower.judge(finished=False)
        assert not follower._advance([], 9)
        fill(journal, 1)
        assert follower.judge(finished=False)
        found = []
        assert follower._advance(found, 9)
        check_records(found, 2, first=2)
        fill(journal, 1)
        journal.roll()
        fill(journal, 1)
        check_records(follower.poll(), 4, first=3)


def test_second_writer_is_refused(tmp_path):
    with open_journal(tmp_path), pytest.raises(JournalError, match="by another process"):
        open_journal(tmp_path)
    open_journal(tmp_path).close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engine": 4}, "belongs to node 'test' engine 3"),
        ({"node": "other"}, "belongs to node 'test'"),
        ({"epoch": 4}, "epoch 4 is before the journal's 5"),
        ({"accounts": b'["other", "main"]'}, "accounts .* became"),
        ({"accounts": b"{}"}, "no list of names"),
        ({"table": instruments()}, "instrument 0 somewhere:BTC changed"),
        ({"table": instruments("ETH", "BTC")}, "changed its key"),
        ({"table": instruments("BTC", price_scale=4)}, "changed its price_scale"),
    ],
)
def test_foreign_header_is_refused(tmp_path, change, message):
    open_journal(tmp_path, header=header(epoch=5)).close()
    with pytest.raises(JournalError, match=message):
        open_journal(tmp_path, header=header(**change))
    grown = header(table=instruments("BTC", "ETH"), accounts=b'["main", "spare"]')
    with open_journal(tmp_path, header=grown) as journal:
        assert journal.header.epoch == 6


def test_reordered_currencies_are_refused(tmp_path):
    open_journal(tmp_path).close()
    table = instruments("BTC")
    table.currencies = ["", "USDT", "BTC"]
    with pytest.raises(JournalError, match="currencies"):
        open_journal(tmp_path, header=header(table=table))


def test_instrument_table_that_does_not_parse_is_refused(tmp_path):
    open_journal(tmp_path).close()
    odd = msgspec.structs.replace(header(), instruments=b'{"instruments": 3}')
    with pytest.raises(JournalError, match="instrument table does not parse"):
        open_journal(tmp_path, header=odd)


def test_segments_too_small_for_the_header_are_refused(tmp_path):
    with pytest.raises(JournalError, match="cannot hold a header"):
        open_journal(tmp_path, segment_bytes=4096)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_sync_marks_what_is_on_disk(tmp_path):
    with open_journal(tmp_path, durability="order") as journal:
        journal.sync()
        assert read_header(list_segments(tmp_path)[0]).synced_seq == 0
        fill(journal, 5)
        journal.sync()
        journal.sync()
        assert read_header(list_segments(tmp_path)[0]).synced_seq == 5
        fill(journal, 2)
        assert read_header(list_segments(tmp_path)[0]).synced_seq == 5
    assert read_header(list_segments(tmp_path)[0]).synced_seq == 7


def test_host_durability_syncs_by_itself(tmp_path):
    journal = open_journal(tmp_path, durability="host", host_ms=2, background=True)
    fill(journal, 5)
    deadline = time.monotonic() + 20
    while read_header(list_segments(tmp_path)[0]).synced_seq < 5:
        assert time.monotonic() < deadline, "the side thread never synced"
        time.sleep(0.002)
    journal.close()


@pytest.mark.parametrize("background", [False, True])
def test_failed_sync_halts_for_good(tmp_path, background):
    """A pipe in the place of the file: fdatasync of it fails, as it does on a dying disk."""
    options = {"durability": "host", "host_ms": 2, "background": background}
    journal = open_journal(tmp_path, **options)
    reader, writer = os.pipe()
    kept = os.dup(journal._segment.descriptor)
    os.dup2(writer, journal._segment.descriptor)
    row = np.zeros(2, np.int64)
    journal_append(journal.map, 1, 1, 0, 0, row.ctypes.data, 16)
    if background:
        deadline = time.monotonic() + 20
        while not journal.failure:
            assert time.monotonic() < deadline, "the side thread never noticed"
            time.sleep(0.002)
    else:
        with pytest.raises(JournalError, match="a sync failed"):
            journal.sync()
    assert journal.halted
    assert journal_failed(journal.map) == 1
    assert journal_append(journal.map, 1, 1, 0, 0, row.ctypes.data, 16) == HALTED
    with pytest.raises(JournalError, match="halted: a sync failed"):
        journal.append(1, b"", ts=1)
    with pytest.raises(JournalError, match="halted: a sync failed"):
        journal.roll()
    with pytest.raises(JournalError, match="could not be closed"):
        journal.close()
    for descriptor in (reader, writer, kept):
        os.close(descriptor)
    with open_journal(tmp_path) as journal:  # it is all there: only the machine's crash is unsafe
        assert journal.last_seq == 1


def test_segment_that_is_finished_while_it_is_synced_keeps_its_hash(tmp_path, monkeypatch):
    """Its header is part of what the next segment's hash covers: nobody writes into it any more."""
    journal = open_journal(tmp_path, durability="order")
    fill(journal, 5)
    sync, rolled = os.fdatasync, []

    def slow(descriptor):
        if not rolled:
            rolled.append(descriptor)
            journal.roll()
        sync(descriptor)

    monkeypatch.setattr("alephtx.matrix.journal.os.fdatasync", slow)
    journal.sync()
    fill(journal, 5)
    journal.close()
    assert verify_chain(tmp_path) == 1
    assert len(list(read(tmp_path))) == 10


def test_failed_sync_in_a_roll_halts(tmp_path):
    journal = open_journal(tmp_path, durability="order")
    fill(journal, 5)
    reader, writer = os.pipe()
    os.dup2(writer, journal._segment.descriptor)
    with pytest.raises(JournalError, match="next segment could not be started"):
        journal.roll()
    assert journal.halted
    with pytest.raises(JournalError, match="could not be closed"):
        journal.close()
    os.close(reader)
    os.close(writer)


def test_segment_that_cannot_be_finished_halts(tmp_path):
    journal = open_journal(tmp_path)
    fill(journal, 5)
    reader, writer = os.pipe()
    os.dup2(writer, journal._segment.descriptor)
    journal.roll()
    assert journal.halted
    assert "could not be finished" in journal.failure
    journal._prepare()
    assert journal._next is None, "nothing is tried again after a failure"
    journal.close()
    os.close(reader)
    os.close(writer)
    assert journal.failure


@pytest.mark.parametrize("background", [False, True])
def test_full_disk_warns_early_and_halts_late(tmp_path, background):
    """Without room for the next segment the current one still takes cancels and fills."""
    with small_disk(tmp_path / "disk", "128k") as disk:
        journal = open_journal(disk / "j", segment_bytes=96 << 10, background=background)
        row = np.zeros(16, np.int64)
        if background:
            deadline = time.monotonic() + 20
            while not journal_failed(journal.map):
                assert time.monotonic() < deadline, "the side thread never noticed"
                time.sleep(0.002)
            assert "no room for the next segment" in journal.failure
        assert not journal.halted
        fitted = pour(journal.map, 10_000, row.ctypes.data, 128)
        assert fitted == ((96 << 10) - 4096) // 192
        for _ in range(2):
            with pytest.raises(JournalError, match="no room for the next segment"):
                journal.roll()
        assert journal_append(journal.map, 1, 1, 0, 0, row.ctypes.data, 128) == HALTED
        assert journal_failed(journal.map) == 1
        journal.close()
        assert not (disk / "j" / "next").exists()
        assert len(list(read(disk / "j"))) == fitted
        with pytest.raises(JournalError, match="cannot be opened: No space left"):
            open_journal(disk / "j", segment_bytes=96 << 10)
        assert len(list(read(disk / "j"))) == fitted


def test_read_only_directory_is_refused_by_name(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        open_journal(disk).close()
        os.system(f"mount -o remount,ro {disk}")
        with pytest.raises(JournalError, match=r"cannot be opened: Read-only"):
            open_journal(disk)
        assert list(read(disk)) == []


@pytest.mark.kernel
def test_closed_journal_takes_nothing_more(tmp_path):
    journal = open_journal(tmp_path)
    journal.close()
    row = np.zeros(2, np.int64)
    assert journal_append(journal.map, 1, 1, 0, 0, row.ctypes.data, 16) == HALTED
    with pytest.raises(JournalError, match="it was closed"):
        journal.append(1, b"", ts=1)
    with pytest.raises(JournalError, match="halted"):
        journal.roll()
    journal.sync()
    journal.close()


def test_kinds_are_named_and_never_renumbered():
    assert journals_module.KINDS == {
        1: "intent", 2: "update", 3: "epoch", 4: "instruments", 5: "balances",
        6: "command", 7: "clock", 8: "reconciled", 9: "state", 10: "note",
    }  # fmt: skip


def test_golden_journal_stays_readable():
    """Written by the first release; a change that cannot read it breaks every user's journal."""
    records = list(read(GOLDEN))
    check_records(records[:20], 20)
    assert [(r.kind, len(r.payload)) for r in records[20:]] == [(1, 128), (2, 160), (5, 11)]
    intent = np.frombuffer(records[20].payload, INTENT)[0]
    update = np.frombuffer(records[21].payload, UPDATE)[0]
    assert {name: int(intent[name]) for name in INTENT.names} == {
        name: k + 1 for k, name in enumerate(INTENT.names)
    }
    assert {name: int(update[name]) for name in UPDATE.names} == {
        name: k + 1 for k, name in enumerate(UPDATE.names)
    }
    assert verify_chain(GOLDEN) == 1
    told = read_header(list_segments(GOLDEN)[-1])
    assert (told.header.node, told.header.engine, told.header.epoch) == ("golden", 3, 2)


def test_golden_journal_can_be_continued(tmp_path):
    for path in GOLDEN.glob("*.seg"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with open_journal(tmp_path, header=header(node="golden")) as journal:
        assert (journal.last_seq, journal.header.epoch) == (23, 3)


def test_opening_from_python_without_a_side_thread_leaves_none(tmp_path):
    before = threading.active_count()
    with Journal.open(tmp_path, header=header(), background=True, segment_bytes=SEGMENT):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_read_of_a_damaged_journal_gives_what_was_good_before_it_raises(tmp_path):
    with open_journal(tmp_path) as journal:
        fill(journal, 40)
    path = list_segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[-200] ^= 0xFF
    path.write_bytes(data)
    good = []
    with pytest.raises(JournalError, match="damaged"):
        good.extend(read(tmp_path))  # extend keeps what came
    assert 30 < len(good) < 40
    check_records(good, len(good))
