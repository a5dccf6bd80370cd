"""`compact`: the small files of an instrument's days as one file each, nothing else changed.

Files of a day that follow one another and tell the same kinds of rows are written as one, with the
GAP rows between them. The new file says which files it stands for; the moment it has its name those
are no part of the catalogue any more, whether they are gone by then or not. So a process that is
killed at any moment leaves the old files or the new one, and what it left lying is swept up by the
next run. Before that moment the new file is read back and compared.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alephtx.store.catalogue import (
    GROUP_ROWS,
    WHOLE,
    Catalogue,
    Draft,
    read_rows,
    renumber,
    rows_in_turn,
)
from alephtx.store.damage import DataError
from alephtx.store.lanes import Lane, Piece
from alephtx.store.reading import Rows


class Compacted(msgspec.Struct, frozen=True):
    """One file that was made of several."""

    instrument: str
    path: str
    files: int
    rows: int
    bytes_before: int
    bytes_after: int


def compact(
    catalogue: Catalogue, key: str, advance: Callable[[int, int], None] = lambda done, whole: None
) -> list[Compacted]:
    """Compact an instrument; advance is told bytes of the old files."""
    sweep(catalogue, key)
    lanes, _ = catalogue.lanes(key)
    groups = [group for lane in lanes for group in _groups(lane)]
    whole = sum(piece.path.stat().st_size for group in groups for piece in group)
    made, done = [], 0
    for group in groups:
        before = sum(piece.path.stat().st_size for piece in group)
        path, rows = _merge(group, lambda part, at=done, of=before: advance(  # type: ignore[misc]
            at + int(part * of), whole))  # fmt: skip
        done += before
        made.append(Compacted(key, str(path), len(group), rows, before, path.stat().st_size))
    return made


def sweep(catalogue: Catalogue, key: str) -> None:
    """Remove what a run that was killed left: files that others stand for, and drafts."""
    for path in catalogue.replaced(key):
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in catalogue.files(key)}:
        for draft in folder.glob(f".{WHOLE}-*.part"):
            draft.unlink(missing_ok=True)


def _groups(lane: Lane) -> list[list[Piece]]:
    """Return the files of a lane that become one: neighbours of one day, rules and kinds."""

    def alike(piece: Piece) -> Any:
        steady = piece.holds if piece.holds == piece.told else None
        return piece.path.parent, piece.instrument, steady

    found = []
    for (_, _, steady), pieces in groupby(lane.pieces, alike):
        group = list(pieces)
        if steady and len(group) > 1:
            found.append(group)
    return found


def _state(group: list[Piece]) -> list[tuple[int, int]]:
    try:
        return [((s := piece.path.stat()).st_size, s.st_mtime_ns) for piece in group]
    except OSError as error:
        raise DataError(
            f"{error.filename} is gone: the catalogue was changed meanwhile",
            remedy="compact again when nothing is imported",
        ) from None


def _rows_of(group: list[Piece], advance: Callable[[float], None]) -> Iterator[Rows]:
    """Yield the group's rows in pieces of a good size."""
    whole, done = sum(piece.part.rows for piece in group), 0
    waiting: list[Rows] = []
    count = number = 0
    # A GAP row before the first stands as it did, and their own are kept whatever is beside them.
    alone = [
        msgspec.structs.replace(p, deaf=False, gap=p.gap and k > 0) for k, p in enumerate(group)
    ]
    for rows in rows_in_turn(alone, group[0].instrument):
        number = renumber(rows, number)
        waiting.append(rows)
        count += len(rows)
        done += len(rows)
        if count >= GROUP_ROWS:
            yield np.concatenate(waiting)
            waiting, count = [], 0
            advance(done / max(whole, done))
    if waiting:
        yield np.concatenate(waiting)
    advance(1.0)


def _digest(chunks: Iterator[Rows]) -> tuple[bytes, int]:
    digest, count = hashlib.blake2b(digest_size=16), 0
    for rows in chunks:
        digest.update(np.ascontiguousarray(rows).view(np.uint8).data)
        count += len(rows)
    return digest.digest(), count


def _merge(group: list[Piece], advance: Callable[[float], None]) -> tuple[Path, int]:
    """Write a group as one file; the old ones are gone when it returns."""
    seen = _state(group)
    first, last = group[0].part, group[-1].part
    name = hashlib.blake2b(
        "\n".join(piece.path.name for piece in group).encode(), digest_size=8
    ).hexdigest()
    digest, draft = hashlib.blake2b(digest_size=16), None
    try:
        for rows in _rows_of(group, advance):
            if draft is None:
                draft = Draft(group[0].path.parent, group[0].instrument, rows[0], f"{WHOLE}-{name}")
            digest.update(np.ascontiguousarray(rows).view(np.uint8).data)
            draft.append(rows)
        assert draft is not None, "a group without rows"
        written = draft.close(
            source=name, file=f"{first.file} to {last.file}", number=first.begins[1],
            replaces=[piece.path.name for piece in group],
            sources=sorted({s for p in group for s in (p.part.sources or [p.part.source])}),
            joint=(*first.begins, *last.ends),
        )  # fmt: skip
        found, count = _digest(read_rows(draft.path))
        if found != digest.digest() or _state(group) != seen:
            raise DataError(
                f"{draft.path} is not what its sources hold: a disk failed, or the catalogue was "
                "changed meanwhile", remedy="compact again when nothing is imported",
            )  # fmt: skip
        path = (
            group[0].path.parent
            / f"{written.first_recv_ns:020d}-{first.begins[0]}-{name}.{WHOLE}.parquet"
        )
        _put_in_place(draft.path, path)
    finally:
        if draft is not None:
            draft.path.unlink(missing_ok=True)
    for piece in group:
        piece.path.unlink(missing_ok=True)
    return path, count


def _put_in_place(draft: Path, path: Path) -> None:
    """Give a file its name, so that neither it nor the name is lost with the power."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
