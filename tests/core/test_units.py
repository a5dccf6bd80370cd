"""Exact numbers against Decimal and Fraction, which cannot be wrong here."""

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.errors import UnitError
from alephtx.core.records import INSTRUMENT
from alephtx.core.units import (
    CEIL,
    FIXED_TICK,
    FLOOR,
    MAX_VALUE,
    NEAREST,
    OVERFLOW,
    SIGNIFICANT_FIGURES,
    STEPPED_TICK,
    TRUNCATE,
    format_scaled,
    from_decimal,
    mul_div_checked,
    notional,
    parse_scaled,
    price_grid,
    round_price,
    round_qty,
    to_decimal,
)

VALUES = st.integers(-MAX_VALUE + 1, MAX_VALUE - 1)
WORDS = st.one_of(st.integers(-(1 << 63) + 1, (1 << 63) - 1), st.integers(-(10**6), 10**6))
DIVISORS = st.one_of(st.integers(1, (1 << 63) - 1), st.integers(1, 10**9))


@pytest.mark.smoke
@given(VALUES, st.integers(0, 18))
def test_parse_scaled_of_formatted_value_returns_it(value, scale):
    assert parse_scaled(format_scaled(value, scale), scale) == value
    assert parse_scaled(format_scaled(value, scale, trim=True), scale) == value
    assert Decimal(format_scaled(value, scale)) == to_decimal(value, scale)
    assert from_decimal(to_decimal(value, scale), scale) == value


@given(st.from_regex(r"[+-]?\d{0,25}(\.\d{0,25})?", fullmatch=True), st.integers(0, 18))
def test_parse_scaled_agrees_with_decimal_or_refuses(text, scale):
    digits = text.strip("+-").replace(".", "")
    try:
        got = parse_scaled(text, scale)
    except UnitError:
        exact = Fraction(Decimal(text)) * 10**scale if digits.isascii() and digits else None
        assert exact is None or exact.denominator != 1 or abs(exact) >= MAX_VALUE
    else:
        assert got == Fraction(Decimal(text)) * 10**scale


@pytest.mark.parametrize(
    "text",
    ["", "-", "+", ".", "-.", "1e5", "1E5", "inf", "nan", "NaN", " 1", "1 ", "1_0", "0x1", "--1",
     "1.2.3", "١", "1,0", "1.5", "½", "1\n"],
)  # fmt: skip
def test_parse_scaled_of_what_is_no_integer_at_scale_zero_is_refused(text):
    with pytest.raises(UnitError):
        parse_scaled(text, 0)


@pytest.mark.parametrize(
    ("text", "scale", "value"),
    [("1.50", 1, 15), ("-0.0", 0, 0), (".5", 1, 5), ("5.", 1, 50), ("+7", 0, 7),
     ("0.00000001", 8, 1), (str(MAX_VALUE - 1), 0, MAX_VALUE - 1)],
)  # fmt: skip
def test_parse_scaled_of_known_text_is_known(text, scale, value):
    assert parse_scaled(text, scale) == value


@pytest.mark.parametrize("text", ["1e400", "Infinity", "NaN", "0.1"])
def test_from_decimal_that_would_lose_digits_is_refused(text):
    with pytest.raises(UnitError):
        from_decimal(Decimal(text), 0)


@pytest.mark.parametrize(
    ("value", "scale", "text"), [(0, 2, "0"), (-5, 2, "-0.05"), (150, 2, "1.5"), (-100, 2, "-1")]
)
def test_format_scaled_trimmed_is_plain(value, scale, text):
    assert format_scaled(value, scale, trim=True) == text


def exactly(a, b, c, rounding):
    exact = Fraction(int(a) * int(b), int(c))
    if rounding == FLOOR:
        value = floor(exact)
    elif rounding == CEIL:
        value = ceil(exact)
    elif rounding == TRUNCATE:
        value = floor(exact) if exact >= 0 else ceil(exact)
    else:
        value = floor(exact + Fraction(1, 2)) if exact >= 0 else ceil(exact - Fraction(1, 2))
    return value if abs(value) < MAX_VALUE else OVERFLOW


@pytest.mark.kernel
@given(WORDS, WORDS, DIVISORS, st.sampled_from([FLOOR, CEIL, NEAREST, TRUNCATE]))
@example((1 << 63) - 1, (1 << 63) - 1, (1 << 63) - 1, NEAREST)
@example(-(1 << 62), 1 << 62, (1 << 63) - 1, FLOOR)
@example(1 << 62, 2, 1, FLOOR)
@example(-1, 1 << 62, 1, FLOOR)
@example(MAX_VALUE - 1, 3, 3, CEIL)
@example(-7, 1, 2, NEAREST)
@example(-(1 << 32), 1 << 32, 5, CEIL)
def test_mul_div_checked_equals_fractions(a, b, c, rounding):
    assert mul_div_checked(a, b, c, rounding) == exactly(a, b, c, rounding)
    from_rows = mul_div_checked(np.int64(a), np.int64(b), np.int64(c), rounding)
    assert from_rows == exactly(a, b, c, rounding)


@pytest.mark.kernel
@pytest.mark.parametrize("c", [0, -1])
def test_mul_div_checked_by_nothing_positive_is_overflow(c):
    assert mul_div_checked(1, 1, c, FLOOR) == OVERFLOW


def row(**fields):
    made = np.zeros(1, INSTRUMENT)
    for name, value in fields.items():
        if isinstance(value, tuple):
            made[0][name][: len(value)] = value
        else:
            made[0][name] = value
    return made


FIGURES = row(tick_rule=SIGNIFICANT_FIGURES, price_scale=6, significant_figures=5, tick_step=1)


def figures_allow(ticks):
    """Hyperliquid's rule as its documents say it: five figures, or an integer."""
    price = Decimal(int(ticks)).scaleb(-6)
    return price == price.to_integral_value() or len(price.normalize().as_tuple().digits) <= 5


@pytest.mark.kernel
@given(st.one_of(st.integers(1, 10**13), st.integers(1, 10**6)), st.sampled_from([1, -1]))
@example(99_999_500_000, -1)
@example(123_456_700_000, 1)
def test_round_price_with_significant_figures_is_the_nearest_allowed_on_the_safe_side(price, side):
    got = int(round_price(FIGURES, price, side))
    assert figures_allow(got)
    assert (got - price) * side <= 0
    step = int(price_grid(FIGURES, price))
    assert abs(got - price) < step
    assert figures_allow(price) == (got == price)


@pytest.mark.kernel
@given(st.integers(1, 10**9), st.integers(1, 10**4), st.sampled_from([1, -1]))
def test_round_price_on_a_fixed_tick_is_on_it_and_safe(price, step, side):
    instrument = row(tick_rule=FIXED_TICK, tick_step=step)
    got = int(round_price(instrument, price, side))
    assert got % step == 0
    assert 0 <= (price - got) * side < step


BANDS = row(
    tick_rule=STEPPED_TICK, tick_step=1, tick_from=(100, 500, 10_000), tick_steps=(5, 10, 500)
)


@pytest.mark.kernel
@given(st.integers(1, 30_000), st.sampled_from([1, -1]))
@example(99, -1)
@example(100, 1)
@example(9_999, -1)
def test_round_price_on_a_stepped_tick_is_on_the_grid_of_where_it_lands(price, side):
    def step(ticks):
        return 1 if ticks < 100 else 5 if ticks < 500 else 10 if ticks < 10_000 else 500

    assert price_grid(BANDS, price) == step(price)
    got = int(round_price(BANDS, price, side))
    assert got % step(got) == 0
    assert 0 <= (price - got) * side < step(price)


@pytest.mark.kernel
def test_price_grid_with_all_bands_in_use_uses_the_last():
    full = row(tick_rule=STEPPED_TICK, tick_step=1, tick_from=tuple(range(10, 80, 10)),
               tick_steps=(2, 5, 10, 2, 5, 10, 2))  # fmt: skip
    assert [int(price_grid(full, p)) for p in (9, 10, 69, 70, 10**9)] == [1, 2, 10, 2, 2]


@pytest.mark.kernel
@given(VALUES, st.integers(1, 10**6))
def test_round_qty_goes_towards_zero(qty, step):
    got = int(round_qty(row(lot_step=step), qty))
    assert got % step == 0
    assert abs(got) <= abs(qty)
    assert abs(qty) - abs(got) < step


@pytest.mark.kernel
@given(st.integers(1, 10**12), st.integers(-(10**9), 10**9), st.integers(1, 10**6),
       st.integers(1, 10**6), st.sampled_from([FLOOR, CEIL, NEAREST, TRUNCATE]))  # fmt: skip
@example(10**6, -(10**6), 10**6, 1, CEIL)
@example(10**12, 9 * 10**6, 10**6, 1, CEIL)
@example(10**12, 10**9, 2, 1, FLOOR)
def test_notional_of_linear_and_inverse_equals_fractions(price, qty, mul, div, rounding):
    linear = row(contract=words.LINEAR, money_mul=mul, money_div=div)
    got = notional(linear, price, qty, rounding)
    product = price * qty
    if not -(1 << 63) <= product < 1 << 63:
        assert got == (OVERFLOW if mul != 1 else exactly(price, qty, div, rounding))
    else:
        assert got == exactly(product, mul, div, rounding)
    inverse = row(contract=words.INVERSE, money_mul=mul, money_div=1)
    assert notional(inverse, price, qty, rounding) == exactly(qty, mul, price, rounding)
