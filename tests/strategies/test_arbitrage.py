"""Arbitrage, with the numbers worked out by hand.

Fees are 4 bps a leg unless said otherwise, so two legs cost 8 bps; the trigger is 2 bps.
"""

from decimal import Decimal

import pytest

from alephtx.core import words as w
from alephtx.core.errors import ConfigError
from alephtx.strategies import arbitrage as arb
from tests.strategies.pair import COIN_SECTION, DEAR, FAIR, SECTION, opened, world
from tests.strategies.world import COIN, COIN_KEY, MS, PERP, SPOT, SPOT_KEY, instruments

pytestmark = pytest.mark.kernel

# -- the edge ---------------------------------------------------------------------------


@pytest.mark.smoke
def test_edge_above_fees_sends_both_legs_at_the_touch():
    made, perp, spot = opened()
    assert (perp["price"], perp["qty"]) == (500_600, 100)
    assert (spot["price"], spot["qty"]) == (5_000_001, 10_000)
    assert {perp["tif"], spot["tif"]} == {w.IOC}
    assert perp["group_id"] == spot["group_id"] != 0
    made.fill(perp)
    made.fill(spot)
    assert (made.qty(PERP), made.qty(SPOT)) == (-100, 10_000)
    assert (made.of("trades"), made.of("hedges"), made.of("alarm")) == (1, 0, 0)
    made.run("on_timer", 1)
    assert made.of("net_e8") == 0


def test_edge_between_fees_and_trigger_is_left_to_the_blind():
    """50,040.0 / 50,000.01 is 7.99 bps: above the trigger of 2, below fees of 8."""
    made = world()
    assert made.quote(PERP, 500_400, 500_401) == 0
    assert (made.of("seen_blind"), made.of("seen_aware")) == (1, 0)
    # 39.99 / (100,040.01 / 2) x 1e8 = 79,948.01
    assert made.of("best_blind_e8") == 79_948
    assert made.of("best_aware_e8") == 79_948 - 80_000


def test_blind_detector_takes_what_fees_eat():
    made = world({"fee_aware": False})
    assert made.quote(PERP, 500_400, 500_401) == 2


def test_episode_is_counted_once_until_it_ends():
    made = world()
    for _ in range(3):
        made.quote(PERP, 500_400, 500_401)
    assert made.of("seen_blind") == 1
    made.quote(PERP, *FAIR)
    made.quote(PERP, 500_400, 500_401)
    assert made.of("seen_blind") == 2


@pytest.mark.parametrize(("bid", "trades"), [(500_500, 0), (500_501, 1)])
def test_trigger_is_exact(bid, trades):
    """Fees 8 + trigger 2 = 10 bps: (b - 50,000.01) / ((b + 50,000.01) / 2) >= 0.001.

    b >= 50,000.01 x 1.0005 / 0.9995 = 50,050.035..., so 50,050.0 is not enough and 50,050.1 is.
    """
    made = world()
    made.quote(PERP, bid, bid + 1)
    assert made.of("trades") == trades


def test_margin_is_added_to_the_trigger():
    made = world({"margin_bps": "3"})
    assert made.quote(PERP, *DEAR) == 0
    assert made.quote(PERP, 500_700, 500_701) == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.quote(SPOT, 5_000_000, 5_000_001, tell=False, aux=w.STALE),
        lambda m: m.quote(SPOT, 5_000_000, 5_000_001, tell=False, aux=w.CROSSED),
        lambda m: m.quote(SPOT, 0, 5_000_001, tell=False),
        lambda m: m.quote(SPOT, 5_000_000, 5_000_001, 0, 5, tell=False),
        lambda m: m.wait(1501 * MS, tell=False),
        lambda m: m.quote(SPOT, 1 << 61, (1 << 61) + 1, tell=False),
    ],
)
def test_unusable_leg_is_never_traded_on(spoil):
    made = world()
    spoil(made)
    assert made.quote(PERP, *DEAR) == 0
    assert made.of("seen_blind") == 0


def test_event_of_a_foreign_instrument_is_nothing():
    made = world()
    made.quote(PERP, *DEAR, tell=False)
    assert made.quote(COIN, *FAIR) == 0


# -- sizes ------------------------------------------------------------------------------


def test_size_is_cut_to_the_touch_and_to_the_coarser_lot():
    """Spot shows 0.05678 BTC: perp's lot of 0.001 gives 0.056 on both sides."""
    made = world()
    made.quote(SPOT, 5_000_000, 5_000_001, 5_678, 5_678, tell=False)
    made.quote(PERP, *DEAR)
    assert made.order(PERP, w.SELL)["qty"] == 56
    assert made.order(SPOT, w.BUY)["qty"] == 5_600


def test_inverse_contracts_are_matched_in_base():
    """0.1 BTC at 50,060 is 50.06 contracts of 100 USD: 50 of them are 0.09988014 BTC."""
    made = world(COIN_SECTION)
    made.quote(COIN, *DEAR)
    coin, spot = made.order(COIN, w.SELL), made.order(SPOT, w.BUY)
    assert coin["qty"] == 50
    assert spot["qty"] == 9_988  # 0.09988 of 0.09988014
    made.fill(coin)
    made.fill(spot)
    made.run("on_timer", 1)
    assert made.of("net_e8") == 9_988_000 - 9_988_014
    assert made.of("hedges") == 0


def test_inverse_balance_does_not_drift_with_the_price():
    made = world(COIN_SECTION)
    made.quote(COIN, *DEAR)
    for order in made.live():
        made.fill(order)
    for price in (300_000, 800_000):
        made.quote(COIN, price, price + 1)
        made.quote(SPOT, price * 10, price * 10 + 1)
        assert abs(made.of("net_e8")) < 1_000
        assert made.of("hedges") == 0


def test_residual_of_one_trade_is_taken_up_by_the_next():
    made = world({**COIN_SECTION, "position_max_base": "10"})
    for _ in range(6):
        made.wait(60 * MS)
        made.fresh()
        made.quote(COIN, *DEAR)
        for order in made.live():
            made.fill(order)
    made.run("on_timer", 1)
    assert made.of("trades") == 6
    assert abs(made.of("net_e8")) <= 500  # half a spot lot


def test_too_small_a_touch_is_not_traded():
    made = world()
    made.quote(SPOT, 5_000_000, 5_000_001, 99, 99, tell=False)
    assert made.quote(PERP, *DEAR) == 0
    assert made.of("trades") == 0


def test_position_cap_is_filled_and_not_passed():
    made = world()
    for _ in range(4):
        made.wait(60 * MS)
        made.fresh()
        made.quote(PERP, *DEAR)
        for order in made.live():
            made.fill(order)
    assert (made.qty(PERP), made.qty(SPOT)) == (-200, 20_000)
    assert made.of("trades") == 2


def test_cooldown_keeps_trades_apart():
    made, perp, spot = opened()
    made.fill(perp)
    made.fill(spot)
    assert made.quote(PERP, *DEAR) == 0
    made.wait(50 * MS)
    assert made.quote(PERP, *DEAR) == 2


# -- coming back ------------------------------------------------------------------------


def test_position_is_closed_when_the_spread_has_closed():
    """Unwind at 0 bps: sell spot at its bid, buy perp at its ask, once that is not a loss."""
    made, perp, spot = opened()
    made.fill(perp)
    made.fill(spot)
    made.wait(60 * MS)
    made.fresh()
    assert made.quote(PERP, 500_000, 500_001) == 0
    assert made.quote(PERP, 499_998, 500_000) == 2
    back_spot, back_perp = made.order(SPOT, w.SELL), made.order(PERP, w.BUY)
    assert (back_spot["price"], back_spot["qty"]) == (5_000_000, 10_000)
    assert (back_perp["price"], back_perp["qty"]) == (500_000, 100)
    made.fill(back_spot)
    made.fill(back_perp)
    assert (made.qty(PERP), made.qty(SPOT), made.of("unwinds")) == (0, 0, 1)


def test_inverse_position_is_closed_to_the_contract_at_any_price():
    made = world(COIN_SECTION)
    made.quote(COIN, *DEAR)
    for order in made.live():
        made.fill(order)
    for price in (350_000, 650_000):
        made.wait(60 * MS)
        made.fresh()
        made.quote(SPOT, price * 10 + 10, price * 10 + 20, tell=False)
        made.quote(COIN, price - 1, price)
        for order in made.live():
            made.fill(order)
    assert made.qty(COIN) == 0
    assert abs(made.qty(SPOT)) <= 1
    assert (made.of("unwinds"), made.of("hedges")) == (1, 0)


# -- config -----------------------------------------------------------------------------


def params(**changed):
    section = {**SECTION, **changed}
    return arb.config_to_params({k: v for k, v in section.items() if v is not None}, instruments())


def test_params_are_exact_integers():
    row = params(trigger_bps=Decimal("2.5"), qty_base="0.12345678")[0]
    assert (row["trigger_e8"], row["qty_base_e8"], row["leg_deadline_ns"]) == (
        25_000, 12_345_678, 200_000_000,
    )  # fmt: skip
    assert list(row["instruments"][:2]) == [0, 1]
    assert list(row["price_mul"][:2]) == [1, 10]
    assert params(position_max_base=None)[0]["position_max_e8"] == 10_000_000


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"triger_bps": "1"}, "unknown key 'triger_bps'. did you mean trigger_bps"),
        ({"zzz": 1}, "unknown key 'zzz'. known"),
        ({"trigger_bps": 1.5}, "trigger_bps = 1.5 is not a decimal number"),
        ({"trigger_bps": True}, "not a decimal"),
        ({"trigger_bps": "a"}, "trigger_bps = 'a' is not a decimal"),
        ({"trigger_bps": "nan"}, "outside"),
        ({"trigger_bps": "-1"}, "outside 0"),
        ({"trigger_bps": "1.00001"}, "more decimals"),
        ({"qty_base": None}, "qty_base is missing"),
        ({"qty_base": "0"}, "outside"),
        ({"qty_base": "0.000000001"}, "outside"),
        ({"qty_base": "0.3"}, "position_max_base = '0.2' is less than qty_base"),
        ({"cooldown_ms": -1}, "outside"),
        ({"cooldown_ms": "0.0000001"}, "more decimals"),
        ({"hedges_max": 0}, "outside"),
        ({"fee_aware": "yes"}, "not true or false"),
        ({"instruments": SPOT_KEY}, "not a list"),
        ({"instruments": [SPOT_KEY]}, "must list 2 to 8"),
        ({"instruments": [SPOT_KEY, SPOT_KEY]}, "lists one twice"),
        ({"instruments": [SPOT_KEY, "x:Y"]}, "unknown instrument"),
        ({"instruments": [SPOT_KEY, COIN_KEY]}, "USD and USDT.*assume_parity"),
    ],
)
def test_config_mistake_is_named(changed, match):
    with pytest.raises(ConfigError, match=match):
        params(**changed)


def test_instruments_of_two_underlyings_are_refused():
    import msgspec

    table = instruments()
    table.add(msgspec.structs.replace(table[0], key="a:ETH-USDT", symbol="ETH", base="ETH",
                                      underlying="ETH"))  # fmt: skip
    with pytest.raises(ConfigError, match="not all of one underlying"):
        arb.config_to_params({**SECTION, "instruments": [SPOT_KEY, "a:ETH-USDT"]}, table)


def test_touch_too_large_for_the_arithmetic_is_not_traded():
    made = world()
    most = (1 << 62) - 1
    made.quote(SPOT, 5_000_000, 5_000_001, most, most, tell=False)
    assert made.quote(PERP, *DEAR) == 0
    assert made.of("seen_aware") == 1
