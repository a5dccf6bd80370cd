"""The venue's words in: each row gets its order, is noted, and goes to the account's ring.

Nothing here asks or sends. The engine's loop is the only writer of state; what is kept here is the
little that the way to the venue needs: which orders are not known to be over, and which order is
behind a venue's own id. A fill that names only the venue's id waits until the id is known.
"""

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from alephtx.core import words
from alephtx.core.clock import Clock
from alephtx.core.identity import is_killers, split_order_id
from alephtx.core.log import logger
from alephtx.core.ports import Rows
from alephtx.core.records import UPDATE, blank

log = logger("gateway")

ORPHAN_NS = 5_000_000_000
"""How long a fill may wait for its order's id before it is held for somebody else's."""

NOBODYS_NS = 500_000_000
"""The same where every order of ours has its id: frames may still be out of order."""

ENDING = (words.CANCEL_ACK, words.EXPIRE, words.REJECT)
MONEY = (words.FUNDING_PAID, words.MONEY_MOVED)
WITHOUT_ORDER = (*MONEY, words.RESYNC_BEGIN, words.RESYNC_END)
LOST_KEPT_MAX = 4_096
FILLS_KEPT_MAX = 65_536

PROOFS = (words.ACK, words.FILL, words.REPLACE_ACK, words.ORDER_STATE)


def is_fill(row: Rows) -> bool:
    """Say whether a FILL row can be one: the books would refuse it otherwise."""
    fill = row[0]
    return bool(
        abs(int(fill["side"])) == 1 and fill["price"] > 0 and fill["qty"] > 0 and fill["trade_id"]
    )


class LiveOrder(msgspec.Struct):
    """An order that is not known to be over. sent_ns: 0 while it waits for its rate budget.

    doubt: it is being asked for. withdrawn: cancelled before it was sent, so it never will be.
    heard_ns: when the venue last said that it is there. taken_back: the venue did not know it and
    was sent a cancel, in case it is late. refusals: of its cancels so far; cancel_at_ns: monotonic
    time before which the next one stays with us. filled: lots known to be filled.
    """

    order_id: int
    instrument: int
    sent_ns: int
    venue_order_id: int = 0
    doubt: bool = False
    misses: int = 0
    withdrawn: bool = False
    heard_ns: int = 0
    taken_back: bool = False
    refusals: int = 0
    cancel_at_ns: int = 0
    filled: int = 0


class Inbox:
    """What one account heard. push: appends one UPDATE row to the account's ring, False when full.

    lost: orders that the venue did not know when their time to arrive was over; one that shows up
    all the same is live again and handed to on_revived(order_id, instrument).
    explaining: it is being asked whether unclaimed fills are of orders given up; they wait for the
    answer. explained_ns: when the last such question that was answered began. on_orphans(): ask.
    on_spoilt(): a fill came that can be none; ask for it.
    engine: our number, -1 where every order id counts as ours. on_foreign(text): a fill of somebody
    else's; it is passed on without an order, for the account's books.
    opened_ns: since when the ledger counts, 0 = not yet. What happened before is in the opening
    balances already: fills of another run's orders, and funding.
    """

    def __init__(self, account: int, clock: Clock, push: Callable[[Rows], bool]) -> None:
        self.account = account
        self.clock = clock
        self.live: dict[int, LiveOrder] = {}
        self.lost: dict[int, LiveOrder] = {}
        self.by_venue_id: dict[int, int] = {}
        self.on_revived: Callable[[int, int], None] = lambda order_id, instrument: None
        self.on_foreign: Callable[[str], None] = lambda text: None
        self.on_spoilt: Callable[[], None] = lambda: None
        self.engine = -1
        self.on_orphans: Callable[[], None] = lambda: None
        self.explaining = False
        self.explained_ns = -1
        self.opened_ns = 0
        self.foreign = 0
        self.fills = self.payments = 0
        self._push_row = push
        self._passed_on: dict[tuple[int, int], None] = {}
        self._orphans: deque[tuple[int, Rows]] = deque()
        self._backlog: deque[Rows] = deque()

    def blank(self, kind: int, order_id: int = 0, instrument: int = 0) -> Rows:
        """Return an UPDATE row of our own."""
        row = blank(UPDATE)
        row["kind"], row["order_id"], row["cum_qty"] = kind, order_id, -1
        row["account"], row["instrument"] = self.account, max(instrument, 0)
        row["ts_recv"] = self.clock.now()
        return row

    def push(self, row: Rows) -> None:
        """Hand a row to the loop; what finds the ring full waits, and nothing overtakes it."""
        if self._backlog or not self._push_row(row):
            self._backlog.append(row)

    def learn(self, row: Rows) -> None:
        """Note which order is behind a venue's id, and let the fills go that waited for it."""
        order_id, venue_id = int(row[0]["order_id"]), int(row[0]["venue_order_id"])
        if not order_id or not venue_id or venue_id in self.by_venue_id:
            return
        self.by_venue_id[venue_id] = order_id
        waiting, self._orphans = self._orphans, deque()
        for since, orphan in waiting:
            if orphan[0]["venue_order_id"] == venue_id:
                self.accept(orphan)
            else:
                self._orphans.append((since, orphan))

    def orphaned(self) -> set[int]:
        """Return the instruments of fills whose order is not known."""
        return {int(row[0]["instrument"]) for _, row in self._orphans}

    def accept(self, row: Rows) -> None:
        """Give a row its order id and pass it on."""
        row["account"] = self.account
        if row[0]["ts_recv"] == 0:
            row["ts_recv"] = self.clock.now()
        self.learn(row)
        kind, venue_id = int(row[0]["kind"]), int(row[0]["venue_order_id"])
        order_id = int(row[0]["order_id"]) or self.by_venue_id.get(venue_id, 0)
        row["order_id"] = order_id
        if kind == words.FILL:
            if not self.opened_ns:
                return
            if not is_fill(row):
                # Noted as told, it would keep out the true one, which the venue is asked for.
                log.warning("fill_not_understood", account=self.account, venue_order_id=venue_id)
                self.on_spoilt()
                return
            if (int(row[0]["instrument"]), int(row[0]["trade_id"])) in self._passed_on:
                return
            ours = self.engine < 0 or split_order_id(order_id)[0] == self.engine
            if order_id and (not ours or is_killers(order_id)):
                self._book_foreign(row, ours=ours)
                return
            if not order_id:
                self._orphans.append((self.clock.monotonic(), row))
                return
            self._pass_on(row)
        elif kind in MONEY and not 0 < self.opened_ns <= row[0]["ts_event"]:
            return
        elif is_killers(order_id):
            return  # of its other reports nobody here is waiting for one
        self.payments += kind in MONEY
        self._note(row, order_id, venue_id)
        if order_id or kind in WITHOUT_ORDER:
            self.push(row)

    def _pass_on(self, row: Rows) -> None:
        """Note a fill as told; audits bring every fill again, and the journal need not."""
        self.known([(int(row[0]["instrument"]), int(row[0]["trade_id"]))])
        self.fills += 1

    def known(self, fills: Iterable[tuple[int, int]]) -> None:
        """Note fills, by instrument and trade id, that need not be told again."""
        for fill in fills:
            while len(self._passed_on) >= FILLS_KEPT_MAX:
                del self._passed_on[next(iter(self._passed_on))]
            self._passed_on[fill] = None

    def _book_foreign(self, row: Rows, *, ours: bool = False) -> None:
        """Pass on a fill of no strategy's order: the account's balances move by it too.

        ours: the killer's, closing what strategies hold; nobody is alarmed by it.
        """
        venue_id = int(row[0]["venue_order_id"])
        self._pass_on(row)
        row["order_id"], row["flags"] = 0, words.FOREIGN
        if not ours:
            self.foreign += 1
            log.warning("foreign_fill_seen", account=self.account, venue_order_id=venue_id)
            # The account closes first: a crash in between leaves a fill to be told, not a risk.
            self.on_foreign(f"fill {int(row[0]['trade_id'])} of order {venue_id}")
        self.push(row)

    def give_up(self, order: LiveOrder, row: Rows) -> None:
        """Pass on the NOT_FOUND of an order that never came, and remember it in case it does."""
        self.live.pop(order.order_id, None)
        while len(self.lost) >= LOST_KEPT_MAX:
            del self.lost[next(iter(self.lost))]
        self.lost[order.order_id] = order
        self.push(row)

    def _revive(self, order: LiveOrder) -> None:
        """Take up an order that came after it was given up: its strategy thinks it never was."""
        log.warning("lost_order_appeared", account=self.account, order_id=order.order_id)
        self.live[order.order_id] = order
        self.on_revived(order.order_id, order.instrument)

    def _note(self, row: Rows, order_id: int, venue_id: int) -> None:
        if row[0]["kind"] in PROOFS and (lost := self.lost.pop(order_id, None)) is not None:
            self._revive(lost)
        order = self.live.get(order_id)
        if order is None:
            return
        order.venue_order_id = venue_id or order.venue_order_id
        if row[0]["kind"] == words.FILL:
            order.filled += int(row[0]["qty"])
        if row[0]["kind"] in PROOFS:
            order.heard_ns = self.clock.now()
        if row[0]["status"] in words.TERMINAL or row[0]["kind"] in ENDING:
            del self.live[order_id]

    def _may_be_ours(self, row: Rows) -> bool:
        """Tell whether an order of ours is there whose id at the venue is not known yet."""
        i = int(row[0]["instrument"])
        return bool(self.lost) or any(
            order.instrument == i and not order.venue_order_id for order in self.live.values()
        )

    def sweep(self) -> None:
        """Push what waited for room, and give up on fills that nobody's order came for."""
        while self._backlog and self._push_row(self._backlog[0]):
            self._backlog.popleft()
        now = self.clock.monotonic()
        while not self.explaining and self._orphans:
            since, row = self._orphans[0]
            if now - since <= (ORPHAN_NS if self._may_be_ours(row) else NOBODYS_NS):
                return
            if self.lost and self.explained_ns < since:
                self.on_orphans()
                return
            self._orphans.popleft()
            if row[0]["ts_event"] < self.opened_ns:
                continue  # of an earlier run: the opening balances hold it
            self._book_foreign(row)
