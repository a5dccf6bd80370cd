"""Tax lots: what was acquired and when, what it was disposed of for, and what that gained.

Listens to a ledger while it folds:

    lots = TaxLots(instruments, "fifo")
    Ledger(instruments, lots).fold(read("runs/latest/journal"))
    lots.disposals

FIFO: a row for each lot that a fill closes, oldest first. Average: the lots of a position are one
pool, acquired when the pool was opened. The gains of all rows sum to `Ledger.realized` of the same
method, to the unit. Fees are shared out by quantity and rounded to 10^-MONEY_SCALE; what rounding
leaves goes with the last lot, so that they too sum to what was paid.

Coins that a spot account held before the run have no lot here: what is sold of them is a short lot
until it is bought back, and who files taxes must bring their cost from elsewhere.
"""

from decimal import ROUND_HALF_UP, Decimal, localcontext

import msgspec

from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.units import MONEY_SCALE
from alephtx.ledger.book import Fill
from alephtx.ledger.cost import EXACT, MARKED, divide_nearest, fill_value, money
from alephtx.ledger.readings import Method, traded_currency

UNIT = Decimal(1).scaleb(-MONEY_SCALE)
Fees = dict[str, Decimal]


class OpenLot(msgspec.Struct):
    """Signed lots that are still held, their value in the unit of cost, and their fees."""

    lots: int
    value: int
    ts: int
    trade_id: int
    fees: Fees


class Disposal(msgspec.Struct, frozen=True, kw_only=True):
    """One closed lot. gain = proceeds - cost, before fees; all in the currency of the gain.

    A short lot was sold when it was acquired: its proceeds came first. Of an inverse contract cost
    and proceeds are coin values, which change places: more coin for the same contracts is a lower
    price. trade ids: 0 = held before the run, negative = a settlement. fees: by currency, of both
    ends.
    """

    account: int
    instrument: int
    short: bool
    acquired: int
    disposed: int
    lots: int
    proceeds: Decimal
    cost: Decimal
    gain: Decimal
    currency: str
    fees: Fees
    acquired_trade: int
    disposed_trade: int


class TaxLots:
    """The open lots of every account's instruments, and all disposals so far."""

    def __init__(self, instruments: Instruments, method: Method = "fifo") -> None:
        self.instruments = instruments
        self.method = method
        self.disposals: list[Disposal] = []
        self.open: dict[tuple[int, int], list[OpenLot]] = {}

    def taken_up(self, ts: int, account: int, instrument: int, lots: int, cost: int) -> None:
        """Take a position that was there before; its trade id is 0."""
        self._add(account, instrument, OpenLot(lots, cost, ts, 0, {}))

    def filled(self, fill: Fill) -> None:
        """Close lots of the other side, oldest first, and open one with the rest."""
        instrument = self.instruments[fill.instrument]
        queue = self.open.get((fill.account, fill.instrument), [])
        held = abs(sum(lot.lots for lot in queue)) if queue and queue[0].lots * fill.side < 0 else 0
        closed = min(fill.qty, held)
        fees = {fill.fee_currency: fill.fee} if fill.fee else {}
        if closed:
            leaving = _take_fees(fees, closed, fill.qty)
            value = fill_value(instrument, fill.price, -fill.side * closed)
            self._close(fill, queue, closed, value, leaving)
        if fill.qty > closed:
            lots = fill.side * (fill.qty - closed)
            value = fill_value(instrument, fill.price, lots)
            self._add(
                fill.account, fill.instrument, OpenLot(lots, value, fill.ts, fill.trade_id, fees)
            )

    def _add(self, account: int, i: int, lot: OpenLot) -> None:
        queue = self.open.setdefault((account, i), [])
        if self.method == "fifo" or not queue:
            queue.append(lot)
            return
        pool = queue[0]
        pool.lots += lot.lots
        pool.value += lot.value
        _merge(pool.fees, lot.fees)

    def _close(self, fill: Fill, queue: list[OpenLot], closed: int, value: int, fees: Fees) -> None:
        """Dispose of so many lots for a value, signed like what is held."""
        instrument = self.instruments[fill.instrument]
        while closed:
            lot = queue[0]
            taken = min(closed, abs(lot.lots))
            cost = divide_nearest(lot.value * taken, abs(lot.lots))
            part = divide_nearest(value * taken, closed)
            paid = _take_fees(lot.fees, taken, abs(lot.lots))
            _merge(paid, _take_fees(fees, taken, closed))
            self._dispose(fill, instrument, lot, taken, (cost, part), paid)
            lot.value -= cost
            lot.lots -= taken if lot.lots > 0 else -taken
            closed, value = closed - taken, value - part
            if lot.lots == 0:
                queue.pop(0)

    def _dispose(
        self, fill: Fill, instrument: Instrument, lot: OpenLot, taken: int,
        values: tuple[int, int], fees: Fees,
    ) -> None:  # fmt: skip
        """Write the row.

        values: (at the opening, at the close), signed like the lot, for no price is negative.
        """
        opened, ended = (abs(money(instrument, value)) for value in values)
        bought_first = (lot.lots > 0) != instrument.inverse
        cost, proceeds = (opened, ended) if bought_first else (ended, opened)
        with localcontext(EXACT):
            gain = proceeds - cost
        self.disposals.append(
            Disposal(
                account=fill.account, instrument=fill.instrument, short=lot.lots < 0,
                acquired=lot.ts, disposed=fill.ts, lots=taken, proceeds=proceeds, cost=cost,
                gain=gain, currency=traded_currency(instrument), fees=fees,
                acquired_trade=lot.trade_id, disposed_trade=fill.trade_id,
            )
        )  # fmt: skip


def _merge(into: Fees, fees: Fees) -> None:
    with localcontext(EXACT):
        for currency, amount in fees.items():
            into[currency] = into.get(currency, Decimal(0)) + amount


def _take_fees(fees: Fees, taken: int, whole: int) -> Fees:
    """Take the share of taken / whole out of fees, and return it."""
    found: Fees = {}
    for currency, amount in list(fees.items()):
        with localcontext(MARKED):
            share = (
                amount if taken == whole else (amount * taken / whole).quantize(UNIT, ROUND_HALF_UP)
            )
            fees[currency] = amount - share
        if not fees[currency]:
            del fees[currency]
        if share:
            found[currency] = share
    return found
