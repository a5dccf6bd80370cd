"""The simulated venue itself knows nothing of what comes later, whatever model it is given."""

import re
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.config_schema import Account, Config, MatrixConfig, Strategy, VenueConfig
from alephtx.core.instruments import Instruments
from alephtx.core.kernel import JIT
from alephtx.engine.backtest import Delay, Tape, Venue
from alephtx.engine.market import Market
from alephtx.engine.tapes import Margin
from alephtx.lab.futures import FUTURES, other_future, wide
from alephtx.lab.peek import look
from alephtx.sim.depth import deepen
from alephtx.store.ticks import open_ticks
from alephtx.testing.synthetic import synthetic
from tests.engine.replaying import LOOSE, MS
from tests.engine.test_replay_fifo import by_order

DATA = Path(__file__).parents[2] / "examples" / "data"
ENTRY = {"entry": Delay(ns=5 * MS), "response": Delay(ns=3 * MS)}

slow = pytest.mark.skipif(not JIT, reason="long uncompiled")


def maker(table, **own):
    """Return a config of the plainest maker on all instruments of a table."""
    (venue,) = table.venues
    own = {"half_spread_ticks": 1, "qty_base": "0.01", "inventory_max_base": "0.1",
           "requote_bps": "0", "rest_ms": 20, "max_age_ms": 600_000, **own}  # fmt: skip
    keys = tuple(instrument.key for instrument in table)
    return Config(
        matrix=MatrixConfig(path="/nowhere"),
        venues={venue: VenueConfig(symbols=("BTCUSDT",))},
        accounts={"main": Account(venue=venue)},
        risk=LOOSE,
        strategies={"maker": Strategy(use="market_maker", instruments=keys, accounts=("main",),
                                      own=own)},
    )  # fmt: skip


def recorded(name):
    ticks = open_ticks(DATA / f"{name}.ticks")
    table = Instruments()
    table.add(ticks.instrument)
    return table, [Tape(ticks.rows, ticks.price_base, ticks.price_unit, ticks.qty_unit)]


def made_up(count=6_000):
    rows, table = synthetic(count)
    return table, [Tape(rows)]


def orders():
    _, table = synthetic(10)
    return table, [Tape(by_order(6_000))]


def marked():
    """Return a market with marks that fall, and funding once a second."""
    rows, table = synthetic(6_000)
    tops, known = wide(Tape(rows)), []
    for k in range(0, len(tops), 40):
        known.append(tops[k : k + 1].copy())
        known[-1]["kind"], known[-1]["flags"], known[-1]["qty"] = w.MARK, w.LAST_IN_MESSAGE, 0
        known[-1]["price"], known[-1]["side"] = 600_000 - 9 * k, 0
        if k % 400 == 0:
            known.append(known[-1].copy())
            known[-1]["kind"], known[-1]["price"] = w.FUNDING, 10**8 * (1 - 2 * (k % 800 == 0))
            known[-1]["qty"] = int(known[-1]["ts_event"][0]) + 300 * MS
    last = np.flatnonzero(tops["flags"] & w.LAST_IN_MESSAGE)
    parts, at = [], 0
    for number, one in enumerate(known):
        ends = last[np.searchsorted(tops["ts_event"][last], int(one["ts_event"][0]), "right") - 1]
        upto = max(at, int(ends) + 1 if number else 0)
        parts += [tops[at:upto], one]
        at = upto
    rows = np.concatenate([*parts, tops[at:]])
    rows["ts_event"] = np.maximum.accumulate(rows["ts_event"])
    rows["ts_recv"] = np.maximum.accumulate(rows["ts_recv"])
    return table, [Tape(rows)]


def trades_alone():
    table, (tape,) = recorded("usdm_btcusdt_20240808")
    rows = wide(tape)
    overtook = rows["flags"] & (w.TICK_EXCHANGE | w.TICK_LOCAL) != 0
    rows = rows[(rows["kind"] == w.TRADE) & ~overtook]
    rows["flags"] = w.LAST_IN_MESSAGE
    return table, [Tape(rows)]


LATE = {"feed": Delay(kind="recorded", ns=1_275_000_000), **ENTRY}
POOR = {"balance": Decimal(100), "margin": Margin(leverage=10, maintenance=0.05),
        "margin_every_ns": 10 * MS}  # fmt: skip
CASES = {
    **{queue: (made_up, {"queue": queue, **ENTRY})
       for queue in ("risk_averse", "power", "power_2", "power_3", "log", "log_2", "trades_only")},
    "whole_fills": (made_up, {"whole_fills": True, **ENTRY}),
    "at_once": (made_up, {}),
    "constant": (made_up, {"feed": Delay(ns=3 * MS), **ENTRY, "cancel": Delay(ns=9 * MS)}),
    "feed_tied": (made_up, {"entry": Delay(kind="feed_tied", ratio=1.5)}),
    "loaded": (made_up, {"entry": Delay(kind="loaded", ns=MS, ratio=0.5)}),
    "filters": (made_up, {"filters": True, "band": 0.01, "self_trade": "decrement", **ENTRY}),
    "impact": (made_up, {"impact": 0.01, **ENTRY}),
    "recorded": (lambda: recorded("usdm_btcusdt_20240808"), LATE),
    "depth_tops": (lambda: recorded("usdm_btcusdt_20240808_tops"), {"depth_levels": 8, **LATE}),
    "depth_trades": (trades_alone, {"depth_levels": 8, "depth_growth": 1.2, **LATE}),
    "fifo": (orders, {"queue": "fifo", **ENTRY}),
    "margin": (marked, {**POOR, **ENTRY}),
    "funding": (marked, {"balance": Decimal(10**6), **ENTRY}),
}  # fmt: skip


@slow
@pytest.mark.parametrize("name", list(CASES))
def test_no_model_of_a_venue_looks_ahead(name):
    opened, terms = CASES[name]
    table, tapes = opened()
    looked = look(maker(table), Market(table, tapes, Venue(**terms), 0), cuts=3, seed=2)
    assert looked.found is None, looked.found
    assert looked.decisions > 20
    assert looked.reports > 20


def whole_tape(rows, levels, *, step=1, growth=1.0):
    """Make up depth that grows with the average of the whole tape, as a venue must not."""
    usual = float(rows["qty"].mean())
    return deepen(rows, levels, step=step, growth=growth * (0.5 + usual / (usual + 10_000)))


@slow
@pytest.mark.parametrize("knows", [False, True])
@pytest.mark.parametrize("name", ["depth_tops", "depth_trades"])
def test_depth_made_up_is_of_what_was_seen_so_far(name, knows, monkeypatch):
    """Fills that go beyond the touch tell how much lies there: before the cut always the same."""
    if knows:
        monkeypatch.setattr("alephtx.engine.tapes.deepen", whole_tape)
    opened, terms = CASES[name]
    table, tapes = opened()
    config = maker(table)
    sweeper = Strategy(
        use=str(Path(__file__).parent / "peeking" / "sweeps.py"),
        instruments=config.strategies["maker"].instruments, accounts=("main",),
        own={"qty": 30_000},
    )  # fmt: skip
    config = msgspec.structs.replace(config, strategies={"sweeper": sweeper})
    looked = look(config, Market(table, tapes, Venue(**terms), 0), cuts=2)
    assert looked.reports > 2 * looked.decisions  # several fills each
    assert (looked.found is not None) == knows


def knowing(tape, seen, venue, instrument):
    """Move the prints of a tape to the middle of all of them, which a venue cannot know."""
    rows = wide(tape)
    prints = rows["kind"] == w.TRADE
    rows["price"][prints] = int(np.median(rows["price"][prints]))
    return Tape(rows)


@slow
def test_a_venue_that_knows_the_middle_of_its_tape_is_caught(monkeypatch):
    monkeypatch.setattr("alephtx.engine.backtest.deepened", knowing)
    table, tapes = made_up()
    market = Market(table, tapes, Venue(**ENTRY), 0)
    looked = look(maker(table), market, cuts=3)
    assert looked.found.kind == "report"
    assert re.match(r"\d+ ns fill (buy|sell) [\d.]+ at [\d.]+ order \d+", looked.found.recorded)
    assert looked.repeats


@pytest.mark.kernel
@pytest.mark.parametrize("future", list(FUTURES))
def test_another_future_is_the_same_before_and_another_after(future):
    table, (tape,) = made_up(2_000)
    cut = int(tape.rows["ts_event"][1_000])
    other = other_future(tape, table[0], cut, future)
    here, there = tape.rows["ts_event"] < cut, other.rows["ts_event"] < cut
    assert tape.rows[here].tobytes() == other.rows[there].tobytes()
    assert int(other.rows["ts_event"][-1]) == int(tape.rows["ts_event"][-1])
    if future == "silent":
        assert len(other.rows) == int(here.sum()) + 1
        return
    before, after = tape.rows[~here], other.rows[~there]
    assert len(before) == len(after)
    kept = after["kind"] == before["kind"]
    assert (before["kind"][~kept] == w.TRADE).all()
    assert (~kept).any()
    moved = after["price"][kept] - before["price"][kept]
    assert (moved > 0).all() if future == "up" else (moved < 0).all()
    assert (after["qty"][kept] >= before["qty"][kept]).all()
    assert msgspec.structs.asdict(other)["unit"] == tape.unit
