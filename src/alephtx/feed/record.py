"""Raw recordings: `<recv ns> <raw text>` lines in zstd files, that the twins can replay.

One file sequence per venue. The feed's loop only appends to a bounded queue; a thread compresses
and writes. When the disk is slow, whole frames are dropped, counted and told, and the feed goes
on. A process that dies loses what was not yet flushed (a second) and leaves a file that reads to
there.
"""

import threading
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import zstandard

from alephtx.core.errors import AlephError
from alephtx.core.log import logger

QUEUE_BYTES_MAX = 64 << 20
ROLL_BYTES = 256 << 20
ROLL_NS = 3600 * 1_000_000_000
FLUSH_SECONDS = 1.0
LINE_BYTES_MAX = 64 << 20
LEVEL = 3
SUFFIX = ".zst"


class Recorder:
    """Records one venue's frames. `write` is called by one thread, `close` by the same.

    counts: `frames` accepted, `dropped` frames, `failure` the reason why nothing is written any
    more, "" while all is well.
    """

    def __init__(
        self,
        directory: Path,
        venue: str,
        *,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
        roll_bytes: int = ROLL_BYTES,
        roll_ns: int = ROLL_NS,
    ) -> None:
        self._directory = directory
        self._venue = venue
        self._queue_bytes_max = queue_bytes_max
        self._roll_bytes = roll_bytes
        self._roll_ns = roll_ns
        self._queue: deque[tuple[int, bytes]] = deque()
        self._queued_bytes = 0
        self._written_bytes_total = 0
        self._wake = threading.Event()
        self._stopping = False
        self._sequence = 0
        self._unflushed = 0
        self._log = logger("record", venue=venue)
        self.frames = 0
        self.dropped = 0
        self.failure = ""
        self.paths: list[Path] = []
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AlephError(f"{directory} cannot be made: {error.strerror}") from None
        self._thread = threading.Thread(target=self._run, name=f"record-{venue}", daemon=True)
        self._thread.start()

    def write(self, ts_recv: int, frame: bytes) -> bool:
        """Queue one frame; False when it was dropped. Never blocks."""
        size = len(frame) + 21
        # Each side only ever adds to its own total, so the difference needs no lock.
        backlog = self._queued_bytes - self._written_bytes_total
        if self.failure or self._stopping or backlog + size > self._queue_bytes_max:
            self.dropped += 1
            self._log.every(5).error(
                "recording_dropped_frames", dropped=self.dropped, reason=self.failure or "backlog"
            )
            return False
        self._queued_bytes += size
        self.frames += 1
        self._queue.append((ts_recv, frame))
        return True

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Write what is queued and end the file."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            self._log.error("recording_not_finished", queued_frames=len(self._queue))

    def _run(self) -> None:
        try:
            while not (self._stopping and not self._queue):
                self._write_file()
        except OSError as error:
            self.failure = f"{self._directory}: {error.strerror or error}"
            self.dropped += self._unflushed + len(self._queue)
            self._queue.clear()
            self._log.error("recording_failed", reason=self.failure, dropped=self.dropped)

    def _write_file(self) -> None:
        """Write one file, from its first frame until it is to be rolled."""
        while not self._queue:
            if self._stopping:
                return
            self._wake.wait(0.05)
        first_ns = self._queue[0][0]
        path = self._path(first_ns)
        self.paths.append(path)
        size = 0
        with path.open("xb") as file:
            packer = zstandard.ZstdCompressor(level=LEVEL).stream_writer(file, closefd=False)
            due = False
            while not due:
                lines, last_ns = self._take(min(1 << 20, self._roll_bytes - size), first_ns)
                packer.write(lines)
                size += len(lines)
                due = size >= self._roll_bytes or last_ns - first_ns >= self._roll_ns
                if not self._queue:
                    if self._stopping:
                        break
                    packer.flush(zstandard.FLUSH_BLOCK)
                    file.flush()
                    self._unflushed = 0
                    self._wake.wait(FLUSH_SECONDS)
            packer.flush(zstandard.FLUSH_FRAME)
        self._unflushed = 0

    def _take(self, bytes_max: int, first_ns: int) -> tuple[bytes, int]:
        """Take some queued frames as lines, and the stamp of the last."""
        parts: list[bytes] = []
        size, last_ns = 0, 0
        while self._queue and size < bytes_max and last_ns - first_ns < self._roll_ns:
            last_ns, frame = self._queue.popleft()
            self._unflushed += 1
            # A raw line break inside JSON text can only be blank space between tokens.
            line = b"%d %b\n" % (last_ns, frame.replace(b"\n", b" ").replace(b"\r", b" "))
            parts.append(line)
            size += len(line)
            self._written_bytes_total += len(frame) + 21
        return b"".join(parts), last_ns

    def _path(self, first_ns: int) -> Path:
        """Return a new file's name: venue, first frame's time in UTC, and a number."""
        when = datetime.fromtimestamp(first_ns // 1_000_000_000, UTC)
        while True:
            self._sequence += 1
            name = f"{self._venue}-{when:%Y%m%dT%H%M%SZ}-{self._sequence:04d}{SUFFIX}"
            path = self._directory / name
            if not path.exists():
                return path


def read_recording(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (recv ns, frame) of one file; stops at the end of what a dead process left.

    AlephError names file and line when a line is not `<ns> <text>`, or the file is not zstd.
    """
    number = 0
    rest = b""
    unpacker = zstandard.ZstdDecompressor()
    with path.open("rb") as file, unpacker.stream_reader(file, read_across_frames=True) as stream:
        while True:
            try:
                chunk = stream.read(1 << 20)
            except zstandard.ZstdError as error:
                raise AlephError(f"{path}: not readable after line {number}: {error}") from None
            if not chunk:
                return  # an unfinished line at the end is what a dead process left
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                number += 1
                stamp, _, frame = line.partition(b" ")
                if not stamp.isdigit() or not frame:
                    raise AlephError(f"{path}: line {number} is not `<ns> <text>`: {line[:60]!r}")
                yield int(stamp), frame
            if len(rest) > LINE_BYTES_MAX:
                raise AlephError(f"{path}: line {number + 1} is above {LINE_BYTES_MAX} bytes")
