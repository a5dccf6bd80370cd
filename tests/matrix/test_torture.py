"""Two real processes on the same memory: nothing torn is accepted, and the test would notice."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from alephtx.core.kernel import JIT
from alephtx.core.records import TOP_ROW
from alephtx.matrix.shm import Matrix
from alephtx.matrix.spsc import Spsc, spsc_bytes
from tests.matrix import torture
from tests.matrix.conftest import SMALL, make_instruments
from tests.matrix.torture import BUSY, LAST, LOST, READS, TORN

pytestmark = pytest.mark.skipif(not JIT, reason="un-jitted loops are too slow to meet each other")
SHORT = 0.8
SOAK_SECONDS = float(os.environ.get("ALEPHTX_TEST_SECONDS", "60"))
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def matrix(path):
    """A matrix whose rings are deep enough for a reader to be lapped only now and then."""
    wide = msgspec.structs.replace(SMALL, ring_slots=2048)
    with Matrix.create(path, make_instruments(), wide, clock_offset_ns=1) as made:
        yield made


@contextmanager
def other_end(role, path, amount):
    """Run the other end; yields once it is compiled and about to start."""
    command = [sys.executable, "-m", "tests.matrix.torture", role, str(path), str(amount)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            if process.poll() is None and sys.exc_info()[0]:
                process.kill()


def until(seconds):
    return time.monotonic_ns() + int(seconds * 1e9)


def read_beside(matrix, role, read, seconds):
    """Let a reader check all it accepts while a writer of that role writes; returns the result."""
    result, row = np.zeros(8, np.int64), np.zeros(1, TOP_ROW)
    levels = np.zeros((2, 8, 2), np.int64)
    read(matrix.map, 0, row, levels, result, 0)
    result[:] = 0
    with other_end(role, matrix.path, seconds) as writer:
        read(matrix.map, 0, row, levels, result, until(seconds))
        assert int(writer.stdout.readline()) > 1_000
    return result


def test_seqlock_reader_accepts_nothing_torn(matrix):
    result = read_beside(matrix, "tops", torture.read_tops, SHORT)
    assert result[TORN] == 0
    assert result[READS] > 1_000
    assert result[LAST] > 1_000


@pytest.mark.parametrize(
    ("role", "read"),
    [("unlocked", torture.read_tops), ("tops", torture.read_tops_once)],
    ids=["writer never odd", "reader looks once"],
)
def test_torture_catches_a_broken_seqlock(matrix, role, read):
    """The test of the test: with half of the protocol missing, torn records must show."""
    for _ in range(5):
        if read_beside(matrix, role, read, SHORT / 2)[TORN] > 0:
            return
    pytest.fail("a broken seqlock went unnoticed: the torture does not bite")


def read_ring_beside(matrix, seconds):
    result, row = np.zeros(8, np.int64), np.zeros(1, TOP_ROW)
    torture.read_ring(matrix.map, 0, row, result, 0)
    with other_end("ring", matrix.path, seconds) as writer:
        torture.read_ring(matrix.map, 0, row, result, until(seconds))
        written = int(writer.stdout.readline())
    torture.read_ring(matrix.map, 0, row, result, 0)
    return result, written


def test_ring_reader_takes_or_counts_every_slot(matrix):
    result, written = read_ring_beside(matrix, SHORT)
    assert result[TORN] == 0
    assert result[READS] > 1_000
    assert result[BUSY] > 0, "it was lapped, so that path was tried"
    assert result[READS] + result[LOST] == written == result[LAST]


def pop_beside(path, seconds):
    path.write_bytes(bytes(spsc_bytes(160, 64)))
    memory, address = torture.map_file(path)
    ring, row, result = (
        Spsc(160, 64, address=address),
        np.zeros(20, np.int64),
        np.zeros(8, np.int64),
    )
    torture.read_spsc(ring.address, row, row.ctypes.data, result, 0)
    with other_end("spsc", path, seconds) as writer:
        torture.read_spsc(ring.address, row, row.ctypes.data, result, until(seconds))
        written = None
        while written is None:  # it may be waiting for room until its time is over
            torture.read_spsc(ring.address, row, row.ctypes.data, result, until(0.01))
            if writer.poll() is not None:
                written = int(writer.stdout.readline())
    torture.read_spsc(ring.address, row, row.ctypes.data, result, 0)
    assert memory
    return result, written


def test_lossless_ring_loses_nothing(path):
    result, written = pop_beside(path, SHORT)
    assert result[TORN] == 0
    assert result[READS] == written > 1_000


def test_killed_writers_neither_hang_nor_fool_readers(matrix):
    command = [sys.executable, "-m", "tests.matrix.torture", "kill", str(matrix.path), "50"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    torn, hung, fooled = json.loads(done.stdout)
    assert torn > 0, "no writer died inside a record: nothing was tried"
    assert (hung, fooled) == (0, 0)


def test_every_record_is_whole_and_every_broken_protocol_is_caught(path):
    """Each size of record by itself; `bench/torture.py` writes thirty million of each."""
    command = [sys.executable, "-m", "tests.matrix.torture_more", str(path), "20000"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=170
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) == 13
    for name, (broken, writes, torn) in told.items():
        assert (torn > 0) == broken, name
        assert broken or writes >= 20_000, name


@pytest.mark.soak
def test_soak_nothing_torn_in_a_hundred_million_reads(matrix, path):
    reads, started = 0, time.monotonic()
    while reads < 100_000_000 or time.monotonic() - started < SOAK_SECONDS:
        result = read_beside(matrix, "tops", torture.read_tops, 10)
        assert result[TORN] == 0
        reads += int(result[READS])
        result, written = read_ring_beside(matrix, 5)
        assert result[TORN] == 0
        assert result[READS] + result[LOST] == written == result[LAST]
        reads += int(result[READS])
        result, written = pop_beside(path.with_name("spsc"), 5)
        assert (result[TORN], result[READS]) == (0, written)
        reads += int(result[READS])
