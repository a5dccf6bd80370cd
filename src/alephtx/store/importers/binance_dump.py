"""Binance's public dumps: trades, aggTrades, bookTicker, and the depth files of the futures.

https://github.com/binance/binance-public-data. Spot files have no header line and stamps in
microseconds from 2025 on, the others in milliseconds. Depth (T_DEPTH) comes as `..._depth_snap` and
`..._depth_update` files of one layout; each is read by itself. `bookDepth` files are sums by per
cent, no book, and are not read.
"""

import re
from pathlib import Path

import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.store import rowmaking
from alephtx.store.columns import PRICES, SIZES, Batch, Column, Table, group_starts
from alephtx.store.lines import first_fields, first_lines
from alephtx.store.reading import Reading, Rows, Stream, plain_instrument
from alephtx.store.scan_csv import DECIMAL, TEXT, WORD

TRADES = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker", "is_best_match")
AGG_TRADES = (
    "agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id", "transact_time",
    "is_buyer_maker", "is_best_match",
)  # fmt: skip
BOOK_TICKER = "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty"
DEPTH = "symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty"
NAME = re.compile(r"([A-Z0-9_]+?)[-_](trades|aggTrades|bookTicker|T_DEPTH)", re.ASCII)
MAKER = {"true": words.SELL, "false": words.BUY}  # the buyer was the maker: the seller took


def nanoseconds(stamps: Rows) -> Rows:
    """Return stamps of milli- or microseconds as ns; which it is shows by their size."""
    return np.where(stamps < 100_000_000_000_000, stamps * 1_000_000, stamps * 1_000)


class BinanceDump:
    """Reads one file of the dumps, zipped or not."""

    name = "binance_dump"

    def sniff(self, path: Path) -> bool:
        """Say whether a file has one of the headers, or the name and shape of a spot file."""
        return bool(_kind(path))

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield its messages in the order of the file."""
        kind = _kind(path) or "trades"
        if kind == "bookTicker":
            yield from _read_tops(path, reading)
        elif kind == "depth":
            yield from _read_depth(path, reading)
        else:
            yield from _read_trades(path, reading, kind)


def _kind(path: Path) -> str:
    lines = first_lines(path, 1)
    head = lines[0].replace(" ", "") if lines else ""
    if head.startswith(BOOK_TICKER):
        return "bookTicker"
    if head.startswith(DEPTH):
        return "depth"
    if head.startswith(("id,price,qty,quote_qty,time,is_buyer_maker", "agg_trade_id,price,quant")):
        return "aggTrades" if head.startswith("agg") else "trades"
    named = NAME.match(path.name)
    fields = head.split(",")
    plain = named is not None and fields[0].isdigit()
    if plain and named is not None and (named[2], len(fields)) in (
        ("trades", 7), ("trades", 6), ("aggTrades", 8), ("aggTrades", 7), ("bookTicker", 7),
    ):  # fmt: skip
        return named[2]
    return ""


def _instrument(
    path: Path, reading: Reading, table: Table, fields: int, scales: tuple[int, int],
    symbol: str = "",
) -> Instrument:  # fmt: skip
    """Return what a file is of: the market shows in its shape and its symbol."""
    named = NAME.match(path.name)
    symbol = symbol or (named[1] if named else "")
    spot = (fields in (7, 8)) and not table.has_header
    inverse = "USD_" in symbol
    venue = "binance_spot" if spot else "binance_coinm" if inverse else "binance_usdm"
    contract = words.SPOT if spot else words.INVERSE if inverse else words.LINEAR
    return plain_instrument(
        reading.options, venue=venue, symbol=symbol, price_scale=scales[0], qty_scale=scales[1],
        contract=contract,
    )  # fmt: skip


def _names(path: Path, known: tuple[str, ...]) -> list[str] | None:
    """Return the names of a headerless file's columns, None where it has a header."""
    fields = first_fields(path)
    return list(known[: len(fields)]) if fields[0].isdigit() else None


def _read_trades(path: Path, reading: Reading, kind: str) -> Stream:
    known, price, qty, time = (
        (TRADES, "price", "qty", "time") if kind == "trades"
        else (AGG_TRADES, "price", "quantity", "transact_time")
    )  # fmt: skip
    wanted = (
        Column(price, DECIMAL, PRICES), Column(qty, DECIMAL, SIZES), Column(time),
        Column("is_buyer_maker", WORD, words=MAKER),
    )  # fmt: skip
    table = Table(path, wanted, _names(path, known))
    scales = table.measure(reading)
    instrument = _instrument(path, reading, table, len(table.names), scales)
    for batch in table.batches(reading):
        event = nanoseconds(batch[time])
        yield (
            instrument,
            rowmaking.trades(event, 0, batch[price], batch[qty], batch["is_buyer_maker"]),
        )


def _read_tops(path: Path, reading: Reading) -> Stream:
    names = [*BOOK_TICKER.split(","), "transaction_time", "event_time"]
    wanted = [
        Column(name, DECIMAL, PRICES if name.endswith("price") else SIZES) for name in names[1:5]
    ]
    table = Table(path, [*wanted, Column("transaction_time")], _names(path, tuple(names)))
    instrument = _instrument(path, reading, table, 0, table.measure(reading))
    for batch in table.batches(reading):
        event = nanoseconds(batch["transaction_time"])
        yield instrument, rowmaking.tops(event, 0, *(batch[name] for name in names[1:5]))


def _read_depth(path: Path, reading: Reading) -> Stream:
    wanted = (
        Column("symbol", TEXT), Column("timestamp"), Column("first_update_id"),
        Column("last_update_id"), Column("side", WORD, words={"b": words.BUY, "a": words.SELL}),
        Column("update_type", WORD, words={"snap": 1, "set": 0, "update": 0, "delete": 0}),
        Column("price", DECIMAL, PRICES), Column("qty", DECIMAL, SIZES),
        Column("pu", optional=True),
    )  # fmt: skip
    table = Table(path, wanted)
    scales = table.measure(reading)
    instrument: Instrument | None = None
    last = -1
    for batch in table.grouped(reading, "symbol", "last_update_id", "update_type"):
        if instrument is None:
            symbol = next(iter(batch.texts.values()))
            instrument = _instrument(path, reading, table, 0, scales, symbol)
        rows, last = _depth_rows(batch, last)
        yield instrument, rows


def _depth_rows(batch: Batch, last: int) -> tuple[Rows, int]:
    """Return a batch's messages; last: the update id before it, -1 none."""
    starts = group_starts(batch, ("symbol", "last_update_id", "update_type"))
    books = batch["update_type"][starts] == 1
    ids = batch["last_update_id"][starts]
    gaps = np.zeros(len(starts), np.bool_)
    if "pu" in batch:
        before = np.concatenate([[last], ids[:-1]])
        gaps = (batch["pu"][starts] != before) & (before >= 0) & ~books
    rows = rowmaking.deltas(
        nanoseconds(batch["timestamp"]), 0, batch["price"], batch["qty"], batch["side"], starts
    )
    return rowmaking.with_clears(rows, books, starts, gaps), int(ids[-1])
