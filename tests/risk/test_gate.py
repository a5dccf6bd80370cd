"""Every rule at its edge, with the numbers written out. BTC at 50,000, ETH at 3,000."""

from decimal import Decimal

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.records import INTENT
from alephtx.core.units import OVERFLOW
from alephtx.risk import state as lim
from alephtx.risk.drawdown import latch_drawdown, strategy_profit
from alephtx.risk.gate import rearm
from tests.risk.rows import COIN, ETH, NOW, PERP, SPOT, Risk, World, cancel, place

pytestmark = pytest.mark.kernel

BIG = (1 << 63) - 1


def verdict(world, *intents, **more):
    """Return (verdict, rule name) of the last intent."""
    code, rule = world.check(*intents, **more)[-1]
    return code, lim.RULE_NAMES[rule]


@pytest.fixture
def world():
    return World()


# -- what passes ------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize(("instrument", "qty"), [(SPOT, 1000), (PERP, 10), (COIN, 5), (ETH, 100)])
@pytest.mark.parametrize("side", [w.BUY, w.SELL])
def test_ordinary_order_passes(world, instrument, qty, side):
    assert verdict(world, place(instrument, side, qty)) == (w.PASS, "")


def test_market_order_is_valued_at_the_touch(world):
    assert verdict(world, place(type=w.MARKET, price=0)) == (w.PASS, "")
    assert verdict(world, place(side=w.SELL, type=w.MARKET, price=0)) == (w.PASS, "")
    assert verdict(world, place(qty=2001, type=w.MARKET, price=0)) == (w.DENY_NOTIONAL, "notional")


def test_denied_beforehand_keeps_its_verdict(world):
    assert world.check(place(verdict=w.DENY_UNKNOWN_ORDER)) == [(w.DENY_UNKNOWN_ORDER, 0)]


# -- shape ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"op": 0}, {"op": 5}, {"op": 255}, {"type": 0}, {"type": 9}, {"tif": 0},
        {"tif": 5}, {"side": 0}, {"side": 2}, {"side": -2}, {"side": 127},
        {"account": 2}, {"account": 65_535}, {"strategy": 2}, {"strategy": 65_535},
        {"flags": w.POST_ONLY, "tif": w.IOC}, {"flags": w.POST_ONLY, "tif": w.FOK},
        {"flags": w.POST_ONLY, "type": w.MARKET},
    ],
)  # fmt: skip
def test_malformed_intent_is_denied(world, fields):
    assert verdict(world, place(**fields)) == (w.DENY_TICK, "shape")


@pytest.mark.parametrize("instrument", [4, 1 << 31, (1 << 32) - 1])
@pytest.mark.parametrize("op", [w.PLACE, w.CANCEL, w.CANCEL_ALL])
def test_unknown_instrument_is_denied(world, instrument, op):
    row = place()
    row["instrument"], row["op"] = instrument, op
    assert verdict(world, row) == (w.DENY_TICK, "shape")


# -- cancels ----------------------------------------------------------------------------


def test_cancel_of_a_live_order_passes_whatever_else(world):
    world.view.orders[0]["order_id"], world.view.open_count[0] = 77, 1
    world.gate.resync[:] = world.gate.latched[:] = 1
    world.gate.warm_until[:] = BIG
    world.gate.buckets[:, lim.TOKENS] = 0
    world.view.top["aux"] = w.STALE
    assert verdict(world, cancel(77), halted=1) == (w.PASS, "")
    row = cancel(0)
    row["op"] = w.CANCEL_ALL
    assert verdict(world, row, halted=1) == (w.PASS, "")
    assert world.gate.buckets[0, lim.TOKENS] == 0


@pytest.mark.parametrize("op", [w.CANCEL, w.AMEND])
@pytest.mark.parametrize("target", [0, 78, -1, BIG])
def test_cancel_of_an_unknown_order_is_denied(world, op, target):
    world.view.orders[0]["order_id"], world.view.open_count[0] = 77, 1
    world.view.orders[1]["order_id"] = 78  # beyond the live ones
    assert verdict(world, place(op=op, target_order_id=target)) == (
        w.DENY_UNKNOWN_ORDER,
        "known",
    )


def test_amend_is_judged_as_an_order(world):
    world.view.orders[0]["order_id"], world.view.open_count[0] = 77, 4
    assert verdict(world, place(op=w.AMEND, target_order_id=77)) == (w.PASS, "")
    assert verdict(world, place(op=w.AMEND, target_order_id=77, price=400_000)) == (
        w.DENY_BAND,
        "band",
    )


# -- the moment -------------------------------------------------------------------------


@pytest.mark.parametrize("halted", [1, 2, -1, BIG])
def test_halt_denies_orders_and_hedges(world, halted):
    assert verdict(world, place(), halted=halted) == (w.DENY_HALTED, "halted")
    assert verdict(world, place(flags=w.HEDGE), halted=halted) == (w.DENY_HALTED, "halted")


def test_warmup_ends_at_its_moment(world):
    world.gate.warm_until[1] = 10**12 + 1
    assert verdict(world, place(strategy=1)) == (w.DENY_WARMUP, "warmup")
    assert verdict(world, place(strategy=0)) == (w.PASS, "")
    world.view.now[3] += 1
    assert verdict(world, place(strategy=1)) == (w.PASS, "")


def test_resync_denies_its_account_only(world):
    world.gate.resync[1] = 1
    assert verdict(world, place(account=1)) == (w.DENY_RESYNC, "resync")
    assert verdict(world, place(account=1, flags=w.HEDGE)) == (w.DENY_RESYNC, "resync")
    assert verdict(world, place(account=0)) == (w.PASS, "")


@pytest.mark.parametrize(
    "fields",
    [
        {"aux": w.STALE}, {"aux": w.CROSSED}, {"aux": w.RESYNCING}, {"aux": w.NOT_TRADING},
        {"aux": w.EMPTY_SIDE}, {"aux": 128 | 1 << 32}, {"bid": 0}, {"ask": 0}, {"bid_qty": 0},
        {"ask_qty": 0}, {"bid": -1}, {"ts_recv": 0}, {"ts_recv": NOW - 1_000_000_001},
        {"ts_recv": -5},
    ],
)  # fmt: skip
def test_untradeable_top_is_denied(world, fields):
    for name, value in fields.items():
        world.view.top[PERP][name] = value
    assert verdict(world, place()) == (w.DENY_STALE, "stale")


def test_top_of_exactly_the_limit_and_of_another_epoch_passes(world):
    world.view.top[PERP]["ts_recv"] = NOW - 1_000_000_000
    world.view.top[PERP]["aux"] = 9 << w.EPOCH_SHIFT
    assert verdict(world, place()) == (w.PASS, "")


def test_top_that_never_came_is_stale_whatever_the_clock_says(world):
    world.view.now[0] = 1000
    for ts_recv, want in ((0, w.DENY_STALE), (-1, w.DENY_STALE), (1, w.PASS)):
        world.view.top[PERP]["ts_recv"] = ts_recv
        assert verdict(world, place())[0] == want


@pytest.mark.parametrize("status", [w.HALTED, w.CANCEL_ONLY, w.DELISTED, w.MAINTENANCE, 0])
def test_instrument_that_is_not_trading_is_denied(world, status):
    world.view.instruments[PERP]["status"] = status
    assert verdict(world, place()) == (w.DENY_STALE, "stale")


# -- the order --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instrument", "fields"),
    [
        (PERP, {"qty": 0}), (PERP, {"qty": -1}), (PERP, {"qty": BIG}), (PERP, {"qty": -BIG}),
        (PERP, {"qty": 1_000_001}), (PERP, {"price": 0}), (PERP, {"price": -500_000}),
        (PERP, {"price": BIG}), (PERP, {"price": 1 << 62}), (PERP, {"price": 10_000_001}),
        (ETH, {"price": 300_003}), (ETH, {"qty": 101}), (ETH, {"qty": 2}), (ETH, {"qty": 1 << 62}),
        (PERP, {"qty": 1}), (SPOT, {"qty": 9}),
    ],
)  # fmt: skip
def test_order_off_the_grid_or_the_bounds_is_denied(world, instrument, fields):
    """ETH: tick 0.05 = 5, lot 0.002 = 2, least 0.004; notional of 1 perp lot is 50 of 100 USDT."""
    row = place(instrument)
    for name, value in fields.items():
        row[name] = value
    assert verdict(world, row) == (w.DENY_TICK, "grid")


def test_least_notional_is_exact_and_spares_reductions(world):
    assert verdict(world, place(PERP, qty=2, price=500_000)) == (w.PASS, "")
    assert verdict(world, place(PERP, qty=2, price=499_999)) == (w.DENY_TICK, "grid")
    assert verdict(world, place(PERP, qty=1, flags=w.REDUCE_ONLY)) == (w.PASS, "")


def test_price_below_the_least_is_denied(world):
    world.view.instruments[PERP]["price_min"] = 499_999
    assert verdict(world, place(PERP, w.BUY, 3, 499_998)) == (w.DENY_TICK, "grid")


@pytest.mark.parametrize("field", ["tick_step", "lot_step"])
def test_instrument_without_a_grid_is_denied(world, field):
    world.view.instruments[PERP][field] = 0
    assert verdict(world, place()) == (w.DENY_TICK, "grid")


@pytest.mark.parametrize(
    ("price", "want"),
    [(505_000, w.PASS), (505_001, w.DENY_BAND), (495_001, w.PASS), (494_999, w.DENY_BAND)],
)
def test_band_is_exact(world, price, want):
    """Twice the middle is 1,000,000 at 499,999.5 | 500,000.5 ticks; 100 bps are 5,000 ticks."""
    world.view.top[PERP]["bid"], world.view.top[PERP]["ask"] = 499_999, 500_001
    assert verdict(world, place(price=price))[0] == want


def test_band_of_enormous_prices_is_an_overflow(world):
    for name, value in (("bid", 1 << 60), ("ask", (1 << 60) + 1)):
        world.view.top[ETH][name] = value
    assert verdict(world, place(ETH, qty=100, price=300_000)) == (w.DENY_OVERFLOW, "band")
    world.view.top[ETH]["bid"], world.view.top[ETH]["ask"] = 1, 1
    row = place(ETH, qty=100, price=((1 << 60) - 1) // 5 * 5)
    assert verdict(world, row) == (w.DENY_OVERFLOW, "band")


def test_size_limit_is_in_the_instruments_own_lots():
    small = World(Risk(qty_max=Decimal(1)))
    assert verdict(small, place(PERP, qty=1000)) == (w.PASS, "")
    assert verdict(small, place(PERP, qty=1001)) == (w.DENY_SIZE, "size")
    assert verdict(small, place(COIN, qty=1)) == (w.PASS, "")
    assert verdict(small, place(COIN, qty=2)) == (w.DENY_SIZE, "size")


@pytest.mark.parametrize(
    ("instrument", "most"),
    [(PERP, 1999), (SPOT, 199_999), (COIN, 1000)],
)
def test_notional_limit_is_in_quote_currency(world, instrument, most):
    """100,000 USD: perp at 50,000.1 gives 1.999 BTC; 1,000 contracts of 100 USD at any price."""
    assert verdict(world, place(instrument, qty=most)) == (w.PASS, "")
    assert verdict(world, place(instrument, qty=most + 1)) == (w.DENY_NOTIONAL, "notional")


def test_notional_beyond_62_bits_is_an_overflow(world):
    world.view.instruments[ETH]["notional_min"] = 0
    row = place(ETH, qty=1 << 59, price=300_000)
    assert verdict(world, row) == (w.DENY_OVERFLOW, "notional")
    world.view.instruments[ETH]["notional_min"] = 1
    assert verdict(world, row) == (w.DENY_OVERFLOW, "grid")


# -- positions --------------------------------------------------------------------------


def test_position_limit_counts_held_open_and_pending():
    """200,000 USDT at 50,000.1: 3.999 BTC. Held 1, open 1, in this batch 1: 0.999 is left."""
    world = World()
    world.view.positions[PERP]["qty"] = 1000
    world.table.open_strategy[0, PERP, 0] = 1000
    first = place(qty=1000)
    assert world.check(first, place(qty=999)) == [(0, 0), (0, 0)]
    assert verdict(world, first, place(qty=1000)) == (w.DENY_POSITION, "position")
    assert verdict(world, first, place(side=w.SELL, qty=1000, price=500_002)) == (w.PASS, "")


def test_position_limit_of_the_account_counts_other_strategies():
    world = World()
    world.account_positions[1, PERP]["qty"] = -3000
    assert verdict(world, place(side=w.SELL, qty=1001, account=1)) == (w.DENY_POSITION, "position")
    assert verdict(world, place(side=w.SELL, qty=1001, account=0)) == (w.PASS, "")
    assert verdict(world, place(side=w.SELL, qty=1000, account=1)) == (w.PASS, "")
    world.table.open_account[1, PERP, 1] = 1
    assert verdict(world, place(side=w.SELL, qty=1000, account=1)) == (w.DENY_POSITION, "position")


def test_order_towards_flat_passes_beyond_the_limit(world):
    world.view.positions[PERP]["qty"] = 50_000
    world.account_positions[0, PERP]["qty"] = 50_000
    assert verdict(world, place(side=w.SELL, qty=1000)) == (w.PASS, "")
    assert verdict(world, place(side=w.BUY, qty=2)) == (w.DENY_POSITION, "position")


@pytest.mark.parametrize(
    ("what", "value"), [("strategy", 1 << 60), ("account", 1 << 60), ("held", 1 << 60)]
)
def test_exposure_beyond_the_bound_is_an_overflow(world, what, value):
    if what == "strategy":
        world.table.open_strategy[0, PERP, 0] = value
    elif what == "account":
        world.table.open_account[0, PERP, 0] = value
    else:
        world.account_positions[0, PERP]["qty"] = -value
    assert verdict(world, place()) == (w.DENY_OVERFLOW, "position")


def test_position_worth_beyond_62_bits_is_an_overflow(world):
    world.view.positions[PERP]["qty"] = 1 << 59
    world.gate.drawdown_max[:] = 1
    world.view.positions[PERP]["cost"] = 0
    got = verdict(world, place())
    assert got == (w.DENY_OVERFLOW, "drawdown")  # its profit cannot be known
    world.view.positions[PERP]["qty"] = 0
    world.table.open_strategy[0, PERP, 0] = 1 << 59
    assert verdict(world, place()) == (w.DENY_OVERFLOW, "position")


def test_reduce_only_passes_when_it_reduces(world):
    """Short 5 BTC, limit of 4: buying 1 to reduce is fine, the account being shorter still."""
    world.view.positions[PERP]["qty"] = 5000
    world.account_positions[0, PERP]["qty"] = -9000
    row = place(side=w.SELL, qty=1000, flags=w.REDUCE_ONLY)
    assert verdict(world, row) == (w.PASS, "")
    assert verdict(world, place(side=w.SELL, qty=1000)) == (w.DENY_POSITION, "position")
    world.table.open_strategy[0, PERP, 1] = 4001
    assert verdict(world, row) == (w.DENY_POSITION, "position")
    world.view.positions[PERP]["qty"] = -5000
    world.view.positions[PERP]["cost"] = -5000 * 500_000
    assert verdict(world, row) == (w.DENY_POSITION, "position")


def test_hedge_passes_when_it_balances_the_underlying(world):
    """Long 0.1 BTC of spot; the perp's limit is used up by the account; sell 0.1 perp."""
    world.view.positions[SPOT]["qty"] = 10_000
    world.account_positions[0, PERP]["qty"] = -4000
    row = place(side=w.SELL, qty=100, flags=w.HEDGE)
    assert verdict(world, row) == (w.PASS, "")
    assert verdict(world, place(side=w.SELL, qty=101, flags=w.HEDGE)) == (
        w.DENY_POSITION,
        "position",
    )
    assert verdict(world, place(side=w.SELL, qty=100)) == (w.DENY_POSITION, "position")
    assert verdict(world, row, row)[0] == w.DENY_POSITION  # the first is pending
    world.view.positions[COIN]["qty"] = -50  # 0.1 BTC short already
    assert verdict(world, row) == (w.DENY_POSITION, "position")


def test_hedge_of_an_underlying_that_cannot_be_priced_is_refused(world):
    world.view.positions[SPOT]["qty"] = 10_000
    world.view.positions[COIN]["qty"] = 1
    world.account_positions[0, PERP]["qty"] = -4000
    world.view.top[COIN]["bid"] = 0
    row = place(side=w.SELL, qty=100, flags=w.HEDGE)
    assert verdict(world, row) == (w.DENY_OVERFLOW, "drawdown")
    world.view.positions[COIN]["qty"] = 0
    world.table.open_strategy[0, COIN, 1] = 1
    assert verdict(world, row) == (w.DENY_POSITION, "position")


def test_reduction_of_enormous_size_is_none(world):
    world.view.positions[PERP]["qty"] = 1
    world.table.open_strategy[0, PERP, 1] = 1 << 60
    row = place(side=w.SELL, qty=100, flags=w.REDUCE_ONLY)
    assert verdict(world, row) == (w.DENY_OVERFLOW, "position")
    world.gate.latched[0] = 1
    assert verdict(world, row) == (w.DENY_HALTED, "drawdown")


def test_open_orders_limit_counts_the_batch(world):
    world.view.open_count[0] = 2
    got = world.check(place(), place(), place())
    assert got[:2] == [(0, 0), (0, 0)]
    assert got[2] == (w.DENY_OPEN_ORDERS, lim.RULE_OPEN_ORDERS)


# -- rate -------------------------------------------------------------------------------


def test_rate_allows_a_burst_then_one_a_tenth_of_a_second():
    world = World(Risk(open_orders_max=64))
    got = [verdict(world, place())[0] for _ in range(12)]
    assert got == [w.PASS] * 10 + [w.DENY_RATE] * 2
    world.view.now[3] += 99_999_999
    assert verdict(world, place())[0] == w.DENY_RATE
    world.view.now[3] += 1
    assert [verdict(world, place())[0] for _ in range(2)] == [w.PASS, w.DENY_RATE]
    world.view.now[3] -= 10**9  # a clock that steps back earns nothing
    assert verdict(world, place())[0] == w.DENY_RATE
    assert verdict(world, place(account=1))[0] == w.PASS


def test_rate_earns_no_more_than_a_burst():
    world = World(Risk(open_orders_max=64))
    world.view.now[3] = BIG - 1
    got = [verdict(world, place())[0] for _ in range(11)]
    assert got == [w.PASS] * 10 + [w.DENY_RATE]


def test_hedge_may_overdraw_by_one_burst():
    world = World(Risk(open_orders_max=64))
    world.view.positions[SPOT]["qty"] = 10_000
    row = place(side=w.SELL, qty=100, flags=w.HEDGE)
    got = [verdict(world, row)[0] for _ in range(21)]
    assert got == [w.PASS] * 20 + [w.DENY_RATE]
    assert verdict(world, place())[0] == w.DENY_RATE


def test_denied_order_costs_no_token(world):
    for _ in range(30):
        assert verdict(world, place(price=1))[0] != w.PASS
    assert world.gate.buckets[0, lim.TOKENS] == world.gate.buckets[0, lim.BURST]


# -- groups -----------------------------------------------------------------------------


@pytest.mark.parametrize("bad_first", [True, False])
def test_group_is_denied_whole_and_pays_nothing(world, bad_first):
    good, bad = place(group_id=5), place(SPOT, qty=1000, price=4_000_000, group_id=5)
    got = world.check(*((bad, good) if bad_first else (good, bad)), place(group_id=6), place())
    good_at, bad_at = (1, 0) if bad_first else (0, 1)
    assert got[bad_at] == (w.DENY_BAND, lim.RULE_BAND)
    assert got[good_at] == (w.DENY_BAND, lim.RULE_GROUP)
    assert got[2:] == [(0, 0), (0, 0)]
    paid = world.gate.buckets[0, lim.BURST] - world.gate.buckets[0, lim.TOKENS]
    assert paid == 2 * world.gate.buckets[0, lim.INTERVAL]


def test_group_does_not_hold_back_cancels(world):
    world.view.orders[0]["order_id"], world.view.open_count[0] = 77, 1
    got = world.check(
        place(price=400_000, group_id=5), cancel(77, group_id=5), cancel(9, group_id=5)
    )
    assert [code for code, _ in got] == [w.DENY_BAND, w.PASS, w.DENY_UNKNOWN_ORDER]


# -- drawdown ---------------------------------------------------------------------------


def test_drawdown_latches_until_rearmed(world):
    """Bought 1 BTC of perp at 50,500, middle 50,000: -500.0, the limit."""
    world.view.positions[PERP]["qty"] = 1000
    world.view.positions[PERP]["cost"] = 1000 * 504_999
    assert verdict(world, place()) == (w.PASS, "")
    world.view.positions[PERP]["cost"] = 1000 * 505_000
    assert verdict(world, place()) == (w.DENY_HALTED, "drawdown")
    world.view.positions[PERP]["cost"] = 1000 * 500_000
    assert verdict(world, place()) == (w.DENY_HALTED, "drawdown")
    assert verdict(world, place(side=w.SELL, qty=1000, flags=w.REDUCE_ONLY)) == (w.PASS, "")
    assert verdict(world, place(strategy=1)) == (w.PASS, "")
    rearm(world.gate, 0)
    assert verdict(world, place()) == (w.PASS, "")


def test_profit_of_all_contracts_meets_in_the_reference():
    """Hand-computed, in 10^-8 of a dollar.

    perp: long 1 at 49,000, middle 50,000: +1,000; realized -200, fees 3. ETH quoted in USDT: short
    2 at 3,100, middle 3,000.05: +199.90. Inverse: 100 contracts (10,000 USD) long at 40,000 cost
    0.25 BTC, worth 0.20 at 50,000: +0.05 BTC = 2,500 USD.
    """
    world = World()
    rows = world.view.positions
    rows[PERP]["qty"], rows[PERP]["cost"] = 1000, 1000 * 490_000
    rows[PERP]["realized"], rows[PERP]["fees"] = -200 * 10**8, 3 * 10**8
    rows[ETH]["qty"], rows[ETH]["cost"] = -2000, -2000 * 310_000
    rows[COIN]["qty"], rows[COIN]["cost"] = 100, 25_000_000
    total = 1000 - 200 - 3 + 199.90 + 2500
    assert strategy_profit(world.view, world.gate) == round(total * 10**8)


def test_rate_of_a_currency_scales_limits_and_profit():
    world = World()
    world.gate.rate_e8[PERP] = 2 * 10**8
    world.view.positions[PERP]["realized"] = -250 * 10**8
    assert strategy_profit(world.view, world.gate) == -500 * 10**8
    assert latch_drawdown(world.view, world.gate, 0) == 1


@pytest.mark.parametrize(
    ("instrument", "fields"),
    [
        (PERP, {"qty": 1}), (COIN, {"realized": 5}),
    ],
)  # fmt: skip
def test_profit_without_a_price_is_unknown_and_denies_without_latching(world, instrument, fields):
    for name, value in fields.items():
        world.view.positions[instrument][name] = value
    world.view.top[instrument]["ask"] = 0
    assert strategy_profit(world.view, world.gate) == OVERFLOW
    assert latch_drawdown(world.view, world.gate, 0) == 2
    world.view.top[instrument]["ask"] = 500_001
    assert latch_drawdown(world.view, world.gate, 0) == 0


@pytest.mark.parametrize("realized", [1 << 60, -(1 << 60), (1 << 61) + 7])
def test_profit_beyond_the_bound_is_unknown(world, realized):
    world.view.positions[PERP]["realized"] = realized
    assert strategy_profit(world.view, world.gate) == OVERFLOW


def test_empty_batch_is_nothing(world):
    assert world.check(np.zeros(0, INTENT)) == []
