import numpy as np

from alephtx.analysis.story import Fill, OrderLine, Story
from alephtx.analysis.tables import fills_of, fills_of_updates, orders_of, quotes_of
from alephtx.core import words as w
from alephtx.core.records import TOP_ROW, UPDATE


def update(**fields):
    row = np.zeros(1, UPDATE)
    for name, value in fields.items():
        row[name] = value
    return row


UPDATES = np.concatenate([
    update(kind=w.ACK, instrument=1, order_id=9, ts_recv=5),
    update(kind=w.FILL, instrument=1, order_id=9, ts_event=30, ts_recv=33, price=101, qty=2,
           side=-1, fee=-4, liquidity=w.MAKER, trade_id=2),
    update(kind=w.FILL, instrument=0, order_id=8, ts_event=10, ts_recv=11, price=7, qty=7, side=1,
           trade_id=1),
    update(kind=w.FILL, instrument=1, order_id=9, ts_recv=29, price=100, qty=3, side=-1, fee=6,
           liquidity=w.TAKER, trade_id=3),
])  # fmt: skip


def rows(table):
    return [tuple(row) for row in zip(*(column.tolist() for column in table), strict=True)]


def test_fills_of_updates_are_one_instruments_in_time_order():
    assert rows(fills_of_updates(UPDATES, 1)) == [
        (29, -1, 100, 3, 6, w.TAKER, 9), (30, -1, 101, 2, -4, w.MAKER, 9),
    ]  # fmt: skip
    assert fills_of_updates(UPDATES, 1, heard=True).ts.tolist() == [29, 33]
    assert rows(fills_of_updates(UPDATES, 5)) == []


def test_story_gives_the_same_fills_and_their_orders():
    story = Story(instruments=2)
    story.orders[9] = OrderLine(
        order_id=9, strategy=0, account=0, instrument=1, side=-1, type=w.LIMIT, tif=w.GTC, flags=0,
        price=100, qty=9, group_id=0, ts_intent=2,
    )  # fmt: skip
    names = UPDATE.names
    for row in UPDATES.tolist():
        story.update(dict(zip(names, row, strict=True)), 40)
    found = fills_of(story.fills, 1)
    assert rows(found) == rows(fills_of_updates(UPDATES, 1))
    assert rows(orders_of(story.orders.values(), found, 1)) == [
        (9, -1, 100, 9, 5, 2, 5, 29, 0, w.PARTIALLY_FILLED)
    ]
    assert rows(orders_of(story.orders.values(), found, 0)) == []
    assert all(isinstance(fill, Fill) for fill in story.fills)


def test_quotes_say_nothing_where_the_book_is_flagged_or_empty():
    tops = np.zeros(4, TOP_ROW)
    tops["ts_event"], tops["ts_recv"] = [10, 9, 30, 40], [11, 12, 13, 14]
    tops["bid"], tops["ask"], tops["bid_qty"], tops["ask_qty"] = 99, 102, 1, 1
    tops["aux"][1] = w.STALE | 3 << w.EPOCH_SHIFT
    tops["ask_qty"][2] = 0
    tops["aux"][3] = 3 << w.EPOCH_SHIFT
    found = quotes_of(tops)
    assert found.ts.tolist() == [10, 10, 30, 40]
    assert quotes_of(tops, heard=True).ts.tolist() == [11, 12, 13, 14]
    assert found.known.tolist() == [True, False, False, True]
    assert found.mid[[0, 3]].tolist() == [100.5, 100.5]
    assert np.isnan(found.mid[1:3]).all()
