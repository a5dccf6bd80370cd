"""Exact numbers: decimal strings to integers and back, tick rules, checked 128-bit money.

No float on any way. Prices are ticks of 10^-price_scale, quantities lots of 10^-qty_scale, money
units of 10^-money_scale. Rounding is always to the safe side of the trader: a buy price down, a
sell price up, a quantity towards zero, a notional for a limit check away from zero.
"""

from decimal import Decimal
from typing import Any

import numpy as np

from alephtx.core.atomics import multiply_wide, stay_apart
from alephtx.core.errors import UnitError
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.words import INVERSE

MONEY_SCALE = 8
MAX_VALUE = 1 << 62
OVERFLOW = -(1 << 63)
"""What checked arithmetic returns when the result does not fit; never a valid amount."""

FLOOR, CEIL, NEAREST, TRUNCATE = 0, 1, 2, 3
FIXED_TICK, SIGNIFICANT_FIGURES, STEPPED_TICK = 1, 2, 3
TICK_BANDS_MAX = 7
"""Bands of a stepped tick above the lowest one."""

_DIGITS = frozenset("0123456789")


def parse_scaled(text: str, scale: int) -> int:
    """Convert a plain decimal string to an integer of 10^-scale, exactly.

    Accepts an optional sign, digits and one point; no exponent, no blanks, no inf or nan. Raises
    UnitError when the text is not such a number, has digits below the scale that are not zero, or
    does not fit 62 bits.
    """
    body = text[1:] if text[:1] in ("-", "+") else text
    whole, _, fraction = body.partition(".")
    if not (whole or fraction) or not _DIGITS.issuperset(whole + fraction):
        raise UnitError(f"not a decimal number: {text[:40]!r}")
    kept, rest = fraction[:scale], fraction[scale:]
    if rest.strip("0"):
        raise UnitError(f"{text[:40]!r} has more than {scale} decimals")
    value = int((whole + kept.ljust(scale, "0")) or "0")
    if value >= MAX_VALUE:
        raise UnitError(f"{text[:40]!r} does not fit 62 bits at {scale} decimals")
    return -value if text[0] == "-" else value


def format_scaled(value: int, scale: int, *, trim: bool = False) -> str:
    """Convert an integer of 10^-scale to a plain decimal string; trim drops trailing zeros."""
    digits = str(abs(value)).rjust(scale + 1, "0")
    whole, fraction = (digits[:-scale], digits[-scale:]) if scale else (digits, "")
    if trim:
        fraction = fraction.rstrip("0")
    text = f"{whole}.{fraction}" if fraction else whole
    return f"-{text}" if value < 0 and text.strip("0.") else text


def to_decimal(value: int, scale: int) -> Decimal:
    """Convert an integer of 10^-scale to a Decimal, exactly."""
    return Decimal(int(value)).scaleb(-scale)


def from_decimal(value: Decimal, scale: int) -> int:
    """Convert a Decimal to an integer of 10^-scale; UnitError when digits would be lost."""
    if not value.is_finite():
        raise UnitError(f"not a finite number: {value}")
    return parse_scaled(format(value, "f"), scale)


@inline_kernel
def mul_div_checked(a: Int, b: Int, c: Int, rounding: int) -> int:
    """Return a * b / c with a 128-bit product, rounded as asked, or OVERFLOW.

    c must be positive. FLOOR and CEIL go towards -inf and +inf, TRUNCATE towards zero, NEAREST half
    away from zero. The only way from ticks x lots to money. About 5 ns when the product fits 63
    bits, 100 ns when not (schoolbook division, bit by bit).
    """
    if c <= 0:
        return OVERFLOW
    high, low = multiply_wide(a, b)
    if not ((high == 0 and low >= 0) or (high == -1 and low < 0 and low != OVERFLOW)):
        return _divide_wide(high, low, c, rounding)
    negative = low < 0
    magnitude = -low if negative else low
    # Unsigned: Python's way with negative numbers is six instructions that are never needed.
    quotient = np.int64(np.uint64(magnitude) // np.uint64(c))
    return _rounded(negative, quotient, magnitude - quotient * c, c, rounding)


@kernel
def _divide_wide(high: Int, low: Int, c: Int, rounding: Int) -> int:
    """Return a 128-bit product by c; apart, because it is rare and its callers are many."""
    stay_apart()
    negative = high < 0
    if negative:  # two's complement of the pair
        low = ~low + 1 if low != 0 else 0
        high = ~high + (1 if low == 0 else 0)
    if high < 0 or high >= c:
        return OVERFLOW
    remainder, quotient = high, 0
    for shift in range(63, -1, -1):
        # remainder < c < 2^63, so its double fits 64 bits; compare without the sign.
        carry = remainder >= (1 << 62)
        remainder = ((remainder & ((1 << 62) - 1)) << 1) | ((low >> shift) & 1)
        if carry:
            remainder = remainder - c + (1 << 62) + (1 << 62)
            bit = 1
        elif remainder >= c:
            remainder -= c
            bit = 1
        else:
            bit = 0
        if shift == 63 and bit:
            return OVERFLOW
        quotient = (quotient << 1) | bit
    return _rounded(negative, quotient, remainder, c, rounding)


@inline_kernel
def _rounded(negative: bool, quotient: Int, remainder: Int, c: Int, rounding: Int) -> int:
    """Return a quotient of magnitudes with its sign, rounded as asked, or OVERFLOW."""
    if remainder != 0:
        if rounding == FLOOR:
            quotient += 1 if negative else 0
        elif rounding == CEIL:
            quotient += 0 if negative else 1
        elif rounding == NEAREST:
            quotient += 1 if remainder >= c - remainder else 0
    if quotient < 0 or quotient >= MAX_VALUE:
        return OVERFLOW
    return -quotient if negative else quotient


@inline_kernel
def price_grid(instrument: np.ndarray[Any, Any], price: Int) -> int:
    """Return the step between acceptable prices around a price, in ticks.

    FIXED_TICK: tick_step. SIGNIFICANT_FIGURES: at most that many figures, integers always allowed
    (Hyperliquid: five figures, 6 - szDecimals or 8 - szDecimals decimals = price_scale).
    STEPPED_TICK: the step of the band the price is in (binary markets near 0 and 1, options).
    instrument: length-1 INSTRUMENT array.
    """
    if instrument[0]["tick_rule"] == FIXED_TICK:
        return instrument[0]["tick_step"]
    return _varying_grid(instrument, price)


@kernel
def _varying_grid(instrument: np.ndarray[Any, Any], price: Int) -> int:
    """Return the same where the step depends on the price; apart, for its callers are many."""
    stay_apart()
    if instrument[0]["tick_rule"] == SIGNIFICANT_FIGURES:
        integer = 1
        for _ in range(instrument[0]["price_scale"]):
            integer *= 10
        limit = 1
        for _ in range(instrument[0]["significant_figures"]):
            limit *= 10
        step = 1
        magnitude = abs(price)
        while magnitude >= limit:
            magnitude //= 10
            step *= 10
        return min(step, integer)
    tick = instrument[0]["tick_step"]
    for band in range(TICK_BANDS_MAX):
        start = instrument[0]["tick_from"][band]
        if start == 0 or abs(price) < start:
            break
        tick = instrument[0]["tick_steps"][band]
    return tick


@kernel
def round_price(instrument: np.ndarray[Any, Any], price: Int, side: Int) -> int:
    """Round a price in ticks to the grid on the safe side: a buy down, a sell up."""
    step = price_grid(instrument, price)
    down = price // step * step
    return down if side > 0 or down == price else down + step


@kernel
def round_qty(instrument: np.ndarray[Any, Any], qty: Int) -> int:
    """Round a quantity in lots towards zero to the lot step."""
    step = instrument[0]["lot_step"]
    magnitude = abs(qty) // step * step
    return magnitude if qty >= 0 else -magnitude


@inline_kernel
def notional(instrument: np.ndarray[Any, Any], price: Int, qty: Int, rounding: int) -> int:
    """Return the value of qty lots at price ticks in money of the settle currency, or OVERFLOW.

    Linear and spot: price * qty * money_mul / money_div; inverse: qty * money_mul / price (COIN-M's
    value is in the coin). The sign follows qty.
    """
    if instrument[0]["contract"] != INVERSE and instrument[0]["money_mul"] == 1:
        return mul_div_checked(price, qty, instrument[0]["money_div"], rounding)
    return _odd_notional(instrument, price, qty, rounding)


@kernel
def _odd_notional(instrument: np.ndarray[Any, Any], price: Int, qty: Int, rounding: int) -> int:
    """Return the same of inverse contracts and of odd multipliers; apart, see `_divide_wide`."""
    stay_apart()
    row = instrument[0]
    if row["contract"] == INVERSE:
        return mul_div_checked(qty, row["money_mul"], price, rounding)
    high, low = multiply_wide(price, qty)
    if not ((high == 0 and low >= 0) or (high == -1 and low < 0)):
        return OVERFLOW
    if row["money_div"] == 1:  # a tick times a lot is whole money, as a rule: no division
        high, low = multiply_wide(low, row["money_mul"])
        return low if high == low >> 63 and abs(low) < MAX_VALUE else OVERFLOW
    return mul_div_checked(low, row["money_mul"], row["money_div"], rounding)
