"""Why a session and its replay differ: orders paired, every difference given a cause and a sum.

Two steps lie between them. At the venue: the session's very orders, put before a simulated venue
when they arrived, came to something else. By decision: the strategies, deciding for themselves in
the replay, sent something else, or sent it at another time. A cause is shown by experiment or by
the recording, never assumed:

latency       the orders arriving earlier or later, within what the stamps leave open, come to what
              the session's did; or a replay that hears later, as late as the engine did, decides as
              the session did, or at least no more as the replay did: the moment was decisive
queue         the market traded at our price and not through it: our place in the queue decides
missing_data  the recording is broken there, or shows nothing that could have filled us
fee, funding  the venue booked another amount for the same fill, or the same position
operations    a person, a command or a broken connection
unexplained   none of these; said, and counted

What follows from a difference has its cause, until both sides hold the same and decide the same.
The sums are exact: session less replay is the sum of all differences.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

import msgspec

from alephtx.analysis.story import Fill, OrderLine
from alephtx.core.words import BUY, MAKER, REJECTED

CAUSES = (
    "latency", "queue", "missing_data", "fee", "funding", "operations", "unexplained",
)  # fmt: skip
WINDOW_NS = 500_000_000
"""How far apart two decisions may lie that are taken for the same."""
PROOF_NS = 100_000_000
"""How far a replay that proves may decide from what it proves: a pause between two quotes."""
FOLLOWS = "it follows from the difference before it"
NEAREST = 8
"""Orders of the other side that are looked at for each."""

Money = dict[str, Decimal]
Outcome = tuple[tuple[tuple[int, int, int], ...], bool]
"""What an order came to: ((price, liquidity, lots), ...) in order, and whether it was refused."""


class Orders(NamedTuple):
    """One side's orders by id, and their fills by order id; 0 holds fills of no order of ours."""

    orders: dict[int, OrderLine]
    fills: dict[int, list[Fill]]

    @classmethod
    def of(cls, orders: dict[int, OrderLine], fills: Iterable[Fill]) -> "Orders":
        """Sort fills by the order they belong to."""
        by_order: dict[int, list[Fill]] = defaultdict(list)
        for fill in fills:
            by_order[fill.order_id if fill.order_id in orders else 0].append(fill)
        return cls(orders, dict(by_order))

    def came_to(self, order_id: int) -> Outcome:
        """Return what an order came to."""
        lots: dict[tuple[int, int], int] = defaultdict(int)
        for fill in self.fills.get(order_id, ()):
            lots[fill.price, fill.liquidity] += fill.qty
        refused = self.orders[order_id].status == REJECTED and not lots
        return tuple((*key, qty) for key, qty in sorted(lots.items())), refused


class Reach(NamedTuple):
    """What the recorded market did to a price: printed at it, beyond it, stood across it."""

    at: bool
    through: bool
    across: bool


class Market(Protocol):
    """What the recording shows."""

    def reach(self, instrument: int, side: int, price: int, start: int, end: int) -> Reach:
        """Say what happened to an order's price from start to end, in the venue's time."""
        ...

    def broken(self, instrument: int, start: int, end: int) -> bool:
        """Say whether the recording has a hole there, or is over."""
        ...


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One order, fill or payment that differs. amount: session less replay, of currency.

    order_id: the session's order, 0 for none; replay_id: the replay's. ts: ns. fills: the
    session's fills and the replay's that it is about.
    """

    cause: str
    strategy: int
    instrument: int
    order_id: int
    replay_id: int
    ts: int
    what: str
    proof: str
    amount: Decimal
    currency: str
    fills: tuple[int, int] = (0, 0)


class Valued(Protocol):
    """What fills are worth."""

    def worth(self, fill: Fill) -> Decimal:
        """Return what a fill gained until the last mark, before fees."""
        ...

    def model_fee(self, fill: Fill) -> Decimal:
        """Return the fee that the replay would ask for it."""
        ...

    def currency(self, instrument: int) -> str:
        """Return what it settles in."""
        ...


def net(fills: Sequence[Fill], valued: Valued) -> Decimal:
    """Return what fills came to with the fees that the replay asks."""
    return sum((valued.worth(f) - valued.model_fee(f) for f in fills), Decimal(0))


# -- at the venue ------------------------------------------------------------------------------


class AtVenue(NamedTuple):
    """The session, and its orders at a simulated venue: as stamped, and a little off."""

    session: Orders
    told: Orders
    variants: dict[str, Orders]
    market: Market
    valued: Valued
    spans: dict[int, tuple[int, int]]
    """From when to when each order can have been at the venue, in its time."""


def at_venue(given: AtVenue) -> list[Difference]:
    """Return what the session's orders came to otherwise at the simulated venue."""
    found = []
    for order_id, order in given.session.orders.items():
        was, told = given.session.came_to(order_id), given.told.came_to(order_id)
        if was == told:
            continue
        cause, proof = _venue_cause(given, order, was, told)
        fills = given.session.fills.get(order_id, []), given.told.fills.get(order_id, [])
        found.append(
            Difference(
                cause=cause, proof=proof, strategy=order.strategy, instrument=order.instrument,
                order_id=order_id, replay_id=order_id,
                ts=min((fill.ts for part in fills for fill in part), default=order.ts_intent),
                what=f"{_order(order)} came to {_said(was)}, simulated to {_said(told)}",
                amount=net(fills[0], given.valued) - net(fills[1], given.valued),
                currency=given.valued.currency(order.instrument),
                fills=(len(fills[0]), len(fills[1])),
            )
        )  # fmt: skip
    return found


def _venue_cause(given: AtVenue, order: OrderLine, was: Outcome, told: Outcome) -> tuple[str, str]:
    order_id, (start, end) = order.order_id, given.spans[order.order_id]
    for name, variant in given.variants.items():
        if variant.came_to(order_id) == was:
            return "latency", f"it comes to the same: {name}"
    if given.market.broken(order.instrument, start, end):
        return "missing_data", "the recording is broken while it was at the venue"
    if was[1] or told[1]:
        return "unexplained", "refused by one of the two, whatever its arrival"
    takers = [lots for lots in (*was[0], *told[0]) if lots[1] != MAKER]
    if takers:
        return "unexplained", "it took from another book, whatever its arrival"
    seen = given.market.reach(order.instrument, order.side, order.price, start, end)
    if seen.through or seen.across:
        if sum(lots[2] for lots in was[0]) > sum(lots[2] for lots in told[0]):
            return "queue", "the market stood across its price: how much of it, the queue decides"
        return "unexplained", "the market went through its price and did not fill it"
    if seen.at:
        return "queue", "the market traded at its price: its place in the queue decides"
    return "missing_data", "nothing in the recording reaches its price"


def fee_differences(session: Orders, valued: Valued, names: Sequence[str]) -> list[Difference]:
    """Return where the venue took another fee than the replay would, for the same fill."""
    found = []
    for order_id, fills in session.fills.items():
        for fill in fills:
            own, asked = valued.currency(fill.instrument), valued.model_fee(fill)
            paid, currency = Decimal(fill.fee).scaleb(-8), names[fill.fee_currency]
            parts = {own: asked}
            parts[currency] = parts.get(currency, Decimal(0)) - paid
            for name, amount in parts.items():
                if amount:
                    found.append(
                        Difference(
                            cause="fee", strategy=fill.strategy, instrument=fill.instrument,
                            order_id=order_id, replay_id=0, ts=fill.ts,
                            what=f"paid {paid} {currency}, the instrument's rate asks {asked}",
                            proof="the same fill", amount=amount, currency=name,
                        )
                    )  # fmt: skip
    return found


def foreign_fills(session: Orders, valued: Valued) -> list[Difference]:
    """Return the fills of the account that no strategy's order made."""
    return [
        Difference(
            cause="operations", strategy=-1, instrument=fill.instrument, order_id=fill.order_id,
            replay_id=0, ts=fill.ts, what=f"{fill.qty} lots at {fill.price} of no order of ours",
            proof="a person's order, or the venue's own", amount=net([fill], valued),
            currency=valued.currency(fill.instrument), fills=(1, 0),
        )
        for fill in session.fills.get(0, ())
    ]  # fmt: skip


# -- by decision -------------------------------------------------------------------------------

Pair = tuple[OrderLine | None, OrderLine | None]


def decided(order: OrderLine) -> tuple[int, ...]:
    """Return what a decision is, without its time."""
    return (
        order.strategy, order.account, order.instrument, order.side, order.type, order.tif,
        order.flags, order.price, order.qty,
    )  # fmt: skip


Decisions = dict[tuple[int, ...], list[int]]
"""The times of each decision, rising."""


def decisions_of(orders: Iterable[OrderLine]) -> Decisions:
    """Return when each decision was taken."""
    found: Decisions = defaultdict(list)
    for order in sorted(orders, key=lambda order: order.ts_intent):
        found[decided(order)].append(order.ts_intent)
    return dict(found)


def pair(ours: Iterable[OrderLine], theirs: Iterable[OrderLine]) -> list[Pair]:
    """Pair orders of the same strategy, account, instrument and side that were decided together.

    Same decisions first, nearest in time first; each order once; the rest stands alone.
    """
    groups: dict[tuple[int, ...], tuple[list[OrderLine], list[OrderLine]]] = {}
    for which, orders in enumerate((ours, theirs)):
        for order in orders:
            groups.setdefault(decided(order)[:4], ([], []))[which].append(order)
    pairs: list[Pair] = []
    for mine, other in groups.values():
        pairs += _pair(mine, other)
    return sorted(pairs, key=_when)


def _pair(mine: list[OrderLine], other: list[OrderLine]) -> list[Pair]:
    other = sorted(other, key=lambda order: order.ts_intent)
    times = [order.ts_intent for order in other]
    chances = []
    for k, order in enumerate(mine):
        at = bisect_left(times, order.ts_intent)
        for m in range(max(0, at - NEAREST), min(len(other), at + NEAREST)):
            apart = abs(times[m] - order.ts_intent)
            if apart <= WINDOW_NS:
                chances.append((decided(order) != decided(other[m]), apart, k, m))
    taken: dict[int, int] = {}
    used: set[int] = set()
    for _, _, k, m in sorted(chances):
        if k not in taken and m not in used:
            taken[k] = m
            used.add(m)
    pairs: list[Pair] = [
        (order, other[taken[k]] if k in taken else None) for k, order in enumerate(mine)
    ]
    return pairs + [(None, order) for m, order in enumerate(other) if m not in used]


def _when(pair: Pair) -> int:
    return min(order.ts_intent for order in pair if order is not None)


class ByDecision(NamedTuple):
    """The session's orders at the simulated venue, and the replay's own."""

    told: Orders
    replay: Orders
    late: Sequence["Decisions"]
    """Of replays that heard everything later, as the engine did."""
    valued: Valued
    blocked: Callable[[int], bool]
    """Whether something kept the session from trading at a time."""


def by_decision(given: ByDecision, before: Sequence[Difference]) -> list[Difference]:
    """Return what strategies decided otherwise in the replay. before: differences at the venue."""
    pairs = pair(given.told.orders.values(), given.replay.orders.values())
    roots: dict[int, str] = {}
    waiting = sorted(before, key=lambda difference: difference.ts)
    held: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
    moves = sorted(_moves(given), key=lambda move: move[0])
    found, at, moved = [], 0, 0
    for ours, theirs in pairs:
        now = _when((ours, theirs))
        while at < len(waiting) and waiting[at].ts <= now:
            roots[waiting[at].strategy] = waiting[at].cause
            at += 1
        while moved < len(moves) and moves[moved][0] <= now:
            _, which, strategy, i, lots = moves[moved]
            held[strategy, i][which] += lots
            moved += 1
        strategy = (ours or theirs).strategy  # type: ignore[union-attr]  # one of them is there
        if _same(given, ours, theirs):
            level = all(mine == other for (s, _), (mine, other) in held.items() if s == strategy)
            if level:
                roots.pop(strategy, None)
            continue
        cause, proof = _decision_cause(given, ours, theirs, roots.get(strategy, ""), now)
        if roots.get(strategy) != "unexplained":  # that stays until both are level again
            roots[strategy] = cause
        found.append(_decision(given, ours, theirs, cause, proof))
    return found


def _moves(given: ByDecision) -> Iterable[tuple[int, int, int, int, int]]:
    """Yield (time, side, strategy, instrument, lots) of every fill."""
    for which, orders in enumerate((given.told, given.replay)):
        for fills in orders.fills.values():
            for fill in fills:
                strategy = orders.orders[fill.order_id].strategy
                yield fill.ts, which, strategy, fill.instrument, fill.side * fill.qty


def _same(given: ByDecision, ours: OrderLine | None, theirs: OrderLine | None) -> bool:
    if ours is None or theirs is None or decided(ours) != decided(theirs):
        return False
    return given.told.came_to(ours.order_id) == given.replay.came_to(theirs.order_id)


def _decision_cause(
    given: ByDecision, ours: OrderLine | None, theirs: OrderLine | None, root: str, now: int
) -> tuple[str, str]:
    if given.blocked(now):
        return "operations", "the session was halted, commanded or out of touch then"
    if ours is not None and theirs is not None and decided(ours) == decided(theirs):
        apart = ours.ts_intent - theirs.ts_intent
        if apart or ours.ts_cancel != theirs.ts_cancel:
            return "latency", f"decided {_ms(apart)} from the replay, or cancelled at another time"
        return "unexplained", "decided at the same times, yet filled otherwise"
    if ours is not None and any(_takes(late, ours) for late in given.late):
        return "latency", "a replay that hears as late as the engine did decides the same"
    if root == "unexplained":
        return root, FOLLOWS
    if theirs is not None and not all(_takes(late, theirs) for late in given.late):
        return "latency", "a replay that hears as late as the engine did decides otherwise, too"
    if root:
        return root, FOLLOWS
    return "unexplained", "decided otherwise, however late the replay hears"


def _takes(late: Decisions, order: OrderLine) -> bool:
    """Say whether a replay took a decision at about the same time."""
    times = late.get(decided(order), [])
    at = bisect_left(times, order.ts_intent - PROOF_NS)
    return at < len(times) and times[at] <= order.ts_intent + PROOF_NS


def _decision(
    given: ByDecision, ours: OrderLine | None, theirs: OrderLine | None, cause: str, proof: str
) -> Difference:
    order = ours or theirs
    assert order is not None
    mine = given.told.fills.get(ours.order_id, []) if ours else []
    other = given.replay.fills.get(theirs.order_id, []) if theirs else []
    said = f"{_order(ours)} in the session" if ours else "nothing in the session"
    said += f", {_order(theirs)} in the replay" if theirs else ", nothing in the replay"
    return Difference(
        cause=cause, proof=proof, strategy=order.strategy, instrument=order.instrument,
        order_id=ours.order_id if ours else 0, replay_id=theirs.order_id if theirs else 0,
        ts=order.ts_intent, what=said, currency=given.valued.currency(order.instrument),
        amount=net(mine, given.valued) - net(other, given.valued), fills=(len(mine), len(other)),
    )  # fmt: skip


# -- together ----------------------------------------------------------------------------------


class Cause(msgspec.Struct, kw_only=True):
    """How much of the difference a cause makes."""

    differences: int = 0
    amount: Money = {}


def causes_of(differences: Iterable[Difference]) -> dict[str, Cause]:
    """Add differences up by cause; every cause is there."""
    causes = {name: Cause(amount={}) for name in CAUSES}
    for one in differences:
        cause = causes[one.cause]
        cause.differences += 1
        cause.amount[one.currency] = cause.amount.get(one.currency, Decimal(0)) + one.amount
    return causes


def explained(differences: Sequence[Difference], fills: int) -> tuple[float, float]:
    """Return the shares of fills and of P&L difference that have a cause. fills: of both sides.

    Of P&L the least share of any currency: amounts of two add up to nothing.
    """
    whole: Money = defaultdict(Decimal)
    rest: Money = defaultdict(Decimal)
    unknown = 0
    for one in differences:
        whole[one.currency] += abs(one.amount)
        if one.cause == "unexplained":
            rest[one.currency] += abs(one.amount)
            unknown += sum(one.fills)
    shares = [float(1 - rest[name] / total) for name, total in whole.items() if total]
    return (1.0 - unknown / fills if fills else 1.0), min(shares, default=1.0)


def _order(order: OrderLine) -> str:
    return f"{'buy' if order.side == BUY else 'sell'} {order.qty} at {order.price}"


def _said(outcome: Outcome) -> str:
    lots, refused = outcome
    if refused:
        return "a refusal"
    return ", ".join(f"{qty} at {price}" for price, _, qty in lots) or "no fill"


def _ms(ns: int) -> str:
    return f"{ns / 1e6:+.3f} ms"
