"""Where the P&L came from: five parts that add up to it exactly.

Every fill is followed from its price to the last mid of the data:

spread     price to the mid just before the fill        what we were paid, or paid, to trade
adverse    that mid to the mid `horizon` later           what the market knew that we did not
inventory  from there to the last mid                    what holding the position brought
fees       what was paid; a rebate is negative
funding    what was received; paid is negative

total = spread + adverse + inventory + unattributed - fees + funding

unattributed is price to last mid of fills that met no known mid. The sums are of integers: nothing
is lost between the parts, whatever the order. Source of the split: H. Stoll, "Inferring the
components of the bid-ask spread" (Journal of Finance 44(1), 1989), applied to own fills as market
makers do; the edge and the markout of `edge` and `markout` are the same distances in bps.
"""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import msgspec

from alephtx.analysis.mids import mid_at
from alephtx.analysis.tables import Column, Fills, Quotes
from alephtx.analysis.trades import EXACT
from alephtx.core.instruments import Instrument
from alephtx.core.units import MONEY_SCALE

INVERSE_SCALE = 18
"""An inverse contract's value is a division: every mark of every fill is rounded to 10^-18 coin."""


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """P&L by cause, in the settle currency. Counts are of fills.

    beyond: horizon after the data's end, marked at the last mid; unknown: no mid at the horizon, so
    that all after the fill is inventory; without_mid: unattributed. marked: False where no quote
    was ever known, and the last fill's price had to stand for the last mid.
    """

    spread: Decimal
    adverse: Decimal
    inventory: Decimal
    unattributed: Decimal
    fees: Decimal
    funding: Decimal
    total: Decimal
    position: Decimal
    marked: bool
    fills: int
    beyond: int
    unknown: int
    without_mid: int


class _Worth:
    """The value of lots at twice a price in ticks, as an integer of `scale` decimals.

    Linear: lots x price; inverse: -lots / price in coin, so that later less earlier is the gain of
    one that bought. Where doubling leaves a digit over, one more decimal takes it.
    """

    def __init__(self, instrument: Instrument) -> None:
        contract = Fraction(instrument.contract_value) / 10**instrument.qty_scale
        self.inverse = instrument.inverse
        if self.inverse:
            self.scale = INVERSE_SCALE
            self.factor = contract * 2 * 10 ** (instrument.price_scale + INVERSE_SCALE)
        else:
            exact = contract / 10**instrument.price_scale / 2
            self.scale = 0
            while (exact * 10**self.scale).denominator != 1:
                self.scale += 1
            self.factor = exact * 10**self.scale

    def __call__(self, twice_price: int, lots: int) -> int:
        if self.inverse:
            return -round(self.factor * lots / twice_price)
        return int(self.factor) * twice_price * lots

    def money(self, amount: int) -> Decimal:
        return Decimal(amount).scaleb(-self.scale)


def attribute(
    instrument: Instrument,
    fills: Fills,
    quotes: Quotes,
    *,
    horizon_ns: int = 30_000_000_000,
    funding: Column | None = None,
) -> Attribution:
    """Attribute the P&L of fills that began flat. funding: int64 money of 10^-8, received > 0.

    Mids are in force: just before the fill, at or before the horizon. About 5 us a fill.
    """
    worth = _Worth(instrument)
    twice = quotes.mid * 2
    before = mid_at(fills.ts, quotes.ts, twice, before=True).mid
    later, beyond = mid_at(fills.ts + horizon_ns, quotes.ts, twice)
    known = quotes.known.nonzero()[0]
    marked = len(known) > 0
    end = 0
    if marked:
        end = int(quotes.bid[known[-1]] + quotes.ask[known[-1]])
    elif len(fills.ts):
        end = 2 * int(fills.price[-1])
    spread = adverse = inventory = unattributed = position = 0
    counts = [0, 0, 0]
    rows = zip(*(column.tolist() for column in (*fills[1:4], before, later, beyond)), strict=True)
    for side, price, qty, met, then, past in rows:
        position += side * qty
        paid, last = worth(2 * price, qty), worth(end, qty)
        if math.isnan(met):
            unattributed += side * (last - paid)
            counts[2] += 1
            continue
        start = worth(int(met), qty)
        spread += side * (start - paid)
        if past:
            moved, counts[0] = last, counts[0] + 1
        elif math.isnan(then):
            moved, counts[1] = start, counts[1] + 1
        else:
            moved = worth(int(then), qty)
        adverse += side * (moved - start)
        inventory += side * (last - moved)
    with localcontext(EXACT):
        parts = [worth.money(part) for part in (spread, adverse, inventory, unattributed)]
        fees = Decimal(sum(fills.fee.tolist())).scaleb(-MONEY_SCALE)
        received = Decimal(sum(funding.tolist()) if funding is not None else 0)
        received = received.scaleb(-MONEY_SCALE)
        return Attribution(
            spread=parts[0], adverse=parts[1], inventory=parts[2], unattributed=parts[3],
            fees=fees, funding=received, total=sum(parts, Decimal(0)) - fees + received,
            position=instrument.qty_decimal(position), marked=marked, fills=len(fills.ts),
            beyond=counts[0], unknown=counts[1], without_mid=counts[2],
        )  # fmt: skip
