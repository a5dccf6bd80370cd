"""Tables of text as batches of integer columns: what every CSV importer reads with."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alephtx.store import scan_csv as c
from alephtx.store.damage import DataError
from alephtx.store.lines import first_lines, line_blocks
from alephtx.store.reading import (
    PRICE_SCALE_MAX,
    QTY_SCALE_MAX,
    Reading,
    Rows,
    scales_given,
)

PRICES, SIZES = -1, -2
BATCH_ROWS = 1 << 16
FAULTS = 256


class Column(msgspec.Struct, frozen=True):
    """A column that an importer wants. kind: scan_csv.DECIMAL, NEAREST, WORD, TEXT or ISO.

    scale: of numbers; PRICES or SIZES = as many decimals as those columns of the file use, or as
    the user gave (`measure`). words: of WORD. optional: may be empty, and may be missing.
    """

    name: str
    kind: int = c.DECIMAL
    scale: int = 0
    words: dict[str, int] = {}
    optional: bool = False


class Batch:
    """Rows of a table: `batch["price"]` is int64 (N,); lines: where they stand in the file."""

    def __init__(self, columns: dict[str, Rows], lines: Rows, texts: dict[int, str]) -> None:
        self._columns, self.lines, self.texts = columns, lines, texts

    def __getitem__(self, name: str) -> Rows:
        return self._columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def __len__(self) -> int:
        return len(self.lines)

    def take(self, which: Any) -> "Batch":
        """Return some of the rows."""
        columns = {name: values[which] for name, values in self._columns.items()}
        return Batch(columns, self.lines[which], self.texts)

    def followed_by(self, other: "Batch") -> "Batch":
        """Return the rows of both."""
        columns = {
            name: np.concatenate([values, other[name]]) for name, values in self._columns.items()
        }
        lines = np.concatenate([self.lines, other.lines])
        return Batch(columns, lines, {**self.texts, **other.texts})


class Table:
    """A table of text: where its columns are, and how to read them.

    names: the file's columns in order; None: its first line names them. One that is wanted and
    not there is a DataError, unless optional.
    """

    def __init__(
        self,
        path: Path,
        wanted: Sequence[Column],
        names: Sequence[str] | None = None,
        separator: str = ",",
    ) -> None:
        self.path, self.separator = path, ord(separator)
        self.has_header = names is None
        self.names = list(header_of(path, separator) if names is None else names)
        self.wanted = {column.name: column for column in wanted if column.name in self.names}
        for column in wanted:
            if column.name not in self.names and not column.optional:
                raise DataError(
                    f"{path}:1: no column {column.name!r} among {', '.join(self.names)[:200]}",
                    remedy="is the format right? --format names one",
                )
        self.scales = {name: column.scale for name, column in self.wanted.items()}

    def measure(self, reading: Reading) -> tuple[int, int]:
        """Read the file once for the decimals of its PRICES and SIZES, set and return them."""
        spec, _ = self._specification()
        needed, scratch = np.zeros(len(self.names), np.int64), np.zeros(3, np.int64)
        given = scales_given(reading.options)
        if min(given) < 0:
            for _, block in line_blocks(self.path, Reading(self.path, reading.options)):
                data = np.frombuffer(block, np.uint8)
                c.measure_csv(data, len(data), self.separator, spec, needed, scratch)
        found = []
        for role, scale, most in zip(
            (PRICES, SIZES), given, (PRICE_SCALE_MAX, QTY_SCALE_MAX), strict=True
        ):
            names = [n for n, column in self.wanted.items() if column.scale == role]
            used = max((int(needed[self.names.index(n)]) for n in names), default=0)
            found.append(scale if scale >= 0 else min(used, most))
            self.scales.update(dict.fromkeys(names, found[-1]))
        return found[0], found[1]

    def batches(self, reading: Reading) -> Iterator[Batch]:
        """Yield the rows; what cannot be read is told to the reading."""
        spec, words = self._specification()
        values = np.zeros((BATCH_ROWS, len(self.names)), np.int64)
        places, lines = np.zeros((BATCH_ROWS, 2), np.int64), np.zeros(BATCH_ROWS, np.int64)
        faults, state = np.zeros((FAULTS + 1, 3), np.int64), np.zeros(c.STATE_WORDS, np.int64)
        for first, block in line_blocks(self.path, reading):
            data = np.frombuffer(block, np.uint8)
            state[:] = 0
            state[c.LINE] = first
            if first == 1 and self.has_header:
                state[c.POSITION], state[c.LINE] = block.index(b"\n") + 1, 2
            done = 0
            while not done:
                state[c.ROWS] = state[c.FAULTS] = 0
                done = c.scan_csv(
                    data, len(data), self.separator, spec, words, values, places, lines, faults,
                    state,
                )  # fmt: skip
                self._tell(reading, faults[: state[c.FAULTS]])
                if state[c.ROWS]:
                    yield self._batch(block, values, places, lines, int(state[c.ROWS]))

    def grouped(self, reading: Reading, *keys: str) -> Iterator[Batch]:
        """Yield the rows as `batches`, but never split rows in a row whose keys are equal."""
        rest: Batch | None = None
        for found in self.batches(reading):
            batch = found if rest is None else rest.followed_by(found)
            starts = group_starts(batch, keys)
            cut = int(starts[-1])
            rest = batch.take(slice(cut, None))
            if cut:
                yield batch.take(slice(0, cut))
        if rest is not None:
            yield rest

    def _specification(self) -> tuple[Rows, Rows]:
        spec = np.zeros((len(self.names), c.SPEC_WORDS), np.int64)
        words: list[tuple[int, int, int]] = []
        for name, column in self.wanted.items():
            at = self.names.index(name)
            spec[at] = column.kind, max(0, self.scales[name]), int(column.optional)
            words += [(at, hash_of(word), value) for word, value in column.words.items()]
        return spec, np.array(words, np.int64).reshape(-1, 3)

    def _tell(self, reading: Reading, faults: Rows) -> None:
        for line, column, code in faults.tolist():
            name = self.names[column] if column < len(self.names) else f"column {column + 1}"
            reading.damaged(line, "" if code in (c.FEW, c.MANY) else name, c.PROBLEMS[code])

    def _batch(self, block: bytes, values: Rows, places: Rows, lines: Rows, count: int) -> Batch:
        columns = {name: values[:count, self.names.index(name)].copy() for name in self.wanted}
        texts: dict[int, str] = {}
        text = next((n for n in self.names if n in self.wanted
                     and self.wanted[n].kind == c.TEXT), None)  # fmt: skip
        if text is not None:
            hashes, first = np.unique(columns[text], return_index=True)
            for value, k in zip(hashes.tolist(), first.tolist(), strict=True):
                start, end = places[k].tolist()
                texts[value] = block[start:end].decode("utf-8", "replace")
        return Batch(columns, lines[:count].copy(), texts)


def group_starts(batch: Batch, keys: Sequence[str]) -> Rows:
    """Return where in a batch rows begin whose keys differ from the row before."""
    fresh = np.zeros(len(batch), np.bool_)
    fresh[:1] = True
    for key in keys:
        fresh[1:] |= np.diff(batch[key]) != 0
    return np.flatnonzero(fresh)


def hash_of(word: str) -> int:
    """Return the hash that `scan_csv` compares words by."""
    data = np.frombuffer(word.encode(), np.uint8)
    return int(c.text_hash(data, 0, len(data)))


def header_of(path: Path, separator: str = ",") -> list[str]:
    """Return the fields of a file's first line, none when it has no line."""
    lines = first_lines(path, 1)
    return [name.strip().strip('"') for name in lines[0].lstrip("\ufeff").split(separator)] if (
        lines
    ) else []  # fmt: skip


def separator_of(path: Path) -> str:
    """Return what parts the names in a file's first line: a comma, else a semicolon or a tab."""
    lines = first_lines(path, 1)
    return max(",;\t", key=lines[0].count) if lines else ","
