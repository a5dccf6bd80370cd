"""Recordings: what was written is what is read, also after a kill, a full disk and a flood."""

import os
import signal
import subprocess
import sys
import time

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.errors import AlephError
from alephtx.feed.record import Recorder, read_recording

T0 = 1_767_225_600_000_000_000


def read_all(recorder):
    return [row for path in recorder.paths for row in read_recording(path)]


@pytest.mark.smoke
def test_frames_come_back_in_order(tmp_path):
    recorder = Recorder(tmp_path / "recordings", "venue")
    frames = [(T0 + n, b'{"n": %d}' % n) for n in range(1000)]
    assert all(recorder.write(*frame) for frame in frames)
    recorder.close()
    assert read_all(recorder) == frames
    assert [path.name for path in recorder.paths] == ["venue-all-20260101T000000Z-0001.zst"]
    assert not recorder.write(T0, b"late")
    assert (recorder.frames, recorder.dropped, recorder.failure) == (1000, 1, "")


@settings(max_examples=20)
@given(
    rows=st.lists(st.tuples(st.integers(0, 2**62), st.binary(min_size=1, max_size=50)), max_size=30)
)
def test_any_bytes_come_back_but_for_line_breaks(tmp_path_factory, rows):
    recorder = Recorder(tmp_path_factory.mktemp("r"), "v")
    for row in rows:
        recorder.write(*row)
    recorder.close()
    blank = bytes.maketrans(b"\r\n", b"  ")
    assert read_all(recorder) == [(ts, frame.translate(blank)) for ts, frame in rows]


def test_channels_have_files_of_their_own(tmp_path):
    recorder = Recorder(tmp_path, "v")
    for n in range(10):
        recorder.write(T0 + n, b"%d" % n, "BTC/../X" if n % 2 else "eth")
    recorder.close()
    assert {path.name.split("-")[1] for path in recorder.paths} == {"BTC____X", "eth"}
    assert [[int(f) for _, f in read_recording(p)] for p in recorder.paths] == [
        [0, 2, 4, 6, 8],
        [1, 3, 5, 7, 9],
    ]


def test_files_roll_by_size_and_by_age(tmp_path):
    recorder = Recorder(tmp_path, "v", roll_bytes=5000, roll_ns=10**15)
    frames = [(T0 + n, b"x" * 1000) for n in range(20)]
    for frame in frames:
        recorder.write(*frame)
    recorder.close()
    assert len(recorder.paths) == 4
    assert read_all(recorder) == frames
    old = Recorder(tmp_path, "v", roll_ns=1000)
    for n in range(3):
        old.write(T0 + n * 5000, b"y")
    old.close()
    assert len(old.paths) == 3
    assert [frame for _, frame in read_all(old)] == [b"y"] * 3
    assert not set(old.paths) & set(recorder.paths)


def test_flood_is_dropped_loudly_and_never_blocks(tmp_path, capsys):
    recorder = Recorder(tmp_path, "v", queue_bytes_max=10_000)
    start = time.monotonic()
    accepted = [recorder.write(T0 + n, b"z" * 900) for n in range(5000)]
    assert time.monotonic() - start < 1
    recorder.close()
    assert recorder.dropped == accepted.count(False) > 0
    assert len(read_all(recorder)) == recorder.frames == accepted.count(True)
    assert "recording_dropped_frames" in capsys.readouterr().err


def test_full_disk_ends_the_recording_and_says_so(tmp_path):
    """RLIMIT_FSIZE stands for the full disk, in a process of its own."""
    code = f"""
import os, resource, signal, sys
from pathlib import Path
from alephtx.feed.record import Recorder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
recorder = Recorder(Path({str(tmp_path)!r}), "v")
for n in range(200):
    recorder.write(n, os.urandom(5000))
    if recorder.failure: break
recorder.close()
print(bool(recorder.failure), recorder.dropped > 0, recorder.write(1, b"x"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["True", "True", "False"]
    assert "recording_failed" in done.stderr


def test_killed_process_leaves_a_readable_file(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from alephtx.feed.record import Recorder
recorder = Recorder(Path({str(tmp_path)!r}), "v")
for n in range(5000):
    recorder.write(n, b"frame %d" % n)
time.sleep(1.1)
print("written", flush=True)
for n in range(5000, 10**9):
    recorder.write(n, b"frame %d" % n)
    time.sleep(0.0001)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"written\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    (path,) = tmp_path.iterdir()
    rows = list(read_recording(path))
    assert len(rows) >= 5000
    assert rows == [(n, b"frame %d" % n) for n in range(len(rows))]


def test_unwritable_directory_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AlephError, match="cannot be made"):
        Recorder(tmp_path / "file" / "sub", "v")


@pytest.mark.parametrize(
    "text", [b"no stamp\n", b"12\n", b"12 \n", b"-5 x\n", b"1 a\n1.5 b\n", b"\n"]
)
def test_lines_that_are_none_are_named(tmp_path, text):
    path = tmp_path / "bad.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(text))
    with pytest.raises(AlephError, match=r"line [12] is not"):
        list(read_recording(path))


def test_file_of_another_kind_is_named(tmp_path):
    path = tmp_path / "bad.zst"
    path.write_bytes(os.urandom(100))
    with pytest.raises(AlephError, match="not readable after line 0"):
        list(read_recording(path))


def test_file_cut_anywhere_gives_a_prefix(tmp_path):
    recorder = Recorder(tmp_path, "v")
    frames = [(T0 + n, os.urandom(40).replace(b"\n", b"").replace(b"\r", b"")) for n in range(50)]
    for frame in frames:
        recorder.write(*frame)
    recorder.close()
    whole = recorder.paths[0].read_bytes()
    cut = tmp_path / "cut.zst"
    for size in range(0, len(whole), 37):
        cut.write_bytes(whole[:size])
        rows = list(read_recording(cut))
        assert rows == frames[: len(rows)]
