"""Replay of recordings: `<receive ns> <raw JSON>` lines, in order of receive time, on one clock.

A `Track` merges the recordings of one venue. Lines before its origin prime the venue's books and
are not published; the line at the origin is due at `start_at`. Tracks that share origin and end
(all recordings of one day) stay on one clock through every loop. At n-fold speed only the spacing
shrinks: times inside the messages are always restamped to now by the venue.
"""

import asyncio
import gzip
import heapq
import io
import lzma
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import zstandard

from alephtx.core.clock import Clock
from alephtx.core.errors import SimulationError

YIELD_EVERY = 64  # lines fed at one go before other tasks may run
COARSE_NS = 500_000  # a line due within this time is fed at once: timers are no finer

_OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": lambda path: gzip.open(path, "rb"),  # noqa: SIM115 - `lines` closes it
    ".xz": lambda path: lzma.open(path, "rb"),  # noqa: SIM115
    ".zst": lambda path: io.BufferedReader(
        zstandard.ZstdDecompressor().stream_reader(path.open("rb"), closefd=True), 1 << 20
    ),
}


class Recording(msgspec.Struct, frozen=True):
    """One file of a recording and the channel its lines belong to, e.g. a symbol."""

    path: Path
    channel: str

    def lines(self) -> Iterator[tuple[int, str, bytes]]:
        """Yield (receive ns, channel, raw JSON); SimulationError names a line that is no such."""
        opener = _OPENERS.get(self.path.suffix)
        last = 0
        with opener(self.path) if opener else self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    raise SimulationError(
                        f"{self.path.name}:{number}: the recording ends within a line",
                        remedy="its file was cut; get it anew",
                    )
                stamp, _, raw = line.rstrip(b"\n").partition(b" ")
                if not stamp.isdigit() or len(stamp) > 19 or not raw:
                    raise SimulationError(
                        f"{self.path.name}:{number}: not `<receive ns> <raw JSON>`: {line[:60]!r}"
                    )
                if int(stamp) < last:
                    raise SimulationError(f"{self.path.name}:{number}: receive time goes back")
                last = int(stamp)
                yield last, self.channel, raw


class Sink(Protocol):
    """Who takes the lines: a venue twin."""

    def prime(self, channel: str, raw: bytes) -> None:
        """Take a line before the origin: state only, nothing is published."""
        ...

    def feed(self, channel: str, raw: bytes, now_ns: int) -> None:
        """Take a line that is due now."""
        ...

    def seam(self) -> None:
        """Forget the market's state and cut the market links: the recording starts again."""
        ...

    def congested(self) -> bool:
        """Say whether clients lag so far that a replay without pacing must wait."""
        ...


class Track(msgspec.Struct):
    """The recordings of one venue between two times of their common clock."""

    sink: Sink
    recordings: list[Recording]
    origin_ns: int
    end_ns: int

    def lines(self) -> Iterator[tuple[int, str, bytes]]:
        """Yield the lines of all recordings up to the end, by receive time."""
        merged = heapq.merge(*(r.lines() for r in self.recordings), key=lambda line: line[0])
        for line in merged:
            if line[0] > self.end_ns:
                return
            yield line


class Replay:
    """Feed one track to its sink in real time, n times faster, or as fast as it goes (speed 0)."""

    def __init__(
        self, track: Track, clock: Clock, *, start_at_ns: int, speed: float = 1.0, loop: bool = True
    ) -> None:
        if speed < 0:
            raise SimulationError(f"speed {speed} is negative", remedy="0 means without pacing")
        self.track = track
        self.clock = clock
        self.start_at_ns = start_at_ns
        self.speed = speed
        self.loop = loop
        self.fed = 0
        self.laps = 0
        self.lag_ns_max = 0
        self.finished = asyncio.Event()
        self._lines: Iterator[tuple[int, str, bytes]] = iter(())
        self._first: tuple[int, str, bytes] | None = None

    def prime(self) -> None:
        """Bring the sink's books to the origin of the recording."""
        self._lines = self.track.lines()
        for line in self._lines:
            if line[0] >= self.track.origin_ns:
                self._first = line
                return
            self.track.sink.prime(line[1], line[2])
        self._first = None

    async def run(self) -> None:
        """Replay until the end, or for ever when looping. `prime` must have been called."""
        begin = self.start_at_ns
        while True:
            await self._lap(begin)
            self.laps += 1
            if not self.loop:
                self.finished.set()
                return
            if self.speed:
                begin += int((self.track.end_ns - self.track.origin_ns) / self.speed)
                await self.clock.sleep(begin - self.clock.now())
            self.track.sink.seam()
            self.prime()
            await self.clock.sleep(0)

    async def _lap(self, begin_ns: int) -> None:
        if self._first is None:
            raise SimulationError("the recording has no line at or after its origin")
        sink, clock, origin = self.track.sink, self.clock, self.track.origin_ns
        line: tuple[int, str, bytes] | None = self._first
        unyielded = 0
        while line is not None:
            stamp, channel, raw = line
            now = clock.now()
            if self.speed:
                due = begin_ns + int((stamp - origin) / self.speed)
                if due > now + COARSE_NS:
                    await clock.sleep(due - now)
                    unyielded, now = 0, clock.now()
                self.lag_ns_max = max(self.lag_ns_max, now - due)
            unyielded += 1
            if unyielded >= YIELD_EVERY:
                unyielded = 0
                await clock.sleep(0)
                while not self.speed and sink.congested():
                    await clock.sleep(1_000_000)
            sink.feed(channel, raw, now)
            self.fed += 1
            line = next(self._lines, None)


_STAMP = re.compile(rb'"([ET])":(\d{13})')


def restamp(raw: bytes, now_ms: int) -> bytes:
    """Overwrite the 13-digit E and T times of a message so that its newest one reads now_ms.

    The distance between E and T stays as recorded; the length never changes.
    """
    stamps = [int(match[2]) for match in _STAMP.finditer(raw)]
    if not stamps:
        return raw
    shift = now_ms - max(stamps)
    return _STAMP.sub(lambda match: b'"%b":%d' % (match[1], int(match[2]) + shift), raw)
