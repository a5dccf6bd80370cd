"""Snapshots and trades in Parquet as crypto-microstructure records them: one market a file.

Books: ts_ms (ours), exch_ts_ms (the venue's), symbol, seq, lists bids_px, bids_qty, asks_px,
asks_qty, best first. Trades: ts_ms, exch_ts_ms, symbol, price, qty, side of the taker. Books become
changes (`store.snapshots`).
"""

from pathlib import Path
from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.store import rowmaking
from alephtx.store.reading import Reading, Rows, Stream, plain_instrument
from alephtx.store.snapshots import Differ
from alephtx.store.tables import parquet_batches, parquet_names, scaled, scales_of

MS = 1_000_000
STAMPS = ["ts_ms", "exch_ts_ms"]
LISTS = ["bids_px", "bids_qty", "asks_px", "asks_qty"]
TRADE = ["price", "qty", "side"]
MARKETS = {"fut": ("_usdm", words.LINEAR), "spot": ("_spot", words.SPOT)}
BOOKS_AT_ONCE = 256


class LobParquet:
    """Reads one file of books or of trades."""

    name = "lob_parquet"

    def sniff(self, path: Path) -> bool:
        """Say whether the columns are those of either kind."""
        names = set(parquet_names(path))
        return {*STAMPS, "symbol"} <= names and (set(LISTS) <= names or set(TRADE) <= names)

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield the messages in the order of the file."""
        if set(LISTS) <= set(parquet_names(path)):
            yield from _read_books(path, reading)
        else:
            yield from _read_trades(path, reading)


def _instrument(reading: Reading, batch: Any, prices: int, lots: int) -> Instrument:
    first = {name: batch.column(name)[0].as_py() for name in batch.schema.names
             if name in ("symbol", "venue", "market_type")}  # fmt: skip
    suffix, contract = MARKETS.get(str(first.get("market_type")), ("", words.SPOT))
    return plain_instrument(
        reading.options, venue=f"{str(first.get('venue', '')).lower()}{suffix}",
        symbol=str(first["symbol"]), price_scale=prices, qty_scale=lots, contract=contract,
    )  # fmt: skip


def _naming(path: Path) -> list[str]:
    return ["symbol", *(n for n in ("venue", "market_type") if n in parquet_names(path))]


def _flat(column: Any) -> Rows:
    values = column.flatten() if hasattr(column, "flatten") else column
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def _read_trades(path: Path, reading: Reading) -> Stream:
    prices, lots = scales_of(path, reading, ["price"], ["qty"], _flat)
    instrument: Instrument | None = None
    for row, batch in parquet_batches(path, reading, [*_naming(path), *STAMPS, *TRADE]):
        if instrument is None:
            instrument = _instrument(reading, batch, prices, lots)
        side = np.array(
            [_SIDES.get(str(word).lower(), 2) for word in batch.column("side").to_pylist()]
        )
        price = scaled(_flat(batch.column("price")), instrument.price_scale)
        qty = scaled(_flat(batch.column("qty")), instrument.qty_scale)
        recv, event = (_ns(batch.column(name)) for name in STAMPS)
        good = (side != 2) & (qty > 0) & (price > -(1 << 62)) & (event > 0) & (recv > 0)
        for n in np.flatnonzero(~good).tolist():
            reading.damaged(row + n, "", "no trade: a price, quantity, side or time that cannot be")
        yield (
            instrument,
            rowmaking.trades(event[good], recv[good], price[good], qty[good], side[good]),
        )


_SIDES = {"buy": words.BUY, "sell": words.SELL, "": 0, "none": 0}


def _ns(column: Any) -> Rows:
    """Return a column of ms as ns, 0 where there is none."""
    values = column.fill_null(0).to_numpy(zero_copy_only=False)
    return np.where((values > 0) & (values < 9_000_000_000_000), values, 0).astype(np.int64) * MS


def _read_books(path: Path, reading: Reading) -> Stream:
    prices, lots = scales_of(path, reading, LISTS[::2], LISTS[1::2], _flat)
    instrument: Instrument | None = None
    differ: Differ | None = None
    for first, whole in parquet_batches(path, reading, [*_naming(path), *STAMPS, *LISTS]):
        for start in range(0, whole.num_rows, BOOKS_AT_ONCE):
            batch = whole.slice(start, BOOKS_AT_ONCE)
            if instrument is None:
                instrument = _instrument(reading, batch, prices, lots)
            depth = max(_longest(batch.column(name)) for name in LISTS)
            if differ is None or depth > differ.depth:
                differ = Differ(depth) if differ is None else differ.deeper(depth)
            books, good = _books(batch, instrument, differ.depth)
            recv, event = (_ns(batch.column(name)) for name in STAMPS)
            good &= (recv > 0) & (event > 0)
            lines = np.arange(batch.num_rows) + first + start
            for line in lines[~good].tolist():
                reading.damaged(line, "", "no book: its lists or times are not of one piece")
            rows = differ.rows(event[good], recv[good], books[good], lines[good], reading)
            if len(rows):
                yield instrument, rows


def _longest(column: Any) -> int:
    lengths = np.diff(column.offsets.to_numpy(zero_copy_only=False))
    return int(lengths.max(initial=1))


def _books(batch: Any, instrument: Instrument, depth: int) -> tuple[Rows, Rows]:
    """Return lists as books (N, 2, depth, 2), and which of them are of one piece."""
    count = batch.num_rows
    books = np.zeros((count, 2, depth, 2), np.int64)
    good = np.ones(count, np.bool_)
    lengths = []
    for at, name in enumerate(LISTS):
        column = batch.column(name)
        scale = instrument.price_scale if at % 2 == 0 else instrument.qty_scale
        offsets = column.offsets.to_numpy(zero_copy_only=False)
        length = np.diff(offsets)
        values = scaled(_flat(column), scale)
        row = np.repeat(np.arange(count), length)
        level = np.arange(len(values)) - np.repeat(offsets[:-1] - offsets[0], length)
        np.logical_and.at(good, row, (values > -(1 << 62)) & (values >= 0))
        books[row, at // 2, level, at % 2] = values
        lengths.append(length)
    good &= (lengths[0] == lengths[1]) & (lengths[2] == lengths[3])
    return books, good
