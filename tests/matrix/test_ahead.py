"""Pages in front of an appender stay writable, whatever the system writes back meanwhile."""

import mmap
import os
import resource
import threading
import time

import numpy as np
import pytest

from alephtx.matrix.ahead import AHEAD_BYTES, PagesAhead, fault_in
from alephtx.matrix.inputlog import InputLog
from alephtx.matrix.journal import NOTE, Journal, JournalHeader

PAGE = mmap.PAGESIZE
PAGES = 64


@pytest.fixture
def mapped(tmp_path):
    """A mapped file of PAGES pages, all of them written back, and its descriptor."""
    with (tmp_path / "file").open("w+b") as file:
        os.posix_fallocate(file.fileno(), 0, PAGES * PAGE)
        pages = mmap.mmap(file.fileno(), PAGES * PAGE)
        view = np.frombuffer(pages, np.uint8)
        view[:] = 7
        os.fdatasync(file.fileno())
        yield view, file.fileno()


def faults_of_writing(view):
    """How many faults one store into each page makes."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for k in range(len(view) // PAGE):
        view[k * PAGE] = 8
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def test_stores_into_pages_written_back_do_not_fault_after_a_look(mapped):
    view, file = mapped
    if faults_of_writing(view) < PAGES:
        pytest.skip("this file system does not protect what it has written back")
    os.fdatasync(file)
    assert fault_in(view.ctypes.data, len(view))
    assert faults_of_writing(view) < PAGES // 8
    assert set(view.tolist()) == {7, 8}, "a look changes no byte"


def test_an_address_that_is_not_mapped_is_refused_and_nothing_happens():
    assert not fault_in(PAGE, PAGE)
    assert fault_in(PAGE, 0), "nothing to do"


def test_the_thread_follows_a_front_and_ends(mapped):
    seen = threading.Event()
    looks = []

    def front():
        looks.append(1)
        if len(looks) > 3:
            seen.set()
        return int(mapped[0].ctypes.data) + 3 * PAGE, 5 * PAGE

    pages = PagesAhead(front)
    pages.start()
    assert seen.wait(20)
    pages.stop()
    after = len(looks)
    time.sleep(0.1)
    assert len(looks) == after


def test_where_the_system_cannot_the_thread_does_not_run():
    pages = PagesAhead(lambda: (PAGE, PAGE))
    pages.start()
    assert not pages._thread.is_alive()
    pages.stop()


@pytest.mark.parametrize(
    ("durability", "most"), [("process", AHEAD_BYTES), ("host", AHEAD_BYTES // 16), ("order", 0)]
)
def test_a_journals_front_is_where_the_next_record_goes(tmp_path, durability, most):
    header = JournalHeader(node="t", engine=1, instruments=b"[]", accounts=b"[]")
    with Journal.open(
        tmp_path, header=header, durability=durability, segment_bytes=4 << 20, background=False
    ) as journal:
        first, size = journal.front()
        assert size == most
        journal.append(NOTE, b"x" * 1_000, ts=1)
        second, _ = journal.front()
        assert 1_000 < second - first < 1_100
        for _ in range(3_900):
            journal.append(NOTE, b"x" * 1_000, ts=1)
        assert 0 <= journal.front()[1] <= most
        assert fault_in(*journal.front())
    assert journal.front()[1] == 0, "closed"


def test_an_input_logs_front_is_where_the_next_row_goes(tmp_path):
    with InputLog.open(tmp_path, chunk_rows=1 << 10) as inputs:
        first, size = inputs.front()
        assert 0 < size <= AHEAD_BYTES
        inputs.append(0, 1, 1)
        assert inputs.front()[0] == first + 16
        assert fault_in(*inputs.front())
    assert inputs.front()[1] == 0
