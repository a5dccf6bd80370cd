"""Tables of text by named columns: what kind each is shows in the first lines."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from alephtx.store.columns import PRICES, SIZES, Batch, Column, Table, header_of, separator_of
from alephtx.store.importers.columns_rows import (
    PRICED,
    RATE_SCALE,
    SIZED,
    TIMED,
    sound,
    tell_fine,
)
from alephtx.store.lines import first_lines
from alephtx.store.reading import Options, Reading, Rows
from alephtx.store.scan_csv import (
    DECIMAL,
    ISO,
    LIMIT,
    LINE,
    NEAREST,
    ROWS,
    SPEC_WORDS,
    STATE_WORDS,
    TEXT,
    WORD,
    scan_csv,
)

SIDES = {
    "buy": 1, "b": 1, "bid": 1, "bids": 1, "1": 1, "+1": 1, "sell": -1, "s": -1, "a": -1,
    "ask": -1, "asks": -1, "-1": -1, "unknown": 0, "none": 0, "0": 0, "n": 0,
}  # fmt: skip
FLAGS = {"true": 1, "1": 1, "t": 1, "false": 0, "0": 0, "f": 0}
UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_DECIMALS = {"s": 9, "ms": 6, "us": 3, "ns": 0}
_NEEDED = ("price", "open", "high", "low", "close")
SAMPLE_LINES = 100


def text_source(
    path: Path, reading: Reading, named: dict[str, str]
) -> tuple[int, int, Iterator[Batch]]:
    """Return the scales of prices and sizes, and the batches by our names."""
    separator, options = separator_of(path), reading.options
    samples = _samples(path, separator)
    wanted, by_size = [], set()
    for ours, theirs in named.items():
        column = _column(ours, theirs, options)
        if ours in TIMED:
            column = _time_column(theirs, samples.get(theirs, []), options.time_unit)
            if column.kind == DECIMAL and column.scale == 0 and not options.time_unit:
                by_size.add(ours)
        wanted.append(column)
    table = Table(path, wanted, separator=separator)
    prices, lots = table.measure(reading)

    def batches() -> Iterator[Batch]:
        for batch in table.batches(reading):
            columns = {ours: batch[theirs] for ours, theirs in named.items()}
            for ours in by_size:
                columns[ours] = by_their_size(columns[ours])
            yield sound(Batch(columns, batch.lines, batch.texts), reading)
        tell_fine(reading)

    return prices, lots, batches()


def _samples(path: Path, separator: str) -> dict[str, list[str]]:
    """Return the first cells of each column that are not empty."""
    found: dict[str, list[str]] = {name: [] for name in header_of(path, separator)}
    names = list(found)
    for cells in csv.reader(first_lines(path, SAMPLE_LINES)[1:], delimiter=separator):
        for name, cell in zip(names, cells, strict=False):
            if cell.strip():
                found[name].append(cell.strip())
    return found


def _column(ours: str, theirs: str, options: Options) -> Column:
    if ours == "side":
        return Column(theirs, WORD, words=SIDES, optional=True)
    if ours == "is_snapshot":
        return Column(theirs, WORD, words=FLAGS)
    if ours == "symbol":
        return Column(theirs, TEXT)
    if ours == "rate":
        return Column(theirs, NEAREST, RATE_SCALE)
    if ours in (*PRICED, *SIZED):
        role = PRICES if ours in PRICED else SIZES
        kind = NEAREST if options.round_off else DECIMAL
        return Column(theirs, kind, role, optional=ours not in _NEEDED)
    return Column(theirs)


def _time_column(name: str, cells: Sequence[str], unit: str) -> Column:
    """Return how a column of times is read, by some of its cells.

    DECIMAL of scale 0 without a unit: whole numbers, each as its size says.
    """
    written = sum("-" in cell[1:] or ":" in cell for cell in cells)
    if written and 2 * written >= len(cells):
        return Column(name, ISO)
    wholes = sorted(len(cell.partition(".")[0].lstrip("+-")) for cell in cells)
    digits = wholes[len(wholes) // 2] if wholes else 19
    broken = any("." in cell for cell in cells)
    if not unit and (broken or digits <= 10):
        unit = next((u for u, most in (("s", 10), ("ms", 13), ("us", 16)) if digits <= most), "ns")
    return Column(name, DECIMAL, _DECIMALS.get(unit, 0))


def by_their_size(stamps: Rows) -> Rows:
    """Return stamps as ns, each of the unit that its size shows (until 2286); 0: beyond 62 bits."""
    made = stamps.copy()
    for least, below, unit in ((0, 10**10, "s"), (10**10, 10**13, "ms"), (10**13, 10**16, "us")):
        which = (stamps >= least) & (stamps < below)
        made[which] = in_unit(stamps[which], unit)
    return made


def in_unit(stamps: Rows, unit: str) -> Rows:
    """Return stamps of a unit as ns, 0 where 62 bits do not hold them."""
    fits = np.abs(stamps) < LIMIT // UNITS[unit]
    return np.where(fits, np.where(fits, stamps, 0) * UNITS[unit], 0)


def times_of(texts: Sequence[str], unit: str) -> Rows:
    """Return times written as text as ns, 0 where they are none."""
    column = _time_column("", [text for text in texts[:SAMPLE_LINES] if text], unit)
    spec = np.zeros((1, SPEC_WORDS), np.int64)
    spec[0] = column.kind, column.scale, 1
    lines = "".join(text.replace("\n", "?") + "\n" for text in texts).encode()
    data, count = np.frombuffer(lines, np.uint8), len(texts)
    values, at = np.zeros((count, 1), np.int64), np.zeros(count, np.int64)
    faults, state = np.zeros((count + 2, 3), np.int64), np.zeros(STATE_WORDS, np.int64)
    state[LINE] = 0
    scan_csv(
        data, len(data), 0, spec, np.zeros((0, 3), np.int64), values,
        np.zeros((count, 2), np.int64), at, faults, state,
    )  # fmt: skip
    found = np.zeros(count, np.int64)
    found[at[: state[ROWS]]] = values[: state[ROWS], 0]
    whole = column.kind == DECIMAL and column.scale == 0 and not unit
    return by_their_size(found) if whole else found
