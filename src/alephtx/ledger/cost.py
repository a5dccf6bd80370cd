"""What a position cost and what it has earned, by average cost and by FIFO, in Python integers.

The slow pair of `ledger.positions` and its judge. Units as there: values are exact ticks x lots for
linear contracts and spot, money of the coin for inverse ones, where each fill's value is rounded
once, half away from zero. Gains are never rounded; `money` makes exact Decimals of them.
"""

from collections.abc import Iterator
from decimal import (
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    localcontext,
)

import msgspec

from alephtx.core.instruments import Instrument
from alephtx.core.units import MONEY_SCALE, to_decimal

EXACT = Context(prec=76, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
"""Where sums of money are made: a digit that would be lost is an error."""

MARKED = Context(prec=76, traps=[InvalidOperation, DivisionByZero, Overflow])
"""Where things are valued at a price: a division may round in the 76th digit."""

_UNIT = Decimal(1).scaleb(-MONEY_SCALE)


def divide_nearest(a: int, b: int) -> int:
    """Return a / b rounded to the nearest integer, half away from zero; b is positive."""
    quotient, rest = divmod(abs(a), b)
    quotient += 2 * rest >= b
    return -quotient if a < 0 else quotient


def fill_value(instrument: Instrument, price: int, lots: int) -> int:
    """Return the value of signed lots at price ticks, in the instrument's unit of cost."""
    if not instrument.inverse:
        return price * lots
    exponent = MONEY_SCALE - instrument.qty_scale + instrument.price_scale
    factor = int(instrument.contract_value.scaleb(exponent))
    return divide_nearest(lots * factor, price)


def money(instrument: Instrument, value: int) -> Decimal:
    """Return a cost, value or gain as money of the settle (spot: quote) currency, exactly."""
    if instrument.inverse:
        return to_decimal(value, MONEY_SCALE)
    with localcontext(EXACT):
        scaled = Decimal(value).scaleb(-instrument.price_scale - instrument.qty_scale)
        return scaled * instrument.contract_value


def mark_value(instrument: Instrument, price: Decimal, lots: int) -> Decimal:
    """Return the value of signed lots at any price in money; an inverse one is rounded to 1e-8."""
    with localcontext(MARKED):
        qty = instrument.qty_decimal(lots) * instrument.contract_value
        if instrument.inverse:
            return (qty / price).quantize(_UNIT, ROUND_HALF_UP)
        return qty * price


def counted_fee(instrument: Instrument, currency: str, paid: int, price: int) -> int | None:
    """Return a fee as money of settle, as the gate's drawdown limit counts it; None: not at all.

    A fee in the base coin counts at the fill's price, rounded up; one in a third currency does not.
    """
    if currency == instrument.settle:
        return paid
    if currency != instrument.base:
        return None
    return -(-paid * price // 10**instrument.price_scale)


class Lot(msgspec.Struct):
    """A part of a position that was opened by one fill; both signed alike."""

    lots: int
    value: int


class Position(msgspec.Struct):
    """One position under both methods. gain: what closes earned, in the unit of cost, unrounded.

    flow: the value of all fills, signed like them: what the position cost and brought, whatever the
    method. fifo_qty and fifo_cost: of what is open, kept beside the lots. fees: as the gate counts
    them, in 10^-MONEY_SCALE of settle. rounded: partial closes since it was flat, each of which
    rounded its share of the cost. wallet: what the venue's wallet gained through it, in settle
    (spot: the quote leg). newest: the time of its newest fill. disordered: a fill was booked after
    newer ones, and it was not flat since, so the venue's average cost is not ours.
    """

    qty: int = 0
    cost: int = 0
    gain: int = 0
    fifo_gain: int = 0
    bought: int = 0
    sold: int = 0
    fills: int = 0
    flow: int = 0
    fifo_qty: int = 0
    fifo_cost: int = 0
    fees: int = 0
    rounded: int = 0
    wallet: Decimal = Decimal(0)
    newest: int = 0
    disordered: bool = False
    open_lots: list[Lot] = []

    def fill(self, instrument: Instrument, side: int, price: int, qty: int) -> int:
        """Apply a fill; returns the cost it removed or added net, for the position's book.

        What a close earns at average cost is its value less the cost it removes.
        """
        sign = -1 if instrument.inverse else 1  # more coin for the same contracts is a lower price
        before = self.cost
        closed = min(qty, abs(self.qty)) if self.qty * side < 0 else 0
        if closed:
            removed = divide_nearest(self.cost * closed, abs(self.qty))
            value = fill_value(instrument, price, -side * closed)
            self.gain += sign * (value - removed)
            self.fifo_gain += sign * (value - self._remove_oldest(closed))
            self.cost -= removed
            self.qty += side * closed
            self.flow -= value
            self.rounded = self.rounded + 1 if self.qty else 0
        if qty > closed:
            value = fill_value(instrument, price, side * (qty - closed))
            self.cost += value
            self.qty += side * (qty - closed)
            self.flow += value
            self._add_lot(side * (qty - closed), value)
        if side > 0:
            self.bought += qty
        else:
            self.sold += qty
        self.fills += 1
        return self.cost - before

    def came(self, ts: int, *, waited: bool) -> None:
        """Note when the fill that was just applied happened.

        waited: it was held until somebody's order came for it, so that of fills in one millisecond
        it may have been the first.
        """
        late = ts < self.newest or (waited and ts == self.newest)
        self.disordered = self.qty != 0 and (self.disordered or late)
        self.newest = max(self.newest, ts)

    def take_up(self, instrument: Instrument, lots: int, price: Decimal) -> None:
        """Start from a position that was there before: signed lots at an average price."""
        with localcontext(MARKED):
            value = mark_value(instrument, price, lots)
            unit = _UNIT if instrument.inverse else money(instrument, 1)
            cost = int((value / unit).to_integral_value(ROUND_HALF_UP))
        self.qty = lots
        self.cost = self.flow = cost
        self.bought, self.sold = max(lots, 0), max(-lots, 0)
        self._add_lot(lots, cost)

    def _add_lot(self, lots: int, value: int) -> None:
        self.open_lots.append(Lot(lots, value))
        self.fifo_qty += lots
        self.fifo_cost += value

    def _remove_oldest(self, closed: int) -> int:
        """Take so many lots from the front, and return what they cost."""
        removed = gone = 0
        while closed:
            lot = self.open_lots[gone]
            taken = min(closed, abs(lot.lots))
            cost = divide_nearest(lot.value * taken, abs(lot.lots))
            signed = taken if lot.lots > 0 else -taken
            lot.value -= cost
            lot.lots -= signed
            self.fifo_qty -= signed
            removed += cost
            closed -= taken
            gone += lot.lots == 0
        del self.open_lots[:gone]
        self.fifo_cost -= removed
        return removed

    def identities(self, instrument: Instrument) -> Iterator[tuple[str, int, int]]:
        """Yield (what, left, right) of every identity that is cheap to look at after a fill."""
        sign = -1 if instrument.inverse else 1
        yield "position = bought - sold", self.qty, self.bought - self.sold
        yield "open FIFO lots = position", self.fifo_qty, self.qty
        yield "gain = cost - flow", sign * self.gain, self.cost - self.flow
        yield "FIFO gain = FIFO cost - flow", sign * self.fifo_gain, self.fifo_cost - self.flow
        if self.qty == 0:
            yield "cost when flat = 0", self.cost, 0
            yield "FIFO gain = average gain when flat", self.fifo_gain, self.gain

    def check(self) -> str:
        """Return what is wrong with this position, empty when nothing is; walks its lots."""
        lots, value = sum(x.lots for x in self.open_lots), sum(x.value for x in self.open_lots)
        if lots != self.qty:
            return f"FIFO holds {lots} lots, not {self.qty}"
        if value != self.fifo_cost:
            return f"FIFO lots cost {value}, not {self.fifo_cost}"
        if self.bought - self.sold != self.qty:
            return f"bought {self.bought} less sold {self.sold} is not {self.qty}"
        if self.qty == 0 and self.cost != 0:
            return f"a cost of {self.cost} without a position"
        if self.qty == 0 and self.gain != self.fifo_gain:
            return f"flat, but gained {self.gain} at average cost and {self.fifo_gain} by FIFO"
        return ""
