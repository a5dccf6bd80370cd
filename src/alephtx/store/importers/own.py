"""Our own files, taken back as they are: replay files, Parquet and CSV that `data export` wrote.

Their rows are a stream already: in order, numbered, dated. So nothing is arranged anew, and what
went out comes in. Of a damaged file all whole messages before the damage are read. The rules of the
instrument are in the file; those of a CSV stand beside it, in `NAME.csv.instrument.json`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.core.records import EVENT
from alephtx.store import pack
from alephtx.store.catalogue import (
    COLUMNS,
    INSTRUMENT_MARK,
    is_part,
    read_rows,
    renumber,
    to_rows,
)
from alephtx.store.columns import header_of
from alephtx.store.damage import DataError
from alephtx.store.lines import line_blocks
from alephtx.store.reading import Options, Reading, Rows, Stream, plain_instrument
from alephtx.store.tables import parquet_batches, parquet_names
from alephtx.store.ticks import is_ticks, open_ticks

RULES = ".instrument.json"
"""What the name of a CSV file is followed by in that of its instrument's rules."""


NUMBER = re.compile(rb"-?\d{1,20}")


class Own:
    """Reads one file; a stream, see `store.importing`."""

    name = "alephtx"

    def sniff(self, path: Path) -> bool:
        """Say whether we wrote it: by its first bytes, its metadata or its columns."""
        return is_ticks(path) or _is_parquet(path) or header_of(path) == list(COLUMNS)

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield the rows as they are."""
        header = 0
        if is_ticks(path):
            ticks = open_ticks(path)
            ticks.verify()
            instrument, chunks = ticks.instrument, ticks.events()
        elif _is_parquet(path):
            instrument, chunks = _parquet_rules(path), _from_parquet(path, reading)
        else:
            instrument, chunks = _rules_beside(path, reading.options), _from_csv(path, reading)
            header = 1
        instrument = _ruled(instrument, reading.options)
        for rows in _whole_messages(chunks, reading, header):
            yield instrument, rows


def _ruled(instrument: Instrument, options: Options) -> Instrument:
    """Return the rules: the user's own where they are given, on the scales of the file."""
    if options.venue or options.symbol:
        raise DataError(
            f"the file is of {instrument.key} and says so", remedy="leave --venue and --symbol out"
        )
    given = options.instrument or instrument
    scales = [(one.price_scale, one.qty_scale) for one in (given, instrument)]
    if scales[0] != scales[1]:
        raise DataError(
            f"{instrument.key}: the file has {scales[1][0]} and {scales[1][1]} decimals of prices "
            f"and sizes, the rules given {scales[0][0]} and {scales[0][1]}",
            remedy="give rules of these scales, or none",
        )
    return given


def _is_parquet(path: Path) -> bool:
    names = parquet_names(path)
    return set(COLUMNS) <= set(names) and _metadata(path) is not None


def _metadata(path: Path) -> bytes | None:
    import pyarrow.parquet as pq

    found = (pq.read_metadata(path).metadata or {}).get(INSTRUMENT_MARK)
    return None if found is None else bytes(found)


def _parquet_rules(path: Path) -> Instrument:
    return _decoded(path, _metadata(path) or b"")


def _decoded(path: Path, text: bytes) -> Instrument:
    try:
        return msgspec.json.decode(text, type=Instrument)
    except msgspec.MsgspecError as error:
        raise DataError(
            f"{path}: its instrument cannot be read: {error}", remedy="export it anew"
        ) from None


def rules_of(path: Path) -> Path:
    """Return where the rules of a CSV file's instrument stand."""
    return path.with_name(path.name + RULES)


def _rules_beside(path: Path, options: Options) -> Instrument:
    beside = rules_of(path)
    if options.instrument is not None:
        return options.instrument
    if beside.is_file():
        return _decoded(beside, beside.read_bytes())
    if options.anonymous:
        return plain_instrument(options, venue="", symbol="", price_scale=0, qty_scale=0)
    raise DataError(
        f"{path} is our own, but {beside.name} with its instrument's rules is not beside it",
        remedy="put it there, or give --instrument FILE (export --json prints the rules)",
    )


def _from_parquet(path: Path, reading: Reading) -> Iterator[Rows]:
    if is_part(path):  # of a catalogue: its numbers go on from the file before it
        number = 0
        for rows in read_rows(path):
            number = renumber(rows, number)
            yield rows
        return
    for _, batch in parquet_batches(path, reading, list(COLUMNS)):
        yield to_rows(batch)


def _from_csv(path: Path, reading: Reading) -> Iterator[Rows]:
    """Yield rows up to the first line that cannot be read."""
    for first, block in line_blocks(path, reading):
        begin = block.index(b"\n") + 1 if first == 1 else 0
        rows, left = _numbers(block[begin:])
        yield rows
        if left:
            line = first + int(first == 1) + len(rows)
            reading.damaged(line, "", "not numbers of ours; nothing is read from here on")
            return


def _numbers(block: bytes) -> tuple[Rows, bool]:
    """Return the rows of whole lines up to the first that is none, and whether there is one."""
    import pyarrow as pa
    from pyarrow import csv

    if not block:
        return np.zeros(0, EVENT), False
    types = {name: pa.from_numpy_dtype(EVENT[name]) for name in COLUMNS}
    try:
        table = csv.read_csv(
            pa.BufferReader(block),
            csv.ReadOptions(column_names=list(COLUMNS), use_threads=False, block_size=len(block)),
            csv.ParseOptions(ignore_empty_lines=False),
            csv.ConvertOptions(column_types=types, null_values=[]),
        )
        return to_rows(table), False
    except pa.ArrowInvalid:
        lines = block.split(b"\n")
        good = next((n for n, line in enumerate(lines) if not _is_row(line)), len(lines))
        whole = b"".join(line + b"\n" for line in lines[:good])
        return (_numbers(whole)[0] if good < len(lines) else np.zeros(0, EVENT)), True


def _is_row(line: bytes) -> bool:
    """Say whether a line holds a number for each column, of its size."""
    fields = line.rstrip(b"\r").split(b",")
    if len(fields) != len(COLUMNS) or not all(NUMBER.fullmatch(field) for field in fields):
        return False
    limits = (np.iinfo(EVENT[name]) for name in COLUMNS)
    return all(
        limit.min <= int(field) <= limit.max for field, limit in zip(fields, limits, strict=True)
    )


def _whole_messages(chunks: Iterator[Rows], reading: Reading, header: int) -> Iterator[Rows]:
    """Yield rows in whole messages, up to the first that has no place in a stream."""
    rest, done = np.zeros(0, EVENT), header
    state: Any = pack.make_survey()
    for chunk in chunks:
        rows = np.concatenate([rest, chunk])
        wrong = int(pack.survey(chunk, len(chunk), state))
        good = len(rows) if wrong < 0 else len(rest) + wrong
        ends = np.flatnonzero(rows["flags"][:good] & words.LAST_IN_MESSAGE)
        cut = int(ends[-1]) + 1 if len(ends) else 0
        if cut:
            yield rows[:cut]
        if wrong >= 0:
            problem = pack.WRONGS[int(state[pack.WRONG])]
            reading.damaged(done + good + 1, "", f"{problem}; not read from here on")
            return
        done, rest = done + cut, rows[cut:]
    if len(rest):
        reading.damaged(done + 1, "", "the last message has no end and was left out")
