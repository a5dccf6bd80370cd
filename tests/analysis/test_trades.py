from decimal import Decimal
from fractions import Fraction

from alephtx.analysis.story import Fill, OrderLine
from alephtx.analysis.trades import Traded, quote_value, traded, turnover
from alephtx.core.words import BUY, MAKER, SELL, TAKER
from tests.serve.runs import COIN, INSTRUMENTS, PERP, SPOT


def fill(i, side, price, qty, liquidity):
    return Fill(1, 1, 0, i, 0, side, price, qty, 0, 0, liquidity, 1)


def order(i, qty, filled):
    line = OrderLine(1, 0, 0, i, BUY, 1, 1, 0, 100, qty, 0, 1)
    line.filled = filled
    return line


def test_quote_value_of_linear_and_spot_is_qty_times_price():
    assert quote_value(INSTRUMENTS[SPOT], 6_180_000, 1_000) == Decimal(618)  # 0.01 x 61800
    assert quote_value(INSTRUMENTS[PERP], 618_000, 10) == Decimal(618)


def test_quote_value_of_inverse_is_contracts_times_their_value():
    assert quote_value(INSTRUMENTS[COIN], 618_000, 6) == Decimal(600)  # at any price


def test_quote_value_of_the_largest_numbers_keeps_every_digit():
    big = (1 << 62) - 1
    assert Fraction(quote_value(INSTRUMENTS[SPOT], big, big)) == Fraction(big * big, 10**7)


def test_traded_sums_shares_and_ratios_by_hand():
    fills = [
        fill(PERP, BUY, 618_000, 10, MAKER),
        fill(PERP, SELL, 618_100, 30, TAKER),
        fill(PERP, SELL, 618_100, 5, 0),
        fill(COIN, BUY, 618_000, 2, TAKER),
    ]
    orders = [order(PERP, 10, 10), order(PERP, 30, 30), order(PERP, 60, 0)]
    rows = traded(INSTRUMENTS, fills, orders)
    row = rows[PERP]
    assert (row.fills, row.bought, row.sold) == (3, 10, 35)
    assert row.maker == Decimal(618)
    assert row.taker == Decimal("1854.3")
    assert row.turnover == Decimal("2781.35")
    assert row.maker_share == Decimal(618) / Decimal("2472.3")
    assert row.hit_ratio == Decimal(2) / 3
    assert row.fill_ratio == Decimal("0.4")
    assert turnover(INSTRUMENTS, rows) == {"USDT": Decimal("2781.35"), "USD": Decimal(200)}


def test_traded_of_nothing_has_no_shares():
    assert traded(INSTRUMENTS, [], []) == {}
    assert turnover(INSTRUMENTS, {}) == {}
    assert (Traded().maker_share, Traded().fill_ratio, Traded().hit_ratio) == (None, None, None)
