"""The venue's books of cross and isolated money: nothing is made, nothing is lost."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.core.kernel import kernel
from alephtx.core.packed import field
from alephtx.engine.margins import Margin
from alephtx.engine.tapes import Venue, rule
from alephtx.sim import bottle as b
from alephtx.sim.flight import flight_next, flight_take
from alephtx.sim.lane import exchange_of, say_fills
from alephtx.sim.levels import Levels, levels_set
from alephtx.sim.margin import lacks_margin, look_at_margins, pay_funding
from alephtx.sim.state import FILLED_ROW
from tests.engine.replaying import table_of

E8 = 10**8
SHARED = Margin(leverage=10, maintenance=0.02, liquidation_fee=0.005)
APART = Margin(leverage=5, maintenance=0.04, liquidation_fee=0.01, isolated=True)
CROSS, LINEAR, INVERSE = 0, 1, 2
CHANGES = (
    {},
    {"key": "toy:ETH-USDT-PERP", "base": "ETH"},
    {"key": "toy:ETH-USD-PERP", "base": "ETH", "settle": "ETH", "contract": w.INVERSE},
)
BALANCE = 1_000
OPENING = {"USDT": BALANCE * E8, "ETH": BALANCE * E8}


@kernel
def book_fills(z, n):
    say_fills(z, 0, n)


@kernel
def fund(z, i):
    pay_funding(z, i)


@kernel
def look(z):
    return look_at_margins(z)


@kernel
def lacks(z):
    return lacks_margin(z, 0, exchange_of(z, 0), field(z, b.Z_ORDER, b.ONE_ORDER))


@kernel
def set_level(z, i, s, key, qty):
    levels = Levels(field(z, b.Z_LOTS, b.I3), field(z, b.Z_BITS, b.I3), field(z, b.Z_MARKS, b.I3))
    levels_set(levels, i, s, key, qty)


@kernel
def next_report(z):
    place, ring = field(z, b.Z_DOWN_PLACE, b.I1), field(z, b.Z_DOWN_RING, b.I2)
    if flight_next(place, ring) == b.NEVER:
        return -1
    return flight_take(place, ring, field(z, b.Z_DOWN_FREE, b.I1))


class Books:
    """One account of a venue: a cross contract, and two isolated ones, of which one is inverse."""

    def __init__(self):
        self.table = table_of(*CHANGES)
        self.bottle = b.make_bottle(self.table, span=1024, orders_max=4, taken_max=8, isolated=True)
        margins = {CHANGES[1]["key"]: APART, CHANGES[2]["key"]: APART}
        rule(
            self.bottle, Venue(balance=Decimal(BALANCE), margin=SHARED, margins=margins), self.table
        )
        self.z = b.pack_bottle(self.bottle, [])
        self.numbers = {name: self.table.currency(name) for name in OPENING}
        self.pools = [int(pool) for pool in self.bottle.terms[:, b.M_POOL]]
        self.owed = dict(OPENING)  # what reports say there must be
        self.match = 0
        for i in range(3):
            for level in range(4):
                self.level(i, w.BUY, 98 - level, 40)
                self.level(i, w.SELL, 102 + level, 40)
            self.mark(i, 100)

    def level(self, i, side, price, qty):
        set_level(self.z, i, 0 if side > 0 else 1, side * price, qty)

    def mark(self, i, price):
        self.bottle.streams[i, b.T_MARK] = price

    def fill(self, i, side, price, qty, maker=False):
        """Let an order of ours be filled."""
        self.match += 1
        row = self.bottle.fills[0]
        row["order_id"], row["price"], row["qty"], row["left"] = 1, price, qty, 0
        row["match"], row["instrument"], row["account"], row["side"] = self.match, i, 0, side
        row["liquidity"], row["event"] = w.MAKER if maker else w.TAKER, FILLED_ROW
        book_fills(self.z, 1)
        return self.listen()

    def funding(self, i, rate):
        stream = self.bottle.streams[i]
        stream[b.T_RATE], stream[b.T_FUND_AT] = rate, 10**18
        fund(self.z, i)
        return self.listen()

    def look(self):
        assert look(self.z) == 0
        return self.listen()

    def listen(self):
        """Take the reports, count what they say of money, and hold it against the pools."""
        rows = []
        while (slot := next_report(self.z)) >= 0:
            row = self.bottle.down_rows[slot].copy()
            rows.append(row)
            name = "ETH" if row["instrument"] == INVERSE else "USDT"
            if row["kind"] == w.FILL:
                self.owed[name] -= self.paid(row) + int(row["fee"])
            else:
                assert row["kind"] in (w.FUNDING_PAID, w.MONEY_MOVED)
                assert int(row["fee_currency"]) == self.numbers[name]
                self.owed[name] += int(row["realized"])
        assert self.bottle.clock[b.K_OVERFLOW] == 0
        for name, owed in self.owed.items():
            assert self.total(name) == owed
        held = self.bottle.held[0, 0]
        for i in (LINEAR, INVERSE):
            assert held[i] != 0 or self.pool(i) == 0
        return rows

    @staticmethod
    def paid(row):
        """Return what a fill costs at its whole value, exactly, half away from zero."""
        price, qty, side = int(row["price"]), int(row["qty"]), int(row["side"])
        if row["instrument"] == INVERSE:
            return -side * ((2 * qty * E8 + price) // (2 * price))
        return side * price * qty * E8

    def pool(self, i):
        return int(self.bottle.cash[0, 0, self.pools[i]])

    def cash(self, name="USDT"):
        return int(self.bottle.cash[0, 0, self.numbers[name]])

    def above(self, name):
        """Return by how much equity of the cash is above its maintenance margin."""
        if name != "USDT":
            return self.cash(name)
        value = int(self.bottle.held[0, 0, CROSS] * self.bottle.streams[CROSS, b.T_MARK]) * E8
        return self.cash() + value - abs(value) * 2 // 100

    def total(self, name):
        """Return all money of a currency, whichever pool it lies in."""
        own = [self.pool(i) for i in (LINEAR, INVERSE) if (i == INVERSE) == (name == "ETH")]
        return self.cash(name) + sum(own)


@pytest.mark.kernel
def test_a_transfer_between_pools_is_told_nobody():
    """The fill alone is told: 20 from 100 take 400 at 5x out of the cash."""
    books = Books()
    rows = books.fill(LINEAR, w.BUY, 100, 20)
    assert [int(row["kind"]) for row in rows] == [w.FILL]
    assert books.cash() == (1_000 - 400 - 4) * E8
    assert books.pool(LINEAR) == (400 - 2_000) * E8


@pytest.mark.kernel
def test_a_liquidation_is_told_as_live_venues_tell_it():
    books = Books()
    books.fill(LINEAR, w.BUY, 100, 20)
    books.mark(LINEAR, 80)
    for level in range(4):
        books.level(LINEAR, w.BUY, 98 - level, 0)
    books.level(LINEAR, w.BUY, 70, 40)
    rows = books.look()
    assert [(int(row["kind"]), int(row["code"])) for row in rows] == [
        (w.FILL, 0), (w.MONEY_MOVED, w.MONEY_LIQUIDATION), (w.MONEY_MOVED, w.MONEY_INSURANCE),
    ]  # fmt: skip
    assert int(rows[0]["flags"]) == w.FOREIGN
    assert int(rows[0]["order_id"]) == 0
    assert len({int(row["trade_id"]) for row in rows[1:]}) == 2
    fees = Fraction(1_400) * Fraction(12, 1_000)
    assert int(rows[2]["realized"]) == (2_000 - 400 - 1_400 + fees) * E8
    assert books.cash() == (1_000 - 400 - 4) * E8


def steps():
    instrument, side = st.sampled_from((CROSS, LINEAR, INVERSE)), st.sampled_from((1, -1))
    price = st.integers(60, 140)
    return st.lists(
        st.one_of(
            st.tuples(st.just("fill"), instrument, side, price, st.integers(1, 60), st.booleans()),
            st.tuples(st.just("mark"), instrument, price),
            st.tuples(st.just("level"), instrument, side, price, st.integers(0, 60)),
            st.tuples(st.just("funding"), instrument, st.integers(-(10**11), 10**11)),
            st.tuples(st.just("look")),
        ),
        max_size=40,
    )


def uncrossed(step):
    """Keep the book of two sides: bids below 100, asks above."""
    _, i, side, price, qty = step
    return i, side, min(price, 99) if side > 0 else max(price, 101), qty


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(steps())
def test_money_is_moved_by_reports_alone(script):
    """Pools of a currency change by fees, funding, fills, the fee of a liquidation, insurance.

    `listen` holds the sum against the reports after each step. An isolated position's money moves
    by its own fills and funding, or when it is closed; the cash by no mark and no look but where
    cross or given back, and no fill of an isolated position takes it below what the cross
    positions must have, but by its fee.
    """
    books = Books()
    for step in script:
        before = [books.pool(i) for i in (LINEAR, INVERSE)]
        held, cash = books.bottle.held[0, 0].copy(), {n: books.cash(n) for n in OPENING}
        above = {name: books.above(name) for name in OPENING}
        if step[0] == "level":
            books.level(*uncrossed(step))
            rows = books.listen()
        elif step[0] == "mark":
            books.mark(*step[1:])
            rows = books.listen()
        else:
            rows = getattr(books, step[0])(*step[1:])
        touched = {int(row["instrument"]) for row in rows}
        for k, i in enumerate((LINEAR, INVERSE)):
            if i not in touched:
                assert books.pool(i) == before[k]
                assert books.bottle.held[0, 0, i] == held[i]
        name = "ETH" if INVERSE in touched else "USDT"
        if step[0] == "fill" and step[1] != CROSS:
            fee = int(rows[0]["fee"])
            assert books.above(name) >= min(above[name], 0) - fee
        if step[0] == "look":
            shared = CROSS in touched
            for name, was in cash.items():
                assert books.cash(name) >= was or (shared and name == "USDT")
        if step[0] == "funding" and step[1] != CROSS:
            assert {n: books.cash(n) for n in OPENING} == cash


class Entries:
    """The slow pair of one isolated position: margin, entry price, what is realised. Fractions."""

    def __init__(self, cash):
        self.cash, self.margin, self.entry, self.lots = Fraction(cash), Fraction(0), Fraction(0), 0

    def fill(self, side, price, qty, fee):
        self.cash -= fee
        if self.lots * side < 0:
            closed = min(qty, abs(self.lots))
            part = self.margin * closed / abs(self.lots)
            back = part + (price - self.entry) * closed * -side
            qty, self.lots = qty - closed, self.lots + side * closed
            if back < 0 and self.lots != 0:
                part, back = part - back, Fraction(0)
            self.cash += max(back, 0)
            self.margin = self.margin - part if self.lots != 0 else Fraction(0)
        if qty > 0:
            moved = min(Fraction(price * qty, 5), max(self.cash, Fraction(0)))
            whole = self.entry * abs(self.lots) + price * qty
            self.lots += side * qty
            self.entry = whole / abs(self.lots)
            self.cash, self.margin = self.cash - moved, self.margin + moved

    def pool(self):
        return self.margin - self.lots * self.entry


FILLS = st.lists(
    st.tuples(st.sampled_from((1, -1)), st.integers(60, 140), st.integers(1, 30)), max_size=30
)


@settings(deadline=None)
@given(FILLS)
def test_an_isolated_position_is_what_margin_and_entry_price_say(script):
    books, pair = Books(), Entries(BALANCE)
    for side, price, qty in script:
        rows = books.fill(LINEAR, side, price, qty)
        pair.fill(side, price, qty, Fraction(int(rows[0]["fee"]), E8))
        assert int(books.bottle.held[0, 0, LINEAR]) == pair.lots
        near = Fraction(40, E8)
        assert abs(Fraction(books.cash(), E8) - pair.cash) <= near
        assert abs(Fraction(books.pool(LINEAR), E8) - pair.pool()) <= near


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("price", "qty", "wanted"),
    [
        (100, 1, False),
        (100, 10**6, True),
        (1 << 40, 1 << 40, True),
        (1 << 61, 1, True),
        (1, 1 << 62, True),
        (0, 1, True),
    ],
)
@pytest.mark.parametrize("i", [CROSS, LINEAR])
def test_an_order_beyond_money_is_never_carried(i, price, qty, wanted):
    books, order = Books(), {"order_id": 1, "side": 1, "type": w.LIMIT, "tif": w.GTC}
    for name, value in {**order, "instrument": i, "price": price, "qty": qty}.items():
        books.bottle.order[0][name] = value
    assert bool(lacks(books.z)) == wanted


def test_a_value_beyond_money_ends_the_run():
    books = Books()
    row = books.bottle.fills[0]
    row["order_id"], row["price"], row["qty"], row["instrument"] = 1, 1 << 40, 1 << 40, LINEAR
    row["side"], row["liquidity"], row["event"] = 1, w.TAKER, FILLED_ROW
    book_fills(books.z, 1)
    assert books.bottle.clock[b.K_OVERFLOW] == 1
    assert np.abs(books.bottle.cash).max() <= BALANCE * E8
