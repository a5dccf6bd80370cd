"""`compare(session)`: a recorded session and its replay, every difference with its cause."""

from collections.abc import Callable
from decimal import Decimal
from itertools import product

import msgspec
import numpy as np

from alephtx.analysis.parity import (
    AtVenue,
    ByDecision,
    Cause,
    Difference,
    Money,
    Orders,
    at_venue,
    by_decision,
    causes_of,
    decisions_of,
    explained,
    fee_differences,
    foreign_fills,
)
from alephtx.analysis.story import Fill
from alephtx.core import words
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Rows
from alephtx.core.units import CEIL, MONEY_SCALE, OVERFLOW, mul_div_checked, notional
from alephtx.engine.parity.replays import Recorded, decide, tell
from alephtx.engine.parity.session import Session
from alephtx.engine.parity.stamps import Stamps, read_stamps
from alephtx.ledger.cost import mark_value

ORDERS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, -0.5, -1.0)
CANCELS = (0.5, 0.0, 1.0, 2.0, -1.0)
"""Where in what the stamps leave open arrivals are tried, see `stamps.Arrival.at`."""
LATE_STEPS = 8
"""How many lags of the engine are tried, for the market, for reports, and for both."""


class Side(msgspec.Struct, kw_only=True):
    """What one of the two came to. pnl: gain until the last mark, fees and funding included."""

    orders: int
    fills: int
    lots: int
    pnl: Money
    fees: Money
    funding: Money


class Parity(msgspec.Struct, kw_only=True):
    """A session and its replay. Shares are of fills, and of the sums of all differences.

    late_ns: how much later the replays heard that show what latency does. same: orders that both
    decided and that came to the same.
    """

    run: str
    mode: str
    rows: int
    span_ns: int
    session: Side
    replay: Side
    same: int
    causes: dict[str, Cause]
    explained_fills: float
    explained_pnl: float
    late_ns: list[int]
    clock_shift_ns: int
    differences: list[Difference]
    notes: list[str]


def compare(session: Session, queue: str = "risk_averse") -> Parity:
    """Replay a session with its own stamps and say why the replay differs. See `analysis.parity`.

    The whole market is in memory: 48 bytes a row. About seventy replays are run.
    """
    stamps = read_stamps(session)
    market = Recorded(session)
    valued = Values(session.instruments, market.tops, session.instruments.currencies)
    was = Orders.of(session.story.orders, session.story.fills)
    told = tell(session, stamps, queue)
    variants = {
        f"the order {place:.0%}, its cancel {end:.0%} into what the stamps leave open":
        tell(session, stamps, queue, place, end)
        for place, end in product(ORDERS, CANCELS)
    }  # fmt: skip
    lags = late_of(stamps)
    usual = int(np.median(stamps.lag_ns)) if stamps.lag_ns else 0
    own = decide(session, stamps, queue, usual, usual)
    both = [(ns * feed, ns * told) for ns in lags for feed, told in ((1, 1), (1, 0), (0, 1))]
    late = [decisions_of(decide(session, stamps, queue, *ns).orders.values()) for ns in both]
    venue = at_venue(AtVenue(was, told, variants, market, valued, stamps.spans))
    found = [
        *venue,
        *by_decision(ByDecision(told, own, late, valued, _blocked(session)), venue),
        *fee_differences(was, valued, session.instruments.currencies),
        *foreign_fills(was, valued),
        *_funding(session),
    ]
    return _parity(session, stamps, was, own, found, valued, lags)


def late_of(stamps: Stamps) -> list[int]:
    """Return how much later than it was stamped the engine heard things, from quick to slow."""
    if not stamps.lag_ns:
        return []
    shares = np.linspace(0, 1, LATE_STEPS)
    quantiles = [int(np.quantile(stamps.lag_ns, share)) for share in shares]
    return sorted({*quantiles, *(int(share * stamps.lag_ns[-1]) for share in shares)})


def _parity(
    session: Session, stamps: Stamps, was: Orders, own: Orders, found: list[Difference],
    valued: "Values", lags: list[int],
) -> Parity:  # fmt: skip
    ours, theirs = _side(session, was, valued), _side(session, own, valued, replayed=True)
    fills, pnl = explained(found, ours.fills + theirs.fills)
    differing = {one.order_id for one in found if one.order_id and one.cause != "fee"}
    return Parity(
        run=session.run, mode=session.mode, rows=sum(map(len, session.tapes)),
        span_ns=session.ended_ns - session.started_ns, session=ours, replay=theirs,
        same=len(was.orders.keys() - differing), causes=causes_of(found),
        explained_fills=fills, explained_pnl=pnl, late_ns=lags, clock_shift_ns=stamps.shift_ns,
        differences=sorted(found, key=lambda one: one.ts), notes=session.notes,
    )  # fmt: skip


def _side(session: Session, orders: Orders, valued: "Values", *, replayed: bool = False) -> Side:
    pnl, fees, funding = Total(), Total(), Total()
    flat = [fill for fills in orders.fills.values() for fill in fills]
    names = session.instruments.currencies
    for fill in flat:
        pnl.add(valued.currency(fill.instrument), valued.worth(fill))
        fee = valued.model_fee(fill) if replayed else Decimal(fill.fee).scaleb(-MONEY_SCALE)
        fees.add(valued.currency(fill.instrument) if replayed else names[fill.fee_currency], fee)
    if not replayed:
        for one in _funding(session):
            funding.add(one.currency, one.amount)
    for name, paid in fees.sums.items():
        pnl.add(name, -paid)
    for name, got in funding.sums.items():
        pnl.add(name, got)
    return Side(
        orders=len(orders.orders), fills=len(flat), lots=sum(fill.qty for fill in flat),
        pnl=pnl.sums, fees=fees.sums, funding=funding.sums,
    )  # fmt: skip


class Total:
    """Sums by currency."""

    def __init__(self) -> None:
        self.sums: Money = {}

    def add(self, currency: str, amount: Decimal) -> None:
        """Add an amount."""
        self.sums[currency] = self.sums.get(currency, Decimal(0)) + amount


class Values:
    """Marks fills at the last middle of the recording; fees as the replay takes them."""

    def __init__(self, instruments: Instruments, tops: list[Rows], currencies: list[str]) -> None:
        self._instruments, self._rows = instruments, instruments.rows()
        self._currencies = currencies
        self._marks = [_last_middle(one) for one in tops]

    def worth(self, fill: Fill) -> Decimal:
        """Return what a fill gained until the last middle, before fees."""
        instrument = self._instruments[fill.instrument]
        lots, mark = fill.side * fill.qty, self._marks[fill.instrument]
        if mark is None:
            return Decimal(0)
        unit = Decimal(1).scaleb(-instrument.price_scale)
        gain = mark_value(instrument, mark * unit, lots)
        gain -= mark_value(instrument, fill.price * unit, lots)
        return -gain if instrument.inverse else gain

    def model_fee(self, fill: Fill) -> Decimal:
        """Return the fee that a simulated venue takes: rounded up, twice."""
        row = self._rows[fill.instrument : fill.instrument + 1]
        rate = row[0]["maker_fee_e8" if fill.liquidity == words.MAKER else "taker_fee_e8"]
        value = notional(row, fill.price, fill.qty, CEIL)
        fee = OVERFLOW if value == OVERFLOW else mul_div_checked(value, int(rate), 10**8, CEIL)
        return Decimal(int(fee)).scaleb(-MONEY_SCALE)

    def currency(self, instrument: int) -> str:
        """Return what an instrument settles in."""
        return self._instruments[instrument].settle


def _last_middle(tops: Rows) -> Decimal | None:
    known = tops[(tops["bid_qty"] > 0) & (tops["ask_qty"] > 0)]
    return Decimal(int(known[-1]["bid"]) + int(known[-1]["ask"])) / 2 if len(known) else None


def _blocked(session: Session) -> Callable[[int], bool]:
    def blocked(at: int) -> bool:
        return any(since <= at < until for since, until in session.blocked)

    return blocked


def _funding(session: Session) -> list[Difference]:
    """Return what the session was paid; the replay is paid nothing without a balance."""
    rows = session.updates[session.updates["kind"] == words.FUNDING_PAID]
    names = session.instruments.currencies
    return [
        Difference(
            cause="funding", strategy=-1, instrument=int(row["instrument"]), order_id=0,
            replay_id=0, ts=int(row["ts_event"]), what="funding of the session",
            proof="the replay's venue pays none", currency=names[int(row["fee_currency"])],
            amount=Decimal(int(row["realized"])).scaleb(-MONEY_SCALE),
        )
        for row in rows
    ]  # fmt: skip
