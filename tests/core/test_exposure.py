"""Base and quote value against Fractions, for every contract."""

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.core.exposure import base_lots, base_value, middle, power_of_ten, quote_value
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.records import TOP_ROW
from alephtx.core.units import CEIL, FLOOR, OVERFLOW, TRUNCATE

pytestmark = pytest.mark.kernel

COMMON = {"venue": "v", "price_scale": 2, "tick_size": Decimal("0.01"), "base": "BTC"}
TABLE = Instruments([
    Instrument(key="spot", symbol="s", quote="USDT", settle="USDT", contract=w.SPOT, qty_scale=5,
               lot_size=Decimal("0.00001"), **COMMON),
    Instrument(key="linear", symbol="l", quote="USDT", settle="USDT", contract=w.LINEAR,
               qty_scale=3, lot_size=Decimal("0.002"), contract_value=Decimal("0.1"), **COMMON),
    Instrument(key="inverse", symbol="i", quote="USD", settle="BTC", contract=w.INVERSE,
               qty_scale=0, lot_size=Decimal(1), contract_value=Decimal(100), **COMMON),
])  # fmt: skip
ROWS = TABLE.rows()
LOTS, PRICES = st.integers(-(10**7), 10**7), st.integers(10_000, 10**9)


def exact(i, price, lots):
    """Return (base, quote) of lots as Fractions of 10^-8."""
    instrument = TABLE[i]
    size = Fraction(lots, 10**instrument.qty_scale) * Fraction(instrument.contract_value)
    money = Fraction(price, 100)
    both = (size / money, size) if instrument.inverse else (size, size * money)
    return tuple(value * 10**8 for value in both)


@given(st.integers(0, 2), PRICES, LOTS)
def test_values_equal_fractions_rounded_as_asked(i, price, lots):
    base, quote = exact(i, price, lots)
    assert base_value(ROWS, i, price, lots, FLOOR) == floor(base)
    assert base_value(ROWS, i, price, lots, CEIL) == ceil(base)
    assert quote_value(ROWS, i, price, lots, FLOOR) == floor(quote)
    assert quote_value(ROWS, i, price, lots, CEIL) == ceil(quote)


@given(st.integers(0, 2), PRICES, st.integers(-(10**15), 10**15))
def test_lots_of_base_are_the_most_that_fit(i, price, base):
    lots, step = int(base_lots(ROWS, i, price, base)), int(ROWS[i]["lot_step"])
    assert lots % step == 0
    assert lots * base >= 0
    assert abs(exact(i, price, lots)[0]) <= abs(base)
    assert abs(exact(i, price, abs(lots) + step)[0]) > abs(base)


def test_what_does_not_fit_is_an_overflow():
    most = (1 << 62) - 1
    assert base_value(ROWS, 0, 1, most, TRUNCATE) == OVERFLOW
    assert quote_value(ROWS, 0, most, most, TRUNCATE) == OVERFLOW
    assert quote_value(ROWS, 2, 1, most, TRUNCATE) == OVERFLOW
    assert base_value(ROWS, 2, 0, 5, TRUNCATE) == OVERFLOW
    assert base_lots(ROWS, 2, most, most) == OVERFLOW
    rows = ROWS.copy()
    rows["lot_step"] = 0
    assert base_lots(rows, 0, 1, 5) == OVERFLOW


def test_middle_needs_both_sides():
    top = np.zeros(1, TOP_ROW)
    for name, value in (("bid", 10), ("ask", 13), ("bid_qty", 1), ("ask_qty", 1)):
        assert middle(top, 0) == 0
        top[name] = value
    assert middle(top, 0) == 11


def test_power_of_ten_spans_a_word():
    assert [power_of_ten(k) for k in (0, 1, 18)] == [1, 10, 10**18]
