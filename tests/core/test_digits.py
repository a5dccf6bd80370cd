"""Numbers read eight characters at a time against the obvious way."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import digits
from alephtx.core.kernel import JIT, kernel

EXAMPLES = 400 if JIT else 100

NUMBER = st.tuples(
    st.text("0123456789", max_size=12),
    st.one_of(st.none(), st.text("0123456789", max_size=10), st.text("0", max_size=9)),
).map(lambda parts: parts[0] if parts[1] is None else f"{parts[0]}.{parts[1]}")
STRANGE = st.text("0123456789./:-e \x80\xff", min_size=1, max_size=12)


def text_of(number):
    """Return a number among others, and where it begins and ends."""
    head = b'[["123.45","9999999'
    raw = number.encode("latin-1")
    return head + raw + b'","' + b"7" * digits.BLOCK, len(head), len(head) + len(raw)


def exact(number, scale):
    """Return what a number is in units of 10^-scale, or None where it is not plain or not whole."""
    whole, _, rest = number.partition(".")
    if not whole.isascii() or not whole.isdigit() or not (rest or "0").isdigit():
        return None
    value = Decimal(number) * 10**scale
    return int(value) if value == int(value) else None


@kernel
def looked(text, start, length, scale):
    return digits.decimal_in(text, start, length, digits.points_in(text, start), scale)


@kernel
def shaped(text, end, length, decimals, scale):
    point, cut, gap, behind, zeros = digits.decimal_shape(decimals, scale)
    if point < 0:
        return -2
    found = digits.shaped_in(text, end, length, point, cut, gap, behind, zeros)
    return found * digits.tens(scale - min(max(decimals, 0), scale)) if found >= 0 else -1


@kernel
def seen(text, pos):
    return (
        digits.quotes_in(text, pos),
        digits.points_in(text, pos),
        digits.stops_in(text, pos),
        digits.word_in(text, pos),
    )


@kernel
def whole(text, pos):
    return digits.whole_in(text, pos)


@kernel
def lowest(word):
    return digits.lowest_bit(word)


@pytest.mark.kernel
@settings(max_examples=EXAMPLES, deadline=None)
@given(number=st.one_of(NUMBER, STRANGE), scale=st.integers(0, 18))
def test_decimal_is_exact_or_declined(number, scale):
    text, start, end = text_of(number)
    found, value = looked(text, start, end - start, scale), exact(number, scale)
    assert found in (-1, value)
    n, _, rest = number.partition(".")
    if value is not None and len(n) + scale <= digits.DIGITS_MAX and len(rest) <= 8:
        assert found == value or len(n) + min(len(rest), scale) > 16


@pytest.mark.kernel
@settings(max_examples=EXAMPLES, deadline=None)
@given(number=st.one_of(NUMBER, STRANGE), scale=st.integers(0, 12), other=st.integers(-1, 9))
def test_shaped_decimal_is_exact_and_of_its_shape_only(number, scale, other):
    text, start, end = text_of(number)
    value, n = exact(number, scale), end - start
    whole_part, point, rest = number.partition(".")
    decimals = len(rest) if point else -1
    assert shaped(text, end, n, other, scale) in (-2, -1, value)
    found = shaped(text, end, n, decimals, scale)
    if value is not None and decimals <= 8 and scale <= digits.SHAPED_SCALE_MAX:
        few = len(whole_part) + min(max(decimals, 0), scale) <= 8
        assert found == (value if few else -1)
        assert digits.decimals_of(text, end, n) == decimals
    else:
        assert found < 0 or found == value
    if other != decimals and value is not None:
        assert shaped(text, end, n, other, scale) < 0


@pytest.mark.kernel
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    value=st.integers(0, 10**17), tail=st.sampled_from([b",", b"}", b".5", b"e3", b"\xff", b'"'])
)
def test_integer_of_up_to_fifteen_digits_is_read(value, tail):
    raw = str(value).encode()
    text = b'{"E": 777' + raw + tail + b"8" * 16
    found, end = whole(text, 9)
    if len(raw) <= 15:
        assert (found, end) == (value, 9 + len(raw))
    else:
        assert found == -1


@pytest.mark.kernel
@pytest.mark.parametrize("bad", [b"", b"-1", b"01", b"00", b".5", b'"', b"\x80", b"1" * 16])
def test_integer_that_is_none_is_declined(bad):
    assert whole(b'{"E": 777' + bad + b"," + b"8" * 20, 9)[0] == -1


@pytest.mark.kernel
@given(raw=st.binary(min_size=digits.BLOCK, max_size=digits.BLOCK))
def test_marks_are_where_the_characters_are(raw):
    text = b"ab" + raw
    stops = [c <= 32 or c >= 125 or c in b'"\\' for c in raw]
    wanted = [[c == 34 for c in raw], [c == 46 for c in raw], stops]
    bits = [sum(1 << k for k, one in enumerate(marks) if one) for marks in wanted]
    assert list(seen(text, 2)) == [*bits, int.from_bytes(raw[:8], "little", signed=True)]


@pytest.mark.kernel
@pytest.mark.parametrize("bit", [0, 1, 31, 62, 63])
def test_lowest_bit_is_found(bit):
    word = -(1 << 63) if bit == 63 else 1 << bit
    assert lowest(word) == bit
    assert lowest(0) == 64


def test_unjitted_reading_past_the_end_raises():
    """The twins are what shows that a scanner stays inside its frame."""
    if JIT:
        pytest.skip("a compiled read past the end is what nobody sees")
    for pos in (-1, 25):
        with pytest.raises(IndexError, match="characters"):
            digits.word_in(b"x" * 32, pos)
    with pytest.raises(IndexError, match="of 32"):
        digits.quotes_in(b"x" * 32, 1)
