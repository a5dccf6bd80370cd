"""Rows of comma-separated values to int64 columns, compiled: exact decimals, no float, no object.

One pass over a block of whole lines. A row that cannot be read (too few or too many columns, a word
that is not known, a number that does not fit) is told by line, column and code, and passed over:
the next line is looked at as if nothing had been. About 1 ns a byte.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, kernel

Rows = np.ndarray[Any, Any]

# What a column is. SKIP: not looked at. INT and DECIMAL: integers of 10^-scale (INT: scale 0).
# WORD: one of a list. TEXT: a hash of it, with its place. ISO: a date and time as ns. NEAREST: as
# DECIMAL, but what is finer than the scale is rounded, halves away from zero.
SKIP, DECIMAL, WORD, TEXT, ISO, NEAREST = 0, 1, 2, 3, 4, 5
# Columns of a specification: kind, scale, 1 where it may be empty.
KIND, SCALE, OPTIONAL, SPEC_WORDS = 0, 1, 2, 3
MISSING = -(1 << 63)
"""What an empty optional column holds."""

# Codes of what is wrong with a row.
FEW, MANY, NUMBER, FINE, BIG, UNKNOWN, EMPTY, DATE = 1, 2, 3, 4, 5, 6, 7, 8
PROBLEMS = {
    FEW: "the row has too few columns",
    MANY: "the row has too many columns",
    NUMBER: "not a number",
    FINE: "more decimals than the scale has",
    BIG: "the number does not fit 62 bits",
    UNKNOWN: "not one of the words that are allowed here",
    EMPTY: "empty",
    DATE: "not a date and time",
}

# Words of a scan's state: rows written, faults written, position, line of the position.
ROWS, FAULTS, POSITION, LINE, STATE_WORDS = 0, 1, 2, 3, 4
LIMIT = 1 << 62
DIGITS_MAX = 19
"""Digits of the longest numbers below LIMIT; with one less, none reaches it."""
_NEWLINE, _RETURN, _QUOTE, _POINT, _MINUS, _PLUS, _ZERO, _NINE = 10, 13, 34, 46, 45, 43, 48, 57
_BLANK, _COLON, _LOW_E, _UP_E, _T, _Z = 32, 58, 101, 69, 84, 90
_U, _C = 85, 67
SECOND_NS, DAY_NS = 1_000_000_000, 86_400_000_000_000


@kernel
def text_hash(data: Rows, start: Int, end: Int) -> int:
    """Return a hash of bytes below 2^62, capital letters as small ones; equal texts are equal."""
    value: Int = np.int64(1_125_899_906_842_597)
    for k in range(start, end):
        c = np.int64(data[k])
        c += 32 if 65 <= c <= 90 else 0
        value = ((value & 0xFFFFFFFFFFF) * 131 + (value >> 44) * 65_599 + c) & (LIMIT - 1)
    return int(value)


@kernel
def _number(data: Rows, start: Int, end: Int, out: Rows) -> int:
    """Read a decimal as out[0] x 10^out[1], trailing zeros dropped; return 0 or a code."""
    pos, negative = start, False
    if pos < end and (data[pos] == _MINUS or data[pos] == _PLUS):
        negative = data[pos] == _MINUS
        pos += 1
    value: Int = np.int64(0)
    exponent, digits, zeros, seen, point = 0, 0, 0, False, False
    while pos < end:
        c = np.int64(data[pos])
        if c == _POINT and not point:
            point = True
        elif _ZERO <= c <= _NINE:
            seen = True
            exponent -= 1 if point else 0
            if c == _ZERO:
                zeros += 1
            else:
                if digits > 0:
                    digits += zeros
                digits += 1
                if digits > DIGITS_MAX:
                    return BIG
                for _ in range(zeros if value > 0 else 0):
                    value *= 10
                if digits == DIGITS_MAX and value > (LIMIT - 1 - (c - _ZERO)) // 10:
                    return BIG
                value = value * 10 + (c - _ZERO)
                zeros = 0
        else:
            break
        pos += 1
    if not seen:
        return NUMBER
    exponent += zeros
    if pos < end:
        if data[pos] != _LOW_E and data[pos] != _UP_E:
            return NUMBER
        power: Int = np.int64(0)
        sign, pos = 1, pos + 1
        if pos < end and (data[pos] == _MINUS or data[pos] == _PLUS):
            sign = -1 if data[pos] == _MINUS else 1
            pos += 1
        if pos >= end or end - pos > 3:
            return NUMBER
        while pos < end:
            c = np.int64(data[pos])
            if c < _ZERO or c > _NINE:
                return NUMBER
            power = power * 10 + (c - _ZERO)
            pos += 1
        exponent += sign * power
    out[0] = -value if negative else value
    out[1] = exponent if value != 0 else 0
    return 0


@kernel
def _scaled(scale: Int, out: Rows) -> int:
    """Turn out[0] x 10^out[1] into an integer of 10^-scale in out[0]; return 0 or a code."""
    value, shift = out[0], out[1] + scale
    if value == 0:
        return 0
    if shift < 0:
        return FINE
    for _ in range(min(shift, 20)):
        if abs(value) > LIMIT // 10:
            return BIG
        value *= 10
    if shift > 20 or abs(value) >= LIMIT:
        return BIG
    out[0] = value
    return 0


@kernel
def _round(scale: Int, out: Rows) -> None:
    """Round out[0] x 10^out[1] to 10^-scale where it is finer, halves away from zero."""
    fine = -(out[1] + scale)
    if fine <= 0:
        return
    size: Int = np.int64(0)
    if fine < DIGITS_MAX:  # LIMIT is less than half of 10^19
        power: Int = np.int64(1)
        for _ in range(fine):
            power *= 10
        size = (abs(out[0]) + power // 2) // power
    out[0], out[1] = (-size if out[0] < 0 else size), -scale


@kernel
def _two(data: Rows, pos: Int) -> int:
    a, b = np.int64(data[pos]) - _ZERO, np.int64(data[pos + 1]) - _ZERO
    return -1_000_000 if a < 0 or a > 9 or b < 0 or b > 9 else int(a * 10 + b)


@kernel
def _days(data: Rows, start: Int) -> int:
    """Return the days since the epoch of `YYYY-MM-DD`, -1 when it is no such date."""
    if data[start + 4] != _MINUS or data[start + 7] != _MINUS:
        return -1
    year = _two(data, start) * 100 + _two(data, start + 2)
    month, day = _two(data, start + 5), _two(data, start + 8)
    if year < 1970 or year > 2200 or month < 1 or month > 12 or day < 1:
        return -1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 30 + (month + month // 8) % 2 if month != 2 else (29 if leap else 28)
    if day > longest:
        return -1
    # Howard Hinnant's civil_from_days turned round.
    y = year - 1 if month <= 2 else year
    of_era = y % 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return int(y // 400 * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468)


@kernel
def _zone(data: Rows, start: Int, end: Int) -> int:
    """Return the seconds that a zone is ahead of UTC, DAY_NS when it is none.

    Nothing, `Z`, `UTC`, `+HH`, `+HHMM` and `+HH:MM`, each behind a blank if need be.
    """
    if start == end:
        return 0
    pos = start + 1 if data[start] == _BLANK else start
    size = end - pos
    if size == 1 and data[pos] == _Z:
        return 0
    if size == 3 and data[pos] == _U and data[pos + 1] == _T and data[pos + 2] == _C:
        return 0
    colon = size == 6 and data[pos + 3] == _COLON
    if not (size == 3 or size == 5 or colon):
        return DAY_NS
    if data[pos] != _PLUS and data[pos] != _MINUS:
        return DAY_NS
    hours, minutes = _two(data, pos + 1), 0 if size == 3 else _two(data, end - 2)
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
        return DAY_NS
    ahead = (hours * 60 + minutes) * 60
    return int(ahead if data[pos] == _PLUS else -ahead)


@kernel
def _iso(data: Rows, start: Int, end: Int, out: Rows) -> int:
    """Read `YYYY-MM-DD` or `YYYY-MM-DD[T| ]HH:MM[:SS[.fraction]]` as ns since the epoch.

    A zone may follow a time, see `_zone`; without one it is UTC.
    """
    days = _days(data, start) if end - start >= 10 else -1
    if days < 0 or (end - start > 10 and end - start < 16):
        return DATE
    if end - start == 10:
        out[0] = days * DAY_NS
        return 0
    if (data[start + 10] != _T and data[start + 10] != _BLANK) or data[start + 13] != _COLON:
        return DATE
    hour, minute, second = _two(data, start + 11), _two(data, start + 14), 0
    nanos, pos = np.int64(0), start + 16
    if pos < end and data[pos] == _COLON:
        if end - pos < 3:
            return DATE
        second = _two(data, pos + 1)
        pos += 3
        if pos < end and data[pos] == _POINT:
            pos += 1
            digits = 0
            while pos < end and _ZERO <= data[pos] <= _NINE:
                if digits < 9:
                    nanos = nanos * 10 + (np.int64(data[pos]) - _ZERO)
                    digits += 1
                pos += 1
            for _ in range(9 - digits):
                nanos *= 10
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return DATE
    ahead = _zone(data, pos, end)
    if ahead == DAY_NS:
        return DATE
    seconds = (hour * 60 + minute) * 60 + second - ahead
    out[0] = days * DAY_NS + seconds * SECOND_NS + nanos
    return 0


@kernel
def _field(
    data: Rows, start: Int, end: Int, spec: Rows, column: Int, words: Rows, out: Rows
) -> int:
    """Read one field into out[0]; return 0 or a code. words: (W, 3) of column, hash, value."""
    kind = spec[column, KIND]
    if start == end:
        out[0] = MISSING
        return 0 if spec[column, OPTIONAL] == 1 else EMPTY
    if kind == DECIMAL or kind == NEAREST:
        code = _number(data, start, end, out)
        if code != 0:
            return code
        if kind == NEAREST:
            _round(spec[column, SCALE], out)
        return _scaled(spec[column, SCALE], out)
    if kind == ISO:
        return _iso(data, start, end, out)
    value = text_hash(data, start, end)
    if kind == TEXT:
        out[0] = value
        return 0
    for k in range(len(words)):
        if words[k, 0] == column and words[k, 1] == value:
            out[0] = words[k, 2]
            return 0
    return UNKNOWN


@kernel
def scan_csv(
    data: Rows, size: Int, separator: Int, spec: Rows, words: Rows,
    values: Rows, places: Rows, lines: Rows, faults: Rows, state: Rows,
) -> int:  # fmt: skip
    """Read lines of data[:size] from state[POSITION] on; return 1 when all were read.

    spec: (C, SPEC_WORDS). values: (N, C); places: (N, 2), begin and end of the first TEXT column;
    lines: (N,), line of each row; faults: (F, 3), line, column, code. 0 is returned when rows or
    faults are full: take them, set their counts to 0, go on.
    """
    columns = len(spec)
    out = faults[len(faults) - 1]  # the last fault is scratch
    pos, line = state[POSITION], state[LINE]
    while pos < size:
        row = state[ROWS]
        if row == len(values) or state[FAULTS] >= len(faults) - 1:
            state[POSITION], state[LINE] = pos, line
            return 0
        column, code, wrong, placed = 0, 0, 0, False
        blank = pos
        while True:
            quoted = pos < size and data[pos] == _QUOTE
            start = pos + 1 if quoted else pos
            pos = start
            if quoted:
                while pos < size and data[pos] != _QUOTE and data[pos] != _NEWLINE:
                    pos += 1
                end = pos
                if pos < size and data[pos] == _QUOTE:
                    pos += 1
            else:
                while pos < size and data[pos] != separator and data[pos] != _NEWLINE:
                    pos += 1
                end = pos
                if end > start and data[end - 1] == _RETURN and (
                    pos == size or data[pos] == _NEWLINE
                ):  # fmt: skip
                    end -= 1
            while quoted and pos < size and data[pos] != separator and data[pos] != _NEWLINE:
                pos += 1
            if column < columns and code == 0 and spec[column, KIND] != SKIP:
                code = _field(data, start, end, spec, column, words, out)
                wrong = column
                values[row, column] = out[0]
                if spec[column, KIND] == TEXT and not placed:
                    places[row, 0], places[row, 1], placed = start, end, True
            column += 1
            last = pos >= size or data[pos] == _NEWLINE
            pos += 1
            if last:
                break
        empty = pos - 1 - blank <= 1 and column == 1 and (
            pos - 1 == blank or data[blank] == _RETURN
        )  # fmt: skip
        if column < columns:
            code, wrong = FEW, column
        elif column > columns:
            code, wrong = MANY, columns
        if code == 0 and not empty:
            lines[row] = line
            state[ROWS] += 1
        elif not empty:
            fault = faults[state[FAULTS]]
            fault[0], fault[1], fault[2] = line, wrong, code
            state[FAULTS] += 1
        line += 1
    state[POSITION], state[LINE] = pos, line
    return 1


@kernel
def measure_csv(
    data: Rows, size: Int, separator: Int, spec: Rows, needed: Rows, scratch: Rows
) -> None:
    """Raise needed[column] to the decimals that columns of numbers in data[:size] use.

    Rows need not be sound: what is not a number counts for nothing.
    """
    pos, column, start = 0, 0, 0
    while pos <= size:
        ends_line = pos == size or data[pos] == _NEWLINE
        if ends_line or data[pos] == separator:
            kind = spec[column, KIND] if column < len(spec) else SKIP
            if kind == DECIMAL or kind == NEAREST:
                begin, end = start, pos
                if end - begin >= 2 and data[begin] == _QUOTE and data[end - 1] == _QUOTE:
                    begin, end = begin + 1, end - 1
                while end > begin and data[end - 1] == _RETURN:
                    end -= 1
                if _number(data, begin, end, scratch) == 0 and -scratch[1] > needed[column]:
                    needed[column] = -scratch[1]
            column = 0 if ends_line else column + 1
            start = pos + 1
        pos += 1
