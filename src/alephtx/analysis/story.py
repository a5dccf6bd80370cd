"""The story of a journal's orders: what was wanted, denied, sent, filled, and how long it took.

    story = Story(instruments=len(table))
    for record in read("runs/latest/journal"):
        story.apply(record.kind, record.payload, record.ts)

A fold for reading, not for trading: the engine's order table decides, this one tells. A fill counts
once by (account, instrument, trade id). About 10 us a row and 500 bytes an order.
"""

from collections import Counter
from typing import Any

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.records import INTENT, UPDATE
from alephtx.matrix import journal

Row = dict[str, int]

_ENDS = {
    words.REJECT: words.REJECTED,
    words.CANCEL_ACK: words.CANCELED,
    words.EXPIRE: words.EXPIRED,
    words.NOT_FOUND: words.REJECTED,
}


class Fill(msgspec.Struct, frozen=True):
    """One trade of ours. price in ticks, qty in lots, fee in 10^-8 of fee_currency; ts in ns.

    ts is the venue's time where it has one, else when we heard. strategy is -1 where the order is
    not in the journal.
    """

    ts: int
    order_id: int
    account: int
    instrument: int
    strategy: int
    side: int
    price: int
    qty: int
    fee: int
    fee_currency: int
    liquidity: int
    trade_id: int


class OrderLine(msgspec.Struct):
    """One order that passed the gate. value is the sum of ticks x lots of its fills; times in ns.

    A time is 0 while what it names has not happened.
    """

    order_id: int
    strategy: int
    account: int
    instrument: int
    side: int
    type: int
    tif: int
    flags: int
    price: int
    qty: int
    group_id: int
    ts_intent: int
    ts_sent: int = 0
    ts_ack: int = 0
    ts_cancel: int = 0
    ts_end: int = 0
    status: int = words.PENDING_NEW
    reason: int = 0
    code: int = 0
    filled: int = 0
    value: int = 0
    fills: int = 0


class Story:
    """Orders by id, fills in the order they were heard of, and counts of everything else."""

    def __init__(self, instruments: int) -> None:
        self.instruments = instruments
        self.orders: dict[int, OrderLine] = {}
        self.fills: list[Fill] = []
        self.funding: list[tuple[int, int, int]] = []  # instrument, ns, received in 10^-8
        self.denied: Counter[tuple[int, int]] = Counter()  # (strategy, verdict)
        self.intents: Counter[int] = Counter()  # by op
        self.amends: Counter[int] = Counter()  # of an instrument's orders, past the gate
        self.updates: Counter[int] = Counter()  # by kind
        self.resyncs: Counter[int] = Counter()  # by account
        self.duplicates = 0  # fills heard of twice
        self.foreign = 0  # fills of orders that are not in the journal
        self.strange = 0  # rows that name no known instrument, or that make no sense
        self.first_ts = 0
        self.last_ts = 0
        self._trades: set[tuple[int, int, int]] = set()
        self._payments: set[tuple[int, int, int]] = set()

    def apply(self, kind: int, payload: Any, ts: int) -> None:
        """Take one record of the journal; kinds without orders only move the clock."""
        self.first_ts = self.first_ts or ts
        self.last_ts = max(self.last_ts, ts)
        dtype = {journal.INTENT: INTENT, journal.UPDATE: UPDATE}.get(kind)
        if dtype is None:
            return
        if len(payload) % dtype.itemsize:
            self.strange += 1
            return
        names = dtype.names or ()
        for values in np.frombuffer(payload, dtype).tolist():  # Python ints read faster
            row = dict(zip(names, values, strict=True))
            if kind == journal.INTENT:
                self.intent(row)
            else:
                self.update(row, ts)

    def intent(self, row: Row) -> None:
        """Take one INTENT row, by the names of its fields."""
        op, verdict, strategy = row["op"], row["verdict"], row["strategy"]
        self.intents[op] += 1
        if verdict != words.PASS:
            self.denied[strategy, verdict] += 1
            return
        if op == words.CANCEL:
            order = self.orders.get(row["target_order_id"])
            if order is not None and not order.ts_cancel:
                order.ts_cancel = row["ts_intent"]
            return
        if op == words.AMEND:
            self.amends[row["instrument"]] += 1
        if op != words.PLACE:
            return
        if row["instrument"] >= self.instruments:
            self.strange += 1
            return
        taken = ("account", "instrument", "side", "type", "tif", "flags", "price", "qty")
        self.orders[row["order_id"]] = OrderLine(
            order_id=row["order_id"],
            strategy=strategy,
            group_id=row["group_id"],
            ts_intent=row["ts_intent"],
            **{name: row[name] for name in taken},
        )

    def update(self, row: Row, ts: int) -> None:
        """Take one UPDATE row that was journaled at ts."""
        kind = row["kind"]
        self.updates[kind] += 1
        if kind == words.RESYNC_BEGIN:
            self.resyncs[row["account"]] += 1
        if kind in (words.RESYNC_BEGIN, words.RESYNC_END):
            return
        if row["instrument"] >= self.instruments:
            self.strange += 1
            return
        order = self.orders.get(row["order_id"])
        heard = row["ts_recv"] or ts
        if kind == words.FUNDING_PAID:
            self._paid(row, heard)
        elif kind == words.FILL:
            self._fill(row, order, heard)
        elif order is not None:
            _move(order, kind, row, heard)

    def _paid(self, row: Row, heard: int) -> None:
        """Keep a funding payment, once; without a number it is known by its time."""
        when = row["ts_event"] or heard
        key = (row["account"], row["instrument"], row["trade_id"] or when)
        if key not in self._payments:
            self._payments.add(key)
            self.funding.append((row["instrument"], when, row["realized"]))

    def _fill(self, row: Row, order: OrderLine | None, heard: int) -> None:
        account, instrument = row["account"], row["instrument"]
        key = (account, instrument, row["trade_id"])
        price, qty, side = row["price"], row["qty"], row["side"]
        if price <= 0 or qty <= 0 or abs(side) != 1 or key[2] == 0:
            self.strange += 1
            return
        if key in self._trades:
            self.duplicates += 1
            return
        self._trades.add(key)
        self.foreign += order is None
        self.fills.append(
            Fill(
                ts=row["ts_event"] or heard,
                order_id=row["order_id"],
                account=account,
                instrument=instrument,
                strategy=-1 if order is None else order.strategy,
                side=side,
                price=price,
                qty=qty,
                fee=row["fee"],
                fee_currency=row["fee_currency"],
                liquidity=row["liquidity"],
                trade_id=key[2],
            )
        )
        if order is None:
            return
        order.filled += qty
        order.value += price * qty
        order.fills += 1
        order.ts_ack = order.ts_ack or heard
        if order.filled >= order.qty:
            order.status, order.ts_end = words.FILLED, heard
        elif order.status not in words.TERMINAL:
            order.status = words.PARTIALLY_FILLED


def _move(order: OrderLine, kind: int, row: Row, heard: int) -> None:
    """Take a word that is no fill; an order that is over stays over."""
    if kind == words.SENT:
        order.ts_sent = order.ts_sent or heard
        return
    if kind in (words.ACK, words.REJECT):
        order.ts_ack = order.ts_ack or heard
    if order.status in words.TERMINAL:
        return
    if kind in _ENDS:
        order.status, order.ts_end = _ENDS[kind], heard
        order.reason, order.code = row["reason"], row["code"]
    elif kind == words.AMBIGUOUS:
        order.status = words.UNKNOWN
    elif kind == words.ACK and order.status in (words.PENDING_NEW, words.UNKNOWN):
        order.status = words.NEW
    elif kind == words.ORDER_STATE and row["status"] in words.STATUS_NAMES:
        order.status = row["status"]
        if order.status in words.TERMINAL:
            order.ts_end = heard


def latencies(orders: dict[int, OrderLine]) -> dict[str, np.ndarray[Any, Any]]:
    """Return durations in ns from the journal: of every order that has both ends.

    intent_to_sent: the strategy's clock to the socket. sent_to_ack: until the venue's first word,
    its time included. cancel_to_end: from the wish to cancel to the word that the order is over.
    """
    pairs = {
        "intent_to_sent": ("ts_intent", "ts_sent"),
        "sent_to_ack": ("ts_sent", "ts_ack"),
        "cancel_to_end": ("ts_cancel", "ts_end"),
    }
    found = {}
    for name, (start, end) in pairs.items():
        taken = [
            getattr(order, end) - getattr(order, start)
            for order in orders.values()
            if getattr(order, start) and getattr(order, end)
        ]
        kept = np.array(taken, np.int64)
        found[name] = np.sort(kept[kept >= 0])
    return found
