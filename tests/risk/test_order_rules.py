"""Rules about one order: duplicates, self-trades, collar, fat finger, lists, hours, status."""

import itertools
from decimal import Decimal

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.errors import ConfigError
from alephtx.core.hours import minutes_of
from alephtx.core.risk_schema import InstrumentRisk, StrategyRisk
from alephtx.execution.orders import orders_place
from alephtx.risk import state as st
from alephtx.risk.collar import FRESH_NS
from alephtx.risk.duplicate import _what
from alephtx.risk.fat_finger import check_fat_finger, learn_size
from alephtx.risk.status import forget_status, note_market
from tests.risk.rows import ETH, PERP, SPOT, Risk, World, cancel, place

pytestmark = pytest.mark.kernel

MS = 1_000_000
BIG = (1 << 63) - 1


def verdict(world, *intents, **more):
    """Return (verdict, rule name) of the last intent."""
    code, rule = world.check(*intents, **more)[-1]
    return code, st.RULE_NAMES[rule]


def rest(world, order_id, instrument=PERP, **fields):
    """Put a live order of ours into the table."""
    row = place(instrument, **fields)
    row["order_id"] = order_id
    assert orders_place(world.table, row, 1) == 0
    return row


# -- shape ------------------------------------------------------------------------------


def test_of_all_shapes_those_that_mean_something_pass():
    world = World(Risk(orders_per_s=10_000))
    for kind, tif, flags in itertools.product(range(5), range(6), range(8)):
        row = place(type=kind, tif=tif, flags=flags, price=0 if kind == w.MARKET else None)
        rests = tif in (w.GTC, w.GTD) and kind == w.LIMIT
        known = kind in (w.LIMIT, w.MARKET) and tif in (w.GTC, w.IOC, w.FOK, w.GTD)
        good = known and (rests or not flags & w.POST_ONLY)
        denied = w.DENY_ORDER_TYPE if kind == w.STOP else w.DENY_TICK
        assert verdict(world, row) == ((w.PASS, "") if good else (denied, "shape"))


def test_open_orders_count_places_of_the_batch_that_passed_and_nothing_else():
    world = World(Risk(open_orders_max=2))
    world.view.orders[0]["order_id"], world.view.open_count[0] = 77, 0
    world.view.open_count[0] = 1
    amend = place(op=w.AMEND, target_order_id=77)
    denied = place(verdict=w.DENY_BAND)
    got = [v for v, _ in world.check(cancel(77), amend, denied, place(), place(price=500_002))]
    assert got == [w.PASS, w.PASS, w.DENY_BAND, w.PASS, w.DENY_OPEN_ORDERS]


# -- duplicates -------------------------------------------------------------------------


def patient(**limits):
    return World(Risk(duplicate_ms=5, orders_per_s=1000, open_orders_max=1000, **limits))


def test_equal_order_is_denied_until_the_window_is_over():
    world = patient()
    assert verdict(world, place()) == (w.PASS, "")
    for after in (0, 5 * MS - 1):
        world.view.now[3] += after
        assert verdict(world, place()) == (w.DENY_DUPLICATE, "duplicate")
    world.view.now[3] += 1
    assert verdict(world, place()) == (w.PASS, "")


def test_window_is_measured_by_difference_on_a_young_clock():
    world = patient()
    for now, want in ((3, w.PASS), (7, w.DENY_DUPLICATE), (9, w.PASS), (13, w.DENY_DUPLICATE)):
        world.view.now[3] = now * MS
        assert verdict(world, place())[0] == want


@pytest.mark.parametrize(
    "other",
    [
        {"qty": 11}, {"price": 500_000}, {"side": w.SELL, "price": 500_002}, {"tif": w.IOC},
        {"instrument": ETH, "qty": 100}, {"strategy": 1}, {"type": w.MARKET, "price": 500_001},
    ],
)  # fmt: skip
def test_an_order_that_differs_in_anything_is_no_duplicate(other):
    world = patient()
    assert verdict(world, place()) == (w.PASS, "")
    assert verdict(world, place(**other)) == (w.PASS, "")


def test_orders_that_differ_in_kind_have_different_words():
    sides, kinds, tifs = (w.BUY, w.SELL), (1, 2, 3), (1, 2, 3, 4)
    rows = [
        place(instrument, side, type=kind, tif=tif)
        for instrument in (SPOT, PERP, ETH) for side in sides for kind in kinds for tif in tifs
    ]  # fmt: skip
    assert len({int(_what(row, 0)) for row in rows}) == len(rows)


def test_duplicates_inside_a_batch_are_seen_and_amends_are_none():
    world = patient()
    world.view.orders[0]["order_id"], world.view.open_count[0] = 77, 1
    assert [v for v, _ in world.check(place(), place(price=400_000), place(), place(qty=11))] == [
        w.PASS, w.DENY_BAND, w.DENY_DUPLICATE, w.PASS,
    ]  # fmt: skip
    assert verdict(world, place(op=w.AMEND, target_order_id=77)) == (w.PASS, "")


def test_duplicates_behind_others_of_a_batch_are_seen_and_only_orders_that_passed_count():
    world = patient()
    world.view.orders[0]["order_id"], world.view.open_count[0] = 77, 1
    amend = place(op=w.AMEND, target_order_id=77)
    denied = place(verdict=w.DENY_BAND)
    got = [v for v, _ in world.check(cancel(77), denied, amend, place(), place())]
    assert got == [w.PASS, w.DENY_BAND, w.PASS, w.PASS, w.DENY_DUPLICATE]


def test_a_denied_order_is_not_remembered():
    world = patient()
    for _ in range(2):
        assert verdict(world, place(price=400_000)) == (w.DENY_BAND, "band")
    group = [place(group_id=4), place(group_id=4, price=400_000, qty=11)]
    assert world.check(*group)[0][0] == w.DENY_BAND
    assert verdict(world, place()) == (w.PASS, "")


def test_duplicate_among_many_is_found_and_a_full_memory_denies():
    """Never a duplicate missed because it was forgotten: RECENT orders in a window are the most."""
    world = patient()
    for k in range(st.RECENT):
        assert verdict(world, place(qty=10 + k)) == (w.PASS, "")
    assert verdict(world, place(qty=5)) == (w.DENY_DUPLICATE, "duplicate")
    world.view.now[3] += 5 * MS
    assert verdict(world, place(qty=5)) == (w.PASS, "")
    assert verdict(world, place(qty=10)) == (w.PASS, "")
    assert verdict(world, place(qty=5)) == (w.DENY_DUPLICATE, "duplicate")


def test_no_window_is_no_rule():
    world = World()
    assert [v for v, _ in world.check(place(), place())] == [w.PASS, w.PASS]


# -- self-trades ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "want"),
    [(500_001, w.DENY_SELF_TRADE), (500_000, w.PASS), (500_002, w.DENY_SELF_TRADE)],
)
def test_buy_that_meets_an_own_offer_is_denied(price, want):
    world = World()
    rest(world, 9, side=w.SELL, price=500_001, strategy=1, account=1)
    assert verdict(world, place(price=price))[0] == want


@pytest.mark.parametrize(
    ("price", "want"),
    [(499_999, w.DENY_SELF_TRADE), (500_000, w.DENY_SELF_TRADE), (500_001, w.PASS)],
)
def test_sell_that_meets_an_own_bid_is_denied(price, want):
    world = World()
    rest(world, 9, price=500_000)
    assert verdict(world, place(side=w.SELL, price=price))[0] == want


@pytest.mark.parametrize("side", [w.BUY, w.SELL])
def test_orders_of_one_side_never_meet(side):
    world = World()
    for n, price in enumerate((499_990, 500_000, 500_010)):
        rest(world, n + 1, side=side, price=price)
    rest(world, 4, side=-side, price=500_000 + side * 1000)  # far away on the other side
    assert verdict(world, place(side=side)) == (w.PASS, "")
    assert verdict(world, place(side=-side, price=500_000))[0] == w.DENY_SELF_TRADE


def test_market_orders_meet_everything_and_other_books_nothing():
    world = World()
    rest(world, 9, side=w.SELL, price=504_000, strategy=1)
    market = place(type=w.MARKET, price=0)
    assert verdict(world, market) == (w.DENY_SELF_TRADE, "self_trade")
    assert verdict(world, place(SPOT, qty=1000)) == (w.PASS, "")
    assert verdict(world, place(side=w.SELL)) == (w.PASS, "")
    world = World()
    rest(world, 9, side=w.SELL, price=0, type=w.MARKET)
    assert verdict(world, place(price=495_100)) == (w.DENY_SELF_TRADE, "self_trade")


def test_only_live_lots_are_searched_and_all_of_them():
    """Two harmless orders before the one that meets; then the search ends with the lots."""
    world = World()
    rest(world, 7, qty=3, price=499_000)
    rest(world, 8, side=w.SELL, price=504_000, qty=3)
    rest(world, 9, side=w.SELL, price=500_001, qty=4)
    rest(world, 10, ETH, side=w.SELL, qty=100)
    assert verdict(world, place()) == (w.DENY_SELF_TRADE, "self_trade")
    world.table.open_strategy[0, PERP, 1] = 3  # the other four are not there any more
    assert verdict(world, place()) == (w.PASS, "")


def test_two_sides_of_a_batch_do_not_meet_either():
    world = World()
    got = world.check(
        place(side=w.SELL), place(ETH, qty=100), cancel(5), place(price=499_999), place()
    )
    assert [v for v, _ in got] == [
        w.PASS, w.PASS, w.DENY_UNKNOWN_ORDER, w.PASS, w.DENY_SELF_TRADE,
    ]  # fmt: skip


def test_self_trades_can_be_allowed():
    world = World(Risk(self_trade="allow"))
    assert [v for v, _ in world.check(place(side=w.SELL), place())] == [w.PASS, w.PASS]


# -- collar -----------------------------------------------------------------------------


def collared(bps=50):
    return World(Risk(collar_bps=bps, band_bps=5000))


@pytest.mark.parametrize("kind", [w.TRADE, w.MARK])
@pytest.mark.parametrize(
    ("side", "price", "want"),
    [
        (w.BUY, 502_500, w.PASS), (w.BUY, 502_501, w.DENY_COLLAR), (w.BUY, 480_000, w.PASS),
        (w.SELL, 497_500, w.PASS), (w.SELL, 497_499, w.DENY_COLLAR), (w.SELL, 520_000, w.PASS),
    ],
)  # fmt: skip
def test_collar_is_exact_and_one_sided(kind, side, price, want):
    """50 bps of 500,000 ticks are 2,500."""
    world = collared()
    note_market(world.gate.market, PERP, kind, 500_000, world.view.now[3])
    assert verdict(world, place(side=side, price=price))[0] == want


def test_collar_holds_market_orders_against_the_touch():
    world = collared()
    note_market(world.gate.market, PERP, w.TRADE, 400_000, world.view.now[3])
    assert verdict(world, place(type=w.MARKET, price=0)) == (w.DENY_COLLAR, "collar")
    assert verdict(world, place(side=w.SELL, type=w.MARKET, price=0)) == (w.PASS, "")


def test_old_references_and_no_references_are_no_measure():
    world = collared()
    assert verdict(world, place(price=520_000)) == (w.PASS, "")
    note_market(world.gate.market, PERP, w.TRADE, 400_000, world.view.now[3])
    note_market(world.gate.market, PERP, w.MARK, 400_000, world.view.now[3])
    world.view.now[3] += FRESH_NS
    assert verdict(world, place())[0] == w.DENY_COLLAR
    world.view.now[3] += 1
    assert verdict(world, place()) == (w.PASS, "")


def test_reference_counts_for_a_minute_and_a_collar_of_nothing_is_off():
    assert FRESH_NS == 60 * 10**9
    world = World(Risk(collar_bps=0))
    note_market(world.gate.market, PERP, w.MARK, 400_000, world.view.now[3])
    assert verdict(world, place()) == (w.PASS, "")


@pytest.mark.parametrize("reference", [1 << 60, BIG])
def test_collar_of_enormous_references_is_an_overflow(reference):
    world = collared()
    note_market(world.gate.market, PERP, w.TRADE, reference, world.view.now[3])
    assert verdict(world, place()) == (w.DENY_OVERFLOW, "collar")


def test_collar_of_enormous_distances_is_an_overflow():
    world = collared()
    world.view.top[ETH]["bid"] = world.view.top[ETH]["ask"] = 1 << 59
    note_market(world.gate.market, ETH, w.TRADE, 1, world.view.now[3])
    row = place(ETH, qty=100, price=(1 << 59) // 5 * 5)
    assert verdict(world, row) == (w.DENY_OVERFLOW, "collar")


# -- fat finger -------------------------------------------------------------------------


def test_stated_usual_size_times_multiple_is_exact():
    world = World(Risk(fat_finger_multiple=5, typical_qty=Decimal("0.01")))
    assert verdict(world, place(qty=50)) == (w.PASS, "")
    assert verdict(world, place(qty=51)) == (w.DENY_FAT_FINGER, "fat_finger")
    world.view.positions[PERP]["qty"] = 100
    row = place(side=w.SELL, qty=60, flags=w.REDUCE_ONLY)
    assert verdict(world, row) == (w.PASS, "")


def test_mean_is_kept_eight_times_and_counts_from_the_eighth_order():
    world = World(Risk(fat_finger_multiple=3, orders_per_s=1000, open_orders_max=1000))
    mean = 0
    for n, qty in enumerate((400, 200, 200, 200, 200, 200, 200, 200)):
        assert verdict(world, place(qty=qty)) == (w.PASS, "")
        mean = mean + qty - mean // 8 if n else 8 * qty
        assert list(world.gate.typical[0, PERP]) == [0, mean, n + 1]
    usual = mean // 8
    assert usual == 278
    assert verdict(world, place(qty=3 * usual + 1)) == (w.DENY_FAT_FINGER, "fat_finger")
    assert verdict(world, place(qty=3 * usual)) == (w.PASS, "")
    world.gate.typical[0, PERP, st.TYPICAL_COUNT] = 7
    assert verdict(world, place(qty=1500)) == (w.PASS, "")


def test_mean_is_learned_from_what_passes():
    world = World(Risk(fat_finger_multiple=3, orders_per_s=1000, open_orders_max=1000))
    assert verdict(world, place(qty=400)) == (w.PASS, "")  # nothing is known yet
    for _ in range(60):
        world.view.now[3] += MS
        assert verdict(world, place(qty=20)) == (w.PASS, "")
    mean = world.gate.typical[0, PERP, st.TYPICAL_MEAN] // 8
    assert mean in (20, 21)
    assert verdict(world, place(qty=3 * int(mean) + 1)) == (w.DENY_FAT_FINGER, "fat_finger")
    assert verdict(world, place(qty=3 * int(mean))) == (w.PASS, "")
    assert verdict(world, place(ETH, qty=400)) == (w.PASS, "")  # each instrument by itself


def test_enormous_size_is_not_learned_and_not_multiplied():
    world = World(Risk(fat_finger_multiple=1000, typical_qty=Decimal(1)))
    row = place(qty=1 << 57)
    world.gate.typical[:, :, st.TYPICAL_STATED] = 1 << 58
    assert check_fat_finger(row, 0, world.gate.fat_multiple, world.gate.typical, 0) == w.PASS
    learn_size(row, 0, world.gate.typical)
    assert world.gate.typical[0, PERP, st.TYPICAL_COUNT] == 0


# -- lists, hours, status ---------------------------------------------------------------


def test_lists_of_strategy_and_account_both_count():
    only = StrategyRisk(instruments=("b:BTC-USDT-PERP",))
    world = World(Risk(strategies={"s0": only}))
    assert verdict(world, place()) == (w.PASS, "")
    assert verdict(world, place(ETH, qty=100)) == (w.DENY_NOT_ALLOWED, "allowed")
    assert verdict(world, place(ETH, qty=100, strategy=1)) == (w.PASS, "")
    world.gate.account_allowed[1, ETH] = 0
    assert verdict(world, place(ETH, qty=100, strategy=1, account=1)) == (
        w.DENY_NOT_ALLOWED,
        "allowed",
    )
    world.view.positions[ETH]["qty"] = 200
    row = place(ETH, side=w.SELL, qty=200, flags=w.REDUCE_ONLY)
    assert verdict(world, row) == (w.PASS, "")


def at_minute(world, day, hour, minute):
    """Set the wall clock to a moment of a week that began on Monday 2023-11-13; the book too."""
    monday = 1_699_833_600
    now = (monday + ((day * 24 + hour) * 60 + minute) * 60) * 10**9
    world.view.now[0] = now
    world.view.top["ts_recv"] = now


@pytest.mark.parametrize(
    ("moment", "want"),
    [
        ((0, 8, 0), w.PASS), ((0, 7, 59), w.DENY_HOURS), ((4, 16, 29), w.PASS),
        ((4, 16, 30), w.DENY_HOURS), ((5, 12, 0), w.DENY_HOURS), ((6, 23, 59), w.PASS),
    ],
)  # fmt: skip
def test_hours_are_exact_to_the_minute(moment, want):
    world = World(Risk(hours=("Mon-Fri 08:00-16:30", "Sun 22:00-24:00")))
    at_minute(world, *moment)
    assert verdict(world, place())[0] == want
    world.view.positions[PERP]["qty"] = 100
    assert verdict(world, place(side=w.SELL, flags=w.REDUCE_ONLY)) == (w.PASS, "")


def test_hours_of_scopes_are_cut_together():
    world = World(Risk(
        hours=("Mon",), venues={"b": InstrumentRisk(hours=("Mon 10:00-12:00",))},
        instruments={"b:ETH-USDT-PERP": InstrumentRisk(hours=("Mon 11:00-13:00",))},
    ))  # fmt: skip
    at_minute(world, 0, 10, 30)
    assert verdict(world, place()) == (w.PASS, "")
    assert verdict(world, place(SPOT, qty=1000)) == (w.PASS, "")
    assert verdict(world, place(ETH, qty=100)) == (w.DENY_HOURS, "hours")
    at_minute(world, 0, 11, 30)
    assert verdict(world, place(ETH, qty=100)) == (w.PASS, "")
    at_minute(world, 0, 12, 30)
    assert verdict(world, place(ETH, qty=100)) == (w.DENY_HOURS, "hours")


def test_windows_wrap_over_the_week_and_cover_days():
    assert minutes_of(("Sat-Mon",)) == set(range(5 * 1440, 7 * 1440)) | set(range(1440))
    assert minutes_of(("Tue 00:00-00:01",)) == {1440}
    assert minutes_of(()) == set()


@pytest.mark.parametrize(
    "window",
    ["", "Mon-", "Mon 8:00-9:00", "Mon 10:00-09:00", "Mon 10:00-10:00", "Mon 10:60-11:00",
     "Mon 10:00-24:01", "Mon 22:00-25:00", "Moo", "Mon-Fry", "Mon 08:00", "Mon  08:00-09:00",
     "Mon 08:00-09:00 UTC"],
)  # fmt: skip
def test_window_without_sense_is_named(window):
    with pytest.raises(ConfigError, match=r"is not a trading window.*UTC"):
        minutes_of((window,))


@pytest.mark.parametrize("said", [w.HALTED, w.CANCEL_ONLY, w.DELISTED, w.MAINTENANCE, 99])
def test_status_of_the_venue_holds_everything_but_cancels(said):
    world = World()
    world.view.orders[0]["order_id"], world.view.open_count[0] = 77, 1
    note_market(world.gate.market, PERP, w.STATUS, said, 1)
    world.view.positions[PERP]["qty"] = 100
    row = place(side=w.SELL, flags=w.REDUCE_ONLY)
    assert verdict(world, place()) == (w.DENY_NOT_TRADING, "status")
    assert verdict(world, row) == (w.DENY_NOT_TRADING, "status")
    assert verdict(world, cancel(77)) == (w.PASS, "")
    assert verdict(world, place(SPOT, qty=1000)) == (w.PASS, "")
    note_market(world.gate.market, PERP, w.STATUS, w.TRADING, 1)
    assert verdict(world, place()) == (w.PASS, "")
    note_market(world.gate.market, PERP, w.STATUS, said, 1)
    forget_status(world.gate.market, PERP)
    assert verdict(world, place()) == (w.PASS, "")


def test_other_events_are_no_status():
    world = World()
    before = world.gate.market.copy()
    note_market(world.gate.market, PERP, w.FUNDING, 3, 5)
    assert np.array_equal(before, world.gate.market)


@pytest.mark.parametrize("reference", [0, -1])
def test_reference_without_sense_is_no_measure(reference):
    world = collared()
    note_market(world.gate.market, PERP, w.TRADE, reference, world.view.now[3])
    assert verdict(world, place(price=520_000)) == (w.PASS, "")
