"""The instrument table: exact on every grid, append-only, the same after a trip through JSON."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.errors import ConfigError, UnitError
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.units import (
    FLOOR,
    MONEY_SCALE,
    NEAREST,
    SIGNIFICANT_FIGURES,
    STEPPED_TICK,
    notional,
    to_decimal,
)


def linear(**changes):
    fields = {
        "key": "binance_usdm:BTC-USDT-PERP", "venue": "binance_usdm", "symbol": "BTCUSDT",
        "base": "BTC", "quote": "USDT", "settle": "USDT", "contract": words.LINEAR,
        "price_scale": 2, "qty_scale": 3, "tick_size": Decimal("0.10"),
        "lot_size": Decimal("0.001"), "qty_max": Decimal(1000), "price_max": Decimal(1_000_000),
        "taker_fee": Decimal("0.0004"), "maker_fee": Decimal("-0.0001"),
    }  # fmt: skip
    return Instrument(**{**fields, **changes})


def inverse(**changes):
    fields = {
        "key": "binance_coinm:BTC-USD-PERP", "venue": "binance_coinm", "symbol": "BTCUSD_PERP",
        "base": "BTC", "quote": "USD", "settle": "BTC", "contract": words.INVERSE,
        "price_scale": 1, "qty_scale": 0, "tick_size": Decimal("0.1"), "lot_size": Decimal(1),
        "contract_value": Decimal(100),
    }  # fmt: skip
    return Instrument(**{**fields, **changes})


@pytest.mark.smoke
def test_rows_hold_what_the_instrument_says():
    table = Instruments([linear(), inverse()])
    rows = table.rows()
    first, second = rows[0], rows[1]
    assert (first["tick_step"], first["lot_step"], first["price_max"]) == (10, 1, 100_000_000)
    assert (first["taker_fee_e8"], first["maker_fee_e8"]) == (40_000, -10_000)
    assert (first["venue"], second["venue"], second["index"]) == (0, 1, 1)
    assert table.currencies == ["", "BTC", "USDT", "USD"]
    assert first["underlying"] == second["underlying"] == table.currency("BTC")


def test_lookups_find_by_key_symbol_index_and_venue():
    table = Instruments([linear(), inverse()])
    assert table.index("binance_coinm:BTC-USD-PERP") == 1
    assert table["binance_coinm:BTC-USD-PERP"] is table[1]
    assert table.find("binance_usdm", "BTCUSDT") == 0
    assert table.find("binance_usdm", "NONE") == -1
    assert table.of_venue("binance_coinm") == [1]
    assert len(table) == len(list(table)) == 2
    with pytest.raises(ConfigError, match="known: binance_coinm"):
        table.index("binance_usdm:BTC")


def test_same_key_twice_is_refused():
    table = Instruments([linear()])
    with pytest.raises(ConfigError, match="listed twice"):
        table.add(linear())


def test_json_and_back_keeps_everything_and_the_order_of_currencies():
    table = Instruments([linear(), inverse()])
    table.currency("BNB")
    back = Instruments.from_json(table.to_json())
    assert list(back) == list(table)
    assert back.currencies == table.currencies
    assert back.rows().tobytes() == table.rows().tobytes()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"instruments":[{}],"currencies":[]}', b"\xff"]
)
def test_json_that_is_no_table_is_refused(data):
    with pytest.raises((msgspec.DecodeError, msgspec.ValidationError)):
        Instruments.from_json(data)


def test_range_that_overflows_is_refused_with_a_remedy():
    with pytest.raises(UnitError, match="lower price_max or qty_max"):
        Instruments([linear(price_max=Decimal(10) ** 12, qty_max=Decimal(10) ** 9)])
    with pytest.raises(UnitError, match="at most 9"):
        Instruments([linear(qty_scale=10, qty_max=Decimal(1))])


def test_contract_value_beyond_the_money_scale_is_refused():
    with pytest.raises(UnitError, match="unfit"):
        Instruments([inverse(contract_value=Decimal("1e-12"))]).rows()
    with pytest.raises(UnitError, match="unfit"):
        Instruments([linear(contract_value=Decimal(10) ** 30)]).rows()


@pytest.mark.parametrize(
    "bands",
    [
        (),
        ((Decimal("0.03"), Decimal("0.05")),),  # not on the grid above
        ((Decimal("0.05"), Decimal("0.05")), (Decimal("0.05"), Decimal("0.10"))),  # does not rise
        ((Decimal("1.00"), Decimal(0)),),
        ((Decimal("1.00"), Decimal("-0.5")),),
        tuple((Decimal(k), Decimal("0.10")) for k in range(1, 9)),  # more than fit
    ],
)
def test_stepped_tick_that_does_not_join_is_refused(bands):
    with pytest.raises(UnitError, match="tick"):
        Instruments([linear(tick_rule=STEPPED_TICK, tick_size=Decimal("0.01"), tick_bands=bands)])


def test_bands_without_the_rule_are_refused():
    with pytest.raises(UnitError, match="STEPPED_TICK"):
        Instruments([linear(tick_bands=((Decimal(1), Decimal(1)),))])


def test_stepped_tick_reaches_the_row():
    bands = ((Decimal("0.50"), Decimal("0.05")), (Decimal(2), Decimal("0.10")))
    stepped = linear(tick_rule=STEPPED_TICK, tick_size=Decimal("0.01"), tick_bands=bands)
    row = Instruments([stepped]).rows()[0]
    assert list(row["tick_from"]) == [50, 200, 0, 0, 0, 0, 0]
    assert list(row["tick_steps"]) == [5, 10, 0, 0, 0, 0, 0]


def test_significant_figures_have_a_step_of_one():
    figures = linear(tick_rule=SIGNIFICANT_FIGURES, significant_figures=5, tick_size=Decimal(0))
    assert Instruments([figures]).rows()[0]["tick_step"] == 1


@pytest.mark.kernel
@given(st.integers(1, 10**8), st.integers(-(10**6), 10**6))
def test_money_of_kernel_and_decimal_agree(ticks, lots):
    for instrument in (linear(), inverse(), linear(contract_value=Decimal("0.001"))):
        rows = Instruments([instrument]).rows()
        got = to_decimal(int(notional(rows[:1], ticks, lots, NEAREST)), MONEY_SCALE)
        assert abs(got - instrument.value(ticks, lots)) <= Decimal("0.5").scaleb(-MONEY_SCALE)
        assert notional(rows[:1], ticks, 0, FLOOR) == 0


def test_value_and_exposure_of_known_trades_are_known():
    assert linear().value(5_000_000, 2) == Decimal(100)  # 0.002 BTC at 50,000
    assert inverse().value(500_000, 5) == Decimal("0.01")  # 5 x 100 USD at 50,000
    assert linear().exposure_base(5_000_000, -2) == Decimal("-0.002")
    assert inverse().exposure_base(500_000, 5) == Decimal("0.01")


def test_conversions_are_exact_or_refused():
    instrument = linear()
    assert instrument.price_ticks(Decimal("1.25")) == 125
    assert instrument.price_decimal(125) == Decimal("1.25")
    assert instrument.qty_decimal(instrument.qty_lots(Decimal("0.005"))) == Decimal("0.005")
    with pytest.raises(UnitError):
        instrument.qty_lots(Decimal("0.0005"))


def test_new_currency_is_told_before_anything_names_it():
    """A fee in BNB: whoever keeps the table must keep it before a row holds the number."""
    table = Instruments()
    told = []
    table.on_currency = lambda: told.append(list(table.currencies))
    first = table.currency("BNB")
    assert told == [["", "BNB"]]
    assert table.currency("BNB") == first
    assert len(told) == 1
    assert Instruments.from_json(table.to_json()).currencies == ["", "BNB"]
