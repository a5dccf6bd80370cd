"""Our books against the venue's while we trade: after every audit, never silently adopted.

A venue's numbers and ours are read at different moments, so one look proves nothing: a fill may be
on its way. What two looks show alike, with every fill asked for again in between, is a difference.
It lets no new risk through until it is gone, and a person hears of it when it comes and when it
goes. On an account that others use too, wallets may move without us; there they are told only.
"""

import asyncio
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from alephtx.core.clock import Clock
from alephtx.core.errors import VenueError
from alephtx.core.log import logger
from alephtx.execution.gateway import Gateway
from alephtx.execution.orders import CONTRADICTION, MISSING_FILLS, NOT_FOUND_KNOWN, RESURRECTED
from alephtx.execution.standing import DIFFERENT
from alephtx.ledger.book import Ledger

log = logger("engine")

LOOK_AGAIN_NS = 5_000_000_000
"""How long a report may be on its way before a difference is more than that."""

FURTHER_NS = 600_000_000_000
"""How much further back than known the second look asks for fills."""

SETTLE_NS = 50_000_000
QUIET_TRIES = 5
AUDIT_AGAIN_NS = 10_000_000_000


class Books:
    """Compares one account. follow(): brings the ledger up to the journal's end."""

    def __init__(
        self,
        gateway: Gateway,
        ledger: Ledger,
        clock: Clock,
        follow: Callable[[], None],
    ) -> None:
        self.gateway = gateway
        self.ledger = ledger
        self.clock = clock
        self.looks = 0
        self._follow = follow
        self._told: set[str] = set()

    async def reconcile(self) -> None:
        """Compare, and close or open the account by it; VenueError when the venue is silent."""
        first = await self._look()
        if first:
            await self.clock.sleep(LOOK_AGAIN_NS)
            truth = self.gateway.truth
            await truth.fetch_fills(truth.traded, truth.since_ns - FURTHER_NS)
            second = await self._look()
            first = None if second is None else first & second
        if first is None:
            log.info("books_not_compared", account=self.gateway.account, why="too much moves")
        elif first:
            self._differ(first)
        else:
            self._told.clear()
            self.gateway.standing.lift(DIFFERENT)

    async def _look(self) -> set[tuple[str, Decimal]] | None:
        """Return what differs by how much; None when no quiet moment could be found."""
        for _ in range(QUIET_TRIES):
            if any(order.doubt for order in self.gateway.live.values()):
                await self.clock.sleep(SETTLE_NS)
                continue  # what it did is being asked for
            seen = self._moved()
            await self.gateway.truth.refresh()
            await self.clock.sleep(SETTLE_NS)
            self._follow()
            if self._moved() != seen:
                continue
            self.looks += 1
            account = self.gateway.account
            found = self.ledger.compare(account, self.gateway.balances, self.gateway.holdings)
            return {(difference.what, difference.venue - difference.ours) for difference in found}
        return None

    def _moved(self) -> tuple[int, int]:
        """Return what changes when money moves."""
        return self.gateway.inbox.fills, self.gateway.inbox.payments

    def _differ(self, found: set[tuple[str, Decimal]]) -> None:
        instruments = self.ledger.instruments
        ours = {instruments[i].key for i in self.gateway.truth.traded}
        text = ", ".join(f"{what} by {gap:f}" for what, gap in sorted(found))
        if self.gateway.exclusive or any(what in ours for what, _ in found):
            self.gateway.standing.block(DIFFERENT, text)
            self.gateway.audit_within(AUDIT_AGAIN_NS)
            return
        self.gateway.standing.lift(DIFFERENT)
        if new := {what for what, _ in found} - self._told:
            self._told |= new
            log.warning("shared_account_moved", account=self.gateway.account, differences=text)


def answer(gateway: Any, outcome: Any) -> str:
    """Act on what the order table found odd; returns the alarm's text, empty where it is none.

    outcome: an OUTCOME row. Fills that are missing are asked for, and so is an order whose reports
    contradict each other; what the venue answers to a question is believed.
    """
    code, order_id = int(outcome["code"]), int(outcome["order_id"])
    if code == MISSING_FILLS:
        gateway.fetch_fills_soon(int(outcome["instrument"]))
        return ""
    if isinstance(gateway, Gateway) and code in (CONTRADICTION, NOT_FOUND_KNOWN, RESURRECTED):
        gateway.question(order_id, int(outcome["instrument"]))
    return f"order {order_id}: code {code}"


def keep_books(
    session: Any, gateway: Gateway, follow: Callable[[], None], *, exclusive: bool
) -> None:
    """Compare an account of an engine.session.Session after every audit; alarms go to its list."""
    gateway.exclusive = exclusive
    gateway.standing.on_alarm = session.alarms.append
    books = Books(gateway, session.ledger, session.clock, follow)
    gateway.on_audited = books.reconcile


async def agree(gateways: Iterable[Any]) -> None:
    """Compare every account once before strategies begin; one that differs begins closed."""
    audited = [gateway for gateway in gateways if isinstance(gateway, Gateway)]
    await asyncio.gather(*(_agree(gateway) for gateway in audited))


async def _agree(gateway: Gateway) -> None:
    try:
        await gateway.on_audited()
    except VenueError as error:
        log.warning("books_not_compared", account=gateway.account, why=str(error))
        gateway.audit_within(0)


def lift(gateways: Iterable[Any]) -> None:
    """Open accounts that a foreign order or the venue's force had closed: a person looked."""
    for gateway in gateways:
        if isinstance(gateway, Gateway):
            gateway.lift()
