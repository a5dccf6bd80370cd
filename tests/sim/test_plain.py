"""Plain level changes have a loop of their own, which must do what the loop of all kinds does.

A row with a flag is no plain one: the same market with SNAPSHOT on every level change runs without
the quick loop. Orders rest in and before the levels, are taken and cross, so that rows leave it and
come back.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.core.kernel import JIT
from alephtx.core.records import EVENT, TICK
from alephtx.engine.backtest import Backtest, Delay, Tape, Venue
from alephtx.sim.levels import SET
from alephtx.sim.plain import plain_rows
from tests.engine.replaying import MS, START, configured, table_of, told

PLACE = {"op": w.PLACE, "type": w.LIMIT, "tif": w.GTC}
prices, lots = st.integers(90, 110), st.integers(0, 9)
levels = st.lists(st.tuples(st.sampled_from([w.BUY, w.SELL]), prices, lots), min_size=1, max_size=9)
prints = st.tuples(st.sampled_from([w.BUY, w.SELL]), prices, st.integers(1, 9))
messages = st.lists(st.one_of(levels, levels, levels, prints), min_size=5, max_size=30)
orders = st.lists(
    st.tuples(
        st.integers(0, 29), st.sampled_from([w.BUY, w.SELL]), prices, st.integers(1, 5),
        st.sampled_from([w.GTC, w.IOC]),
    ),
    max_size=12,
)  # fmt: skip


def rows_of(story, kind, flag):
    """Return the rows of messages, 10 ms apart and 3 ms late; flag: on every level change."""
    made = []
    for k, message in enumerate(story):
        if isinstance(message, tuple):
            made.append((k, w.TRADE, *message, w.LAST_IN_MESSAGE))
            continue
        made += [(k, w.DELTA, *level, flag) for level in message]
        made[-1] = (*made[-1][:-1], flag | w.LAST_IN_MESSAGE)
    rows = np.zeros(len(made), kind)
    for row, (k, what, side, price, qty, flags) in zip(rows, made, strict=True):
        row["ts_event"] = START + 10 * MS * k
        row["ts_recv"] = row["ts_event"] + 3 * MS
        row["kind"], row["side"], row["price"], row["qty"] = what, side, price, qty
        row["flags"] = flags
    return rows


def played(story, sent, kind, flag, lanes):
    """Return what a market did to scripted orders: reports, digests, the book."""
    script = [
        {**PLACE, "at": 10 * at + 4, "side": side, "price": price, "qty": qty, "tif": tif}
        for at, side, price, qty, tif in sorted(sent)
    ]
    table, later = table_of(), [{**line, "at": line["at"] + 11} for line in script]
    configs = [configured(table, lines) for lines in (script, later)[:lanes]]
    venue = Venue(entry=Delay(ns=2 * MS), queue="power_2")
    tapes = [Tape(rows_of(story, kind, flag))]
    test = Backtest(configs, table, tapes, venue=venue, span=1_024).run()
    lots, bits, marks = test.bottle.lots[0], test.bottle.bits[0], test.bottle.marks[0]
    book = [np.flatnonzero(side).tolist() + side[side > 0].tolist() for side in lots]
    reports = [told(test, lane) for lane in range(lanes)]
    return reports, test.bottle.digest.tolist(), book, bits.tolist(), marks.tolist()


@pytest.mark.kernel
@pytest.mark.parametrize("kind", [TICK, EVENT], ids=["tick", "event"])
@pytest.mark.parametrize("lanes", [1, 2])
@settings(max_examples=60 if JIT else 8, deadline=None)
@given(messages, orders)
def test_the_quick_loop_changes_nothing(kind, lanes, story, sent):
    quick = played(story, sent, kind, 0, lanes)
    assert quick == played(story, sent, kind, w.SNAPSHOT, lanes)


@pytest.mark.kernel
def test_rows_do_take_the_quick_loop():
    """Or the test above compares one way with itself."""
    rows = rows_of([[(w.BUY, 99, 1), (w.BUY, 98, 2), (w.BUY, 97, 3), (w.SELL, 101, 1)]], TICK, 0)
    test = Backtest([configured(table_of(), [])], table_of(), [Tape(rows)], span=1_024)
    z = test.words
    test.bottle.marks[0, :, SET] = 1
    test.bottle.reach[0, :, :2] = (1 << 62), -(1 << 62)
    assert plain_rows(z, 0, 1) == 3  # all but the last of the message
