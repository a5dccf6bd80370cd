"""What was traded: turnover, maker and taker shares, how much of what was asked for was filled."""

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext

import msgspec

from alephtx.analysis.story import Fill, OrderLine
from alephtx.core import words
from alephtx.core.instruments import Instrument, Instruments

EXACT = Context(prec=76, traps=[Inexact, InvalidOperation])
"""Where sums are made: a digit that would be lost is an error."""


def quote_value(instrument: Instrument, price: int, qty: int) -> Decimal:
    """Return what lots at ticks are worth in the quote currency, exactly.

    Spot and linear: qty x contract_value x price; inverse: qty x contract_value, for its contract
    value is quote already.
    """
    with localcontext(EXACT):
        contracts = instrument.qty_decimal(qty) * instrument.contract_value
        return contracts if instrument.inverse else contracts * instrument.price_decimal(price)


class Traded(msgspec.Struct):
    """What was traded of one instrument. turnover, maker, taker: money of the quote currency.

    maker + taker is less than turnover where a venue did not say which it was. lots are of orders
    that passed the gate.
    """

    fills: int = 0
    turnover: Decimal = Decimal(0)
    maker: Decimal = Decimal(0)
    taker: Decimal = Decimal(0)
    bought: int = 0
    sold: int = 0
    orders: int = 0
    orders_filled: int = 0
    ordered_lots: int = 0
    filled_lots: int = 0

    @property
    def maker_share(self) -> Decimal | None:
        """Maker / (maker + taker); None without fills that say."""
        said = self.maker + self.taker
        return self.maker / said if said else None

    @property
    def fill_ratio(self) -> Decimal | None:
        """Lots filled / lots ordered; None without orders."""
        return Decimal(self.filled_lots) / self.ordered_lots if self.ordered_lots else None

    @property
    def hit_ratio(self) -> Decimal | None:
        """Orders with any fill / orders; None without orders."""
        return Decimal(self.orders_filled) / self.orders if self.orders else None


def traded(
    instruments: Instruments, fills: Iterable[Fill], orders: Iterable[OrderLine]
) -> dict[int, Traded]:
    """Sum fills and orders by instrument index; untouched instruments are left out."""
    found: dict[int, Traded] = {}
    with localcontext(EXACT):
        _sum_fills(instruments, fills, found)
    for order in orders:
        row = found.setdefault(order.instrument, Traded())
        row.orders += 1
        row.orders_filled += order.filled > 0
        row.ordered_lots += order.qty
        row.filled_lots += order.filled
    return found


def _sum_fills(instruments: Instruments, fills: Iterable[Fill], found: dict[int, Traded]) -> None:
    for fill in fills:
        row = found.setdefault(fill.instrument, Traded())
        value = quote_value(instruments[fill.instrument], fill.price, fill.qty)
        row.fills += 1
        row.turnover += value
        if fill.liquidity == words.MAKER:
            row.maker += value
        elif fill.liquidity == words.TAKER:
            row.taker += value
        if fill.side == words.BUY:
            row.bought += fill.qty
        else:
            row.sold += fill.qty


def turnover(instruments: Instruments, rows: dict[int, Traded]) -> dict[str, Decimal]:
    """Sum turnover by quote currency."""
    found: dict[str, Decimal] = {}
    with localcontext(EXACT):
        for i, row in rows.items():
            if row.turnover:
                quote = instruments[i].quote
                found[quote] = found.get(quote, Decimal(0)) + row.turnover
    return found
