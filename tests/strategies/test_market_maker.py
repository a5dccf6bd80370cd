"""Market maker on spot BTC at 50,000.00 / 50,000.01, ticks of 0.01, half spread 2 bps = 10.00."""

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.errors import ConfigError
from alephtx.core.records import UPDATE
from alephtx.strategies import market_maker as mm
from tests.strategies.world import (
    COIN,
    COIN_KEY,
    MS,
    PERP_KEY,
    SPOT,
    SPOT_KEY,
    World,
    instruments,
)

pytestmark = pytest.mark.kernel

SECTION = {
    "instruments": [SPOT_KEY], "half_spread_bps": "2", "requote_bps": "1", "qty_base": "0.1",
    "inventory_max_base": "0.2", "rest_ms": 10, "microprice": False,
}  # fmt: skip
AT = (5_000_000, 5_000_002)  # middle 50,000.01


def world(section=None, **more):
    chosen = {**SECTION, **(section or {})}
    if "half_spread_ticks" in chosen:
        del chosen["half_spread_bps"]
    made = World(mm, chosen, **more)
    made.wait(1000 * MS, tell=False)
    made.fresh()
    return made


def quoted(section=None):
    made = world(section)
    assert made.quote(SPOT, *AT) == 2
    return made, made.order(SPOT, w.BUY), made.order(SPOT, w.SELL)


@pytest.mark.smoke
def test_both_sides_stand_half_a_spread_from_the_middle():
    """50,000.01 x 0.0002 = 10.000002 in 1/256 tick, rounded away from the middle."""
    made, bid, ask = quoted()
    assert (bid["price"], ask["price"]) == (5_000_001 - 1_001, 5_000_001 + 1_001)
    assert (bid["qty"], ask["qty"]) == (10_000, 10_000)
    assert {bid["flags"], ask["flags"]} == {w.POST_ONLY}
    assert {bid["tif"], ask["tif"]} == {w.GTC}
    assert made.of("quotes") == 2


def test_half_spread_in_ticks_is_exact():
    _, bid, ask = quoted({"half_spread_ticks": 7})
    assert (bid["price"], ask["price"]) == (5_000_001 - 7, 5_000_001 + 7)


def test_microprice_leans_to_the_thin_side():
    """Bid size 3, ask size 1: fair = bid + 2 ticks x 3/4 = 50,000.015."""
    made = world({"microprice": True, "half_spread_ticks": 10})
    made.quote(SPOT, 5_000_000, 5_000_002, 3, 1)
    assert made.order(SPOT, w.BUY)["price"] == 5_000_001 - 10  # floor(1.5 - 10) = -9
    assert made.order(SPOT, w.SELL)["price"] == 5_000_002 + 10  # ceil(1.5 + 10) = 12


def test_quotes_never_cross_the_touch():
    made = world({"half_spread_ticks": 1})
    made.quote(SPOT, 5_000_000, 5_000_100, 1, 1_000_000)
    assert made.order(SPOT, w.BUY)["price"] <= 5_000_099
    assert made.order(SPOT, w.SELL)["price"] >= 5_000_001


def test_clamp_keeps_a_leaning_quote_off_the_touch():
    """Short 0.2 with a skew of 50 bps would bid through the ask."""
    made = world({"skew_bps": "50"})
    made.view.positions[SPOT]["qty"] = -20_000
    made.quote(SPOT, *AT)
    assert made.order(SPOT, w.BUY)["price"] == AT[1] - 1


@pytest.mark.parametrize(("held", "shift"), [(10_000, -2_500), (-10_000, 2_500), (0, 0)])
def test_skew_leans_against_inventory(held, shift):
    """Skew 10 bps at 0.2: half of it at 0.1, 50,000.01 x 0.0005 = 25.00."""
    made = world({"skew_bps": "10", "half_spread_bps": "20"})
    made.view.positions[SPOT]["qty"] = held
    made.quote(SPOT, *AT)
    assert abs(made.order(SPOT, w.BUY)["price"] - (5_000_001 - 10_001 + shift)) <= 1
    assert abs(made.order(SPOT, w.SELL)["price"] - (5_000_001 + 10_001 + shift)) <= 1


@pytest.mark.parametrize(
    ("held", "bid", "ask"),
    [(20_000, 0, 10_000), (-20_000, 10_000, 0), (15_000, 5_000, 10_000), (30_000, 0, 10_000)],
)
def test_inventory_limit_cuts_and_drops_a_side(held, bid, ask):
    made = world()
    made.view.positions[SPOT]["qty"] = held
    made.quote(SPOT, *AT)
    sizes = {int(row["side"]): int(row["qty"]) for row in made.live()}
    assert (sizes.get(w.BUY, 0), sizes.get(w.SELL, 0)) == (bid, ask)


def test_small_move_keeps_quotes_and_large_move_replaces_them():
    made, bid, ask = quoted()
    for order in (bid, ask):
        made.tell(w.ACK, order)
    assert made.quote(SPOT, 5_000_200, 5_000_202) == 0  # 0.4 bps
    assert made.quote(SPOT, 5_000_700, 5_000_702) == 2  # 1.4 bps: two cancels
    assert made.of("requotes") == 2
    assert made.quote(SPOT, 5_000_700, 5_000_702) == 0  # cancels under way: nothing is stacked
    made.wait(20 * MS, tell=False)
    made.fresh()
    made.tell(w.CANCEL_ACK, bid)
    assert made.order(SPOT, w.BUY)["price"] == 5_000_701 - 1_001
    assert made.order(SPOT, w.SELL)["status"] == w.PENDING_CANCEL


def test_order_in_flight_is_not_touched():
    made, bid, _ = quoted()
    assert made.quote(SPOT, 5_010_000, 5_010_002) == 0
    made.tell(w.AMBIGUOUS, bid)
    assert made.quote(SPOT, 5_020_000, 5_020_002) == 0
    assert len(made.live()) == 2


def test_new_quote_waits_for_our_own_on_the_other_side():
    """The market falls below our bid's cancel: the new ask would meet the old bid."""
    made, bid, ask = quoted()
    made.tell(w.ACK, bid)
    made.tell(w.REJECT, ask)
    made.wait(20 * MS, tell=False)
    assert made.quote(SPOT, 4_990_000, 4_990_002) == 1  # the bid's cancel only
    assert made.of("held_back") == 1
    made.tell(w.CANCEL_ACK, bid)
    assert sorted(int(row["price"]) for row in made.live()) == [4_990_001 - 999, 4_990_001 + 999]


def test_fill_is_counted_and_quoted_again_after_the_rest():
    made, bid, _ = quoted()
    made.fill(bid)
    assert made.of("fills") == 1
    assert all(row["side"] == w.SELL for row in made.live())  # rest_ms has not passed
    made.wait(10 * MS, tell=False)
    made.fresh()
    made.quote(SPOT, *AT)
    assert made.order(SPOT, w.BUY)["qty"] == 10_000


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.quote(SPOT, *AT, aux=w.STALE),
        lambda m: m.quote(SPOT, *AT, aux=w.RESYNCING),
        lambda m: m.quote(SPOT, 0, 5),
        lambda m: m.quote(SPOT, 1 << 48, (1 << 48) + 1),
        lambda m: m.wait(1600 * MS),
    ],
)
def test_unusable_touch_pulls_every_quote(spoil):
    made, bid, ask = quoted()
    for order in (bid, ask):
        made.tell(w.ACK, order)
    spoil(made)
    assert {int(row["status"]) for row in made.live()} == {w.PENDING_CANCEL}
    assert made.of("pulled") == 2
    assert made.wait(1) == 0


def test_refused_quote_is_tried_at_the_next_event():
    made, bid, _ = quoted()
    made.tell(w.REJECT, bid, reason=w.REASON_WOULD_CROSS)
    assert made.quote(SPOT, *AT) == 0
    made.wait(10 * MS, tell=False)
    made.fresh()
    assert made.quote(SPOT, *AT) == 1


def test_denied_quote_rests_before_it_is_tried_again():
    made = world()
    made.gate.latched[:] = 1
    made.quote(SPOT, *AT)
    for _ in range(5):
        made.quote(SPOT, *AT)
    assert len(made.denied) == 2


def test_stop_cancels_all():
    made, bid, ask = quoted()
    for order in (bid, ask):
        made.tell(w.ACK, order)
    assert made.run("on_stop") == 2
    assert made.live()[0]["status"] == w.PENDING_CANCEL


def test_each_instrument_is_quoted_by_itself():
    made = world({"instruments": [SPOT_KEY, COIN_KEY]})
    assert made.wait(1) == 4
    made.tell(w.ACK, made.order(COIN, w.BUY))
    assert made.order(COIN, w.BUY)["qty"] == 50  # 0.1 BTC at 50,000 in contracts of 100
    assert made.quote(1, 500_000, 500_001) == 0
    row = np.zeros(1, UPDATE)
    row["instrument"] = 1
    assert made.run("on_update", row) == 0
    for order in made.live():
        made.tell(w.ACK, order)
    assert made.quote(SPOT, *AT, aux=w.STALE) == 2  # its own two, not the other's
    assert {int(r["status"]) for r in made.live() if r["instrument"] == COIN} == {w.NEW}


def test_position_beyond_arithmetic_quotes_nothing():
    made = world(gate=False)
    made.view.positions[SPOT]["qty"] = 1 << 61
    assert made.quote(SPOT, *AT) == 0


@pytest.mark.parametrize("seed", range(15))
def test_quotes_never_meet_each_other_nor_pass_the_limit(seed):
    luck = np.random.default_rng(seed)
    made = world({"skew_bps": "5", "rest_ms": 0})
    middle = 5_000_000
    for _ in range(150):
        made.wait(int(luck.integers(1, 30)) * MS)
        middle += int(luck.integers(-600, 601))
        made.quote(SPOT, middle, middle + 2, int(luck.integers(1, 9)), int(luck.integers(1, 9)))
        for order in made.live():
            what, status = luck.integers(0, 5), int(order["status"])
            if what == 0 and status == w.PENDING_NEW:
                made.tell(w.ACK, order)
            elif what == 1:
                made.fill(order)
            elif what == 2 and status == w.PENDING_CANCEL:
                made.tell(w.CANCEL_ACK, order)
            elif what == 3 and status == w.PENDING_NEW:
                made.tell(w.REJECT, order)
        live = made.live()
        bids = [int(row["price"]) for row in live if row["side"] == w.BUY]
        asks = [int(row["price"]) for row in live if row["side"] == w.SELL]
        assert max(len(bids), len(asks)) <= 1
        assert not bids or not asks or bids[0] < asks[0]
        assert abs(made.qty(SPOT)) <= 20_000 + 10_000  # a quote in flight may still fill


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"half_spread_ticks": 3}, "half_spread_bps = '2' is given beside"),
        ({"half_spread_bps": "0"}, "outside"),
        ({"inventory_max_base": "0.01"}, "less than qty_base"),
        ({"instruments": []}, "must list 1 to 8"),
        ({"half_spread": "1"}, "did you mean half_spread"),
        ({"qty_base": 0.1}, "is not a decimal number"),
    ],
)
def test_config_mistake_is_named(changed, match):
    with pytest.raises(ConfigError, match=match):
        mm.config_to_params({**SECTION, **changed}, instruments())


def test_perp_key_is_quotable_too():
    row = mm.config_to_params({**SECTION, "instruments": [PERP_KEY]}, instruments())
    assert (row[0]["instrument_count"], row[0]["instruments"][0]) == (1, 1)
