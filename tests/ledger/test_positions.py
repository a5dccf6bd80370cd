"""The position kernel against fractions, and by hand."""

from decimal import Decimal
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.records import POSITION
from alephtx.core.units import MAX_VALUE
from alephtx.ledger.cost import Position, divide_nearest, fill_value, money
from alephtx.ledger.positions import position_fill, remainder
from tests.ledger.worlds import (
    FINE,
    INSTRUMENTS,
    INVERSE,
    LINEAR,
    MONEY,
    ODD,
    SPOT,
    blank_position,
    instrument,
    row_of,
)

FILLS = st.lists(
    st.tuples(st.sampled_from([1, -1]), st.integers(1, 10_000_000), st.integers(1, 5_000)),
    max_size=40,
)
ANY = st.sampled_from([SPOT, LINEAR, INVERSE, FINE, ODD])


def apply(position, i, fills):
    out = np.zeros(1, np.int64)
    total = 0
    for side, price, qty in fills:
        assert position_fill(position, row_of(i), side, price, qty, out) == 0
        total += int(out[0])
    return total


@pytest.mark.kernel
@pytest.mark.smoke
def test_round_trip_earns_the_difference():
    """Buy 2.000 at 100.00, sell 0.500 at 110.00: 5.00 earned, 150.00 still in the position."""
    position = blank_position()
    assert apply(position, LINEAR, [(1, 10_000, 2_000), (-1, 11_000, 500)]) == 5 * 10**8
    row = position[0]
    assert (row["qty"], row["cost"], row["realized"]) == (1_500, 15_000_000, 5 * 10**8)
    assert (row["bought"], row["sold"], row["fills"], row["carry"]) == (2_000, 500, 2, 0)


@pytest.mark.kernel
def test_fill_through_zero_closes_and_opens():
    """Long 1.000 at 100.00; sell 3.000 at 90.00: 10.00 lost, short 2.000 at 90.00."""
    position = blank_position()
    assert apply(position, LINEAR, [(1, 10_000, 1_000), (-1, 9_000, 3_000)]) == -10 * 10**8
    assert (position[0]["qty"], position[0]["cost"]) == (-2_000, -18_000_000)
    assert apply(position, LINEAR, [(1, 8_000, 2_000)]) == 20 * 10**8
    assert (position[0]["qty"], position[0]["cost"]) == (0, 0)
    assert position[0]["realized"] == 10 * 10**8


@pytest.mark.kernel
def test_inverse_position_earns_coin():
    """Long 10 contracts of 100 USD at 20000.0, closed at 25000.0: 0.05 - 0.04 = 0.01 BTC."""
    position = blank_position()
    assert apply(position, INVERSE, [(1, 200_000, 10), (-1, 250_000, 10)]) == 1_000_000
    assert apply(position, INVERSE, [(-1, 250_000, 10), (1, 200_000, 10)]) == 1_000_000
    assert apply(position, INVERSE, [(-1, 200_000, 10), (1, 250_000, 10)]) == -1_000_000
    assert position[0]["realized"] == 1_000_000


@pytest.mark.kernel
def test_gains_below_the_smallest_unit_add_up():
    """One lot of 1e-8 at 1e-8 earns 1e-16: nothing to see a hundred million times, then 1e-8."""
    position = blank_position()
    for _ in range(25):
        apply(position, FINE, [(1, 1, 2_000_000), (-1, 3, 2_000_000)])
    assert (position[0]["realized"], position[0]["carry"]) == (1, 0)
    apply(position, FINE, [(1, 2, 1), (-1, 1, 1)])
    assert (position[0]["realized"], position[0]["carry"]) == (0, 99_999_999)


@pytest.mark.kernel
@settings(max_examples=120)
@given(ANY, FILLS)
def test_kernel_agrees_with_plain_integers(i, fills):
    """The pair in ledger.cost: same rules, unbounded integers, no carry but the whole gain."""
    position, pair, instrument = blank_position(), Position(), INSTRUMENTS[i]
    total = apply(position, i, fills)
    for side, price, qty in fills:
        pair.fill(instrument, side, price, qty)
    row = position[0]
    assert (row["qty"], row["cost"]) == (pair.qty, pair.cost)
    assert (row["bought"], row["sold"], row["fills"]) == (pair.bought, pair.sold, len(fills))
    assert row["realized"] == total == floor(money(instrument, pair.gain) / MONEY)
    assert pair.check() == ""


@pytest.mark.kernel
@settings(max_examples=120)
@given(st.sampled_from([SPOT, LINEAR, FINE, ODD]), FILLS)
def test_linear_profit_is_what_was_paid_and_received(i, fills):
    """No rule of averaging in here at all: cash and what is left are the whole truth."""
    position = blank_position()
    apply(position, i, fills)
    row, instrument = position[0], INSTRUMENTS[i]
    cash = Fraction(sum(-side * price * qty for side, price, qty in fills))
    unit = Fraction(instrument.contract_value) / Fraction(
        10 ** (instrument.price_scale + instrument.qty_scale)
    )
    gain = (cash + int(row["cost"])) * unit
    mul_div = int(row_of(i)[0]["money_div"])
    realized = Fraction(int(row["realized"])) + Fraction(int(row["carry"]), mul_div)
    assert realized / 10**8 == gain
    assert 0 <= row["carry"] < mul_div
    if row["qty"] == 0:
        assert row["cost"] == 0


@pytest.mark.kernel
@settings(max_examples=120)
@given(FILLS)
def test_inverse_profit_is_within_half_a_unit_a_fill(fills):
    position = blank_position()
    apply(position, INVERSE, fills)
    coin = sum(Fraction(side * qty * 100 * 10 * 10**8, price) for side, price, qty in fills)
    row = position[0]
    assert abs(int(row["realized"]) - (coin - int(row["cost"]))) <= len(fills)


@pytest.mark.kernel
@settings(max_examples=100)
@given(ANY, FILLS, st.data())
def test_average_price_stays_within_the_prices_paid(i, fills, data):
    """While a position only grows, its average lies between its cheapest and dearest fill."""
    side = data.draw(st.sampled_from([1, -1]))
    position = blank_position()
    grown = [(side, price, qty) for _, price, qty in fills]
    apply(position, i, grown)
    values = [fill_value(INSTRUMENTS[i], price, side * qty) for _, price, qty in fills]
    assert position[0]["cost"] == sum(values)
    assert position[0]["realized"] == 0


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("i", "before", "side", "price", "qty"),
    [
        (LINEAR, {}, 1, MAX_VALUE // 2, 3),
        (LINEAR, {}, 1, MAX_VALUE - 1, MAX_VALUE - 1),
        (LINEAR, {}, 1, 1, MAX_VALUE),
        (LINEAR, {}, 1, 1, (1 << 63) - 1),
        (LINEAR, {}, 1, 1, 0),
        (LINEAR, {}, 1, 1, -5),
        (LINEAR, {}, 0, 1, 1),
        (LINEAR, {}, 2, 1, 1),
        (LINEAR, {"qty": MAX_VALUE - 1, "cost": 5}, 1, 1, 1),
        (LINEAR, {"qty": 1, "cost": MAX_VALUE - 1}, 1, 1, 1),
        (LINEAR, {"bought": MAX_VALUE - 1}, 1, 1, 1),
        (LINEAR, {"sold": MAX_VALUE - 1}, -1, 1, 1),
        (LINEAR, {"qty": 5, "cost": -(MAX_VALUE - 1)}, -1, 1, 5),  # the gain's money overflows
        (LINEAR, {"qty": 5, "cost": -(MAX_VALUE - 1)}, -1, MAX_VALUE - 1, 1),  # the gain overflows
        (LINEAR, {"qty": 5, "cost": 5}, -1, MAX_VALUE // 4, 5),  # the value overflows
        (LINEAR, {"qty": 1, "cost": 0, "realized": MAX_VALUE - 1}, -1, 1000, 1),
        (INVERSE, {}, 1, 0, 1),
        (INVERSE, {}, 1, -5, 1),
        (INVERSE, {"qty": 1, "cost": 5}, -1, 0, 1),
        (INVERSE, {}, 1, 1, 1 << 50),
    ],
)
def test_fill_that_does_not_fit_changes_nothing(i, before, side, price, qty):
    position, out = blank_position(), np.full(1, 77)
    for name, value in before.items():
        position[name] = value
    was = position.copy()
    assert position_fill(position, row_of(i), side, price, qty, out) == -1
    assert np.array_equal(position, was)
    assert out[0] == 0


@pytest.mark.kernel
def test_negative_prices_are_traded_as_they_are():
    """A spread or a barrel may cost less than nothing; linear arithmetic does not care."""
    position = blank_position()
    assert apply(position, LINEAR, [(1, -500, 1_000), (-1, 200, 1_000)]) == 7 * 10**8


WIDE = st.integers(-(MAX_VALUE - 1), MAX_VALUE - 1)


@pytest.mark.kernel
@given(WIDE, st.integers(1, MAX_VALUE - 1), st.integers(1, MAX_VALUE - 1))
@example(MAX_VALUE - 1, 3, 7)
@example(-1110353587016381412, 968245658092422679, 4555684730531950220)
@example(-(1 << 60) - 5, (1 << 40) + 1, (1 << 61) - 1)
def test_remainder_of_wide_products_is_exact(a, b, c):
    exact = a * b
    assert remainder(a, b, _signed(exact // c), c) == exact % c


def _signed(value):
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


@pytest.mark.kernel
def test_gain_whose_money_does_not_fit_changes_nothing():
    """A contract of a million: the gain fits, a million times it does not."""
    rows = row_of(LINEAR).copy()
    rows["money_mul"], rows["money_div"] = 10**14, 1
    position, out = blank_position(), np.zeros(1, np.int64)
    position["qty"], position["cost"] = 10, -(10**9)
    was = position.copy()
    assert position_fill(position, rows, -1, 10**8, 10, out) == -1
    assert np.array_equal(position, was)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**20))
def test_divide_nearest_rounds_half_away_from_zero(a, b):
    exact = Fraction(a, b)
    got = divide_nearest(a, b)
    assert abs(got - exact) <= Fraction(1, 2)
    if abs(got - exact) == Fraction(1, 2):
        assert abs(got) > abs(exact)


def test_position_row_has_room_for_what_is_carried():
    assert POSITION.fields["carry"][0] == np.int64
    assert Decimal("1e-8") == MONEY


def test_partial_closes_are_counted_until_the_position_is_flat():
    position = Position()
    counted = []
    for side, qty in ((1, 10), (-1, 1), (-1, 1), (1, 5), (-1, 1), (-1, 12), (1, 3), (-1, 1)):
        position.fill(INSTRUMENTS[LINEAR], side, 100, qty)
        counted.append(position.rounded)
    assert counted == [0, 1, 2, 2, 3, 0, 0, 1]


@pytest.mark.parametrize(("price_scale", "qty_scale"), [(0, 0), (1, 0), (3, 1), (2, 2), (1, 3)])
def test_value_of_an_inverse_contract_is_its_worth_over_the_price(price_scale, qty_scale):
    made = instrument("X", words.INVERSE, price_scale=price_scale, qty_scale=qty_scale, value="10")
    lots, price = 7 * 10**qty_scale, 350 * 10**price_scale
    assert fill_value(made, price, lots) == 20_000_000  # 70 over 350
    assert fill_value(made, price, -lots) == -20_000_000
    assert money(made, 20_000_000) == Decimal("0.2")
