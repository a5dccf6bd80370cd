"""Real order-by-order recordings, where they lie beside the project: our places are exact there."""

import msgspec
import pytest

from alephtx.core import words as w
from alephtx.core.instruments import Instruments
from alephtx.core.kernel import JIT
from alephtx.engine import context as c
from alephtx.engine.backtest import Backtest, Tape, Venue
from tests.engine.replaying import MS, PLACE, START, configured
from tests.sim.test_fifo import Engine, Lists
from tests.store.market import SHARED
from tests.store.test_raw import imported

pytestmark = [
    pytest.mark.skipif(SHARED is None, reason="the real files are not here"),
    pytest.mark.skipif(not JIT, reason="long uncompiled"),
]


def sole(path):
    told, sinks = imported(path, None, "")
    assert (told.damaged, len(sinks)) == (0, 1)
    return next(iter(sinks.values()))


def both(engine, lists, row):
    kind, order_id = int(row["kind"]), int(row["seq"])
    side, price, qty = (int(row[name]) for name in ("side", "price", "qty"))
    ours = engine.row(kind, order_id, side, price, qty)
    if kind == w.ORDER_ADD:
        return ours, lists.add(order_id, side, price, qty)
    if kind == w.ORDER_CHANGE:
        return ours, lists.change(order_id, price, qty)
    return ours, lists.leaves(order_id, qty if kind == w.ORDER_FILL else None)


def test_fills_among_apples_orders_are_those_of_lists():
    """LOBSTER, AAPL 2012-06-21: an order of ours joins the best bid or ask each tenth message."""
    rows = sole(SHARED / "l3_equity" / "lobster_AAPL_20120621_message_10_first998.csv").rows
    engine, lists, fills, number = Engine(span=1 << 20), Lists(), 0, 10**12
    for k, row in enumerate(rows):
        if int(row["kind"]) < w.ORDER_ADD:
            continue
        ours, wanted = both(engine, lists, row)
        assert ours == wanted
        fills += len(ours)
        side = w.BUY if k % 20 else w.SELL
        if k % 10 == 0 and lists.prices(side) and len(lists.ours()) < 30:
            number += 1
            touch = lists.prices(side)[0]
            for book in (engine, lists):
                book.place(number, side, touch, 25)
        assert engine.ours() == lists.ours()
    assert engine.levels().keys() >= {(0, p) for p in lists.prices(w.BUY)[:5]}
    assert fills > 10


def test_a_day_of_bitstamp_runs_through_a_backtest():
    """Twenty bids at the price that traded last; while the book is crossed the gate denies."""
    sink = sole(SHARED / "l3_bitstamp_20150501" / "2015-05-01.log.xz")
    table, rows, lines = Instruments(), sink.rows, []
    table.add(msgspec.structs.replace(sink.instrument, key="toy:BTC-USD", venue="toy"))
    trades = rows[rows["kind"] == w.TRADE]
    for trade in trades[:: len(trades) // 20][1:21]:
        at = (int(trade["ts_recv"]) - START) / MS + 1
        price = int(trade["price"])
        lines.append({**PLACE, "at": at, "side": w.BUY, "price": price, "qty": 10**6})
    one = configured(table, lines)
    test = Backtest([one], table, [Tape(rows)], venue=Venue(queue="fifo")).run()
    assert test.rows == len(rows)
    assert int(test.lanes[0].ctx.counters[c.C_ORDERS]) >= 10
    assert int(test.lanes[0].ctx.counters[c.C_FILLS]) >= 10
