"""Limits from the config: exact, rounded to the safe side, and refused by name."""

from decimal import Decimal

import msgspec
import pytest

from alephtx.core.config_schema import Risk as RiskTable
from alephtx.core.errors import ConfigError, UnitError
from alephtx.core.instruments import Instruments
from alephtx.risk import limits as lim
from alephtx.risk import state
from tests.risk.rows import COIN, PERP, SPOT, Risk, instruments

pytestmark = pytest.mark.kernel


def test_limits_are_kept_in_quote_money_and_lots():
    gate = lim.make_gate(Risk(qty_max=Decimal("1.23456")), instruments(), 3, 2)
    assert gate.qty_max[1, SPOT] == 123_456
    assert gate.qty_max[1, PERP] == 1_234  # rounded down to whole lots
    assert gate.qty_max[0, COIN] == 1
    assert (gate.notional_max == 100_000 * 10**8).all()
    assert gate.account_position_max.shape == (3, 4)
    assert (gate.stale_ns == 10**9).all()
    assert (gate.rate_e8 == 10**8).all()
    assert list(gate.buckets[2]) == [10**9, 0, 10**8, 10**9]


def test_quantity_beyond_what_the_gate_takes_is_the_most_it_takes():
    gate = lim.make_gate(Risk(qty_max=Decimal(10) ** 16), instruments(), 1, 1)
    assert (gate.qty_max == [[lim.NO_LIMIT - 1, lim.NO_LIMIT - 1, 10**16, lim.NO_LIMIT - 1]]).all()


@pytest.mark.parametrize("name", ["band_bps", "orders_per_s", "stale_ms", "open_orders_max"])
def test_counts_reach_from_one_to_a_milliard(name):
    for most in (1, 10**9):
        lim.make_gate(Risk(**{name: most}), instruments(), 1, 1)
    for beyond in (0, 10**9 + 1):
        with pytest.raises(ConfigError, match=f"risk.{name} = {beyond} is not"):
            lim.make_gate(Risk(**{name: beyond}), instruments(), 1, 1)


def test_config_table_is_accepted_as_it_is():
    gate = lim.make_gate(RiskTable(), instruments(), 1, 1)
    assert gate.drawdown_max[0] == 250 * 10**8
    assert gate.qty_max[0, 0] == lim.NO_LIMIT - 1


def test_no_accounts_and_no_strategies_still_make_a_gate():
    gate = lim.make_gate(Risk(), Instruments(), 0, 0)
    assert gate.qty_max.shape == (1, 1)
    assert gate.resync.shape == (1,)


def eth_btc():
    table = instruments()
    table.add(msgspec.structs.replace(table[SPOT], key="a:ETH-BTC", symbol="ETHBTC", base="ETH",
                                      quote="BTC", settle="BTC"))  # fmt: skip
    return table


def test_other_quote_currency_needs_its_rate():
    with pytest.raises(ConfigError, match=r"a:ETH-BTC is quoted in BTC.*risk.rates.BTC"):
        lim.make_gate(Risk(), eth_btc(), 1, 1)
    gate = lim.make_gate(Risk(rates={"BTC": Decimal(50_000)}), eth_btc(), 1, 1)
    assert gate.notional_max[0, 4] == 2 * 10**8
    assert gate.rate_e8[4] == 50_000 * 10**8


def test_smallest_and_largest_rate_are_taken_as_they_are():
    for rate in (1, (1 << 62) - 1):
        rates = {"BTC": Decimal(rate).scaleb(-8), "USDT": Decimal(1).scaleb(-8)}
        gate = lim.make_gate(
            Risk(notional_max=1, position_notional_max=1, rates=rates), eth_btc(), 1, 1
        )
        assert list(gate.rate_e8[[0, 4]]) == [1, rate]


@pytest.mark.parametrize(
    "rate", ["0", "-1", "nan", "inf", "1e-9", "1e12", str(Decimal(1 << 62).scaleb(-8))]
)
def test_unusable_rate_is_refused(rate):
    with pytest.raises(ConfigError, match=r"risk.rates.BTC = .* is not a usable rate"):
        lim.make_gate(Risk(rates={"BTC": Decimal(rate)}), eth_btc(), 1, 1)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("band_bps", 0, "risk.band_bps = 0 is not a whole number"),
        ("band_bps", 1.5, "risk.band_bps = 1.5"),
        ("orders_per_s", True, "risk.orders_per_s = True"),
        ("orders_per_s", "5", "risk.orders_per_s = '5'"),
        ("stale_ms", -1, "risk.stale_ms"),
        ("open_orders_max", 10**10, "risk.open_orders_max"),
        ("notional_max", Decimal(0), "risk.notional_max = 0 is not a positive"),
        ("notional_max", Decimal("nan"), "risk.notional_max = NaN"),
        ("notional_max", Decimal("inf"), "risk.notional_max = Infinity"),
        ("notional_max", 1.5, "risk.notional_max = 1.5 is not a decimal"),
        ("notional_max", True, "risk.notional_max = True"),
        ("position_notional_max", Decimal("1e11"), "beyond what the gate"),
        ("drawdown_max", Decimal(-5), "risk.drawdown_max = -5"),
        ("qty_max", 1.5, "risk.qty_max = 1.5 is not a decimal"),
        ("qty_max", False, "risk.qty_max = False"),
        ("qty_max", Decimal(0), "risk.qty_max = 0 is not a positive"),
        ("qty_max", Decimal("nan"), "risk.qty_max = NaN"),
    ],
)
def test_limit_without_sense_is_named(name, value, match):
    with pytest.raises(ConfigError, match=match):
        lim.make_gate(Risk(**{name: value}), instruments(), 1, 1)


def test_size_below_one_lot_is_named():
    with pytest.raises(UnitError, match="less than one lot of c:BTC-USD-PERP"):
        lim.make_gate(Risk(qty_max=Decimal("0.5")), instruments(), 1, 1)


@pytest.mark.parametrize(
    ("columns", "count"),
    [
        ("TOKENS REFILLED INTERVAL BURST", 4),
        ("SELF_TRADE FIRM_DRAWDOWN_MAX FIRM_LATCHED FIRM_PROFIT PROFIT_AT CELL_COUNT RESCAN "
         "FIRM_GROSS BASE_GROSS BASE_NET ACCOUNT_GROSS GROWS", state.FIRM_WORDS),
        ("LEVERAGE_MAX DRAWDOWN_MAX RATIO_MAX RATIO_WINDOW RATIO_ORDERS_MIN LATCHED OPENING PROFIT "
         "RATIO_LATCHED RATIO_SINCE ORDERS TRADES ORDERS_BEFORE TRADES_BEFORE",
         state.ACCOUNT_WORDS),
        ("LAST LAST_AT MARK_PRICE MARK_AT VENUE_STATUS MIDDLE STOPS", state.MARKET_WORDS),
        ("TYPICAL_STATED TYPICAL_MEAN TYPICAL_COUNT", 3),
        ("RECENT_AT RECENT_WHAT RECENT_PRICE RECENT_QTY", 4),
        ("GROSS NET", 2),
    ],
)  # fmt: skip
def test_every_column_has_a_place_of_its_own(columns, count):
    places = [getattr(state, name) for name in columns.split()]
    assert sorted(places) == list(range(count))


def test_rules_are_called_what_their_numbers_say():
    rules = {name: value for name, value in vars(state).items() if name.startswith("RULE_")}
    names = rules.pop("RULE_NAMES")
    assert sorted(rules.values()) == list(range(1, len(names)))
    assert {name: names[value] for name, value in rules.items()} == {
        name: name.removeprefix("RULE_").lower() for name in rules
    }


def test_gate_without_limits_has_room_for_everything_and_no_more():
    gate = state.empty_state(2, 3, 4, 5)
    assert {name: rows.shape for name, rows in gate._asdict().items()} == {
        **dict.fromkeys(("qty_max", "notional_max", "position_max", "allowed"), (3, 4)),
        **dict.fromkeys(("account_position_max", "account_allowed"), (2, 4)),
        **dict.fromkeys(("band_bps", "stale_ns", "rate_e8", "collar_bps"), (4,)),
        **dict.fromkeys(("open_orders_max", "drawdown_max", "latched", "warm_until"), (3,)),
        **dict.fromkeys(("duplicate_ns", "fat_multiple"), (3,)),
        **dict.fromkeys(("buckets", "messages"), (2, 4)),
        "resync": (2,), "firm_gross_max": (1,), "base_max": (5, 2), "firm": (state.FIRM_WORDS,),
        "accounts": (2, state.ACCOUNT_WORDS), "recent": (3, state.RECENT + 1, 4),
        "hours": (4, 315), "market": (4, state.MARKET_WORDS), "typical": (3, 4, 3),
        "cells": (8, 2), "currency_e8": (5,),
    }  # fmt: skip
    assert (gate.hours == 0xFFFFFFFF).all()
    assert (gate.allowed == 1).all()
    assert (gate.account_allowed == 1).all()
