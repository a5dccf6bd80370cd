"""What a run did in one instrument, as columns: fills, orders and quotes; and where they come from.

Exact integers as everywhere: ticks, lots, money of 10^-8; times in ns. Stamps of fills, orders and
quotes must be of one clock: all the venue's, or all when we heard.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from alephtx.analysis.story import Fill, OrderLine
from alephtx.core.words import FILL, UNTRADEABLE_MASK

Column = np.ndarray[Any, Any]


class Fills(NamedTuple):
    """Our trades in one instrument in time order, int64 (n,) each. fee: money of 10^-8, paid > 0.

    Fees in another currency than the instrument settles in must be converted by the caller.
    """

    ts: Column
    side: Column
    price: Column
    qty: Column
    fee: Column
    liquidity: Column
    order_id: Column


class Orders(NamedTuple):
    """Orders that passed the gate, int64 (n,) each. A time is 0 while what it names has not been.

    ts_fill: its first fill; ts_end: when it was over. status: words.NEW, ...
    """

    order_id: Column
    side: Column
    price: Column
    qty: Column
    filled: Column
    ts_intent: Column
    ts_ack: Column
    ts_fill: Column
    ts_end: Column
    status: Column


class Quotes(NamedTuple):
    """Best bid and ask after every change, in ticks, int64 (n,), time rising. known: bool (n,)."""

    ts: Column
    bid: Column
    ask: Column
    known: Column

    @property
    def mid(self) -> Column:
        """The mid in ticks, float64, NaN where it is not known."""
        return np.where(self.known, (self.bid + self.ask) / 2.0, np.nan)


def _ordered(columns: tuple[Column, ...], by: Column) -> tuple[Column, ...]:
    order = np.argsort(by, kind="stable")
    return tuple(column[order] for column in columns)


def fills_of(fills: Iterable[Fill], instrument: int) -> Fills:
    """Return a story's fills in one instrument, by the venue's time."""
    kept = [fill for fill in fills if fill.instrument == instrument]
    columns = tuple(
        np.array([getattr(fill, name) for fill in kept], np.int64) for name in Fills._fields
    )
    return Fills(*_ordered(columns, columns[0]))


def funding_of(
    paid: Iterable[tuple[int, int, int]], instrument: int
) -> tuple[Column, Column] | None:
    """Return (ts, money of 10^-8 received) of a story's funding in one instrument, None: none."""
    kept = sorted((ts, amount) for of, ts, amount in paid if of == instrument)
    if not kept:
        return None
    columns = np.array(kept, np.int64)
    return columns[:, 0], columns[:, 1]


def fills_of_updates(updates: Column, instrument: int, *, heard: bool = False) -> Fills:
    """Return the FILL rows in one instrument. updates: UPDATE (n,), every fill once.

    heard: stamp them when we heard of them (ts_recv) instead of when the venue says (ts_event).
    """
    rows = updates[(updates["kind"] == FILL) & (updates["instrument"] == instrument)]
    ts = rows["ts_recv"] if heard else np.where(rows["ts_event"], rows["ts_event"], rows["ts_recv"])
    names = Fills._fields[1:]
    columns = (ts, *(rows[name] for name in names))
    return Fills(*_ordered(tuple(column.astype(np.int64) for column in columns), ts))


def orders_of(orders: Iterable[OrderLine], fills: Fills, instrument: int) -> Orders:
    """Return a story's orders in one instrument, by the time of their intent."""
    kept = [order for order in orders if order.instrument == instrument]
    first: dict[int, int] = {}
    for order_id, ts in zip(fills.order_id.tolist(), fills.ts.tolist(), strict=True):
        first.setdefault(order_id, ts)
    columns = tuple(
        np.array(
            [
                first.get(order.order_id, 0) if name == "ts_fill" else getattr(order, name)
                for order in kept
            ],
            np.int64,
        )
        for name in Orders._fields
    )
    return Orders(*_ordered(columns, columns[Orders._fields.index("ts_intent")]))


def quotes_of(tops: Column, *, heard: bool = False) -> Quotes:
    """Return quotes from TOP_ROW (n,) of one instrument, in their order; flagged ones say nothing.

    heard: stamp them when we heard (ts_recv). Of a clock that goes back the highest time counts.
    """
    ts = np.maximum.accumulate(tops["ts_recv" if heard else "ts_event"].astype(np.int64))
    known = (tops["aux"] & UNTRADEABLE_MASK == 0) & (tops["bid_qty"] > 0) & (tops["ask_qty"] > 0)
    return Quotes(ts, tops["bid"].astype(np.int64), tops["ask"].astype(np.int64), known)
