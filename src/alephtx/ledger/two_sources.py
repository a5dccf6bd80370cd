"""Two profits of one strategy, and what may be done about them.

The drawdown limit is watched by compiled code on the position kernel's rows: realized at average
cost, less fees, plus what is open at the market's middle. Here the same is told by other means:
fills summed as they are (Position.flow), fees from the ledger's own bookings, in unbounded integers
and Decimal. An error in one of them is a difference between the two, and then neither is believed:

    kernel      books       agree   verdict      what follows
    within      within      yes     FINE         nothing
    either beyond its limit yes     STOP         latch the strategy; it may be flattened
    any         any         no      ACCOUNTING   no new risk for anybody, alarm; nothing is sold
    unknown     any, or the reverse UNKNOWN      the gate refuses by itself; nothing is sold

So an accounting error neither fires a stop (nothing is sold on its word) nor masks one (new risk is
blocked). What the gate does not count (funding, fees in a third currency) is on top of the books'
profit when it is held against the limit.

All profits are integers of 10^-8 of the gate's reference currency.
"""

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import Any, NamedTuple

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.core.units import MONEY_SCALE
from alephtx.ledger.book import Ledger
from alephtx.ledger.cost import MARKED, Position, mark_value, money
from alephtx.ledger.readings import traded_currency

FINE, STOP, ACCOUNTING, UNKNOWN = 0, 1, 2, 3
VERDICTS = {FINE: "fine", STOP: "stop", ACCOUNTING: "accounting", UNKNOWN: "unknown"}

ROUNDINGS = 4
"""Times the kernel may round one instrument's profit, by less than a unit of 10^-8 each."""

VENUE_ROUNDING = {words.LINEAR: Decimal("0.000002"), words.INVERSE: Decimal("0.00000002")}
"""What a venue's own rounding may add for each fill to what it states as realized, in settle: two
of the last digits that venues print. Spot has nothing that a venue would state."""


class Marks(NamedTuple):
    """Prices by instrument in ticks (0 or missing: none), and 10^8 x the worth of each quote."""

    ticks: Mapping[int, int]
    rates_e8: Mapping[int, int]


class Profit(NamedTuple):
    """A profit and how far rounding alone may carry it."""

    amount: int
    tolerance: int


def judge(kernel: int | None, books: Profit | None, aside: int, limit: int) -> int:
    """Return the verdict on a strategy; see the table above. aside: what the gate does not count.

    None: it cannot be known, for want of a price.
    """
    if kernel is None or books is None:
        return UNKNOWN
    if abs(kernel - books.amount) > books.tolerance:
        return ACCOUNTING
    return STOP if min(kernel, books.amount, books.amount + aside) <= -limit else FINE


# -- the kernel's side: its rows, in Python's integers --------------------------------------------


def kernel_profit(positions: Any, instruments: Any, marks: Marks) -> int | None:
    """Return what `risk.drawdown.strategy_profit` makes of POSITION rows; None without a price.

    Equal to the unit where that does not OVERFLOW, for then the gate refuses by itself.
    """
    total = 0
    for i, held in enumerate(positions):
        if held["qty"] == 0 and held["realized"] == 0 and held["fees"] == 0:
            continue
        profit = _row_profit(held, instruments[i], marks.ticks.get(i, 0))
        if profit is None:
            return None
        total += profit * marks.rates_e8[i] // 10**8
    return total


def _row_profit(held: Any, row: Any, mark: int) -> int | None:
    inverse = row["contract"] == words.INVERSE
    qty, cost = int(held["qty"]), int(held["cost"])
    profit = int(held["realized"]) - int(held["fees"])
    if mark <= 0 and (inverse or qty):
        return None
    if qty and inverse:
        profit += cost - qty * int(row["money_mul"]) // mark
    elif qty:
        mul, div = int(row["money_mul"]), int(row["money_div"])
        profit += mark * qty * mul // div - cost * mul // div
    return profit * mark // 10 ** int(row["price_scale"]) if inverse else profit


# -- the books' side ------------------------------------------------------------------------------


def strategy_profit(ledger: Ledger, strategy: int, marks: Marks) -> Profit | None:
    """Return a strategy's profit by the sum of its fills; None without a price for what is open."""
    amount, tolerance = Decimal(0), 0
    for (_, who, i), position in ledger.strategies.items():
        if who == strategy:
            found = _worth(ledger.instruments[i], i, position, marks, _by_flow)
            if found is None:
                return None
            amount += found
            tolerance += _tolerance(ledger.instruments[i], i, marks, Decimal(0))
    return _whole(amount, tolerance)


def account_profit(ledger: Ledger, account: int, marks: Marks) -> Profit | None:
    """Return an account's profit of trading by what its wallets gained and what is still open.

    Deposits, transfers, funding and all else that is no trade is not in it. Contracts: what the
    venue states as realized, and open lots against their average cost. None where that cannot be
    known: without a price, or while fills were booked in another order than they happened, because
    what the venue realized is by its own average cost then.
    """
    amount, tolerance = Decimal(0), 0
    for (owner, i), position in ledger.accounts.items():
        if owner == account:
            if position.disordered and ledger.instruments[i].contract != words.SPOT:
                return None
            found = _worth(ledger.instruments[i], i, position, marks, _by_wallet)
            if found is None:
                return None
            amount += found
            instrument = ledger.instruments[i]
            rounded = VENUE_ROUNDING.get(instrument.contract, Decimal(0)) * position.fills
            # A partial close rounds to a whole tick x lot, which the venue does not.
            rounded += money(instrument, 1) * position.rounded
            tolerance += _tolerance(instrument, i, marks, rounded)
    return _whole(amount, tolerance)


def _whole(amount: Decimal, tolerance: int) -> Profit:
    return Profit(int(amount.scaleb(MONEY_SCALE).to_integral_value(ROUND_FLOOR)), tolerance)


def _worth(
    instrument: Instrument, i: int, position: Position, marks: Marks, gained: Any
) -> Decimal | None:
    """Return a position's profit in the reference currency."""
    ticks = marks.ticks.get(i, 0)
    if ticks <= 0 and (instrument.inverse or position.qty):
        return None
    price = instrument.price_decimal(ticks)
    with localcontext(MARKED):
        profit: Decimal = gained(instrument, position, price)
        profit -= Decimal(position.fees).scaleb(-MONEY_SCALE)
        if instrument.inverse:
            profit *= price
        return profit * marks.rates_e8[i] / 10**8


def _by_flow(instrument: Instrument, position: Position, price: Decimal) -> Decimal:
    """Return what the fills cost and brought, and what is left of them at a price."""
    value = mark_value(instrument, price, position.qty) if position.qty else Decimal(0)
    gain = value - money(instrument, position.flow)
    return -gain if instrument.inverse else gain


def _by_wallet(instrument: Instrument, position: Position, price: Decimal) -> Decimal:
    """Return what the wallet gained and what is open: spot at worth, contracts against cost."""
    value = mark_value(instrument, price, position.qty) if position.qty else Decimal(0)
    if instrument.contract == words.SPOT:
        return position.wallet + value
    gain = value - money(instrument, position.cost)
    return position.wallet - gain if instrument.inverse else position.wallet + gain


def _tolerance(instrument: Instrument, i: int, marks: Marks, venue: Decimal) -> int:
    """Return how many units roundings may add up to: in settle, brought to the reference."""
    unit = Decimal(1)
    if instrument.inverse:
        unit = max(unit, instrument.price_decimal(marks.ticks.get(i, 0)))
    with localcontext(MARKED):
        units = (ROUNDINGS + venue.scaleb(MONEY_SCALE)) * unit + 1
        return int((units * marks.rates_e8[i] / 10**8).to_integral_value(ROUND_CEILING)) + 1


def uncounted_profit(
    ledger: Ledger, strategy: int, marks: Marks, worths: dict[str, Decimal]
) -> int:
    """Return what a strategy earned beside the gate's count; currencies without a price are left.

    worths: filled with what one unit of each currency is worth, for the next call with these marks.
    A currency is worth its stated rate where something is quoted in it, else the price of the first
    instrument that has it as its base.
    """
    total = Decimal(0)
    with localcontext(MARKED):
        for (_, who, currency), amount in ledger.uncounted.items():
            if who == strategy:
                if currency not in worths:
                    worths[currency] = worth_of(ledger, currency, marks)
                total += amount * worths[currency]
    return _whole(total, 0).amount


def worth_of(ledger: Ledger, currency: str, marks: Marks) -> Decimal:
    """Return what one unit of a currency is worth in the reference; 0 where nobody says."""
    base = Decimal(0)
    for i, instrument in enumerate(ledger.instruments):
        rate = Decimal(marks.rates_e8[i]).scaleb(-8)
        if instrument.quote == currency:
            return rate
        if not base and instrument.base == currency and traded_currency(instrument) != currency:
            base = instrument.price_decimal(marks.ticks.get(i, 0)) * rate
    return base
