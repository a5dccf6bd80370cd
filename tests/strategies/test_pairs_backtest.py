"""Both pair strategies through a backtest, on markets made so that the answer is known."""

from decimal import Decimal as Dec

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.config_schema import Account, Config, Strategy, VenueConfig
from alephtx.core.instruments import Instruments
from alephtx.core.records import EVENT
from alephtx.core.risk_schema import Risk
from alephtx.engine import context as c
from alephtx.engine.backtest import Backtest, Delay, Tape, Venue
from alephtx.engine.context import L_STAGE, LANE_REST
from alephtx.store.rowmaking import tops
from alephtx.strategies import funding_carry, mean_reversion
from tests.strategies.world import ETH_KEY, PERP_KEY, SPOT_KEY, with_eth

START, SECOND = 1_700_000_000_000_000_000, 1_000_000_000
FEE = Dec("0.0004")


def quotes(seconds, bids, step, lots=10**6):
    """Return TOP messages at seconds from the start; the ask is `step` ticks above the bid.

    Sizes change each time: a touch that is as it was is not told again, and grows old.
    """
    at = START + np.asarray(seconds, np.int64) * SECOND
    bids, sizes = np.asarray(bids, np.int64), lots + np.arange(len(at)) % 2
    return tops(at, at, bids, sizes, bids + step, sizes)


def rates(rows, told):
    """Add FUNDING messages of (second, rate in bps, when it is paid) to rows."""
    more = np.zeros(len(told), EVENT)
    for row, (at, bps, paid) in zip(more, told, strict=True):
        row["ts_event"] = row["ts_recv"] = START + at * SECOND
        row["kind"], row["flags"] = w.FUNDING, w.LAST_IN_MESSAGE
        row["price"], row["qty"] = int(Dec(bps) * 10**8), START + paid * SECOND
    rows = np.concatenate([rows, more])
    return rows[np.argsort(rows["ts_event"], kind="stable")]


def run(module, keys, rows, own):
    table = with_eth()
    table = Instruments([table[table.index(key)] for key in keys])
    venues = list(table.venues)
    config = Config(
        venues={name: VenueConfig(symbols=("BTCUSDT", "ETHUSDT")) for name in venues},
        accounts={f"at_{name}": Account(venue=name) for name in venues},
        risk=Risk(notional_max=Dec(10**6), position_notional_max=Dec(10**6), stale_ms=60_000),
        strategies={
            "pair": Strategy(
                use=module.__name__.rpartition(".")[2], instruments=tuple(keys),
                accounts=tuple(f"at_{name}" for name in venues), own=own,
            )
        },
    )  # fmt: skip
    way = Delay(ns=5_000_000)
    venue = Venue(entry=way, response=way)
    return Backtest([config], table, [Tape(part) for part in rows], venue=venue).run()


def came_to(test):
    """Return (USDT that all accounts gained, lots held, state of the strategy).

    Contracts and their funding by the venue's own cash, which spot does not move; spot by ours.
    """
    (lane,) = test.lanes
    assert int(lane.ctx.counters[c.C_DENIED]) == 0
    assert np.all(lane.ctx.lanes[:, :, L_STAGE] == LANE_REST)  # the leg guard has nothing open
    usdt = test.instruments.currencies.index("USDT")
    cash = int(test.bottle.cash[0, :, usdt].sum())
    for i, instrument in enumerate(test.instruments):
        if instrument.contract == w.SPOT:
            spot = lane.ctx.positions[0, i]
            cash += int(spot["realized"]) - int(spot["fees"])
    held = [int(lane.ctx.positions[0, i]["qty"]) for i in range(len(test.instruments))]
    return Dec(cash).scaleb(-8), held, lane.strategies[0].state[0]


@pytest.mark.kernel
def test_carry_earns_three_payments_less_what_four_fills_cost():
    """0.1 BTC; 10 bps an hour are told at minute 50 of three hours, -10 bps of the fourth."""
    minutes = range(0, 5 * 3_600, 60)
    spot = quotes(minutes, [5_000_000] * 300, 1)
    perp = quotes(minutes, [500_000] * 300, 1)
    told = [(hour * 3_600 + 3_000, 10 if hour < 3 else -10, (hour + 1) * 3_600)
            for hour in range(4)]  # fmt: skip
    own = {"qty_base": "0.1", "funding_hours": 1, "horizon_h": 3}
    rows = [spot, rates(perp, told)]
    cash, held, state = came_to(run(funding_carry, [SPOT_KEY, PERP_KEY], rows, own))
    qty, mark = Dec("0.1"), Dec("50000.0")  # the middle, in whole ticks
    bought, sold = Dec("50000.01"), Dec("50000.00")  # spot
    short, cover = Dec("50000.0"), Dec("50000.1")  # perpetual
    gain = qty * (sold - bought + short - cover) + 3 * qty * mark * Dec("0.001")
    assert held == [0, 0]
    assert cash == gain - FEE * qty * (bought + sold + short + cover)
    assert (state["entries"], state["exits"], state["hedges"]) == (1, 1, 0)


@pytest.mark.kernel
def test_a_carry_that_pays_less_than_it_costs_is_not_begun():
    minutes = range(0, 3 * 3_600, 60)
    spot = quotes(minutes, [5_000_000] * 180, 1)
    perp = quotes(minutes, [500_000] * 180, 1)
    told = [(3_000, "5.2", 3_600), (6_600, "5.2", 7_200)]  # 15.6 in three hours, of 16
    own = {"qty_base": "0.1", "funding_hours": 1, "horizon_h": 3}
    rows = [spot, rates(perp, told)]
    cash, held, state = came_to(run(funding_carry, [SPOT_KEY, PERP_KEY], rows, own))
    assert (cash, held, int(state["entries"])) == (0, [0, 0], 0)
    assert state["too_dear"] > 0


@pytest.mark.kernel
def test_a_pair_that_parts_and_comes_back_earns_the_distance():
    """ETH stands 1 % dear for a minute: it is sold against BTC, and bought back at home."""
    seconds = np.arange(0, 900)
    btc = quotes(seconds, [499_999] * 900, 2)
    eth = quotes(seconds, np.where((seconds >= 700) & (seconds < 760), 302_999, 299_999), 2)
    own = {"qty_base": "0.1", "tau_ms": 600_000, "floor_bps": 10, "entry_z": 5, "stop_z": 100}
    cash, held, state = came_to(run(mean_reversion, [PERP_KEY, ETH_KEY], [btc, eth], own))
    coin, ether = Dec("0.1"), Dec("1.650")  # 5,000 USDT of 3,030.00 each, in lots
    gain = coin * (Dec("49999.9") - Dec("50000.1")) + ether * (Dec("3029.99") - Dec("3000.01"))
    turned = coin * Dec(100_000) + ether * (Dec("3029.99") + Dec("3000.01"))
    assert held == [0, 0]
    assert cash == gain - FEE * turned
    assert (state["entries"], state["exits"], state["stops"]) == (1, 1, 0)


@pytest.mark.kernel
def test_one_coin_comes_back_too():
    """The perpetual stands 1 % above spot for a minute; base is equal to the lot."""
    seconds = np.arange(0, 900)
    spot = quotes(seconds, [4_999_999] * 900, 2)
    perp = quotes(seconds, np.where((seconds >= 700) & (seconds < 760), 504_999, 499_999), 2)
    own = {"qty_base": "0.1", "tau_ms": 600_000, "floor_bps": 10, "entry_z": 5, "stop_z": 100}
    cash, held, state = came_to(run(mean_reversion, [SPOT_KEY, PERP_KEY], [spot, perp], own))
    qty = Dec("0.1")
    gain = qty * (Dec("49999.99") - Dec("50000.01") + Dec("50499.9") - Dec("50000.1"))
    turned = qty * (Dec(100_000) + Dec("50499.9") + Dec("50000.1"))
    assert held == [0, 0]
    assert cash == gain - FEE * turned
    assert (state["entries"], state["exits"], state["hedges"]) == (1, 1, 0)
