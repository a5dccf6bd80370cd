"""Tardis CSV files: incremental_book_L2, book_snapshot_N, trades, quotes and book_ticker.

https://docs.tardis.dev/downloadable-csv-files/data-types. Times are microseconds; rows of one
message share local_timestamp. A snapshot in the middle of incremental_book_L2 is a reconnect, so a
GAP row stands before it. Files may hold several symbols.
"""

import re
from pathlib import Path

import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.store import rowmaking
from alephtx.store.columns import PRICES, SIZES, Batch, Column, Table, group_starts, header_of
from alephtx.store.damage import DataError
from alephtx.store.reading import Reading, Rows, Stream, plain_instrument
from alephtx.store.scan_csv import DECIMAL, TEXT, WORD
from alephtx.store.snapshots import Differ

HEAD = ["exchange", "symbol", "timestamp", "local_timestamp"]
SIDES = {"bid": words.BUY, "ask": words.SELL}
CONTRACTS = {"binance-futures": words.LINEAR, "binance-delivery": words.INVERSE}
TAKERS = {"buy": words.BUY, "sell": words.SELL, "unknown": 0}
QUOTE = ("bid_price", "bid_amount", "ask_price", "ask_amount")
LEVEL = re.compile(r"(asks|bids)\[(\d+)\]\.(price|amount)")
_TIMES = (Column("symbol", TEXT), Column("timestamp"), Column("local_timestamp"))


class Tardis:
    """Reads one file; which of the types it is shows in its header."""

    name = "tardis"

    def sniff(self, path: Path) -> bool:
        """Say whether the header is one of Tardis's."""
        names = header_of(path)
        return names[:4] == HEAD and bool(_kind(names))

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield its messages in the order of the file."""
        names = header_of(path)
        kind = _kind(names)
        if kind == "book":
            yield from _read_book(path, reading)
        elif kind == "snapshots":
            yield from _read_snapshots(path, reading, names)
        elif kind == "quotes":
            yield from _read_quotes(path, reading)
        else:
            yield from _read_trades(path, reading)


def _kind(names: list[str]) -> str:
    if "is_snapshot" in names:
        return "book"
    if "asks[0].price" in names:
        return "snapshots"
    if set(QUOTE) <= set(names):
        return "quotes"
    return "trades" if {"id", "side", "price", "amount"} <= set(names) else ""


class _Symbols:
    """The instruments of a file, made when their symbol is met first."""

    def __init__(self, path: Path, reading: Reading, scales: tuple[int, int]) -> None:
        self._reading, self._scales = reading, scales
        names = first_row(path)
        self._venue = names[0] if names else ""
        self._found: dict[int, Instrument] = {}

    def __getitem__(self, pair: tuple[int, str]) -> Instrument:
        value, symbol = pair
        if value not in self._found:
            self._found[value] = plain_instrument(
                self._reading.options, venue=self._venue, symbol=symbol,
                price_scale=self._scales[0], qty_scale=self._scales[1],
                contract=CONTRACTS.get(self._venue, words.SPOT),
            )  # fmt: skip
        return self._found[value]

    def split(self, batch: Batch) -> list[tuple[Instrument, Batch]]:
        """Return a batch's rows by instrument."""
        values = batch["symbol"]
        if len(batch.texts) == 1 or (values == values[0]).all():
            return [(self[int(values[0]), batch.texts[int(values[0])]], batch)]
        return [
            (self[value, batch.texts[value]], batch.take(values == value))
            for value in np.unique(values).tolist()
        ]


def first_row(path: Path) -> list[str]:
    """Return the fields of the line after the header."""
    from alephtx.store.lines import first_lines

    lines = first_lines(path, 2)
    return lines[1].split(",") if len(lines) == 2 else []


def _optional(name: str) -> Column:
    return Column(name, DECIMAL, PRICES if name.endswith("price") else SIZES, optional=True)


def _stamps(batch: Batch) -> tuple[Rows, Rows]:
    return batch["timestamp"] * 1_000, batch["local_timestamp"] * 1_000


def _read_trades(path: Path, reading: Reading) -> Stream:
    wanted = (*_TIMES, Column("side", WORD, words=TAKERS),
              Column("price", DECIMAL, PRICES), Column("amount", DECIMAL, SIZES))  # fmt: skip
    table = Table(path, wanted)
    symbols = _Symbols(path, reading, table.measure(reading))
    for batch in table.batches(reading):
        for instrument, part in symbols.split(batch):
            yield (
                instrument,
                rowmaking.trades(*_stamps(part), part["price"], part["amount"], part["side"]),
            )


def _read_quotes(path: Path, reading: Reading) -> Stream:
    table = Table(path, (*_TIMES, *(_optional(name) for name in QUOTE)))
    symbols = _Symbols(path, reading, table.measure(reading))
    for batch in table.batches(reading):
        for instrument, part in symbols.split(batch):
            sides = [np.maximum(part[name], 0) for name in QUOTE]  # empty: no such side
            yield instrument, rowmaking.tops(*_stamps(part), *sides)


def _read_book(path: Path, reading: Reading) -> Stream:
    wanted = (
        *_TIMES, Column("is_snapshot", WORD, words={"true": 1, "false": 0}),
        Column("side", WORD, words=SIDES), Column("price", DECIMAL, PRICES),
        Column("amount", DECIMAL, SIZES),
    )  # fmt: skip
    table = Table(path, wanted)
    symbols = _Symbols(path, reading, table.measure(reading))
    begun: set[str] = set()
    for batch in table.grouped(reading, "symbol", "local_timestamp", "is_snapshot"):
        for instrument, part in symbols.split(batch):
            starts = group_starts(part, ("local_timestamp", "is_snapshot"))
            books = part["is_snapshot"][starts] == 1
            gaps = books.copy()
            if instrument.key not in begun:
                gaps[0] = False
                begun.add(instrument.key)
            rows = rowmaking.deltas(
                *_stamps(part), part["price"], part["amount"], part["side"], starts
            )
            yield instrument, rowmaking.with_clears(rows, books, starts, gaps)


def _read_snapshots(path: Path, reading: Reading, names: list[str]) -> Stream:
    levels = [name for name in names if LEVEL.fullmatch(name)]
    if not levels:
        raise DataError(f"{path}:1: no column names a level", remedy="is the format right?")
    table = Table(path, (*_TIMES, *(_optional(name) for name in levels)))
    scales = table.measure(reading)
    depth = 1 + max(int(found[2]) for name in levels if (found := LEVEL.fullmatch(name)))
    symbols = _Symbols(path, reading, scales)
    differs: dict[str, Differ] = {}
    for batch in table.batches(reading):
        for instrument, part in symbols.split(batch):
            books = np.zeros((len(part), 2, depth, 2), np.int64)
            for side, word in enumerate(("bids", "asks")):
                for n in range(depth):
                    for k, field in enumerate(("price", "amount")):
                        name = f"{word}[{n}].{field}"
                        if name in part:
                            books[:, side, n, k] = np.maximum(part[name], 0)
            differ = differs.setdefault(instrument.key, Differ(depth))
            rows = differ.rows(*_stamps(part), books, part.lines, reading)
            if len(rows):
                yield instrument, rows
