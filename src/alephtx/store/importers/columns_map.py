"""Any table, CSV or Parquet, whose columns the user names: --column price=px --column time=ts ...

Our names: time (the venue's), recv (ours), price, qty, side; bid, ask, bid_qty, ask_qty; symbol.
price makes trades, or with `level` rows of a book: side is then bid or ask, and rows of equal time
are one message; is_snapshot says which begin a whole book. bid and ask make tops. Sizes that are
not there are one lot. Times are numbers (their unit shows in their size, or --time-unit) or ISO
dates of UTC.
"""

from pathlib import Path
from typing import Any

import numpy as np

from alephtx.core.instruments import Instrument
from alephtx.store import rowmaking
from alephtx.store.columns import PRICES, SIZES, Batch, Column, Table, group_starts, header_of
from alephtx.store.damage import DataError
from alephtx.store.lines import first_lines
from alephtx.store.reading import Reading, Rows, Stream, plain_instrument
from alephtx.store.scan_csv import DECIMAL, ISO, MISSING, TEXT, WORD
from alephtx.store.tables import parquet_batches, parquet_names, scaled, scales_of

OURS = ("time", "recv", "price", "qty", "side", "bid", "ask", "bid_qty", "ask_qty", "symbol",
        "level", "is_snapshot")  # fmt: skip
SIDES = {
    "buy": 1, "b": 1, "bid": 1, "bids": 1, "1": 1, "+1": 1, "sell": -1, "s": -1, "a": -1,
    "ask": -1, "asks": -1, "-1": -1, "unknown": 0, "none": 0, "0": 0, "n": 0,
}  # fmt: skip
FLAGS = {"true": 1, "1": 1, "t": 1, "false": 0, "0": 0, "f": 0}
GUESSES = {
    "time": ("time", "timestamp", "ts", "ts_event", "date", "datetime", "time_ms", "ts_ms"),
    "recv": ("local_timestamp", "ts_recv", "recv", "received"),
    "price": ("price", "px", "last", "p"),
    "qty": ("qty", "quantity", "amount", "size", "volume", "sz", "q"),
    "side": ("side", "direction"),
    "bid": ("bid", "bid_price", "best_bid", "bid_px"),
    "ask": ("ask", "ask_price", "best_ask", "ask_px"),
    "bid_qty": ("bid_qty", "bid_size", "bid_amount", "bid_sz"),
    "ask_qty": ("ask_qty", "ask_size", "ask_amount", "ask_sz"),
}
UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
PRICED, SIZED = ("price", "bid", "ask"), ("qty", "bid_qty", "ask_qty")


class ColumnsMap:
    """Reads a table by the options' columns, else by names that are usual."""

    name = "columns"

    def sniff(self, path: Path) -> bool:
        """Say whether a table has columns of usual names for time and price."""
        named = _guessed(parquet_names(path) or header_of(path))
        return "time" in named and ("price" in named or {"bid", "ask"} <= set(named))

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield the messages in the order of the file."""
        parquet = parquet_names(path)
        named = _named(path, reading, parquet or header_of(path))
        source = _parquet(path, reading, named) if parquet else _csv(path, reading, named)
        prices, lots, batches = source
        instrument: Instrument | None = None
        rest: Batch | None = None
        for batch in batches:
            if instrument is None:
                symbol = next(iter(batch.texts.values()), "")
                instrument = plain_instrument(
                    reading.options, venue="", symbol=symbol, price_scale=prices, qty_scale=lots
                )
            if "level" not in named:
                yield instrument, _rows(batch)
                continue
            joined = batch if rest is None else rest.followed_by(batch)
            starts = group_starts(joined, _keys(joined))
            cut = int(starts[-1])
            rest = joined.take(slice(cut, None))
            if cut:
                yield instrument, _levels(joined.take(slice(0, cut)))
        if rest is not None and instrument is not None:
            yield instrument, _levels(rest)


def _guessed(names: list[str]) -> dict[str, str]:
    lowered = {name.lower(): name for name in names}
    found = {}
    for ours, guesses in GUESSES.items():
        for guess in guesses:
            if guess in lowered:
                found[ours] = lowered[guess]
                break
    return found


def _named(path: Path, reading: Reading, names: list[str]) -> dict[str, str]:
    """Return our names and the file's, checked."""
    given = dict(reading.options.columns) or _guessed(names)
    for ours, theirs in given.items():
        if ours not in OURS:
            raise DataError(f"--column {ours}: no such column", remedy=f"ours: {', '.join(OURS)}")
        if theirs not in names:
            raise DataError(f"{path} has no column {theirs!r}", remedy=f"it has: {names[:20]}")
    if "time" not in given or not ("price" in given or {"bid", "ask"} <= set(given)):
        raise DataError(
            f"{path}: time and price, or time, bid and ask, must be named",
            remedy="--column time=... --column price=...",
        )
    if "level" in given and "side" not in given:
        raise DataError(f"{path}: levels need a side", remedy="--column side=...")
    return given


def _csv(path: Path, reading: Reading, named: dict[str, str]) -> tuple[int, int, Any]:
    sample = dict(zip(header_of(path), [*first_lines(path, 2), "", ""][1].split(","), strict=False))
    wanted, seconds = [], set()
    for ours, theirs in named.items():
        if ours in ("time", "recv"):
            text = sample.get(theirs, "").strip('"')
            iso = "-" in text[1:] or ":" in text
            fraction = "." in text or reading.options.time_unit == "s" or len(text) <= 10
            if not iso and fraction:
                seconds.add(ours)
            wanted.append(Column(theirs, ISO if iso else DECIMAL, 9 if ours in seconds else 0))
        elif ours == "side":
            wanted.append(Column(theirs, WORD, words=SIDES, optional=True))
        elif ours in ("is_snapshot", "level"):
            wanted.append(Column(theirs, WORD if ours == "is_snapshot" else DECIMAL, words=FLAGS))
        elif ours == "symbol":
            wanted.append(Column(theirs, TEXT))
        else:
            role = PRICES if ours in PRICED else SIZES
            wanted.append(Column(theirs, DECIMAL, role, optional=ours != "price"))
    table = Table(path, wanted)
    prices, lots = table.measure(reading)

    def batches() -> Any:
        for batch in table.batches(reading):
            columns = {ours: batch[theirs] for ours, theirs in named.items()}
            for ours in ("time", "recv"):
                if ours in columns and ours not in seconds:
                    columns[ours] = _nanoseconds(columns[ours], reading.options.time_unit)
            yield Batch(columns, batch.lines, batch.texts)

    return prices, lots, batches()


def _nanoseconds(stamps: Rows, unit: str) -> Rows:
    """Return stamps as ns: of the unit given, else by their size (until the year 2286)."""
    if unit:
        return stamps * UNITS[unit]
    made = np.where(stamps < 10_000_000_000, stamps * UNITS["s"], stamps)
    made = np.where((stamps >= 10**10) & (stamps < 10**13), stamps * UNITS["ms"], made)
    return np.where((stamps >= 10**13) & (stamps < 10**16), stamps * UNITS["us"], made)


def _parquet(path: Path, reading: Reading, named: dict[str, str]) -> tuple[int, int, Any]:
    columns = list(dict.fromkeys(named.values()))
    prices, lots = scales_of(
        path, reading, [named[n] for n in PRICED if n in named],
        [named[n] for n in SIZED if n in named], lambda column: _doubles(column, path),
    )  # fmt: skip
    scales = dict.fromkeys(PRICED, prices) | dict.fromkeys(SIZED, lots)

    def batches() -> Any:
        for row, batch in parquet_batches(path, reading, columns):
            made, texts = {}, {}
            for ours, theirs in named.items():
                column = batch.column(theirs)
                if ours in scales:
                    made[ours] = scaled(_doubles(column, path), scales[ours])
                elif ours in ("time", "recv"):
                    made[ours] = _parquet_times(column, reading.options.time_unit)
                elif ours == "symbol":
                    texts = {0: str(column[0].as_py())}
                    made[ours] = np.zeros(batch.num_rows, np.int64)
                else:
                    table = FLAGS if ours == "is_snapshot" else SIDES
                    made[ours] = np.array(
                        [table.get(str(word).lower(), 0) for word in column.to_pylist()], np.int64
                    )
            yield _sound(Batch(made, np.arange(batch.num_rows) + row, texts), reading)

    return prices, lots, batches()


def _sound(batch: Batch, reading: Reading) -> Batch:
    """Return the rows whose price and time can be; the others are told."""
    good = batch["time"] > 0
    if "price" in batch:
        good &= batch["price"] != MISSING
    for line in batch.lines[~good].tolist():
        reading.damaged(line, "", "a price or time that cannot be, or is finer than the scale")
    return batch.take(good)


def _doubles(column: Any, path: Path) -> Rows:
    import pyarrow as pa

    try:
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    except pa.ArrowException as error:
        raise DataError(f"{path}: a price or size is no number: {error}",
                        remedy="name the right columns") from None  # fmt: skip


def _parquet_times(column: Any, unit: str) -> Rows:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        return np.asarray(column.cast(pa.timestamp("ns")).cast(pa.int64()).fill_null(0))
    return _nanoseconds(np.asarray(column.cast(pa.int64()).fill_null(0)), unit)


def _keys(batch: Batch) -> tuple[str, ...]:
    return tuple(name for name in ("time", "recv", "is_snapshot") if name in batch)


def _column(batch: Batch, name: str, otherwise: int) -> Rows:
    """Return a column, or a constant where there is none."""
    if name not in batch:
        return np.full(len(batch), otherwise, np.int64)
    values = batch[name]
    return np.where(values == MISSING, otherwise, values)


def _stamps(batch: Batch) -> tuple[Rows, Rows | int]:
    return batch["time"], _column(batch, "recv", 0)


def _rows(batch: Batch) -> Rows:
    if "price" in batch:
        return rowmaking.trades(
            *_stamps(batch), batch["price"], _column(batch, "qty", 1), _column(batch, "side", 0)
        )
    sides = []
    for price, size in (("bid", "bid_qty"), ("ask", "ask_qty")):
        there = batch[price] != MISSING
        sides += [np.where(there, batch[price], 0), np.where(there, _column(batch, size, 1), 0)]
    return rowmaking.tops(*_stamps(batch), *sides)


def _levels(batch: Batch) -> Rows:
    starts = group_starts(batch, _keys(batch))
    rows = rowmaking.deltas(
        *_stamps(batch), batch["price"], _column(batch, "qty", 1), _column(batch, "side", 0), starts
    )
    books = _column(batch, "is_snapshot", 0)[starts] == 1
    return rowmaking.with_clears(rows, books, starts, np.zeros(len(starts), np.bool_))
