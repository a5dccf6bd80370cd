"""Where a sweep keeps what it found: one line an outcome, each with a digest of its own.

A line is appended and made durable before the sweep counts it. A line that a crash cut is dropped
at the next opening; one that was damaged is counted and its set runs again; of two lines with one
id the first counts. One process at a time may hold a folder.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import msgspec

from alephtx.core.errors import ConfigError
from alephtx.lab.trial import Outcome

_DIGEST = 16


class Store:
    """An open folder of results; use it in a `with`. damaged: lines that could not be believed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "results.jsonl"
        self.found: dict[str, Outcome] = {}
        self.damaged = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise ConfigError(f"cannot open {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise ConfigError(
                f"{folder} is in use by another sweep", remedy="wait for it to end"
            ) from None
        self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def _read(self) -> None:
        text = self.path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            os.ftruncate(self._file, whole)
        for line in text[:whole].splitlines():
            outcome = _decode(line)
            if outcome is None:
                self.damaged += 1
            else:
                self.found.setdefault(outcome.id, outcome)
        self._length = whole

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Append outcomes that are not there yet; all of them or, on a full disk, none."""
        fresh: dict[str, Outcome] = {}
        for outcome in outcomes:
            if outcome.id not in self.found:
                fresh.setdefault(outcome.id, outcome)
        lines = b"".join(map(_encode, fresh.values()))
        try:
            view = memoryview(lines)
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._length)
            raise ConfigError(
                f"cannot write {self.path}: {error.strerror}",
                remedy="make room; --resume goes on with what is there",
            ) from error
        self._length += len(lines)
        self.found.update(fresh)


def _encode(outcome: Outcome) -> bytes:
    body = msgspec.json.encode(outcome)
    return hashlib.blake2b(body, digest_size=_DIGEST).hexdigest().encode() + b" " + body + b"\n"


def _decode(line: bytes) -> Outcome | None:
    digest, _, body = line.partition(b" ")
    if hashlib.blake2b(body, digest_size=_DIGEST).hexdigest().encode() != digest:
        return None
    try:
        found: Any = msgspec.json.decode(body, type=Outcome)
    except msgspec.MsgspecError:
        return None  # of another version
    return found
