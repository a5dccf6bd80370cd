"""Raw recordings: `<recv ns> <raw text>` lines in zstd files, that the twins can replay.

One file sequence per venue and channel (the symbol, as the twins want it). The feed's loop only
appends to a bounded queue; a thread compresses and writes. When the disk is slow, whole frames are
dropped, counted and told, and the feed goes on. A process that dies loses what was not yet flushed
(half a second) and leaves files that read to there.
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
FLUSH_SECONDS = 0.5
LINE_BYTES_MAX = 64 << 20
ROW_BYTES = 21  # stamp, blank and line break
LEVEL = 3
SUFFIX = ".zst"


class _File:
    """One open file of one channel."""

    def __init__(self, path: Path, first_ns: int) -> None:
        self.first_ns = first_ns
        self.size = 0
        self._file = path.open("xb")
        compressor = zstandard.ZstdCompressor(level=LEVEL)
        self._packer = compressor.stream_writer(self._file, closefd=False)

    def write(self, line: bytes) -> None:
        self._packer.write(line)
        self.size += len(line)

    def flush(self) -> None:
        """Hand everything to the kernel, so that a killed process loses nothing of it."""
        self._packer.flush(zstandard.FLUSH_BLOCK)
        self._file.flush()

    def close(self) -> None:
        with self._file:
            self._packer.flush(zstandard.FLUSH_FRAME)


class Recorder:
    """Records one venue's frames. `write` is called by one thread, `close` by the same.

    frames: accepted so far; dropped: not written; failure: why nothing is written any more, ""
    while all is well; paths: the files, in order of their making.
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
        self._queue: deque[tuple[int, bytes, str]] = deque()
        self._queued_bytes = 0
        self._taken_bytes = 0
        self._files: dict[str, _File] = {}
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

    def write(self, ts_recv: int, frame: bytes, channel: str = "all") -> bool:
        """Queue one frame; False when it was dropped. Never blocks. About 0.5 us."""
        size = len(frame) + ROW_BYTES
        # Each side only ever adds to its own total, so the difference needs no lock.
        backlog = self._queued_bytes - self._taken_bytes
        if self.failure or self._stopping or backlog + size > self._queue_bytes_max:
            self.dropped += 1
            self._log.every(5).error(
                "recording_dropped_frames", dropped=self.dropped, reason=self.failure or "backlog"
            )
            return False
        self._queued_bytes += size
        self.frames += 1
        self._queue.append((ts_recv, frame, channel))
        return True

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Write what is queued and end the files."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            self._log.error("recording_not_finished", queued_frames=len(self._queue))

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._drain()
                self._wake.wait(FLUSH_SECONDS)
            self._drain()
            for file in self._files.values():
                file.close()
            self._unflushed = 0
        except OSError as error:
            self.failure = f"{self._directory}: {error.strerror or error}"
            self.dropped += self._unflushed + len(self._queue)
            self._queue.clear()
            self._log.error("recording_failed", reason=self.failure, dropped=self.dropped)

    def _drain(self) -> None:
        """Write all that is queued and hand it to the kernel."""
        touched = set()
        while self._queue:
            ts_recv, frame, channel = self._queue.popleft()
            self._unflushed += 1
            self._taken_bytes += len(frame) + ROW_BYTES
            # A raw line break inside JSON text can only be blank space between tokens.
            line = b"%d %b\n" % (ts_recv, frame.replace(b"\n", b" ").replace(b"\r", b" "))
            self._file_of(channel, ts_recv).write(line)
            touched.add(channel)
        for channel in touched:
            self._files[channel].flush()
        self._unflushed = 0

    def _file_of(self, channel: str, ts_recv: int) -> _File:
        """Return the channel's open file; a new one when the old is too big or too old."""
        file = self._files.get(channel)
        if file is not None:
            if file.size < self._roll_bytes and ts_recv - file.first_ns < self._roll_ns:
                return file
            file.close()
        path = self._path(channel, ts_recv)
        self.paths.append(path)
        self._files[channel] = file = _File(path, ts_recv)
        return file

    def _path(self, channel: str, first_ns: int) -> Path:
        """Return a new file's name: venue, channel, first frame's time in UTC, and a number."""
        when = datetime.fromtimestamp(first_ns // 1_000_000_000, UTC)
        safe = "".join(c if c.isalnum() else "_" for c in channel)
        while True:
            self._sequence += 1
            name = f"{self._venue}-{safe}-{when:%Y%m%dT%H%M%SZ}-{self._sequence:04d}{SUFFIX}"
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
