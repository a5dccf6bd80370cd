"""Files of text, packed or not, as blocks of whole lines; a damage ends them, never silently.

gzip, zstd, xz and zip are unpacked piece by piece, so that all that stands before a damage is read:
a block of a packer is lost with it (gzip: some hundred bytes, zstd and xz: up to their block).
"""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

from alephtx.store.damage import DataError
from alephtx.store.reading import Reading

BLOCK_BYTES = 1 << 20
LINE_BYTES_MAX = 64 << 20
_PIECES = {".gz": 512, ".zst": 1 << 15, ".xz": 1 << 12}
_MAGICS = {
    b"\x1f\x8b": ".gz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"\xfd7zXZ\x00": ".xz",
    b"PK\x03\x04": ".zip",
}
_ERRORS = (zlib.error, zstandard.ZstdError, lzma.LZMAError, EOFError, OSError, zipfile.BadZipFile,
           NotImplementedError, RuntimeError, ValueError)  # fmt: skip


def packing(path: Path) -> str:
    """Return how a file is packed by its first bytes: .gz, .zst, .xz, .zip or ""."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", remedy="name a file") from error
    return next((name for magic, name in _MAGICS.items() if head.startswith(magic)), "")


def _unpacker(name: str) -> Any:
    if name == ".gz":
        return zlib.decompressobj(wbits=31)
    if name == ".zst":
        return zstandard.ZstdDecompressor().decompressobj()
    return lzma.LZMADecompressor()


def _unpacked(name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a packed file of one or more parts; raise one of _ERRORS at a damage."""
    unpacker = _unpacker(name)
    begun = False
    for piece in pieces:
        left = piece
        while left:
            if unpacker.eof:
                unpacker, begun = _unpacker(name), False
                if name == ".gz" and not left.strip(b"\0"):
                    break  # padding behind the last part, as tapes have it
            data = unpacker.decompress(left)
            begun = True
            if data:
                yield data
            left = unpacker.unused_data if unpacker.eof else b""
    if begun and not unpacker.eof:
        raise EOFError("the packed data ends early")


def pieces_of(path: Path, reading: Reading) -> Iterator[bytes]:
    """Yield a file's unpacked bytes; a damage is told to the reading and ends them."""
    name = packing(path)
    done = 0
    try:
        if name == ".zip":
            yield from _zip_member(path, reading)
            return
        with path.open("rb") as file:

            def raw() -> Iterator[bytes]:
                nonlocal done
                size = _PIECES.get(name, BLOCK_BYTES)
                while piece := file.read(size):
                    done += len(piece)
                    if done % BLOCK_BYTES < size:
                        reading.advance(done, reading.size)
                    yield piece

            yield from _unpacked(name, raw()) if name else raw()
    except _ERRORS as error:
        where = f" at byte {done:,} of {reading.size:,}" if name and done else ""
        reading.damaged(0, "", f"not readable any further{where}: {error}")
    reading.advance(reading.size, reading.size)


def _zip_member(path: Path, reading: Reading) -> Iterator[bytes]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if len(names) != 1:
            reading.note(f"{len(names)} files inside; only the first is read")
        if not names:
            raise zipfile.BadZipFile("nothing inside")
        with archive.open(names[0]) as member:
            while piece := member.read(1 << 14):
                yield piece
    reading.advance(reading.size, reading.size)


def line_blocks(path: Path, reading: Reading) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first line, from 1; block of whole lines, each with its line end).

    A last line without one is given one; in a plain file nobody can tell whether it was cut, so a
    note says so.
    """
    number, parts, size = 1, [], 0
    pieces = pieces_of(path, reading)
    while True:
        told = reading.damages.count  # those that read the rows tell of damages, too
        piece = next(pieces, None)
        if piece is None:
            broken = reading.damages.count > told
            break
        parts.append(piece)
        size += len(piece)
        if size < BLOCK_BYTES:
            continue
        whole = b"".join(parts)
        cut = whole.rfind(b"\n") + 1
        if cut:
            yield number, whole[:cut]
            number += whole.count(b"\n", 0, cut)
        elif len(whole) > LINE_BYTES_MAX:
            reading.damaged(number, "", f"a line of more than {LINE_BYTES_MAX} bytes")
            return
        parts, size = [whole[cut:]], len(whole) - cut
    whole = b"".join(parts)
    cut = whole.rfind(b"\n") + 1
    if cut:
        yield number, whole[:cut]
        number += whole.count(b"\n", 0, cut)
    rest = whole[cut:]
    if rest and not broken:
        if not packing(path):  # what is packed has checksums
            reading.note("the last row has no line end; if the file was cut, it may be incomplete")
        yield number, rest + b"\n"
    elif rest:
        reading.damaged(number, "", "the row stops where the damage is")


def head_of(path: Path, size: int = 1 << 16) -> bytes:
    """Return the first unpacked bytes of a file, b"" when there are none; never an error."""
    found = b""
    try:
        for piece in pieces_of(path, Reading(path)):
            found += piece
            if len(found) >= size:
                break
    except DataError:
        return b""
    return found[:size]


def first_fields(path: Path) -> list[str]:
    """Return the fields of the first line of a table; DataError when there is no line."""
    lines = first_lines(path, 1)
    if not lines:
        raise DataError(f"{path} has no line to read", remedy="is it the right file?")
    return lines[0].split(",")


def first_lines(path: Path, count: int = 2, size: int = 1 << 16) -> list[str]:
    """Return the first lines of a text file, fewer when it has fewer; never an error."""
    text = head_of(path, size).decode("utf-8", "replace")
    return text.splitlines()[:count]
