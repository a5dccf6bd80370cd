"""Raw recordings: `<receive ns> <raw JSON>` lines, plain, gzip, zstd or xz.

The dialect is a venue's; whoever composes the rooms hands in what decodes it (`engine.ingest`), so
that a recording goes through the very codec that trades.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from alephtx.store.lines import first_lines, line_blocks
from alephtx.store.reading import Reading, Rows, Stream

FLUSH_ROWS = 1 << 17
STAMP_MAX = (1 << 63) - 1


class Decoder(Protocol):
    """Turns the frames of one recording into messages of its instruments."""

    @property
    def waiting(self) -> int:
        """Rows that `flush` would yield, about."""
        ...

    def take(self, stamp: int, frame: bytes) -> str:
        """Decode one frame; return what is wrong with it, "" when nothing is."""
        ...

    def flush(self) -> Stream:
        """Yield what was decoded since the last call."""
        ...

    def finish(self) -> Stream:
        """Yield what waited for something that never came."""
        ...


class RawImporter:
    """Reads recordings; make_decoder(path, reading) looks into the file for venue and symbols."""

    name = "raw"

    def __init__(self, make_decoder: Callable[[Path, Reading], Decoder]) -> None:
        self._make_decoder = make_decoder

    def sniff(self, path: Path) -> bool:
        """Say whether the first line is a stamp and a JSON object."""
        lines = first_lines(path, 1)
        stamp, _, frame = lines[0].partition(" ") if lines else ("", "", "")
        return stamp.isdecimal() and 13 <= len(stamp) <= len(str(STAMP_MAX)) and frame[:1] == "{"

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield messages in the order of arrival; the file is read twice, first for its symbols."""
        decoder = self._make_decoder(path, reading)
        take = decoder.take
        for first, block in line_blocks(path, reading):
            for number, line in enumerate(block.split(b"\n")[:-1], first):
                stamp, _, frame = line.partition(b" ")
                if not frame or not _is_stamp(stamp):
                    reading.damaged(number, "", f"not `<receive ns> <raw JSON>`: {line[:60]!r}")
                    continue
                problem = take(int(stamp), frame)
                if problem:
                    reading.damaged(number, "frame", problem)
            if decoder.waiting > FLUSH_ROWS:
                yield from decoder.flush()
        yield from decoder.flush()
        yield from decoder.finish()


def _is_stamp(text: bytes) -> bool:
    """Say whether a word of ns can hold it; 19 digits can say more."""
    return text.isdigit() and len(text) <= len(str(STAMP_MAX)) and int(text) <= STAMP_MAX


def split_by_instrument(rows: Rows) -> list[tuple[int, Rows]]:
    """Return (instrument, its rows) of rows that are of several instruments, in order."""
    if not len(rows):
        return []
    numbers = rows["instrument"]
    if (numbers == numbers[0]).all():
        return [(int(numbers[0]), rows)]
    return [(int(i), rows[numbers == i]) for i in sorted(set(numbers.tolist()))]
