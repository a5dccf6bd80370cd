"""Cash and carry: spot and perpetual of BTC, 4 bps a fill, so 16 bps there and back."""

from decimal import Decimal

import msgspec
import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.errors import ConfigError
from alephtx.core.instruments import Instruments
from alephtx.core.records import EVENT
from alephtx.strategies import funding_carry as carry
from alephtx.strategies import hedging
from tests.strategies.chance import move, play, seeds
from tests.strategies.world import COIN_KEY, MS, PERP, PERP_KEY, SPOT, SPOT_KEY, World, instruments

pytestmark = pytest.mark.kernel

SECTION = {
    "instruments": [SPOT_KEY, PERP_KEY], "horizon_h": 168, "qty_base": "0.1", "cooldown_ms": 50,
    "leg_deadline_ms": 200, "hedges_max": 2,
}  # fmt: skip
HOUR = 3_600_000 * MS
BPS = 10**8  # of a rate, in 10^-12
FAIR = (500_000, 500_001)


def world(section=None, **more):
    made = World(carry, {**SECTION, **(section or {})}, **more)
    made.wait(1000 * MS)
    made.fresh()
    return made


def rate(made, bps, instrument=PERP, *, interval=0):
    """Tell a rate in bps; the interval is paid at its end, 8 h each."""
    event = np.zeros(1, EVENT)
    event["instrument"], event["kind"] = instrument, w.FUNDING
    event["price"] = int(Decimal(str(bps)) * BPS)
    event["qty"] = (1 + interval) * 8 * HOUR
    return made.run("on_event", event)


def opened():
    made = world()
    assert rate(made, 2) == 2
    made.fill(made.order(PERP, w.SELL))
    made.fill(made.order(SPOT, w.BUY))
    made.wait(100 * MS)
    made.fresh()
    return made


@pytest.mark.smoke
def test_a_rate_that_pays_opens_the_pair_and_one_that_does_not_closes_it():
    """21 payments of 2 bps in a week, less 16.0 bps of fees."""
    made = opened()
    assert (made.qty(SPOT), made.qty(PERP)) == (10_000, -100)
    assert made.quote(PERP, *FAIR) == 0  # as much as may be held
    assert rate(made, "0.0001") == 0  # pays little, but pays
    assert rate(made, 0) == 2
    made.fill(made.order(SPOT, w.SELL))
    made.fill(made.order(PERP, w.BUY))
    assert (made.qty(SPOT), made.qty(PERP), made.of("exits")) == (0, 0, 1)


def test_both_legs_are_one_group_of_equal_base():
    made = world()
    rate(made, 2)
    groups = {int(row["group_id"]) for row in made.live()}
    assert len(groups) == 1
    assert groups != {0}
    assert {int(row["tif"]) for row in made.live()} == {w.IOC}
    sold, bought = made.order(PERP, w.SELL), made.order(SPOT, w.BUY)
    assert (sold["qty"], bought["qty"]) == (100, 10_000)


@pytest.mark.parametrize(
    ("bps", "perp", "opens"),
    [
        ("0.7", FAIR, False),  # 14.7 bps in a week, less 16 of fees
        ("0.8", FAIR, True),  # 16.8
        ("0.7", (500_100, 500_101), True),  # and a basis of 2 bps
        ("0.8", (499_900, 499_901), False),
        (-2, FAIR, False),  # spot is not sold short
        (-2, (500_400, 500_401), False),
    ],
)
def test_what_pays_is_carry_and_basis_less_all_costs(bps, perp, opens):
    made = world()
    made.quote(PERP, *perp)
    assert (rate(made, bps) == 2) == opens
    assert made.of("entries") == int(opens)


def test_gain_is_counted_to_the_unit():
    made = world()
    rate(made, 1)
    # 21 x 10,000; basis (5,000,000 - 5,000,001) of the middle; half spreads; 4 x 4 bps.
    whole = 10**8
    basis = -(-(-1 * 2 * whole) // 10_000_001) - 1
    halves = 1 * whole // 10_000_001 + 1 * whole // 1_000_001
    found = carry.gain_e8(made.view, made.params, made.state, 0, 1)
    assert found == 210_000 + basis - halves - 160_000


def test_two_perpetuals_are_held_by_the_difference_of_their_rates_per_hour():
    section = {"instruments": [PERP_KEY, COIN_KEY], "assume_parity": True,
               "second_funding_hours": 1}  # fmt: skip
    made = world(section)
    rate(made, 8)
    assert rate(made, 1, 2) == 0  # 8 in 8 hours, and 1 in one: the same
    assert rate(made, "0.5", 2) == 2  # the first pays more: it is sold
    assert made.order(PERP, w.SELL)["qty"] == 100
    made = world(section)
    rate(made, 8)
    assert rate(made, 2, 2) == 2
    assert made.order(2, w.SELL)["qty"] == 50  # 100 USD each
    assert made.order(PERP, w.BUY)["qty"] == 100


def test_rates_of_intervals_are_averaged_and_the_running_one_is_replaced():
    made = world({"rates_averaged": 3})
    for interval, bps in enumerate((9, 3)):
        assert rate(made, bps, interval=interval) == 0  # too few yet
    rate(made, 1, interval=2)
    rate(made, "-0.5", interval=2)
    assert carry.mean_rate(made.params, made.state, 1) == int(11.5 * BPS) // 3
    rate(made, 0, interval=3)
    assert carry.mean_rate(made.params, made.state, 1) == int(2.5 * BPS) // 3
    assert carry.mean_rate(made.params, made.state, 0) == 0


def test_more_intervals_than_are_remembered():
    made = world({"rates_averaged": 64, "margin_bps": 1000})
    for interval in range(200):
        rate(made, interval % 7, interval=interval)
    last = [k % 7 for k in range(136, 200)]
    assert carry.mean_rate(made.params, made.state, 1) == sum(last) * BPS // 64


@pytest.mark.parametrize("absurd", [10_000, -10_000, 10_001])
def test_an_absurd_rate_is_not_taken(absurd):
    made = world()
    assert rate(made, absurd) == 0
    assert carry.mean_rate(made.params, made.state, 1) == 0


def test_silence_of_the_rates_closes_the_pair_and_opens_none():
    made = opened()
    made.wait(9 * HOUR - 200 * MS)
    made.fresh()
    assert made.quote(PERP, *FAIR) == 0
    made.wait(200 * MS)
    made.fresh()
    assert made.quote(PERP, *FAIR) == 2
    assert made.order(SPOT, w.SELL)["qty"] == 10_000
    made = world()
    rate(made, 2, SPOT)  # spot pays none, whoever says so
    assert made.live() == []


def test_after_a_restart_the_pair_is_kept_until_rates_are_heard():
    made = opened()
    made.state[:] = np.zeros(1, carry.STATE)
    made.run("on_start")
    assert made.quote(PERP, *FAIR) == 0
    assert rate(made, 1) == 0
    assert rate(made, -1) == 2


def test_a_basis_that_turned_is_taken():
    made = opened()
    made.params["unwind_e8"] = 200_000  # 20 bps
    made.wait(100 * MS)
    made.fresh()
    made.quote(PERP, 499_000, 499_002)
    assert made.live() == []  # 19.96 bps
    assert made.quote(PERP, 498_990, 498_999) == 2
    assert made.of("unwinds") == 1


def test_position_grows_to_its_bound():
    made = world({"position_max_base": "0.25"})
    rate(made, 5)
    for _ in range(6):
        for row in made.live():
            made.fill(row)
        made.wait(100 * MS)
        made.fresh()
        made.quote(PERP, *FAIR)
    assert (made.qty(SPOT), made.qty(PERP)) == (25_000, -250)


def test_an_open_leg_is_hedged_and_flagged():
    made = world()
    rate(made, 2)
    made.fill(made.order(SPOT, w.BUY))
    made.tell(w.REJECT, made.order(PERP, w.SELL))
    hedge = made.order(PERP, w.SELL)
    assert made.sent[-1][5] == w.HEDGE
    made.tell(w.EXPIRE, hedge)
    made.tell(w.EXPIRE, made.order(PERP, w.SELL))
    flatten = made.order(SPOT, w.SELL)
    made.fill(flatten)
    assert (made.qty(SPOT), made.qty(PERP)) == (0, 0)


def test_a_leg_that_cannot_be_closed_halts_it():
    made = world()
    rate(made, 2)
    made.fill(made.order(SPOT, w.BUY))
    made.tell(w.REJECT, made.order(PERP, w.SELL))
    for _ in range(4):
        (order,) = made.live()
        made.tell(w.EXPIRE, order)
    assert (made.of("halted"), made.of("alarm")) == (1, hedging.ALARM_LEG_OPEN)
    assert made.quote(PERP, *FAIR) == 0
    made.run("on_start")
    assert made.quote(PERP, *FAIR) == 1


@pytest.mark.parametrize("spoil", [
    lambda m: m.quote(SPOT, 5_000_000, 5_000_001, aux=w.STALE),
    lambda m: m.quote(PERP, 500_000, 0, 10**6, 0),
    lambda m: m.wait(1600 * MS),
])  # fmt: skip
def test_without_two_markets_nothing_is_opened(spoil):
    made = world()
    spoil(made)
    assert rate(made, 5) == 0


def test_a_market_too_thin_for_the_least_order_is_left_alone():
    made = world()
    made.quote(SPOT, 5_000_000, 5_000_001, 10**6, 0)
    made.quote(PERP, 500_000, 500_001, 0, 10**6)
    assert rate(made, 5) == 0
    made.quote(SPOT, 5_000_000, 5_000_001, 10**6, 10_000)
    assert made.quote(PERP, 500_000, 500_001, 40, 10**6) == 2
    assert made.order(SPOT, w.BUY)["qty"] == 4_000


def test_stop_cancels_and_keeps_the_pair():
    made = world()
    rate(made, 2)
    assert made.run("on_stop") == 2
    assert opened().run("on_stop") == 0


@pytest.mark.parametrize("seed", seeds(8))
def test_whatever_the_venue_does_no_leg_is_left(seed):
    luck = np.random.default_rng(seed)
    made = world({"position_max_base": "0.2", "horizon_h": 24, "rate_age_ms": 100_000})
    spot, perp = 5_000_000, 500_000
    for step in range(150):
        spot = move(made, luck, SPOT, spot, 30)
        perp = move(made, luck, PERP, perp, 3)
        if step % 5 == 0:
            rate(made, int(luck.integers(-20, 60)), interval=step // 10)
        play(made, luck)
        assert len(made.live()) <= 2
        assert -0.0001 <= made.qty(SPOT) / 1e5 <= 0.2001
    made.params["exit_e8"] = 10**9
    for _ in range(200):
        made.wait(300 * MS)
        made.quote(SPOT, spot - 1, spot + 1)
        made.quote(PERP, perp - 1, perp + 1)
        for row in made.live():
            if row["status"] == w.UNKNOWN:
                made.tell(w.NOT_FOUND, row)
            else:
                made.fill(row)
        if made.of("halted"):
            made.run("on_start")
    assert abs(made.qty(SPOT)) < 100  # less than a lot of the perpetual
    assert made.qty(PERP) == 0


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"instruments": [SPOT_KEY]}, "must list 2 to 2"),
        ({"instruments": [SPOT_KEY, COIN_KEY]}, "are quoted in USD and USDT"),
        ({"instruments": [SPOT_KEY, "x:BTC"]}, "x:BTC"),
        ({"funding_hours": 0}, "funding_hours = 0 is outside 1 .. 168"),
        ({"funding_hours": "1.5"}, "more decimals"),
        ({"second_funding_hours": 169}, "is outside 1 .. 168"),
        ({"rates_averaged": 65}, "is outside 1 .. 64"),
        ({"rate_age_ms": 0}, "is outside"),
        ({"horizon_h": 0}, "is outside"),
        ({"horizon_h": 8_761}, "is outside"),
        ({"exit_bps": "1001"}, "is outside"),
        ({"unwind_bps": 1.5}, "is not a decimal number"),
        ({"margin_bps": "-1"}, "is outside"),
        ({"qty_base": None}, "qty_base is missing"),
        ({"qty_base": "0"}, "is outside"),
        ({"position_max_base": "0.01"}, "is less than qty_base"),
        ({"hedges_max": True}, "is not a decimal number"),
        ({"cross_bps": "nan"}, "is outside"),
        ({"assume_parity": "yes"}, "is not true or false"),
        ({"horizon": 1}, "did you mean horizon_h"),
    ],
)
def test_config_mistake_is_named(changed, match):
    section = {key: value for key, value in {**SECTION, **changed}.items() if value is not None}
    with pytest.raises(ConfigError, match=match):
        carry.config_to_params(section, instruments())


def test_pairs_that_are_none_are_refused():
    table = instruments()
    spot = table[SPOT]
    other = msgspec.structs.replace(spot, key="a:ETH-USDT", symbol="ETHUSDT", base="ETH",
                                    underlying="ETH")  # fmt: skip
    second = msgspec.structs.replace(spot, key="d:BTC-USDT", venue="d")
    table = Instruments([*table, other, second])
    with pytest.raises(ConfigError, match="not of one coin"):
        carry.config_to_params({**SECTION, "instruments": ["a:ETH-USDT", PERP_KEY]}, table)
    with pytest.raises(ConfigError, match="are both spot"):
        carry.config_to_params({**SECTION, "instruments": [SPOT_KEY, "d:BTC-USDT"]}, table)
