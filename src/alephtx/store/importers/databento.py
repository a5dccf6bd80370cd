"""Databento DBN files, read by its own library: market by order, trades, top of book.

https://databento.com/docs/schemas-and-data-formats. Records: mbo, trades, mbp-1 and tbbo (types
160, 0 and 1). Prices are 10^-9, scaled to the decimals that the file uses: it is read twice. A fill
(F) does not change the book by itself: the cancel that follows it does, so the two become one
ORDER_FILL. ts_event is the venue's stamp, ts_recv Databento's.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.core.words import LAST_IN_MESSAGE
from alephtx.store import order_flow as flow
from alephtx.store import rowmaking
from alephtx.store.damage import DataError
from alephtx.store.lines import head_of, pieces_of
from alephtx.store.reading import Reading, Rows, Stream, plain_instrument

MBO, MBP_0, MBP_1 = 160, 0, 1
LAST, SNAPSHOT = 128, 32
UNDEFINED = (1 << 63) - 1
PRICE_SCALE = 9
SIDES = {"B": words.BUY, "A": words.SELL, "N": 0}
CHUNK = 1 << 14


class Databento:
    """Reads one file, plain or zstd."""

    name = "databento"

    def sniff(self, path: Path) -> bool:
        """Say whether the file begins with DBN."""
        return head_of(path, 4)[:3] == b"DBN"

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield the messages, instrument by instrument within each chunk."""
        feeds: dict[int, _Feed] = {}
        prices = _decimals(path, reading)
        venue, names = "", {}
        waiting: dict[int, list[Any]] = {}
        count = 0
        for record in _records(path, reading):
            if hasattr(record, "dataset"):
                venue = record.dataset.partition(".")[0].lower()
                names = _names_of(record)
                continue
            if record.rtype not in (MBO, MBP_0, MBP_1):
                reading.note(f"records of type {record.rtype} are not read")
                continue
            waiting.setdefault(record.instrument_id, []).append(record)
            count += 1
            if count % CHUNK == 0:
                yield from _flush(waiting, feeds, venue, names, prices, reading)
        yield from _flush(waiting, feeds, venue, names, prices, reading)
        for feed in feeds.values():
            yield feed.instrument, feed.orders.finish(reading)


def _names_of(metadata: Any) -> dict[int, str]:
    found = {}
    for symbol, spans in metadata.mappings.items():
        for span in spans:
            if str(span["symbol"]).isdigit():
                found[int(span["symbol"])] = symbol
    return found


def _records(path: Path, reading: Reading) -> Iterator[Any]:
    """Yield metadata and records; what the library refuses is told and ends them."""
    import databento_dbn

    decoder = databento_dbn.DBNDecoder()
    count = 0
    try:
        for piece in pieces_of(path, reading):
            decoder.write(piece)
            for record in decoder.decode():
                yield record
                count += 1
    except BaseException as error:  # the library panics at some damages, outside of Exception
        if not isinstance(error, ValueError | OSError | databento_dbn.DBNError) and (
            type(error).__name__ != "PanicException"
        ):
            raise
        reading.damaged(count, "", f"no record of DBN: {str(error)[:200]}")
        return
    if decoder.buffer():
        reading.damaged(count, "", "the file ends within a record")


class _Feed:
    """One instrument of a file."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.orders = flow.OrderFlow()
        self.filled: dict[int, int] = {}
        self.in_snapshot = False


def _flush(
    waiting: dict[int, list[Any]], feeds: dict[int, _Feed], venue: str, names: dict[int, str],
    prices: int, reading: Reading,
) -> Stream:  # fmt: skip
    """Yield what waits, and forget it."""
    for number, records in waiting.items():
        if number not in feeds:
            feeds[number] = _Feed(plain_instrument(
                reading.options, venue=venue, symbol=names.get(number, str(number)),
                price_scale=prices, qty_scale=0, quote="USD", contract=words.LINEAR,
            ))  # fmt: skip
        feed = feeds[number]
        scale = 10 ** (PRICE_SCALE - feed.instrument.price_scale)
        orders = [record for record in records if record.rtype == MBO]
        if orders:
            yield feed.instrument, feed.orders.rows(_operations(orders, feed, scale, reading))
        rest = [record for record in records if record.rtype != MBO]
        if rest:
            yield from _plain(rest, feed, scale)
    waiting.clear()


def _decimals(path: Path, reading: Reading) -> int:
    """Return how many decimals a file's prices use; DataError when the options give fewer."""
    unit = 10**PRICE_SCALE
    for record in _records(path, Reading(path, reading.options)):
        if getattr(record, "rtype", None) in (MBO, MBP_0, MBP_1) and record.price != UNDEFINED:
            prices = [record.price]
            if record.rtype == MBP_1:
                prices += [record.levels[0].bid_px, record.levels[0].ask_px]
            for price in prices:
                while unit > 1 and price % unit and price != UNDEFINED:
                    unit //= 10
    needed = PRICE_SCALE + 1 - len(str(unit))
    given = reading.options.price_scale
    if reading.options.instrument is not None:
        given = reading.options.instrument.price_scale
    if 0 <= given < needed or given > PRICE_SCALE:
        raise DataError(
            f"{path}: its prices have {needed} decimals, {given} were given",
            remedy=f"give {needed} to {PRICE_SCALE}, or none",
        )
    return needed


def _price(value: int, scale: int) -> int:
    """Return a price in ticks, 0 where there is none."""
    return 0 if value == UNDEFINED else value // scale


def _stamp(ns: int) -> int:
    """Return a stamp, 0 for none: the format's word for that is beyond 63 bits."""
    return ns if ns < UNDEFINED else 0


def _operations(records: list[Any], feed: _Feed, scale: int, reading: Reading) -> Rows:
    """Return market-by-order records as operations."""
    ops: list[tuple[int, ...]] = []
    for record in records:
        action, side = str(record.action), SIDES.get(str(record.side), 0)
        price, size, key = _price(record.price, scale), record.size, record.order_id & UNDEFINED
        flags = LAST_IN_MESSAGE if record.flags & LAST else 0
        stamps = _stamp(record.ts_event), _stamp(record.ts_recv)
        snapshot = bool(record.flags & SNAPSHOT)
        if snapshot and not feed.in_snapshot and action != "R":
            ops.append((flow.FORGET, 0, 0, 0, 0, 0, *stamps, words.SNAPSHOT))
        feed.in_snapshot = snapshot
        flags |= words.SNAPSHOT if snapshot else 0
        if action == "A":
            op = (flow.ADD, key, 0, price, size, side)
        elif action == "C":
            left = feed.filled.pop(key, 0)
            if left and left >= size:
                op = (flow.FILL, key, 0, price, size, side)
            else:
                op = (flow.REDUCE, key, 0, 0, size, side)
        elif action == "M":
            op = (flow.LEAVE, key, 0, price, size, side)
        elif action == "F":
            feed.filled[key] = size
            op = (flow.END, 0, 0, 0, 0, 0)
        elif action == "T":
            op = (flow.PRINT, 0, 0, price, size, side)
        elif action == "R":
            op = (flow.FORGET, 0, 0, 0, 0, 0)
        else:
            op = (flow.END, 0, 0, 0, 0, 0)
        ops.append((*op, *stamps, flags))
    return np.array(ops, np.int64).reshape(-1, flow.OP_WORDS)


def _plain(records: list[Any], feed: _Feed, scale: int) -> Stream:
    """Yield trades and tops; a record of mbp-1 with action T is a trade and the top after it."""
    for record in records:
        stamps = np.array([_stamp(record.ts_event)]), np.array([_stamp(record.ts_recv)])
        if str(record.action) == "T":
            fields = _price(record.price, scale), record.size, SIDES.get(str(record.side), 0)
            yield feed.instrument, rowmaking.trades(*stamps, *(np.array([f]) for f in fields))
        if record.rtype == MBP_1:
            (level,) = record.levels
            sides = (
                _price(level.bid_px, scale), level.bid_sz, _price(level.ask_px, scale), level.ask_sz
            )  # fmt: skip
            yield feed.instrument, rowmaking.tops(*stamps, *(np.array([f]) for f in sides))
