"""In what order a journal's files reach the disk: what is promised is only as good as that."""

import os
from pathlib import Path

import pytest

from alephtx.matrix.journal import Journal
from alephtx.matrix.journal_read import list_segments, read, read_header, verify_chain, walk_segment
from tests.matrix.journals import check_records, fill, header, instruments, open_journal


@pytest.fixture
def disk(monkeypatch):
    """Every call that orders what is on the disk, with the file's name; the calls are done, too."""
    told = []

    def noted(name, named):
        real = getattr(os, name)

        def call(*args):
            told.append((name, named(*args)))
            return real(*args)

        monkeypatch.setattr(os, name, call)

    def file_of(descriptor, *_):
        return Path(f"/proc/self/fd/{descriptor}").readlink().name

    for name in ("fsync", "fdatasync", "ftruncate", "pwrite"):
        noted(name, file_of)
    noted("rename", lambda old, new: f"{Path(old).name} to {Path(new).name}")
    return told


FINISHED = [
    ("ftruncate", "00000001.seg"), ("fdatasync", "00000001.seg"), ("pwrite", "00000001.seg"),
    ("fdatasync", "00000001.seg"), ("pwrite", "00000002.seg"),
]  # fmt: skip
"""Cut, on disk, marked as on disk; then its hash is stated in the next one."""


@pytest.mark.parametrize("durability", ["process", "host", "order"])
def test_roll_brings_the_old_segment_to_the_disk_before_the_new_one_has_a_name(
    tmp_path, disk, durability
):
    with open_journal(tmp_path, durability=durability) as journal:
        fill(journal, 5)
        disk.clear()
        journal.roll()
        named = ("rename", "next to 00000002.seg")
        if durability == "process":
            assert disk == [named, *FINISHED]
        else:
            assert disk == [
                ("fdatasync", "00000001.seg"), ("fsync", "next"), named, ("fsync", tmp_path.name),
                *FINISHED,
            ]  # fmt: skip
        assert read_header(list_segments(tmp_path)[0]).synced_seq == 5


def test_start_is_on_the_disk_before_anything_is_appended(tmp_path, disk):
    journal = open_journal(tmp_path)
    started = [("fsync", "next"), ("rename", "next to 00000001.seg"), ("fsync", tmp_path.name)]
    assert disk == started
    fill(journal, 3)
    disk.clear()
    journal.close()
    assert disk == [(call, "00000001.seg") for call, _ in FINISHED[:4]]


def test_second_start_settles_what_the_first_left_and_states_its_hash(tmp_path, disk):
    with open_journal(tmp_path) as journal:
        fill(journal, 3)
    disk.clear()
    with open_journal(tmp_path) as journal:
        assert disk == [
            *((call, "00000001.seg") for call, _ in FINISHED[:4]),
            ("fsync", "next"), ("rename", "next to 00000002.seg"), ("fsync", tmp_path.name),
            ("pwrite", "00000002.seg"),
        ]  # fmt: skip
        disk.clear()
    assert disk[-1] == ("fdatasync", "00000002.seg")
    assert read_header(list_segments(tmp_path)[1]).synced_seq == 3


def test_sync_marks_after_the_disk_has_it_and_only_once(tmp_path, disk):
    with open_journal(tmp_path) as journal:
        disk.clear()
        journal.sync()
        assert disk == []  # nothing is new
        fill(journal, 2)
        for _ in range(2):
            journal.sync()
        assert disk == [("fdatasync", "00000001.seg"), ("pwrite", "00000001.seg")]
        assert read_header(list_segments(tmp_path)[0]).synced_seq == 2
        fill(journal, 1)
        journal.sync()
        assert len(disk) == 4


def test_closing_nothing_leaves_no_mark(tmp_path, disk):
    journal = open_journal(tmp_path)
    disk.clear()
    journal.close()
    assert disk == [("ftruncate", "00000001.seg"), ("fdatasync", "00000001.seg")]
    assert read_header(list_segments(tmp_path)[0]).synced_seq == 0


def test_header_of_several_pages_is_read_whole(tmp_path):
    table = instruments(*(f"C{n}" for n in range(60)))
    with open_journal(tmp_path, header=header(table=table), segment_bytes=1 << 16) as journal:
        fill(journal, 40)
        journal.roll()
        fill(journal, 40)
    (first, second) = map(read_header, list_segments(tmp_path))
    assert first.header_bytes == second.header_bytes > 8192
    assert first.header.instruments == table.to_json()
    check_records(read(tmp_path), 80)
    assert verify_chain(tmp_path) == 1


def test_long_torn_end_is_counted_to_the_byte(tmp_path):
    journal = open_journal(tmp_path)
    fill(journal, 2)
    journal.close()
    (path,) = list_segments(tmp_path)
    good = path.stat().st_size
    for junk in (1, 7, 8, 2 * good + 3):
        with path.open("ab") as file:
            file.write(b"\x01" * junk)
        walk = walk_segment(path, read_header(path), repair=True)
        assert (walk.end, walk.next_seq, walk.torn_bytes, walk.lost_records) == (good, 3, junk, 0)
        os.truncate(path, good)


def test_segments_are_of_64_mib_unless_told_otherwise(tmp_path):
    with Journal.open(tmp_path, header=header(), background=False) as journal:
        assert journal.segment_bytes == 67_108_864 == list_segments(tmp_path)[0].stat().st_size
        assert journal.durability == "process"


def test_failure_is_no_mark(tmp_path, disk):
    journal = open_journal(tmp_path)
    fill(journal, 4)
    journal._fail("a test", halt=True)
    journal.close()
    assert read_header(list_segments(tmp_path)[0]).synced_seq == 0
    assert (journal.failure, journal.halted) == ("a test", True)
