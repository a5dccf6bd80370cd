"""A backtest is what it claims to be: exact, repeatable, blind to the future."""

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.config_schema import Account, Config, MatrixConfig, Strategy, VenueConfig
from alephtx.core.errors import SimulationError
from alephtx.core.kernel import JIT
from alephtx.core.records import EVENT
from alephtx.core.risk_schema import Risk
from alephtx.engine import context as c
from alephtx.engine.backtest import Backtest, Delay, Tape, Venue
from alephtx.sim.bottle import T_LAGGED
from alephtx.testing.synthetic import synthetic

MS = 1_000_000
MAKER = str(Path(__file__).parents[2] / "bench" / "lib" / "common_maker.py")
FREE = Risk(
    notional_max=Decimal(10**9), position_notional_max=Decimal(10**9), band_bps=5_000,
    orders_per_s=10_000, stale_ms=600_000, drawdown_max=Decimal(10**9), self_trade="allow",
    open_orders_max=16,
)  # fmt: skip
AS_THE_PEERS = Venue(entry=Delay(ns=5 * MS), response=Delay(ns=5 * MS), whole_fills=True)


def config(use=MAKER, risk=FREE, **own):
    own = {"half": 1.5, "skew": 0.5, "qty": 50, "most": 500, **own}
    key = "synthetic:BTC-USDT-PERP"
    return Config(
        matrix=MatrixConfig(path="/nowhere"),
        venues={"synthetic": VenueConfig(symbols=("BTCUSDT",))},
        accounts={"main": Account(venue="synthetic")},
        risk=risk,
        strategies={"maker": Strategy(use=use, instruments=(key,), accounts=("main",), own=own)},
    )


def came_to(test, lane=0, i=0):
    """Return (orders, fills, position, cash) of a lane: what every engine can state."""
    made = test.lanes[lane]
    held = made.ctx.positions[0, i]
    cash = Decimal(int(held["realized"])) / 10**8 - Decimal(int(held["cost"])) / 10**4
    orders = int(made.strategies[0].state[0]["orders"])
    return orders, int(made.ctx.counters[c.C_FILLS]), Decimal(int(held["qty"])) / 1_000, cash


def run(rows, table, *, configs=None, venue=AS_THE_PEERS, **named):
    return Backtest(configs or [config()], table, [Tape(rows)], venue=venue, **named).run()


@pytest.fixture(scope="module")
def market():
    return synthetic(1_000_000 if JIT else 6_000)


@pytest.mark.skipif(not JIT, reason="a million rows take long uncompiled")
def test_the_common_market_maker_earns_what_hftbacktest_says_to_the_unit(market):
    """Without these fills no speed counts; the figures are hftbacktest 2.4.4's on the same rows."""
    test = run(*market)
    assert came_to(test) == (16_602, 7_855, Decimal("-0.25"), Decimal("14958.0"))
    assert test.rows == 1_000_000


@pytest.mark.skipif(not JIT, reason="long uncompiled")
def test_lanes_fare_as_they_would_alone(market):
    """A sweep in one pass counts only if every set comes to what its single run comes to."""
    rows, table = market[0][:200_000], market[1]
    sets = [config(half=0.5 + 0.25 * (k % 10), skew=0.1 * (k // 10)) for k in range(0, 100, 13)]
    together = run(rows, table, configs=sets)
    hashes = together.state_hashes()
    for lane, one in enumerate(sets):
        alone = run(rows, table, configs=[one])
        assert came_to(together, lane) == came_to(alone)
        assert hashes[lane] == alone.state_hashes()[0]
    assert len(set(hashes)) == len(sets)


@pytest.mark.kernel
def test_batches_change_nothing(market):
    rows, table = market[0][:6_000], market[1]
    hashes = {
        run(rows, table, batch_rows=batch).state_hashes()[0] for batch in (1, 7, 1_000, 1 << 20)
    }
    assert len(hashes) == 1


@pytest.mark.kernel
def test_the_hash_tells_inputs_orders_and_what_is_left_apart(market):
    """Whatever of a run is another is told by its hash, though nobody traded on it."""
    rows, table = market[0][:6_000], market[1]
    test = run(rows, table)
    plain = test.state_hashes()[0]
    unheard = rows.copy()
    unheard["qty"][-1] += 1
    assert run(unheard, table).state_hashes()[0] != plain
    assert run(rows, table, configs=[config(skew=0.25)]).state_hashes()[0] != plain
    seen = {plain}
    lane = test.lanes[0].ctx.positions
    for change in (lane["cost"], test.bottle.held, test.bottle.cash, test.bottle.orders["qty"]):
        change[0] += 1
        seen.add(test.state_hashes()[0])
        change[0] -= 1
    assert len(seen) == 5
    assert test.state_hashes()[0] == plain


def test_compiled_equals_uncompiled():
    """The same rows under NUMBA_DISABLE_JIT=1 come to the same hash."""
    script = (
        "from tests.engine.test_replay import *\n"
        "rows, table = synthetic(6_000)\n"
        "print([run(rows, table, venue=v).state_hashes() for v in VENUES])"
    )
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1" if JIT else "0"}
    told = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2], timeout=250,
    )  # fmt: skip
    rows, table = synthetic(6_000)
    ours = [run(rows, table, venue=v).state_hashes() for v in VENUES]
    assert told.stdout.strip() == str(ours)


VENUES = [
    AS_THE_PEERS,
    Venue(entry=Delay(ns=MS), response=Delay(ns=MS), queue="trades_only"),
    Venue(whole_fills=True, queue="power", entry=Delay(kind="feed_tied", ratio=1.5)),
    Venue(entry=Delay(kind="loaded", ns=MS, ratio=0.5), feed=Delay(ns=3 * MS), queue="log_2"),
]


@pytest.mark.kernel
def test_no_decision_depends_on_what_comes_later(market):
    """Other rows from a moment on: everything before that moment happens as it did."""
    rows, table = market[0][:6_000], market[1]
    cut = 4_000
    moment = int(rows[cut]["ts_event"])
    other = rows.copy()
    other["price"][cut:] -= 3_000
    other["qty"][cut:] = other["qty"][cut:] // 2
    at = []
    for tape in (rows, other):
        test = Backtest([config()], table, [Tape(tape)], venue=AS_THE_PEERS, batch_rows=1)
        while test.bottle.streams[0, 2] < moment and test.step():
            pass
        at.append((int(test.bottle.digest[0]), came_to(test)))
    assert at[0] == at[1]
    assert at[0][1][0] > 0


@pytest.mark.kernel
def test_a_wide_tape_is_the_same_market(market):
    """What does not fit 32 bytes is kept as Event rows; nothing else may change."""
    rows, table = market[0][:6_000], market[1]
    wide = np.zeros(len(rows), EVENT)
    for name in ("ts_event", "ts_recv", "price", "qty", "kind", "side", "flags"):
        wide[name] = rows[name]
    narrow = rows.copy()
    narrow["price"] -= 590_000
    digests = {
        int(Backtest([config()], table, [tape], venue=AS_THE_PEERS).run().bottle.digest[0])
        for tape in (Tape(rows), Tape(wide), Tape(narrow, base=590_000))
    }
    assert len(digests) == 1


@pytest.mark.kernel
def test_two_books_come_to_what_one_and_its_log_come_to(market):
    """Each row apart for the exchange's side and for ours, as where messages overtook."""
    rows, table = market[0][:6_000], market[1]
    sides = [rows.copy(), rows.copy()]
    sides[0]["flags"] |= words.TICK_EXCHANGE
    sides[1]["flags"] |= words.TICK_LOCAL
    order = np.concatenate((rows["ts_event"], rows["ts_recv"])).argsort(kind="stable")
    apart = np.concatenate(sides)[order]
    one, two = run(rows, table), run(apart, table)
    assert two.bottle.streams[0, T_LAGGED] == 1
    assert came_to(two) == came_to(one)
    assert two.bottle.digest[0] == one.bottle.digest[0]


@pytest.mark.kernel
def test_the_gate_stands_in_a_backtest_too(market):
    """No second implementation: what risk limits deny live, they deny here."""
    tight = Risk(notional_max=Decimal(1_000), stale_ms=600_000, self_trade="allow")
    test = run(market[0][:6_000], market[1], configs=[config(risk=tight)])
    counters = test.lanes[0].ctx.counters
    assert counters[c.C_DENIED_BY + words.DENY_NOTIONAL] == counters[c.C_DENIED] > 0
    assert counters[c.C_FILLS] == 0


def test_a_tape_for_every_instrument(market):
    with pytest.raises(SimulationError, match="0 tapes for 1 instruments"):
        Backtest([config()], market[1], [])
    with pytest.raises(SimulationError, match="use TICK or EVENT rows"):
        Backtest([config()], market[1], [Tape(np.zeros(3))])
