"""Numbers and names out of text, eight characters at a time: for scanners of market data.

A loop over characters ends where nobody can foretell it, and each end is a wrong guess of the
processor's: more than half of what scanning a message of short decimals took (measured). Here
nothing depends on how long a number is but the amount of a shift. What is not of the plain kind is
answered with -1 and left to whoever reads character by character.

Texts are bytes; every function says how far it reads, and un-jitted a read past the end raises.
"""

import sys
from typing import Any

import numpy as np

from alephtx.core.kernel import JIT, Int, Intrinsic, inline_kernel, kernel

BLOCK = 32
"""Characters that one look takes in."""

DIGITS_MAX = 18
"""Most digits of a number, those that its scale adds included: it stays below 2^62."""

BEFORE = 17
"""Characters before a decimal that reading it may touch."""

_QUOTE, _POINT, _BACKSLASH, _BLANK, _CLOSE = 34, 46, 92, 32, 125
_ZEROS = 0x3030303030303030
_PAST_NINE, _HIGH = 0x7676767676767676, -0x7F7F7F7F7F7F7F80
_TENS = np.array([10**k for k in range(DIGITS_MAX + 1)], np.int64)
_LAST = np.array([-1 << (64 - 8 * k) if k else 0 for k in range(9)], np.int64)
"""Masks of the last k characters of a word."""


def word_in(text: bytes, pos: int) -> int:
    """Return eight characters as a word, the first in its lowest byte."""
    return int.from_bytes(_piece(text, pos, 8), "little", signed=True)


def quotes_in(text: bytes, pos: int) -> int:
    """Return which of the BLOCK characters from pos on are quotes: a bit each, the first lowest."""
    return _marks(text, pos, lambda c: c == _QUOTE)


def points_in(text: bytes, pos: int) -> int:
    """Return which of the BLOCK characters from pos on are points."""
    return _marks(text, pos, lambda c: c == _POINT)


def stops_in(text: bytes, pos: int) -> int:
    """Return which of the BLOCK characters from pos on no plain name has.

    Quotes and backslashes, blanks and all below, braces' end and all above: not ASCII.
    """
    return _marks(text, pos, lambda c: c <= _BLANK or c >= _CLOSE or c in (_QUOTE, _BACKSLASH))


def lowest_bit(word: int) -> int:
    """Return the number of the lowest set bit of a word, 64 where none is."""
    return ((int(word) & -int(word)).bit_length() + 64) % 65


def _piece(text: bytes, pos: int, size: int) -> bytes:
    if pos < 0 or pos + size > len(text):
        raise IndexError(f"characters {pos} to {pos + size} of {len(text)}")
    return text[pos : pos + size]


def _marks(text: bytes, pos: int, wanted: Any) -> int:
    return sum(1 << k for k, c in enumerate(_piece(text, pos, BLOCK)) if wanted(c))


def _code() -> Any:
    from alephtx.core import digits_code

    return digits_code


if JIT:
    assert sys.byteorder == "little"
    word_in = Intrinsic(_code, "word_in")  # type: ignore[assignment]
    quotes_in = Intrinsic(_code, "quotes_in")  # type: ignore[assignment]
    points_in = Intrinsic(_code, "points_in")  # type: ignore[assignment]
    stops_in = Intrinsic(_code, "stops_in")  # type: ignore[assignment]
    lowest_bit = Intrinsic(_code, "lowest_bit")  # type: ignore[assignment]


@kernel
def _strange(digits: int) -> int:
    """Return a bit in each byte above 9; up to the lowest of them nothing is said that is not."""
    return ((digits + _PAST_NINE) | digits) & _HIGH


@kernel
def _eight(digits: int) -> int:
    """Return the number of eight digits 0 .. 9, the first in the lowest byte."""
    pairs = (digits * 10 + (digits >> 8)) & 0x00FF00FF00FF00FF
    fours = (pairs * 100 + (pairs >> 16)) & 0x0000FFFF0000FFFF
    return (fours * 10_000 + (fours >> 32)) & 0xFFFFFFFF


@kernel
def whole_in(text: bytes, pos: Int) -> tuple[int, int]:
    """Read an integer of 1 to 15 digits; return (value or -1, position after it).

    Reads eight characters before pos and 16 from it on.
    """
    digits, value, end = word_in(text, pos) ^ _ZEROS, 0, pos
    strange = _strange(digits)
    if strange == 0:
        value = _eight(digits)
        end = pos + 8
        strange = _strange(word_in(text, end) ^ _ZEROS)
        if strange == 0:
            return -1, pos
    n = lowest_bit(strange) >> 3
    end += n
    if end == pos or (digits & 0xFF == 0 and end - pos > 1):
        return -1, pos
    rest = (word_in(text, end - 8) ^ _ZEROS) & int(_LAST[n])
    return value * int(_TENS[n]) + _eight(rest), end


@kernel
def decimal_in(text: bytes, start: Int, length: Int, points: Int, scale: Int) -> int:
    """Return the decimal that fills `length` characters as an integer of 10^-scale, or -1.

    points: of `points_in` from start on. Zeros beyond the scale are dropped; any other digit there
    is a number we must not round. -1 also for more than 16 digits, or 8 behind the point. Reads up
    to BEFORE characters before start.
    """
    whole = lowest_bit(points | (1 << length))  # digits in front of the point
    decimals = max(length - 1 - whole, 0)
    kept = min(decimals, scale)
    gap = 1 if kept > 0 else 0
    n, end, dropped = whole + kept, start + whole + kept + gap, decimals - kept
    if whole == 0 or n > 16 or kept > 8 or dropped > 8 or whole + scale > DIGITS_MAX:
        return -1
    if dropped > 0 and (word_in(text, start + length - 8) ^ _ZEROS) & int(_LAST[dropped]) != 0:
        return -1
    # The point is closed up: what stands before it moves one character on.
    behind = int(_LAST[kept])
    word = word_in(text, end - 8) & behind | word_in(text, end - 8 - gap) & ~behind
    low = (word ^ _ZEROS) & int(_LAST[min(n, 8)])
    high = 0
    if n > 8:
        high = (word_in(text, end - 16 - gap) ^ _ZEROS) & int(_LAST[n - 8])
    if _strange(low) | _strange(high) != 0:
        return -1
    return (_eight(high) * 100_000_000 + _eight(low)) * int(_TENS[scale - kept])


# -- many decimals of one shape --------------------------------------------------------------------

SHAPED_SCALE_MAX = DIGITS_MAX - 8


@kernel
def decimals_of(text: bytes, end: Int, length: Int) -> int:
    """Return how many characters of a number stand behind its last point, -1 where it has none."""
    for k in range(length):
        if text[end - 1 - k] == _POINT:
            return k
    return -1


@kernel
def decimal_shape(decimals: Int, scale: Int) -> tuple[int, int, int, int, int]:
    """Return what `shaped_in` wants of numbers with so many decimals; -1: without a point.

    That is: where the point is, counted back from the number's end; characters cut off at the end;
    whether a point is left to be closed up; masks of what stands behind it and of what must be
    zeros. The first is -1 where there is no such shape.
    """
    shown = max(decimals, 0)
    kept = min(shown, scale)
    if scale > SHAPED_SCALE_MAX or kept > 8 or shown - kept > 8:
        return -1, 0, 0, 0, 0
    cut = shown - kept if kept > 0 else decimals + 1
    return decimals + 1, cut, 1 if kept > 0 else 0, int(_LAST[kept]), int(_LAST[shown - kept])


@inline_kernel
def shaped_in(
    text: bytes, end: Int, length: Int, point: Int, cut: Int, gap: Int, behind: Int, zeros: Int
) -> int:
    """Return the digits of a number of a shape, zeros cut off, as an integer; -1: it has another.

    end: where the quote behind it is. Of at most 8 digits. Reads 17 characters before its end.
    """
    n, mark = length - cut - gap, _POINT if point > 0 else _QUOTE
    if length <= point or n > 8 or word_in(text, end - 7 - point) >> 56 != mark:
        return -1
    last = end - cut
    word = word_in(text, last - 8) & behind | word_in(text, last - 8 - gap) & ~behind
    digits = (word ^ _ZEROS) & int(-1 << (64 - 8 * n))
    if _strange(digits) | ((word_in(text, end - 8) ^ _ZEROS) & zeros) != 0:
        return -1
    return _eight(digits)


@kernel
def tens(k: Int) -> int:
    """Return 10^k for k in 0 .. DIGITS_MAX."""
    return int(_TENS[k])
