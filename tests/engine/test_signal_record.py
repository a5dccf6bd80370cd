"""Signals kept with a run: what each signal says of its own accord, and nothing from the future."""

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.backtest_schema import SignalName
from alephtx.core.instruments import Instruments
from alephtx.core.plugins import find
from alephtx.core.records import EVENT
from alephtx.engine.recorder import NAMES
from alephtx.engine.signal_record import record_signals
from alephtx.engine.tapes import Delay, Tape, Venue
from alephtx.signals.running import Running
from alephtx.testing.signal import _view
from tests.engine.bottling import events
from tests.engine.test_replay_views import Book

MODULES = {
    "microprice": ("microprice", {}),
    "vamp": ("vamp", {}),
    "book_imbalance": ("book_imbalance", {}),
    "trade_flow": ("trade_flow", {}),
    "vol_fast": ("realised_vol", {"scale": "fast"}),
}
SLOW = {
    "vol_mid": ("realised_vol", {"scale": "mid"}),
    "vol_slow": ("realised_vol", {"scale": "slow"}),
    "spread_zscore": ("spread_zscore", {}),
    "open_range": ("open_range", {}),
}
ROWS = 30_000
MIDNIGHT = 1_700_006_400 * 10**9


@pytest.fixture(scope="module")
def market():
    rows, instrument = events(ROWS)
    return rows, Instruments([instrument])


@pytest.fixture(scope="module")
def kept(market):
    rows, table = market
    return record_signals(table, [Tape(rows)], Venue(), NAMES)[0]


@pytest.fixture(scope="module")
def slow_market(market):
    """The same market, forty times as slow, from just before midnight on: half an hour."""
    rows, table = market
    slow, start = rows.copy(), rows["ts_event"][0]
    for name in ("ts_event", "ts_recv"):
        slow[name] = MIDNIGHT - 10**9 + 40 * (rows[name] - start)
    return slow, table


@pytest.fixture(scope="module")
def by_hand(market):
    return run_by_hand(*market, MODULES)


@pytest.fixture(scope="module")
def slow_by_hand(slow_market):
    return run_by_hand(*slow_market, SLOW)


def run_by_hand(rows, table, modules):
    """{name: {second: value after its last event}} of signals run over the tape's own messages."""
    signals = {
        name: Running(find("signals", module), {"instrument": 0, **section}, table)
        for name, (module, section) in modules.items()
    }
    view, event, book = _view(), np.zeros(1, EVENT), Book()
    found = {name: {} for name in signals}
    changed = False
    for row in rows:
        news = row["kind"] == w.TRADE
        if not news:
            book.take(row)
            changed = True
        last = bool(row["flags"] & w.LAST_IN_MESSAGE)
        if last and changed:
            view.levels[0][:, :5] = np.array(book.levels(5)).reshape(2, 5, 2)
            bid, ask = view.levels[0, 0, 0], view.levels[0, 1, 0]
            top = view.top[0]
            top["bid"], top["bid_qty"], top["ask"], top["ask_qty"] = *bid, *ask
            top["aux"] = 0 if bid[1] and ask[1] else w.EMPTY_SIDE
            news, changed = True, False
        if not news:
            continue
        view.now[0] = int(row["ts_recv"])
        event[0] = np.zeros((), EVENT)
        event["kind"] = w.TRADE if row["kind"] == w.TRADE else w.TOP
        event["ts_recv"] = row["ts_recv"]
        if row["kind"] == w.TRADE:
            event["side"], event["qty"], event["price"] = row["side"], row["qty"], row["price"]
        for name, signal in signals.items():
            found[name][int(row["ts_recv"]) // 10**9] = signal(event, view)
    return found


def test_the_schema_names_the_columns():
    assert SignalName.__args__ == NAMES


@pytest.mark.parametrize("name", MODULES)
def test_a_line_is_what_the_signal_says_at_the_end_of_its_second(kept, by_hand, name):
    compare(kept, name, by_hand[name])


@pytest.mark.parametrize("name", SLOW)
def test_so_is_a_line_of_a_signal_that_needs_minutes(slow_market, slow_by_hand, name):
    rows, table = slow_market
    kept = record_signals(table, [Tape(rows)], Venue(), (name,))[0]
    compare(kept, name, slow_by_hand[name])


def compare(kept, name, wanted):
    seconds = (kept["ts_ns"] // 10**9).tolist()
    assert seconds == sorted(set(seconds))
    assert len(seconds) > 25
    both = [(kept[name][k], wanted[second]) for k, second in enumerate(seconds)]
    assert np.array_equal([a for a, _ in both], [b for _, b in both], equal_nan=True)
    assert np.isfinite([a for a, _ in both]).sum() > 20


def test_what_comes_later_changes_no_line(market, kept):
    rows, table = market
    other = rows.copy()
    other["price"][16_000:] += 500
    other["qty"][16_000:] += 3
    cut = int(rows[16_000]["ts_recv"])
    again = record_signals(table, [Tape(other)], Venue(), NAMES)[0]
    before = kept["ts_ns"] < cut - 10**9
    assert before.sum() > 10
    for name in NAMES:
        assert np.array_equal(kept[name][before], again[name][before], equal_nan=True)


def test_a_later_feed_moves_the_lines(market):
    rows, table = market
    late = record_signals(table, [Tape(rows)], Venue(feed=Delay(ns=10**9)), ("vamp",))[0]
    assert int(late["ts_ns"][0]) >= int(rows[0]["ts_event"]) + 10**9
