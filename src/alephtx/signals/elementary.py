"""Exponential and logarithm of our own: the same bits compiled, uncompiled and on every machine.

The C library's differ by a bit between versions and CPUs, and a decision may hang on that bit. Only
+ - * / are used, in a fixed order: LLVM neither reorders them nor joins them to a fused
multiply-add unless it is told that it may (fastmath), which `@kernel` never says.
"""

import math
from typing import Any

import numpy as np

from alephtx.core.kernel import kernel

LN2_HIGH = 0.6931471787393093
"""The leading 29 bits of ln 2, so that a multiple of it by an exponent is exact."""
LN2_LOW = 1.8206359985041462e-09
INVERSE_LN2 = 1.4426950408889634
EXP_MAX, EXP_MIN = 709.0, -708.0
"""Beyond these the result is infinite, or 0 (no subnormal numbers)."""

SQRT_2 = 1.4142135623730951
TWO_54 = 18014398509481984.0
MANTISSA = (1 << 52) - 1
ONE_BITS = 1023 << 52


@kernel
def exp(x: Any) -> float:
    """Return e^x within 1 ulp or so; 0 below EXP_MIN, inf above EXP_MAX, NaN for NaN. About 25 ns.

    x = k ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor series to r^13 / 13! (what is left out is
    below 2^-57), times 2^k by setting the exponent's bits.
    """
    if math.isnan(x):
        return np.nan
    if x > EXP_MAX:
        return np.inf
    if x < EXP_MIN:
        return 0.0
    half = 0.5 if x >= 0.0 else -0.5
    k = int(x * INVERSE_LN2 + half)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    tail = 1.0 / 479001600.0 + r * (1.0 / 6227020800.0)
    tail = 1.0 / 39916800.0 + r * tail
    tail = 1.0 / 3628800.0 + r * tail
    tail = 1.0 / 362880.0 + r * tail
    tail = 1.0 / 40320.0 + r * tail
    tail = 1.0 / 5040.0 + r * tail
    tail = 1.0 / 720.0 + r * tail
    tail = 1.0 / 120.0 + r * tail
    tail = 1.0 / 24.0 + r * tail
    tail = 1.0 / 6.0 + r * tail
    tail = 0.5 + r * tail
    scale: Any = np.int64((k + 1023) << 52).view(np.float64)
    return (1.0 + (r + r * r * tail)) * scale


@kernel
def log(x: Any) -> float:
    """Return ln x within 2 ulp; -inf for 0, inf for inf, NaN below 0 and for NaN. About 14 ns.

    x = 2^k m with m between sqrt(1/2) and sqrt(2); ln m = 2 artanh(s) with s = (m - 1) / (m + 1),
    by its series to s^25 (what is left out is below 2^-62).
    """
    if math.isnan(x) or x < 0.0:
        return np.nan
    if x == 0.0:
        return -np.inf
    if x == np.inf:
        return np.inf
    k = 0
    if x < 2.2250738585072014e-308:  # subnormal: no implied leading bit
        x = x * TWO_54
        k = -54
    bits: Any = np.float64(x).view(np.int64)
    k += (bits >> 52) - 1023
    m: Any = np.int64((bits & MANTISSA) | ONE_BITS).view(np.float64)
    if m > SQRT_2:
        m = m * 0.5
        k += 1
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    tail = 1.0 / 23.0 + z * (1.0 / 25.0)
    tail = 1.0 / 21.0 + z * tail
    tail = 1.0 / 19.0 + z * tail
    tail = 1.0 / 17.0 + z * tail
    tail = 1.0 / 15.0 + z * tail
    tail = 1.0 / 13.0 + z * tail
    tail = 1.0 / 11.0 + z * tail
    tail = 1.0 / 9.0 + z * tail
    tail = 1.0 / 7.0 + z * tail
    tail = 1.0 / 5.0 + z * tail
    tail = 1.0 / 3.0 + z * tail
    # ln(1 + f) = f - s (f - 2 z tail), which loses less than 2 s (1 + z tail) near 1.
    found = f - s * (f - 2.0 * z * tail)
    if k == 0:
        return found
    return k * LN2_HIGH + (found + k * LN2_LOW)
