"""Limits by scope: each tightens, none loosens, and a name that is nothing of ours is refused."""

from decimal import Decimal

import numpy as np
import pytest

from alephtx.core.errors import ConfigError, UnitError
from alephtx.core.risk_schema import AccountRisk, BaseRisk, InstrumentRisk, StrategyRisk
from alephtx.core.risk_schema import Risk as RiskTable
from alephtx.risk import state as g
from alephtx.risk.limits import make_gate
from alephtx.risk.scopes import set_bucket
from tests.risk.rows import ETH, PERP, SPOT, Risk, World, instruments

pytestmark = pytest.mark.kernel

E8 = 10**8
NAMES = {"account_names": ["a0", "a1"], "strategy_names": ["s0", "s1"]}


def gate(**limits):
    return make_gate(Risk(**limits), instruments(), 2, 2, **NAMES)


def test_strategy_is_narrowed_alone():
    made = gate(qty_max=Decimal(100), strategies={"s1": StrategyRisk(
        qty_max=Decimal(1), notional_max=Decimal(50), position_notional_max=Decimal(60),
        open_orders_max=2, drawdown_max=Decimal(7), duplicate_ms=3, fat_finger_multiple=4,
        typical_qty=Decimal("0.5"),
    )})  # fmt: skip
    assert list(made.qty_max[:, PERP]) == [100_000, 1_000]
    assert list(made.notional_max[:, PERP]) == [100_000 * E8, 50 * E8]
    assert list(made.position_max[:, SPOT]) == [200_000 * E8, 60 * E8]
    assert list(made.open_orders_max) == [4, 2]
    assert list(made.drawdown_max) == [500 * E8, 7 * E8]
    assert list(made.duplicate_ns) == [0, 3_000_000]
    assert list(made.fat_multiple) == [0, 4]
    assert list(made.typical[:, PERP, g.TYPICAL_STATED]) == [0, 500]
    assert made.typical[1, 2, g.TYPICAL_STATED] == 1  # half a contract: one lot at least


def test_scope_never_loosens():
    loose = StrategyRisk(
        qty_max=Decimal(500), notional_max=Decimal(10**6), position_notional_max=Decimal(10**6),
        open_orders_max=99, drawdown_max=Decimal(10**6), duplicate_ms=1, fat_finger_multiple=99,
    )  # fmt: skip
    loose_account = AccountRisk(
        position_notional_max=Decimal(10**6), orders_per_s=99, messages_per_s=99,
        leverage_max=Decimal(99), drawdown_max=Decimal(10**6), order_trade_ratio_max=99,
    )  # fmt: skip
    wide = InstrumentRisk(
        qty_max=Decimal(500), notional_max=Decimal(10**6), position_notional_max=Decimal(10**6),
        band_bps=999, collar_bps=999, stale_ms=9_999,
    )  # fmt: skip
    base = {
        "qty_max": Decimal(100), "duplicate_ms": 5, "fat_finger_multiple": 5, "collar_bps": 50,
        "messages_per_s": 20, "leverage_max": Decimal(2), "account_drawdown_max": Decimal(50),
        "order_trade_ratio_max": 5, "base_gross_max": Decimal(10), "base_net_max": Decimal(5),
    }  # fmt: skip
    plain = gate(**base)
    scoped = gate(
        **base, strategies={"s0": loose}, accounts={"a0": loose_account}, venues={"b": wide},
        instruments={"b:ETH-USDT-PERP": wide},
        bases={"BTC": BaseRisk(gross_max=Decimal(99), net_max=Decimal(99)), "ETH": BaseRisk()},
    )  # fmt: skip
    for name in g.GateState._fields:
        assert (getattr(plain, name) == getattr(scoped, name)).all(), name


def test_venue_and_instrument_narrow_everyone_there():
    made = gate(
        venues={"b": InstrumentRisk(band_bps=50, stale_ms=500, notional_max=Decimal(30))},
        instruments={"b:ETH-USDT-PERP": InstrumentRisk(
            band_bps=60, collar_bps=20, qty_max=Decimal(2), position_notional_max=Decimal(40))},
    )  # fmt: skip
    assert list(made.band_bps) == [100, 50, 100, 50]
    assert list(made.stale_ns) == [10**9, 5 * 10**8, 10**9, 5 * 10**8]
    assert list(made.collar_bps) == [0, 0, 0, 20]
    assert (made.notional_max[:, (PERP, ETH)] == 30 * E8).all()
    assert (made.qty_max[:, ETH] == 2_000).all()
    assert (made.position_max[:, ETH] == 40 * E8).all()
    assert (made.account_position_max[:, ETH] == 40 * E8).all()
    assert (made.account_position_max[:, PERP] == 200_000 * E8).all()


def test_account_is_narrowed_alone():
    made = gate(accounts={"a1": AccountRisk(
        position_notional_max=Decimal(9), orders_per_s=2, messages_per_s=4,
        leverage_max=Decimal("2.5"), drawdown_max=Decimal(3), order_trade_ratio_max=7,
        instruments=("a:BTC-USDT",),
    )})  # fmt: skip
    assert list(made.account_position_max[:, PERP]) == [200_000 * E8, 9 * E8]
    assert list(made.buckets[:, g.INTERVAL]) == [10**8, 5 * 10**8]
    assert list(made.messages[:, g.BURST]) == [0, 10**9]
    row = made.accounts[1]
    assert (row[g.LEVERAGE_MAX], row[g.DRAWDOWN_MAX], row[g.RATIO_MAX]) == (250, 3 * E8, 7)
    assert list(made.account_allowed[1]) == [1, 0, 0, 0]
    assert made.account_allowed[0].all()
    faster = gate(orders_per_s=2, accounts={"a0": AccountRisk(orders_per_s=3)})
    assert faster.buckets[0, g.INTERVAL] == 5 * 10**8


@pytest.mark.parametrize(
    ("per_second", "interval"),
    [(0, 0), (1, 10**9), (3, 333_333_334), (7, 142_857_143), (10**9, 1)],
)
def test_interval_of_a_pace_is_rounded_up_and_the_bucket_is_full(per_second, interval):
    bucket = np.full((2, 4), 7, np.int64)
    set_bucket(bucket[1], per_second)
    burst = interval * per_second
    assert bucket.tolist() == [[7, 7, 7, 7], [burst, 7, interval, burst]]


def test_pace_of_an_account_is_the_slower_of_both_whatever_they_are():
    """An interval is rounded up, so a pace read back from it came out one too slow: 3 a second."""
    for general in range(1, 40):
        for scoped in range(1, 40):
            ours = {"a0": AccountRisk(orders_per_s=scoped, messages_per_s=scoped)}
            gate = World(Risk(orders_per_s=general, messages_per_s=general, accounts=ours)).gate
            for rows in (gate.buckets, gate.messages):
                want = np.zeros((2, 4), np.int64)
                set_bucket(want[0], min(general, scoped))
                set_bucket(want[1], general)
                assert (rows == want).all()


def test_bases_narrow_the_limit_for_all_bases():
    made = gate(base_gross_max=Decimal(100), bases={"BTC": BaseRisk(gross_max=Decimal(10))})
    names = instruments().currencies
    assert made.base_max[names.index("BTC"), g.GROSS] == 10 * E8
    assert made.base_max[names.index("ETH"), g.GROSS] == 100 * E8
    assert (made.base_max[:, g.NET] == g.NO_LIMIT).all()


@pytest.mark.parametrize(
    ("group", "table"),
    [("bases", BaseRisk()), ("strategies", StrategyRisk()), ("instruments", InstrumentRisk()),
     ("venues", InstrumentRisk()), ("accounts", AccountRisk())],
)  # fmt: skip
def test_scope_of_nothing_of_ours_is_refused(group, table):
    with pytest.raises(ConfigError, match=rf"risk.{group}.nowhere.*it knows"):
        gate(**{group: {"nowhere": table}})
    with pytest.raises(ConfigError, match="none"):
        make_gate(Risk(accounts={"x": AccountRisk()}), instruments(), 1, 1)


def test_scoped_amount_without_sense_is_named_with_its_scope():
    with pytest.raises(ConfigError, match=r"risk.accounts.a0.drawdown_max = -1 is not a positive"):
        gate(accounts={"a0": AccountRisk(drawdown_max=Decimal(-1))})
    with pytest.raises(UnitError, match=r"risk.strategies.s0.qty_max = 0.1 is less than one lot"):
        gate(strategies={"s0": StrategyRisk(qty_max=Decimal("0.1"))})
    with pytest.raises(ConfigError, match=r"risk.firm_gross_max = 1E\+20 is beyond"):
        gate(firm_gross_max=Decimal("1e20"))


def test_config_table_is_off_where_it_says_nothing():
    made = make_gate(RiskTable(), instruments(), 1, 1)
    assert made.firm_gross_max[0] == g.NO_LIMIT
    assert made.firm[g.SELF_TRADE] == 1
    assert not made.messages.any()
    assert not made.collar_bps.any()
    assert made.accounts[0, g.DRAWDOWN_MAX] == g.NO_LIMIT
    assert made.currency_e8[instruments().currencies.index("USDT")] == E8
    assert made.currency_e8[instruments().currencies.index("BTC")] == 0
