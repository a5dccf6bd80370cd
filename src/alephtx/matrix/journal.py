"""The journal: the only truth. Every intent and update is here before it has an effect outside.

One writer (a lock on the directory sees to it), any number of readers (`journal_read`), bytes as in
`journal_format`. Appending is a few stores into mapped memory, so records survive `kill -9` at
once; `durability` says what survives the machine: `process` nothing is promised, `host` all but the
last host_ms, `order` all that was synced before the send. A record either is whole or is a torn end
that the next `open` cuts off and reports.

A side thread makes the next segment ready and finishes the last one (cut, sync, hash); with
background=False `roll` does it. When that fails, or a sync does, nothing is tried again: `failure`
says why and `journal_failed` tells the step to stop new risk. After a failed sync appends return -2
at once; without space for the next segment the rest of this one stays usable for cancels and fills,
and then appends return -2.
"""

import contextlib
import fcntl
import os
import queue
import threading
from pathlib import Path
from typing import Literal, Self

import msgspec
import numpy as np

from alephtx.core.errors import JournalError
from alephtx.core.log import logger
from alephtx.matrix.ahead import AHEAD_BYTES
from alephtx.matrix.journal_append import (
    FULL,
    HALTED,
    J_ADDRESS,
    J_END,
    J_FAILED,
    J_HALTED,
    J_LARGEST,
    J_SEQ,
    UNFIT,
    journal_append,
    journal_failed,
    journal_room,
    make_map,
    null_journal,
)
from alephtx.matrix.journal_format import (
    GRAIN,
    PREVIOUS_AT,
    SYNCED_AT,
    JournalHeader,
    encode_header,
    encode_previous,
    encode_synced,
)
from alephtx.matrix.journal_read import (
    Record,
    Tail,
    file_hash,
    read,
    segment_path,
    tail,
    verify_chain,
)
from alephtx.matrix.journal_recover import Recovered, Repair, recover
from alephtx.matrix.journal_segment import Segment, write_field

__all__ = [
    "FULL",
    "HALTED",
    "KINDS",
    "UNFIT",
    "Journal",
    "JournalHeader",
    "Record",
    "Repair",
    "Tail",
    "journal_append",
    "journal_failed",
    "journal_room",
    "null_journal",
    "read",
    "tail",
    "verify_chain",
]

log = logger("journal")

INTENT, UPDATE, EPOCH, INSTRUMENTS, BALANCES = 1, 2, 3, 4, 5
COMMAND, CLOCK, RECONCILED, STATE, NOTE = 6, 7, 8, 9, 10
KINDS = {
    INTENT: "intent",
    UPDATE: "update",
    EPOCH: "epoch",
    INSTRUMENTS: "instruments",
    BALANCES: "balances",
    COMMAND: "command",
    CLOCK: "clock",
    RECONCILED: "reconciled",
    STATE: "state",
    NOTE: "note",
}

SEGMENT_BYTES = 64 << 20
Durability = Literal["process", "host", "order"]
FRONT_BYTES = {"process": AHEAD_BYTES, "host": AHEAD_BYTES // 16, "order": 0}
"""What is kept writable ahead: every sync writes it, too, so where syncs are many it is little."""


class Journal:
    """The writer of one journal; appends, roll and sync belong to one thread at a time."""

    def __init__(
        self,
        directory: Path,
        header: JournalHeader,
        durability: Durability,
        segment_bytes: int,
    ) -> None:
        """Use `open`."""
        self.directory = directory
        self.header = header
        self.durability = durability
        self.segment_bytes = segment_bytes
        self.map = make_map()
        self.failure = ""
        self.repaired: Repair | None = None
        self._guard = threading.Condition()
        self._lock = -1
        self._number = 0
        self._older_bytes = 0
        self._first_address = 0
        self._synced = 0
        self._segment: Segment | None = None
        self._next: Segment | None = None
        self._jobs: queue.SimpleQueue[tuple[Segment, int, int] | None] = queue.SimpleQueue()
        self._keeper: threading.Thread | None = None

    @classmethod
    def open(
        cls,
        directory: str | Path,
        *,
        header: JournalHeader,
        durability: Durability = "process",
        host_ms: int = 50,
        segment_bytes: int = SEGMENT_BYTES,
        background: bool = True,
    ) -> "Journal":
        """Lock a journal, check every record, cut a torn end off, and start a new segment.

        Raises JournalError when another writer has it, when it belongs to another engine or layout,
        when it is damaged, or when there is no room. About 1 s a GB of old records.
        """
        journal = cls(Path(directory), header, durability, segment_bytes)
        try:
            journal._acquire()
            journal._start(recover(journal.directory, header))
        except OSError as error:
            journal._release()
            raise JournalError(
                f"journal {directory} cannot be opened: {error.strerror}",
                remedy="check space, permissions and the path (node.runs)",
            ) from error
        except JournalError:
            journal._release()
            raise
        if background:
            wait_s = host_ms / 1000 if durability == "host" else None
            journal._keeper = threading.Thread(
                target=journal._keep, args=(wait_s,), name="journal", daemon=True
            )
            journal._keeper.start()
        return journal

    def _acquire(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._lock = os.open(self.directory / "lock", flags, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(
                f"journal {self.directory} is being written by another process",
                remedy="stop that engine, or give this one its own directory",
            ) from None

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _start(self, old: Recovered) -> None:
        """Begin the first segment of this run, behind what earlier runs left."""
        if self.header.epoch == 0:
            self.header = msgspec.structs.replace(self.header, epoch=old.epoch + 1)
        self.repaired, self._number, self._older_bytes = old.repair, old.number, old.record_bytes
        self.map[J_SEQ] = self._synced = old.last_seq
        leftover = self._next_path()
        leftover.unlink(missing_ok=True)  # made ready by an earlier run and never used
        segment = Segment(leftover, self.segment_bytes)
        try:
            self._begin(segment, durable=True)
            if old.number:
                digest = file_hash(segment_path(self.directory, old.number))
                segment.write(PREVIOUS_AT, encode_previous(digest))
        except (OSError, JournalError):
            segment.discard()
            self._segment = None
            raise

    def _next_path(self) -> Path:
        return self.directory / "next"

    def _begin(self, segment: Segment, *, durable: bool) -> None:
        """Give a prepared segment its header and name, and point the map at it."""
        data = encode_header(
            self.header, self._number + 1, int(self.map[J_SEQ]) + 1, self.segment_bytes
        )
        room = self.segment_bytes - len(data)
        if room < GRAIN:
            raise JournalError(
                f"journal segments of {self.segment_bytes} bytes cannot hold a header of "
                f"{len(data)}",
                remedy="use larger segments",
            )
        segment.publish(segment_path(self.directory, self._number + 1), data, durable=durable)
        self._number += 1
        self._segment = segment
        self._first_address = segment.address + len(data)
        self.map[J_ADDRESS] = self._first_address
        self.map[J_END] = segment.address + self.segment_bytes // GRAIN * GRAIN
        self.map[J_LARGEST] = room // GRAIN * GRAIN

    @property
    def last_seq(self) -> int:
        """The seq of the newest record, 0 when there is none."""
        return int(self.map[J_SEQ])

    @property
    def size(self) -> int:
        """Bytes of all records, without headers and unused room."""
        return self._older_bytes + int(self.map[J_ADDRESS]) - self._first_address

    def front(self) -> tuple[int, int]:
        """Return where the next record goes, and how many bytes to keep writable there."""
        address = int(self.map[J_ADDRESS])
        room = int(self.map[J_END]) - address
        return address, 0 if self.halted else min(FRONT_BYTES[self.durability], room)

    @property
    def halted(self) -> bool:
        """True when appends are refused."""
        return bool(self.map[J_HALTED])

    def append(
        self, kind: int, payload: bytes, *, ts: int, version: int = 1, input_seq: int = 0
    ) -> int:
        """Append a record from Python, rolling when needed; returns its seq.

        For the writer's thread, or while that thread does not append.
        """
        words = np.zeros(-(-len(payload) // 8) + 1, np.int64)
        words.view(np.uint8)[: len(payload)] = np.frombuffer(payload, np.uint8)
        row = (kind, version, input_seq, ts, words.ctypes.data, len(payload))
        seq = int(journal_append(self.map, *row))
        if seq == FULL:
            self.roll()
            seq = int(journal_append(self.map, *row))
        if seq == HALTED:
            raise JournalError(
                f"journal {self.directory} is halted: {self.failure or 'it was closed'}",
                remedy="cancel what is open, mend the disk and start again",
            )
        if seq < 0:
            raise JournalError(
                f"a record of kind {kind} version {version} with {len(payload)} bytes does not fit "
                f"a segment of {self.segment_bytes} bytes",
                remedy="use larger segments, or split the record",
            )
        return seq

    def roll(self) -> None:
        """Go on in the next segment; JournalError (and halted) when there is none."""
        with self._guard:
            old = self._segment
            if old is None or self.halted:
                raise JournalError(f"journal {self.directory} is halted: {self.failure}")
            if self._keeper is None:
                self._prepare()
            self._guard.wait_for(lambda: self._next is not None or self.failure)
            following = self._next
            if following is None or self.failure:
                self._halt()
                raise JournalError(
                    f"journal {self.directory} is halted: {self.failure}",
                    remedy="cancel what is open, make room and start again",
                )
            job = (old, int(self.map[J_ADDRESS]) - old.address, self.last_seq)
            self._older_bytes = self.size
            try:
                if self.durability != "process":
                    old.sync()  # or the next segment could be on disk before the end of this one
                self._begin(following, durable=self.durability != "process")
            except OSError as error:
                self._fail(f"the next segment could not be started: {error.strerror}", halt=True)
                raise JournalError(f"journal {self.directory} is halted: {self.failure}") from error
            self._next = None
        if self._keeper is None:
            self._finish(job)
        else:
            self._jobs.put(job)

    def sync(self) -> None:
        """Bring every record so far to the disk; JournalError (and halted) when that fails.

        With durability `order` the engine calls it before a send: about 0.1 to 5 ms, the disk's.
        """
        with self._guard:
            segment, seq = self._segment, self.last_seq
            if segment is None or seq == self._synced:
                return
            descriptor = os.dup(segment.descriptor)  # a roll may close the other one meanwhile
        try:
            os.fdatasync(descriptor)
            with self._guard:
                if self._segment is segment:  # else it is finished, and hashed as it stands
                    segment.write(SYNCED_AT, encode_synced(seq))
        except OSError as error:
            self._fail(f"a sync failed: {error.strerror}", halt=True)
            raise JournalError(
                f"journal {self.directory} is halted: {self.failure}",
                remedy="what was appended since the last sync may not survive; check the disk",
            ) from error
        finally:
            os.close(descriptor)
        self._synced = max(self._synced, seq)

    def _halt(self) -> None:
        self.map[J_HALTED] = 1

    def _fail(self, reason: str, *, halt: bool) -> None:
        """Remember the first failure, and tell the step; nothing is tried again."""
        with self._guard:
            self.failure = self.failure or reason
            self.map[J_FAILED] = 1
            if halt:
                self._halt()
            self._guard.notify_all()
        log.error("journal_failed", directory=self.directory, reason=reason, halted=halt)

    def _prepare(self) -> None:
        """Make the next segment ready."""
        if self.failure:
            return
        made = None
        try:
            made = Segment(self._next_path(), self.segment_bytes)
        except OSError as error:
            self._fail(f"no room for the next segment: {error.strerror}", halt=False)
        with self._guard:
            self._next = made
            self._guard.notify_all()

    def _finish(self, job: tuple[Segment, int, int]) -> None:
        """Cut a full segment, bring it to the disk, and state its hash in the one after it."""
        segment, used, last_seq = job
        try:
            segment.finish(used, last_seq)
            number = int(segment.path.stem) + 1
            digest = file_hash(segment.path)
            write_field(segment_path(self.directory, number), PREVIOUS_AT, encode_previous(digest))
        except OSError as error:
            self._fail(f"{segment.path.name} could not be finished: {error.strerror}", halt=True)

    def _keep(self, wait_s: float | None) -> None:
        """Run the side thread: prepare, finish, and with durability `host` sync now and then."""
        self._prepare()
        while True:
            try:
                job = self._jobs.get(timeout=wait_s)
            except queue.Empty:
                with contextlib.suppress(JournalError):  # said through `failure` and the log
                    self.sync()
                if self.failure:
                    wait_s = None
                continue
            if job is None:
                return
            self._prepare()
            self._finish(job)

    def close(self) -> None:
        """Finish the last segment, mark it as complete, and let go of the lock."""
        if self._keeper is not None:
            self._jobs.put(None)
            self._keeper.join()
            self._keeper = None
        self._halt()
        segment, self._segment = self._segment, None
        try:
            if self._next is not None:
                self._next.discard()
                self._next = None
            if segment is not None:
                used = int(self.map[J_ADDRESS]) - segment.address
                segment.finish(used, 0 if self.failure else self.last_seq)
        except OSError as error:
            raise JournalError(
                f"journal {self.directory} could not be closed: {error.strerror}",
                remedy="check the disk; the next start cuts what is incomplete",
            ) from error
        finally:
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
