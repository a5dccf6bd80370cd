"""What the gate hears: trades, marks and statuses of the venue, fills, and opening equity."""

from decimal import Decimal

import msgspec
import pytest

from alephtx.core import words
from alephtx.core.config_schema import Risk
from alephtx.engine import context as c
from alephtx.engine.opening import take_up
from alephtx.matrix.ring import ring_publish, slot_aux
from alephtx.risk import state as g
from tests.engine.bench import NOW, Bench

pytestmark = pytest.mark.kernel

E8 = 10**8


@pytest.fixture
def bench(tmp_path):
    limits = {"notional_max": Decimal(10_000), "orders_per_s": 1000, "rates": {"BTC": Decimal(5)}}
    made = Bench(tmp_path, risk=Risk(collar_bps=50, order_trade_ratio_max=100, **limits))
    yield made
    made.close()


def say(bench, kind, price):
    aux = slot_aux(0, kind, 0, 0)
    ring_publish(bench.matrix.map, 0, bench.now, bench.now, price, 5, 0, 0, aux)
    bench.step()


def test_last_trade_mark_and_status_reach_the_gate(bench):
    say(bench, words.TRADE, 6_000_000)
    say(bench, words.MARK, 6_000_200)
    say(bench, words.FUNDING, 7)
    row = bench.ctx.gate.market[0]
    assert (row[g.LAST], row[g.MARK_PRICE], row[g.VENUE_STATUS]) == (6_000_000, 6_000_200, 0)
    assert row[g.MARK_AT] - row[g.LAST_AT] == 1_000
    assert not bench.ctx.gate.market[1].any()
    say(bench, words.STATUS, words.HALTED)
    bench.top(6_000_000, 6_000_100)
    bench.step()
    assert bench.sent() == []
    assert bench.ctx.counters[c.C_DENIED_BY + words.DENY_NOT_TRADING] == 1
    say(bench, words.STATUS, words.TRADING)
    bench.top(6_000_001, 6_000_100)
    bench.step()
    assert len(bench.sent()) == 1


def test_collar_uses_what_it_heard(bench):
    say(bench, words.TRADE, 5_000_000)
    bench.top(6_000_000, 6_000_100)
    bench.step()
    assert bench.sent() == []
    assert bench.ctx.counters[c.C_DENIED_BY + words.DENY_COLLAR] == 1


def test_a_lapped_ring_forgets_the_status_and_leaves_it_to_the_book(bench):
    say(bench, words.STATUS, words.HALTED)
    for k in range(200):
        bench.top(6_000_000 + k, 6_000_100 + k)
    bench.step()
    assert bench.ctx.counters[c.C_LAPPED] > 0
    assert bench.ctx.gate.market[0, g.VENUE_STATUS] == 0


def test_a_fill_is_counted_and_its_cell_is_looked_at(bench):
    bench.top(6_000_000, 6_000_100)
    bench.step()
    order_id = int(bench.sent()[0]["order_id"])
    bench.ctx.gate.cells[:] = 0
    bench.ctx.gate.firm[g.CELL_COUNT] = 0
    bench.update(kind=words.FILL, order_id=order_id, venue_order_id=7, trade_id=1, side=1,
                 price=6_000_000, qty=400)  # fmt: skip
    bench.step()
    assert bench.ctx.gate.accounts[0, g.TRADES] == 1
    assert bench.ctx.gate.firm[g.CELL_COUNT] == 1


def test_resync_looks_at_every_cell_again(bench):
    bench.ctx.gate.firm[g.RESCAN] = 0
    bench.update(kind=words.RESYNC_END)
    bench.step()
    assert bench.ctx.gate.firm[g.RESCAN] == 1
    assert bench.ctx.gate.resync[0] == 0


@pytest.mark.parametrize(
    ("balances", "want"),
    [
        ([("USDT", "1000.5"), ("BTC", "2"), ("DOGE", "7")], 101_050_000_000),
        ([("USDT", "0.000000019")], 1), ([], 0), ([("USDT", "1e20")], g.NO_LIMIT - 1),
        ([("USDT", "-3")], -3 * E8),
    ],
)  # fmt: skip
def test_equity_opens_with_the_balances_whose_worth_is_stated(bench, balances, want):
    stated = [{"currency": name, "total": total} for name, total in balances]
    payload = msgspec.json.encode({"account": 1, "balances": stated})
    assert take_up(payload, bench.ctx, bench.instruments) == 1
    assert bench.ctx.gate.accounts[1, g.OPENING] == want
    assert NOW > 0
