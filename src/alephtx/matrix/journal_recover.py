"""What a start does with the journal of earlier starts: believe it record by record, or refuse."""

import os
from pathlib import Path
from typing import NamedTuple

from alephtx.core.errors import JournalError
from alephtx.core.log import logger
from alephtx.matrix.journal_format import (
    PREVIOUS_AT,
    SYNCED_AT,
    JournalHeader,
    check_successor,
    encode_previous,
    encode_synced,
)
from alephtx.matrix.journal_read import (
    Walk,
    file_hash,
    list_segments,
    read_header,
    segment_path,
    walk_segment,
)
from alephtx.matrix.journal_segment import write_field

log = logger("journal")


class Repair(NamedTuple):
    """What had to be cut off the end of the journal."""

    path: Path
    torn_bytes: int
    lost_records: int  # only ever more than 0 after a crash of the whole machine


class Recovered(NamedTuple):
    """What earlier starts left."""

    number: int  # of the last segment, 0 = none
    last_seq: int
    record_bytes: int
    epoch: int  # of the last start, 0 = none
    repair: Repair | None


def recover(directory: Path, header: JournalHeader) -> Recovered:
    """Check every record of every segment, cut a torn end, fill in hashes that are missing.

    JournalError when the journal is damaged or may not be continued by this header. The caller
    holds the lock.
    """
    paths = list_segments(directory)
    number, seq, record_bytes, epoch, repair = 0, 1, 0, 0, None
    for path in paths:
        found = read_header(path)
        last = path == paths[-1]
        if last:
            check_successor(found, header, str(path))
        if found.first_seq != seq:
            raise JournalError(
                f"{path} starts at record {found.first_seq}, but {seq} comes next",
                remedy="records are missing before it; restore the segments from a copy",
            )
        walk = walk_segment(path, found, repair=last)
        if walk.torn_bytes:
            repair = _report(path, walk, last=last)
        if found.previous is None and number:
            digest = file_hash(segment_path(directory, number))
            write_field(path, PREVIOUS_AT, encode_previous(digest))
        if last or path.stat().st_size > walk.end:
            _settle(path, walk)
        number, seq, epoch = found.number, walk.next_seq, found.header.epoch
        record_bytes += walk.end - found.header_bytes
    return Recovered(number, seq - 1, record_bytes, epoch, repair)


def _report(path: Path, walk: Walk, *, last: bool) -> Repair:
    if not last:
        raise JournalError(
            f"{path}: junk follows record {walk.next_seq - 1}, and a later segment exists",
            remedy="restore the segment from a copy",
        )
    log.warning(
        "journal_end_cut",
        path=path,
        bytes=walk.torn_bytes,
        lost_records=walk.lost_records,
        last_seq=walk.next_seq - 1,
    )
    return Repair(path, walk.torn_bytes, walk.lost_records)


def _settle(path: Path, walk: Walk) -> None:
    """Cut a segment behind its last good record, and mark the rest as being on disk."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, walk.end)
        os.fdatasync(descriptor)
        os.pwrite(descriptor, encode_synced(walk.next_seq - 1), SYNCED_AT)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
