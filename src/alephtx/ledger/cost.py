"""What a position cost and what it has earned, by average cost and by FIFO, in Python integers.

The slow pair of `ledger.positions` and its judge. Units as there: values are exact ticks x lots for
linear contracts and spot, money of the coin for inverse ones, where each fill's value is rounded
once, half away from zero. Gains are never rounded; `money` makes exact Decimals of them.
"""

from collections import deque
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

_WIDE = Context(prec=76, traps=[InvalidOperation, DivisionByZero, Overflow])
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
    with localcontext(_WIDE):
        qty = instrument.qty_decimal(lots) * instrument.contract_value
        if instrument.inverse:
            return (qty / price).quantize(_UNIT, ROUND_HALF_UP)
        return qty * price


class Lot(msgspec.Struct):
    """A part of a position that was opened by one fill; both signed alike."""

    lots: int
    value: int


class Position(msgspec.Struct):
    """One position under both methods. gain: what closes earned, in the unit of cost, unrounded."""

    qty: int = 0
    cost: int = 0
    gain: int = 0
    fifo_gain: int = 0
    bought: int = 0
    sold: int = 0
    fills: int = 0
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
        if qty > closed:
            value = fill_value(instrument, price, side * (qty - closed))
            self.cost += value
            self.qty += side * (qty - closed)
            self.open_lots.append(Lot(side * (qty - closed), value))
        if side > 0:
            self.bought += qty
        else:
            self.sold += qty
        self.fills += 1
        return self.cost - before

    def take_up(self, instrument: Instrument, lots: int, price: Decimal) -> None:
        """Start from a position that was there before: signed lots at an average price."""
        with localcontext(_WIDE):
            value = mark_value(instrument, price, lots)
            unit = _UNIT if instrument.inverse else money(instrument, 1)
            cost = int((value / unit).to_integral_value(ROUND_HALF_UP))
        self.qty, self.cost, self.open_lots = lots, cost, [Lot(lots, cost)]
        self.bought, self.sold = max(lots, 0), max(-lots, 0)

    def _remove_oldest(self, closed: int) -> int:
        """Take so many lots from the front, and return what they cost."""
        removed = 0
        queue = deque(self.open_lots)
        while closed:
            lot = queue[0]
            taken = min(closed, abs(lot.lots))
            cost = divide_nearest(lot.value * taken, abs(lot.lots))
            lot.value -= cost
            lot.lots -= taken if lot.lots > 0 else -taken
            removed += cost
            closed -= taken
            if lot.lots == 0:
                queue.popleft()
        self.open_lots = list(queue)
        return removed

    @property
    def fifo_cost(self) -> int:
        """The cost of what is open, by FIFO."""
        return sum(lot.value for lot in self.open_lots)

    def check(self) -> str:
        """Return what is wrong with this position, empty when nothing is."""
        if sum(lot.lots for lot in self.open_lots) != self.qty:
            return f"FIFO holds {sum(lot.lots for lot in self.open_lots)} lots, not {self.qty}"
        if self.bought - self.sold != self.qty:
            return f"bought {self.bought} less sold {self.sold} is not {self.qty}"
        if self.qty == 0 and self.cost != 0:
            return f"a cost of {self.cost} without a position"
        if self.qty == 0 and self.gain != self.fifo_gain:
            return f"flat, but gained {self.gain} at average cost and {self.fifo_gain} by FIFO"
        return ""
