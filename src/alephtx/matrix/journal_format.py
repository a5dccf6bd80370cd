"""The bytes of a journal: segment header, record layout, and the kernels that judge records.

A journal is a directory of segments `00000001.seg`, `00000002.seg`... A segment is a header and
then records of n x 64 bytes, little-endian:

    0  head       payload bytes 32 bits | kind 16 | version 16; stored last, so 0 = no record here
    8  crc32c     32 bits, over the whole record but these four bytes | 32 bits of zero
    16 seq        dense from 1 over all segments
    24 input_seq  the engine's input that caused it, 0 = none
    32 ts         ns since the epoch
    40 payload    padded with zeros

The header's first 128 bytes and its JSON are under its own crc and never change. Behind them stand
two words about the file that are written later: the SHA-256 of the previous segment (with a crc),
and the last seq known to be on disk (with its complement).
"""

import hashlib
import struct
import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from alephtx.core import records
from alephtx.core.atomics import load_relaxed
from alephtx.core.errors import ConfigError, JournalError, UnitError
from alephtx.core.instruments import Instruments
from alephtx.core.kernel import kernel
from alephtx.matrix.crc32c import START, crc32c, crc_word, crc_words

assert sys.byteorder == "little", "journals are little-endian and written by memory stores"

SCHEMA_VERSION = 1
MAGIC = b"AXJOURN1"
RECORD_HEADER = 40
GRAIN = 64
PAGE = 4096

# Bytes of a segment's header: what is fixed, where the JSON starts, and what is written later.
_FIXED = struct.Struct("<8sIIQQQII32sI")  # up to and without the crc at 84
_CRC_AT, _BOOT_AT, _FIXED_END, _META_AT = 84, 88, 128, 256
PREVIOUS_AT, SYNCED_AT = 128, 192

BAD_END, BAD_SHORT, BAD_RECORD, BAD_SEQ = 0, -1, -2, -3
"""What `record_check` returns in place of a size."""


class JournalHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Whose journal it is, and the tables that its records are to be read with.

    instruments: `Instruments.to_json()`. accounts: JSON list of names by index. Both only ever
    grow. epoch: this start's number, 0 = the one after the journal's last.
    """

    node: str
    engine: int
    instruments: bytes
    accounts: bytes = b"[]"
    epoch: int = 0


class _Meta(msgspec.Struct, frozen=True):
    node: str
    accounts: list[str]
    instruments: msgspec.Raw


class SegmentHeader(NamedTuple):
    """What a segment says of itself."""

    header: JournalHeader
    number: int
    first_seq: int
    header_bytes: int
    segment_bytes: int
    layout: bytes
    boot: bytes
    previous: bytes | None  # SHA-256 of the segment before; None until it was worked out
    synced_seq: int  # the last record known to be on disk, 0 = not known


_ONCE_SPARE = {"ts_sent": "reserved", "nonce": "spare"}
"""Words of INTENT that were named later: earlier journals have zeros there, and mean the same."""


def layout_hash() -> bytes:
    """Return the SHA-256 of the layouts of the rows that journals hold, INTENT and UPDATE."""
    parts = []
    for row in (records.INTENT, records.UPDATE):
        assert row.fields is not None
        parts += [f"{_ONCE_SPARE.get(n, n)} {f[0].str} {f[1]}" for n, f in row.fields.items()]
    return hashlib.sha256("\n".join(parts).encode()).digest()


def boot_id() -> bytes:
    """Return 16 bytes that change with every start of the machine; zeros where there is no id."""
    path = Path("/proc/sys/kernel/random/boot_id")
    text = path.read_text(encoding="ascii") if path.exists() else "0" * 32
    return bytes.fromhex(text.strip().replace("-", ""))


def encode_header(header: JournalHeader, number: int, first_seq: int, segment_bytes: int) -> bytes:
    """Return a segment's header, padded to whole pages."""
    accounts = _account_names(header.accounts, "the new header")
    meta = msgspec.json.encode(_Meta(header.node, accounts, msgspec.Raw(header.instruments)))
    size = -(-(_META_AT + len(meta)) // PAGE) * PAGE
    fixed = _FIXED.pack(
        MAGIC,
        SCHEMA_VERSION,
        size,
        number,
        first_seq,
        segment_bytes,
        header.engine,
        header.epoch,
        layout_hash(),
        len(meta),
    )
    boot = boot_id().ljust(_FIXED_END - _BOOT_AT, b"\0")
    crc = struct.pack("<I", crc32c(fixed + boot + meta))
    return (fixed + crc + boot).ljust(_META_AT, b"\0").__add__(meta).ljust(size, b"\0")


def decode_header(data: bytes, name: str) -> SegmentHeader:
    """Read a segment's header from the start of its file; JournalError when it is not one."""
    if data[:8] != MAGIC:
        raise JournalError(
            f"{name}: not a journal segment (it starts with {data[:8]!r})",
            remedy="move the file away, or restore the segment from a copy",
        )
    cut = JournalError(
        f"{name}: the header is cut or damaged ({len(data)} bytes)",
        remedy="restore the segment from a copy; its records cannot be trusted without it",
    )
    if len(data) < _META_AT:
        raise cut
    _, schema, size, number, first_seq, segment_bytes, engine, epoch, layout, meta_bytes = (
        _FIXED.unpack_from(data)
    )
    if schema != SCHEMA_VERSION:
        raise JournalError(
            f"{name}: journal schema {schema}, this version reads {SCHEMA_VERSION}",
            remedy="read it with the version that wrote it, or give the engine a new directory",
        )
    meta = data[_META_AT : _META_AT + meta_bytes]
    (crc,) = struct.unpack_from("<I", data, _CRC_AT)
    covered = data[:_CRC_AT] + data[_BOOT_AT:_FIXED_END] + meta
    if len(meta) != meta_bytes or len(data) < size or crc32c(covered) != crc:
        raise cut
    try:
        told = msgspec.json.decode(meta, type=_Meta)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalError(f"{name}: the header's tables do not parse: {error}") from error
    synced, complement = struct.unpack_from("<qq", data, SYNCED_AT)
    return SegmentHeader(
        JournalHeader(
            node=told.node,
            engine=engine,
            epoch=epoch,
            instruments=bytes(told.instruments),
            accounts=msgspec.json.encode(told.accounts),
        ),
        number,
        first_seq,
        size,
        segment_bytes,
        layout,
        data[_BOOT_AT : _BOOT_AT + 16],
        _decode_previous(data, name),
        synced if synced == ~complement else 0,
    )


def encode_previous(digest: bytes) -> bytes:
    """Return the field that holds the previous segment's SHA-256."""
    return digest + struct.pack("<II", crc32c(digest), 1)


def encode_synced(seq: int) -> bytes:
    """Return the field that holds the last seq on disk."""
    return struct.pack("<qq", seq, ~seq)


def _decode_previous(data: bytes, name: str) -> bytes | None:
    digest = data[PREVIOUS_AT : PREVIOUS_AT + 32]
    crc, state = struct.unpack_from("<II", data, PREVIOUS_AT + 32)
    if state == 0 and crc == 0:
        return None
    if state != 1 or crc32c(digest) != crc:
        raise JournalError(
            f"{name}: the hash of the previous segment is damaged",
            remedy="restore the segment from a copy",
        )
    return digest


def check_successor(old: SegmentHeader, new: JournalHeader, name: str) -> None:
    """Refuse a header that may not continue a journal: another engine, rows or re-used indices."""
    was = old.header
    if old.layout != layout_hash():
        raise JournalError(
            f"{name}: its rows have another layout than this version's",
            remedy="read it with the version that wrote it, or give the engine a new directory",
        )
    if (was.node, was.engine) != (new.node, new.engine):
        raise JournalError(
            f"{name}: the journal belongs to node {was.node!r} engine {was.engine}, "
            f"not to node {new.node!r} engine {new.engine}",
            remedy="give this engine its own directory",
        )
    if 0 < new.epoch < was.epoch:
        raise JournalError(
            f"{name}: epoch {new.epoch} is before the journal's {was.epoch}",
            remedy="the epoch must grow with every start; restore the epoch file",
        )
    accounts = _account_names(was.accounts, name)
    after = _account_names(new.accounts, "the new header")
    if after[: len(accounts)] != accounts:
        raise JournalError(
            f"{name}: accounts {accounts} became {after}",
            remedy="accounts are only ever added at the end, because records name them by index",
        )
    _check_instruments(was.instruments, new.instruments, name)


def _account_names(accounts: bytes, name: str) -> list[str]:
    try:
        return msgspec.json.decode(accounts, type=list[str])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalError(f"{name}: the account table is no list of names: {error}") from error


def _check_instruments(old: bytes, new: bytes, name: str) -> None:
    try:
        was, now = Instruments.from_json(old), Instruments.from_json(new)
    except (msgspec.DecodeError, UnicodeDecodeError, ConfigError, UnitError) as error:
        raise JournalError(f"{name}: an instrument table does not parse: {error}") from error
    for index, instrument in enumerate(was):
        after: Any = now[index] if index < len(now) else None
        kept = ("key", "contract", "price_scale", "qty_scale", "settle", "contract_value")
        changed = [f for f in kept if getattr(instrument, f) != getattr(after, f, None)]
        if changed:
            raise JournalError(
                f"{name}: instrument {index} {instrument.key} changed its {', '.join(changed)}",
                remedy="instruments are only ever added at the end; list a changed one anew",
            )
    if now.currencies[: len(was.currencies)] != was.currencies:
        raise JournalError(f"{name}: the currencies of the instrument table were re-ordered")


@kernel
def record_check(address: int, available: int, seq: int) -> int:
    """Return the size of the good record number seq at an address, else one of the BAD_ codes.

    BAD_END: nothing was written here. BAD_SHORT: the memory ends before the record. BAD_RECORD: its
    crc or its form is wrong. BAD_SEQ: a good record, but not the one that belongs here.
    """
    if available < GRAIN:
        return BAD_SHORT
    head = load_relaxed(address)
    if head == 0:
        return BAD_END
    payload = head & 0xFFFFFFFF
    if (head >> 32) & 0xFFFF == 0:
        return BAD_RECORD
    size = (RECORD_HEADER + payload + GRAIN - 1) // GRAIN * GRAIN
    if size > available:
        return BAD_SHORT
    second = load_relaxed(address + 8)
    crc = crc_word(crc_word(START, head), (second >> 32) << 32)
    crc = crc_words(crc, address + 16, (size - 16) // 8) ^ START
    if crc != second & 0xFFFFFFFF:
        return BAD_RECORD
    return size if load_relaxed(address + 16) == seq else BAD_SEQ


@kernel
def records_scan(address: int, end: int, seq: int, out: np.ndarray[Any, Any]) -> int:
    """Walk the records from an address to an end, the first being number seq.

    out: int64 (2,): bytes of good records, seq expected next. Returns the code that ended the walk.
    """
    offset = 0
    code = 1
    while code > 0:
        code = record_check(address + offset, end - address - offset, seq)
        if code > 0:
            offset += code
            seq += 1
    out[0], out[1] = offset, seq
    return code


@kernel
def record_after(address: int, end: int, seq: int) -> int:
    """Return the distance to a good record numbered seq or later behind an address, or -1."""
    offset = 0
    while end - address - offset >= GRAIN:
        found = load_relaxed(address + offset + 16)
        # Only a number that could stand here is worth a checksum.
        if (
            found >= seq
            and found <= seq + (end - address) // GRAIN
            and record_check(address + offset, end - address - offset, found) > 0
        ):
            return offset
        offset += GRAIN
    return -1


@kernel
def last_word(address: int, end: int) -> int:
    """Return the bytes from an address to the end of the last word that is not zero; 0 = none."""
    at = end - 8
    while at >= address:
        if load_relaxed(at) != 0:
            return at + 8 - address
        at -= 8
    return 0
