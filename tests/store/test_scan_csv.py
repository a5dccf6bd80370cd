"""The scanner of tables against Python's csv, Decimal and datetime."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alephtx.store import scan_csv as c
from alephtx.store.columns import hash_of

pytestmark = pytest.mark.kernel

SCALE = 3
SPEC = np.array([[c.DECIMAL, SCALE, 0], [c.WORD, 0, 0], [c.SKIP, 0, 0], [c.DECIMAL, 0, 1]])
WORDS = np.array([[1, hash_of("buy"), 1], [1, hash_of("SELL"), -1]])


def scan(text, spec=SPEC, words=WORDS, rows=4, faults=4):
    """Scan a text with little room; return rows as (line, values) and faults."""
    data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    values, places = np.zeros((rows, len(spec)), np.int64), np.zeros((rows, 2), np.int64)
    lines, told = np.zeros(rows, np.int64), np.zeros((faults + 1, 3), np.int64)
    state = np.zeros(c.STATE_WORDS, np.int64)
    state[c.LINE] = 1
    found, wrong, done = [], [], 0
    while not done:
        state[c.ROWS] = state[c.FAULTS] = 0
        done = c.scan_csv(
            data, len(data), ord(","), np.asarray(spec, np.int64), words, values, places, lines,
            told, state,
        )  # fmt: skip
        found += [(int(lines[k]), values[k].tolist()) for k in range(state[c.ROWS])]
        wrong += [tuple(told[k].tolist()) for k in range(state[c.FAULTS])]
    return found, wrong


def number(text, scale):
    """Return the integer of 10^-scale, or None; the naive pair of the scanner's numbers."""
    if not text or set(text) - set("0123456789.eE+-") or text.count(".") > 1:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if abs(value.adjusted()) > 60:
        return "too long"
    scaled = value.scaleb(scale)
    return int(scaled) if scaled == scaled.to_integral_value() and abs(scaled) < 1 << 62 else None


@st.composite
def near_the_limit(draw):
    """Draw decimals whose digits are about where 62 bits end, with signs, zeros and points."""
    edge = draw(st.sampled_from([1 << 62, 10**18, 10**19 - 1, 1 << 63, (1 << 62) // 10]))
    digits = str(max(0, edge + draw(st.integers(-12, 12)))) + "0" * draw(st.integers(0, 3))
    at = draw(st.integers(0, len(digits)))
    point = draw(st.sampled_from(["", "."]))
    sign, zeros = draw(st.sampled_from(["", "-", "+"])), "0" * draw(st.integers(0, 20))
    power = draw(st.sampled_from(["", "e0", "e-3", "E+2"]))
    return f"{sign}{zeros}{digits[:at]}{point}{digits[at:]}{power}"


NUMBERS = (
    near_the_limit()
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9).map(
        str
    )
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.text("0123456789.eE+-", max_size=12)
    | st.integers(-(1 << 65), 1 << 65).map(str)
)


@given(NUMBERS, st.integers(0, 12))
@example("1e5", 0)
@example("-0.0", 3)
@example("100000000000000000000e-20", 0)
@example("4611686018427387903", 0)
@example("4611686018427387904", 0)
@example(".", 1)
@example("1e", 1)
@example("+.5", 1)
@example("0.30000000000000004", 12)
@example("1723161255088169167", 0)
@example("1723161255.088169167", 9)
@example("-4611686018427387903", 0)
@example("-4611686018427387904", 0)
@example("9999999999999999999", 0)
@example("46116860184273879030", 0)
@example("461168601842738790300e-2", 0)
@example("0004611686018427387903.000", 0)
def test_numbers_are_those_of_decimal_or_refused(text, scale):
    expected = number(text, scale)
    found, wrong = scan(f"{text}\n", [[c.DECIMAL, scale, 0]], WORDS[:0])
    if expected == "too long":
        return
    assert [values for _, values in found] == ([] if expected is None else [[expected]])
    assert len(found) + len(wrong) == (1 if text else len(wrong))


@given(NUMBERS, st.integers(0, 12))
@example("1e-30", 12)
@example("4611686018427387903e-18", 0)
@example("4611686018427387903e-19", 0)
@example("-0.00000000000050", 12)
def test_rounded_numbers_are_those_of_decimal_or_refused(text, scale):
    found, _ = scan(f"{text}\n", [[c.NEAREST, scale, 0]], WORDS[:0])
    try:
        value = Decimal(text)
    except InvalidOperation:
        assert found == []
        return
    digits = "".join(map(str, value.as_tuple().digits)).strip("0")
    if int(digits or 0) >= 1 << 62 or abs(value.adjusted()) > 60:
        return  # more digits than are looked at
    nearest = int(value.scaleb(scale).to_integral_value(ROUND_HALF_UP))
    assert [v for _, v in found] == ([[nearest]] if abs(nearest) < 1 << 62 else [])


FIELD = st.text(st.characters(exclude_characters='\r\n",', exclude_categories=["Cs"]), max_size=6)
LINES = st.lists(
    st.lists(st.sampled_from(("1.5", "-2", "buy", "Sell", "", "7")) | FIELD, min_size=1,
             max_size=6),
    max_size=12,
)  # fmt: skip


@given(LINES, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_rows_are_those_of_the_library(lines, end, quoted):
    out = io.StringIO()
    csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
               ).writerows(lines)  # fmt: skip
    found, wrong = scan(out.getvalue())
    expected, faults = [], []
    for line, fields in enumerate(lines, 1):
        words = {"buy": 1, "sell": -1}
        value = number(fields[0], SCALE)
        word = words.get(fields[1].lower()) if len(fields) > 1 and fields[1].isascii() else None
        last = None
        if len(fields) == 4:
            last = c.MISSING if fields[3] == "" else number(fields[3], 0)
        if len(fields) != 4 or None in (value, word, last):
            faults.append(line)
        else:
            expected.append((line, value, word, last))
    assert [(line, v[0], v[1], v[3]) for line, v in found] == expected
    assert [fault[0] for fault in wrong] == faults


@pytest.mark.parametrize(
    ("line", "column", "code"),
    [
        ("1.5,buy,x", 3, c.FEW),
        ("1.5,buy,x,1,2", 4, c.MANY),
        ("x,buy,x,1", 0, c.NUMBER),
        ("1.2345,buy,x,1", 0, c.FINE),
        ("99999999999999999999,buy,x,1", 0, c.BIG),
        ("1.5,hold,x,1", 1, c.UNKNOWN),
        (",buy,x,1", 0, c.EMPTY),
        ("nan,buy,x,1", 0, c.NUMBER),
        ("1e99,buy,x,1", 0, c.BIG),
    ],
)
def test_a_fault_has_its_line_column_and_code(line, column, code):
    found, wrong = scan(f"1,buy,,\n{line}\n2,sell,,3\n")
    assert wrong == [(2, column, code)]
    assert [at for at, _ in found] == [1, 3]
    assert code in c.PROBLEMS


FIRST, LAST = datetime(1970, 1, 1), datetime(2199, 12, 31)  # noqa: DTZ001 - as hypothesis wants


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = ["", "Z", " Z", " UTC", "+00:00", "-00:00", "+0530", "-11:30", "+02", " +14:00"]


def nanoseconds(when):
    delta = when - EPOCH
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1_000


@given(st.datetimes(FIRST, LAST), st.sampled_from("T "), st.sampled_from(ZONES))
def test_iso_times_are_those_of_datetime(when, between, zone):
    text = when.isoformat(between) + zone
    found, _ = scan(f"{text}\n", [[c.ISO, 0, 0]], WORDS[:0])
    signed = zone.strip().replace(":", "") if zone.strip()[:1] in ("+", "-") else "+0000"
    ahead = timedelta(hours=int(signed[1:3]), minutes=int(signed[3:] or 0))
    ahead = -ahead if signed[0] == "-" else ahead
    assert found == [(1, [nanoseconds(when.replace(tzinfo=UTC) - ahead)])]


@given(st.dates(FIRST.date(), LAST.date()))
@example(date(2024, 2, 29))
@example(date(2100, 2, 28))
def test_a_date_is_its_midnight_of_utc(day):
    found, _ = scan(f"{day}\n{day} 07:05\n", [[c.ISO, 0, 0]], WORDS[:0])
    midnight = nanoseconds(datetime(day.year, day.month, day.day, tzinfo=UTC))
    assert found == [(1, [midnight]), (2, [midnight + (7 * 60 + 5) * 60_000_000_000])]


@pytest.mark.parametrize(
    "text", ["2024-13-01 00:00:00", "2024-01-01 24:00:00", "2024-01-01T00:00:00+24:00",
             "x024-01-01 00:00:00", "2024/01/01 00:00:00", "2024-01-01 00:61:00", "2024-02-30",
             "2023-02-29 00:00:00", "2100-02-29", "2024-04-31", "2024-01-00", "2024-01-1",
             "2024-01-01T", "2024-01-01 00", "2024-01-01 00:00:", "2024-01-01 00:00:0",
             "2024-01-01 00:00:00+", "2024-01-01 00:00:00+5", "2024-01-01 00:00:00+05:3",
             "2024-01-01 00:00:00+05-30", "2024-01-01 00:00:00 ", "2024-01-01 00:00:00 UT",
             "2024-01-01 00:00:00ZZ", "2024-01-01Z", "2024-01-01 00:00:00.1x", "nan", "NaT"],
)  # fmt: skip
def test_other_times_are_refused(text):
    found, wrong = scan(f"{text}\n", [[c.ISO, 0, 0]], WORDS[:0])
    assert (found, [code for *_, code in wrong]) == ([], [c.DATE])


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=8))
def test_measured_decimals_are_those_that_are_needed(rows):
    text = "".join(f"{a},{b}\n" for a, b in rows)
    data = np.frombuffer(text.encode(), np.uint8)
    needed, scratch = np.zeros(2, np.int64), np.zeros(3, np.int64)
    spec = np.array([[c.DECIMAL, 0, 0]] * 2)
    c.measure_csv(data, len(data), ord(","), spec, needed, scratch)
    for column in range(2):
        values = [row[column] for row in rows if number(row[column], 30) is not None]
        if all(number(value, 0) != "too long" for value in values):
            exponents = [
                -int(Decimal(v).normalize().as_tuple().exponent) for v in values if Decimal(v) != 0
            ]
            if all(len(Decimal(v).normalize().as_tuple().digits) <= 18 for v in values):
                assert needed[column] >= max([0, *exponents]) or not values


def test_blank_lines_are_nothing():
    found, wrong = scan("\n1,buy,,\r\n\r\n\n2,sell,,3")
    assert ([at for at, _ in found], wrong) == ([2, 5], [])


def test_words_are_found_whatever_their_case():
    assert hash_of("Buy") == hash_of("BUY") == hash_of("buy") != hash_of("buy ")
    assert len({hash_of(str(n)) for n in range(2_000)}) == 2_000
