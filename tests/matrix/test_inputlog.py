"""The input log: what was appended is read back, whatever cut the writer short."""

import ctypes
import os
import resource
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.errors import JournalError
from alephtx.core.kernel import kernel
from alephtx.matrix.inputlog import (
    HEADER_BYTES,
    ROW_BYTES,
    Input,
    InputLog,
    input_append,
    input_room,
    null_inputs,
    read_inputs,
    read_rows,
)

ROWS = 256  # one page


@kernel
def pour(imap, count: int) -> int:
    """Append until full; returns how many fitted."""
    for k in range(count):
        if input_append(imap, 3, k + 1, 1_000 + k) < 0:
            return k
    return count


@pytest.mark.kernel
@pytest.mark.smoke
def test_rows_are_read_back_in_order(tmp_path):
    with InputLog.open(tmp_path / "deep" / "inputs.log", chunk_rows=ROWS) as log:
        assert log.last_seq == 0
        assert log.append(0, 1, 5) == 1
        assert log.append(255, (1 << 56) - 1, 6) == 2
        assert log.append(202, 0, 7) == 3
    expected = [Input(1, 0, 1, 5), Input(2, 255, (1 << 56) - 1, 6), Input(3, 202, 0, 7)]
    assert read_inputs(tmp_path / "deep" / "inputs.log") == expected


@pytest.mark.kernel
def test_full_log_refuses_until_grown_and_loses_nothing(tmp_path):
    with InputLog.open(tmp_path, chunk_rows=ROWS) as log:
        assert input_room(log.map) == ROWS
        assert pour(log.map, 1000) == ROWS
        assert (input_room(log.map), log.last_seq) == (0, ROWS)
        log.grow()
        assert pour(log.map, 10) == 10
        assert [log.append(1, 2, 3) for _ in range(2 * ROWS)][-1] == ROWS + 10 + 2 * ROWS
    first, rows = read_rows(tmp_path)
    assert (first, len(rows)) == (1, ROWS + 10 + 2 * ROWS)
    assert rows["now"][:ROWS].tolist() == list(range(1_000, 1_000 + ROWS))
    assert np.all(rows["now"][ROWS + 10 :] == 3)


def test_reopened_log_goes_on_where_it_ended(tmp_path):
    for start in range(3):
        with InputLog.open(tmp_path, first_seq=100, chunk_rows=ROWS) as log:
            assert log.last_seq == 99 + start * 7
            for k in range(7):
                log.append(1, k, 50 + k)
    inputs = read_inputs(tmp_path)
    assert [row.input_seq for row in inputs] == list(range(100, 121))
    assert (tmp_path / "inputs.log").stat().st_size == HEADER_BYTES + 21 * ROW_BYTES


def test_log_is_readable_while_it_is_written(tmp_path):
    with InputLog.open(tmp_path, chunk_rows=ROWS) as log:
        log.append(1, 2, 3)
        assert read_inputs(tmp_path) == [Input(1, 1, 2, 3)]


@pytest.mark.kernel
def test_null_log_only_counts():
    imap = null_inputs(41)
    assert input_append(imap, 1, 2, 3) == 42
    assert input_room(imap) > 1 << 60


@settings(max_examples=60)
@given(st.integers(0, 9 * ROW_BYTES), st.integers(0, 40))
def test_log_cut_anywhere_keeps_every_whole_row(tmp_path_factory, cut, junk):
    path = tmp_path_factory.mktemp("cut") / "inputs.log"
    with InputLog.open(path, chunk_rows=ROWS) as log:
        for k in range(9):
            log.append(1, k, 10 + k)
    whole = path.read_bytes()
    path.write_bytes(whole[: HEADER_BYTES + cut] + bytes(junk))
    with InputLog.open(path, chunk_rows=ROWS) as log:
        kept = log.last_seq
        # Zeros after half a `now` complete a row with a wrong low part; nothing else may change.
        assert cut // ROW_BYTES <= kept <= cut // ROW_BYTES + (cut % ROW_BYTES > 0)
        assert log.append(9, 9, 9) == kept + 1
    assert [row.now for row in read_inputs(path)][: cut // ROW_BYTES] == [
        10 + k for k in range(cut // ROW_BYTES)
    ]


def test_half_a_row_of_a_killed_writer_is_overwritten(tmp_path):
    with InputLog.open(tmp_path, chunk_rows=ROWS) as log:
        log.append(1, 2, 3)
        end = int(log.map[0])
        ctypes.c_int64.from_address(end + 8).value = 77  # the second word is stored first
        assert [row.now for row in read_inputs(tmp_path)] == [3]
    with InputLog.open(tmp_path, chunk_rows=ROWS) as log:
        assert (log.last_seq, log.dropped_rows) == (1, 0)


def test_rows_behind_a_hole_are_dropped_and_counted(tmp_path):
    with InputLog.open(tmp_path, chunk_rows=ROWS) as log:
        for k in range(6):
            log.append(1, k, 10 + k)
    path = tmp_path / "inputs.log"
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 2 * ROW_BYTES : HEADER_BYTES + 3 * ROW_BYTES] = bytes(ROW_BYTES)
    path.write_bytes(data)
    assert len(read_inputs(path)) == 2
    with InputLog.open(path, chunk_rows=ROWS) as log:
        assert (log.last_seq, log.dropped_rows) == (2, 3)


def test_killed_writer_leaves_every_acknowledged_row(tmp_path):
    for attempt in range(5):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            log = InputLog.open(tmp_path, chunk_rows=ROWS)
            while True:
                seq = log.append(1, 2, log.last_seq + 1)
                os.write(writer, seq.to_bytes(8, "little"))
        os.close(writer)
        acknowledged = 0
        for _ in range(200 + 150 * attempt):
            acknowledged = int.from_bytes(os.read(reader, 8), "little")
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while data := os.read(reader, 8):
            acknowledged = int.from_bytes(data, "little")
        os.close(reader)
        inputs = read_inputs(tmp_path)
        assert len(inputs) >= acknowledged > 0
        assert [row.now for row in inputs] == list(range(1, len(inputs) + 1))


def test_second_writer_is_refused(tmp_path):
    with InputLog.open(tmp_path), pytest.raises(JournalError, match="another process"):
        InputLog.open(tmp_path)
    InputLog.open(tmp_path).close()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"GARBAGE!" + data[8:], "not an input log"),
        (lambda data: data[:100], "not an input log"),
        (lambda data: data[:8] + b"\x09" + data[9:], "header of the input log is damaged"),
    ],
)
def test_damaged_header_is_refused_by_name(tmp_path, damage, message):
    path = tmp_path / "inputs.log"
    with InputLog.open(path) as log:
        log.append(1, 1, 1)
    path.write_bytes(damage(path.read_bytes()))
    for opening in (InputLog.open, read_inputs):
        with pytest.raises(JournalError, match=message):
            opening(path)


def test_blank_file_of_a_start_that_was_killed_is_made_anew(tmp_path):
    path = tmp_path / "inputs.log"
    path.write_bytes(bytes(300))
    with InputLog.open(path) as log:
        assert log.append(1, 1, 1) == 1
    assert read_inputs(path) == [Input(1, 1, 1, 1)]


def test_missing_log_and_bad_places_are_named(tmp_path):
    with pytest.raises(JournalError, match=r"nowhere.*cannot be read"):
        read_inputs(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(JournalError, match="cannot be opened"):
        InputLog.open(tmp_path / "file" / "inputs.log")
    with pytest.raises(JournalError, match="no whole pages"):
        InputLog.open(tmp_path, chunk_rows=3)


@pytest.mark.kernel
def test_closed_log_takes_nothing_more(tmp_path):
    log = InputLog.open(tmp_path, chunk_rows=ROWS)
    log.append(1, 1, 1)
    log.close()
    log.close()
    assert input_append(log.map, 1, 2, 2) == -1
    assert len(read_inputs(tmp_path)) == 1


def test_log_without_room_to_grow_says_so_and_keeps_what_it_has(tmp_path):
    log = InputLog.open(tmp_path, chunk_rows=ROWS)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (HEADER_BYTES + ROWS * ROW_BYTES, before[1]))
        for k in range(ROWS):
            log.append(1, k, 5)
        with pytest.raises(JournalError, match="cannot grow"):
            log.append(1, ROWS, 5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert log.last_seq == ROWS
    log.close()
    assert len(read_inputs(tmp_path)) == ROWS
