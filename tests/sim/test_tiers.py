"""Tiers of maintenance: what venues document, and a slow and obvious pair."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.errors import SimulationError
from alephtx.core.kernel import kernel
from alephtx.engine.margins import Margin, Tier, set_margin
from alephtx.engine.tapes import Venue
from alephtx.sim import bottle as b
from alephtx.sim.tiers import asked_at, margin_of_more
from tests.engine.replaying import table_of

E8 = 10**8


def words_of(margin):
    """Return (bottle, words for kernels) of one instrument with a margin."""
    table = table_of()
    bottle = b.make_bottle(table, span=1024, orders_max=4, taken_max=4)
    set_margin(bottle, 0, table[0], Venue(margin=margin))
    return bottle, b.pack_bottle(bottle, [])


@kernel
def asked(z, value):
    return asked_at(z, 0, value)


@kernel
def more(z, before, value):
    return margin_of_more(z, 0, before, value)


def tiers_of(*rows):
    return tuple(
        Tier(above=Decimal(above), maintenance=rate, leverage=leverage)
        for above, rate, leverage in rows
    )


BTCUSDT = Margin(
    leverage=125,
    maintenance=0.004,
    tiers=tiers_of(
        (50_000, 0.005, 100), (250_000, 0.01, 50), (1_000_000, 0.025, 20), (10_000_000, 0.05, 10),
        (20_000_000, 0.1, 5), (50_000_000, 0.125, 4), (100_000_000, 0.15, 3),
        (200_000_000, 0.25, 2), (300_000_000, 0.5, 1),
    ),
)  # fmt: skip
"""As Binance announced on 2021-03-18 (86cf9aa472574b8cb2e05bb751c2a9a6)."""


@pytest.mark.kernel
def test_deductions_are_binances_maintenance_amounts():
    """Their faq b3c689c1f50a44cabb3a84e663b81d93: 250,000 x (1% - 0.5%) + 50 = 1,300; and on."""
    bottle, _ = words_of(BTCUSDT)
    amounts = [50, 1_300, 16_300, 266_300, 1_266_300, 2_516_300, 5_016_300, 25_016_300, 100_016_300]
    assert (bottle.tiers[0, :9, b.TIER_DEDUCTION] == [amount * E8 for amount in amounts]).all()


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("value", "rate", "amount", "leverage"),
    [
        (50_000, "0.004", 0, 125),
        (50_001, "0.005", 50, 100),
        (264_000, "0.01", 1_300, 50),
        (500_000, "0.01", 1_300, 50),
        (400_000_000, "0.5", 100_016_300, 1),
    ],
)
def test_binances_brackets(value, rate, amount, leverage):
    """A bracket is `floor < position <= cap`."""
    _, z = words_of(BTCUSDT)
    wanted = E8 // leverage, int(Decimal(rate) * E8), amount * E8
    assert tuple(map(int, asked(z, value * E8))) == wanted


@pytest.mark.kernel
def test_hyperliquids_btc_above_150_million():
    """Their docs, margin tiers: 40x, then 20x; the rate is half the initial one at that leverage.

    The deduction is 150M x (2.5% - 1.25%).
    """
    margin = Margin(leverage=40, maintenance=0.0125, tiers=tiers_of((150_000_000, 0.025, 20)))
    _, z = words_of(margin)
    assert tuple(map(int, asked(z, 150_000_000 * E8))) == (2_500_000, 1_250_000, 0)
    assert tuple(map(int, asked(z, 200_000_000 * E8))) == (5_000_000, 2_500_000, 1_875_000 * E8)


@pytest.mark.kernel
def test_the_leverage_set_holds_where_it_is_lower_than_the_tiers():
    _, z = words_of(Margin(leverage=20, maintenance=0.004, tiers=BTCUSDT.tiers))
    assert int(asked(z, 40_000 * E8)[0]) == 5_000_000
    assert int(asked(z, 400_000 * E8)[0]) == 5_000_000
    assert int(asked(z, 11_000_000 * E8)[0]) == 10_000_000


@pytest.mark.kernel
def test_growing_into_a_tier_asks_more_for_what_there_was_too():
    _, z = words_of(BTCUSDT)
    assert int(more(z, 0, 40_000 * E8)) == 320 * E8
    assert int(more(z, 40_000 * E8, 20_000 * E8)) == 600 * E8 - 320 * E8


RISING = st.lists(
    st.tuples(st.integers(1, 10**9), st.integers(51, 9_999), st.integers(1, 100)),
    max_size=b.TIERS_MAX,
).map(
    lambda rows: list(
        zip(
            sorted({row[0] for row in rows}),
            sorted(row[1] for row in rows),
            sorted((row[2] for row in rows), reverse=True),
            strict=False,
        )
    )
)


@given(RISING, st.lists(st.integers(0, 4 * 10**17), min_size=1, max_size=20))
def test_maintenance_is_the_sum_of_what_each_tier_asks_of_its_part(rows, values):
    """The pair: every tier asks its rate of the part of the value that lies in it."""
    tiers = tiers_of(*((above, rate / 10_000, leverage) for above, rate, leverage in rows))
    bottle, z = words_of(Margin(leverage=1, maintenance=0.005, tiers=tiers))
    floors = [0, *(above * E8 for above, _, _ in rows)]
    rates = [500_000, *(int(rate) for rate in bottle.tiers[0, : len(rows), b.TIER_RATE])]
    for value in values:
        ends = [*floors[1:], max(value, floors[-1])]
        parts = [max(0, min(value, end) - floor) for floor, end in zip(floors, ends, strict=True)]
        exact = sum(Fraction(part * rate, E8) for part, rate in zip(parts, rates, strict=True))
        _, rate, deduction = (int(word) for word in asked(z, value))
        found = -(-value * rate // E8) - deduction
        assert exact <= found < exact + 2


@given(RISING, st.integers(0, 10**17), st.integers(0, 10**17), st.integers(0, 10**17))
def test_more_value_asks_more_margin_however_it_comes(rows, first, second, third):
    tiers = tiers_of(*((above, 0.005, leverage) for above, _, leverage in rows))
    _, z = words_of(Margin(leverage=100, maintenance=0.005, tiers=tiers))
    whole = int(more(z, first, second + third))
    parts = int(more(z, first, second)) + int(more(z, first + second, third))
    assert min(whole, parts) >= 0
    assert abs(whole - parts) <= 4  # roundings


ONE = {"above": Decimal(10), "maintenance": 0.02, "leverage": 5.0}


def tier(**change):
    return Tier(**{**ONE, **change})


@pytest.mark.parametrize(
    ("tiers", "match"),
    [
        ((tier(above=Decimal("nan")),), "tier 0 of its margin: above NaN"),
        ((tier(above=Decimal("inf")),), "above Infinity"),
        ((tier(above=Decimal("snan")),), "above sNaN"),
        ((tier(above=Decimal(0)),), r"above 0\. a value above 0"),
        ((tier(above=Decimal(-5)),), "above -5"),
        ((tier(above=Decimal(10**11)),), "above 1000.*below 46,116,860,184"),
        ((tier(above=Decimal("1e-9")),), "at most 8 decimals"),
        ((tier(maintenance=float("nan")),), r"maintenance NaN\. a fraction"),
        ((tier(maintenance=0.0),), r"maintenance 0.0\. a fraction"),
        ((tier(maintenance=-0.1),), r"maintenance -0.1\. a fraction"),
        ((tier(maintenance=1.0),), r"maintenance 1.0\. a fraction"),
        ((tier(leverage=float("nan")),), r"leverage NaN\. 1 to 1,000"),
        ((tier(leverage=float("inf")),), r"leverage Infinity\. 1 to 1,000"),
        ((tier(leverage=0.5),), r"leverage 0.5\. 1 to 1,000"),
        ((tier(leverage=1_001.0),), r"leverage 1001.0\. 1 to 1,000"),
        ((tier(above=Decimal(20)), tier()), r"tier 1 .* above 10 after 20\. the lowest tier"),
        ((tier(), tier()), "above 10 after 10"),
        ((tier(maintenance=0.004),), r"maintenance 0.004 after 0.005\. a larger value"),
        ((tier(), tier(above=Decimal(20), maintenance=0.01)), "maintenance 0.01 after 0.02"),
        ((tier(), tier(above=Decimal(20), leverage=6)), "leverage 6.* after 5"),
        ((tier(maintenance=0.3),), r"maintenance 0.3 at leverage 5.0\. a position .* opened"),
        (tuple(tier(above=Decimal(k + 1)) for k in range(17)), r"17 tiers\. at most 16"),
    ],
)
def test_tiers_that_cannot_be_are_refused(tiers, match):
    with pytest.raises(SimulationError, match=match):
        words_of(Margin(tiers=tiers))
