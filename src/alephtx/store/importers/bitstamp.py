"""Bitstamp's live orders, one by one: a log of its messages, or the same as CSV.

Log: `<ms> <event> <JSON>` with order_created, order_changed, order_deleted (amount = what is left),
trade, and order_book (passed over: the exchange's own top 100, for cross-checks). CSV: id,
timestamp, exchange.timestamp, price, volume, action, direction, volumes x 10^8. An order of 2015
could not be amended, so a change is a fill, and a deletion with nothing left is one too. The venue
stamps when an order was made, not when it changed: there is no venue clock. An order that takes
is shown before it trades, so the book is crossed for an instant.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.errors import UnitError
from alephtx.core.units import parse_scaled
from alephtx.core.words import LAST_IN_MESSAGE
from alephtx.store import order_flow as flow
from alephtx.store.columns import Column, Table, header_of
from alephtx.store.lines import first_lines, line_blocks
from alephtx.store.reading import Reading, Rows, Stream, plain_instrument
from alephtx.store.scan_csv import DECIMAL, WORD

HEADER = ["id", "timestamp", "exchange.timestamp", "price", "volume", "action", "direction"]
CREATED, CHANGED, DELETED = 1, 2, 3
ACTIONS = {"created": CREATED, "changed": CHANGED, "deleted": DELETED}
SIDES = {"bid": words.BUY, "ask": words.SELL}
PRICE_SCALE, QTY_SCALE = 2, 8
MS = 1_000_000
MS_MAX = ((1 << 63) - 1) // MS
"""What a word of ns can say; thirteen digits can say more."""


class _Message(msgspec.Struct):
    """What an event says; amounts of trades are floats in some years."""

    id: int
    price: str | float
    amount: str | float
    order_type: int = -1


_decode = msgspec.json.Decoder(_Message)


class Bitstamp:
    """Reads a log or a CSV file."""

    name = "bitstamp"

    def sniff(self, path: Path) -> bool:
        """Say whether it is one of the two."""
        if header_of(path) == HEADER:
            return True
        lines = first_lines(path, 1)
        words_of = lines[0].split(" ", 2) if lines else []
        return (
            len(words_of) == 3
            and words_of[0].isdigit()
            and words_of[1] in ("order_created", "order_changed", "order_deleted", "order_book",
                                "trade")
            and words_of[2][:1] == "{"
        )  # fmt: skip

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield the messages in the order of arrival."""
        instrument = plain_instrument(
            reading.options, venue="bitstamp", symbol="BTCUSD", price_scale=PRICE_SCALE,
            qty_scale=QTY_SCALE,
        )  # fmt: skip
        orders = flow.OrderFlow()
        read = _of_csv if header_of(path) == HEADER else _of_log
        for ops in read(path, reading):
            yield instrument, orders.rows(ops)
        yield instrument, orders.finish(reading)


def _of_csv(path: Path, reading: Reading) -> Iterator[Rows]:
    wanted = (
        Column("id"), Column("timestamp"), Column("price", DECIMAL, PRICE_SCALE), Column("volume"),
        Column("action", WORD, words=ACTIONS), Column("direction", WORD, words=SIDES),
    )  # fmt: skip
    for batch in Table(path, wanted).batches(reading):
        yield _operations(
            batch["action"], batch["id"], batch["price"], batch["volume"], batch["direction"],
            batch["timestamp"],
        )  # fmt: skip


def _operations(action: Rows, key: Rows, price: Rows, qty: Rows, side: Rows, ms: Rows) -> Rows:
    ops = flow.make_ops(len(key))
    ops[action == CREATED, flow.OP] = flow.ADD
    ops[action == CHANGED, flow.OP] = flow.LEAVE_FILLED
    gone = action == DELETED
    ops[gone, flow.OP] = np.where(qty[gone] == 0, flow.LEAVE_FILLED, flow.REMOVE)
    ops[:, flow.ORDER], ops[:, flow.PRICE_AT], ops[:, flow.QTY_AT] = key, price, qty
    ops[:, flow.SIDE_AT], ops[:, flow.RECV_NS] = side, ms * MS
    ops[:, flow.FLAGS_AT] = LAST_IN_MESSAGE
    return ops


def _of_log(path: Path, reading: Reading) -> Iterator[Rows]:
    for first, block in line_blocks(path, reading):
        found: list[tuple[int, ...]] = []
        for number, line in enumerate(block.split(b"\n")[:-1], first):
            stamp, _, rest = line.partition(b" ")
            event, _, body = rest.partition(b" ")
            if event == b"order_book":
                continue
            if not stamp.isdigit() or len(stamp) != 13 or int(stamp) > MS_MAX:
                reading.damaged(number, "time", f"not ms since the epoch: {stamp[:20]!r}")
                continue
            try:
                found.append(_of_line(event.decode(), body, int(stamp)))
            except (ValueError, UnitError) as error:  # msgspec's errors are ValueErrors
                reading.damaged(number, "message", str(error)[:200])
        if found:
            yield np.array(found, np.int64).reshape(-1, flow.OP_WORDS)


def _of_line(event: str, body: bytes, ms: int) -> tuple[int, ...]:
    message = _decode.decode(body)
    price = _scaled(message.price, PRICE_SCALE)
    qty = _scaled(message.amount, QTY_SCALE)
    if not 0 <= message.id < 1 << 62:
        raise ValueError(f"id {message.id} is no order's")
    if event == "trade":
        return (flow.PRINT, 0, 0, price, qty, 0, 0, ms * MS, LAST_IN_MESSAGE)
    kind = ACTIONS.get(event.removeprefix("order_"), 0)
    if not kind or message.order_type not in (0, 1):
        raise ValueError(f"{event[:40]} of type {message.order_type} is no event")
    op = {CREATED: flow.ADD, CHANGED: flow.LEAVE_FILLED}.get(
        kind, flow.LEAVE_FILLED if qty == 0 else flow.REMOVE
    )
    side = words.BUY if message.order_type == 0 else words.SELL
    return (op, message.id, 0, price, qty, side, 0, ms * MS, LAST_IN_MESSAGE)


def _scaled(value: Any, scale: int) -> int:
    """Return a number as an integer of 10^-scale; a float is rounded, text is exact."""
    text = value if isinstance(value, str) else format(round(Decimal(value), scale), "f")
    return parse_scaled(text, scale)
