"""Our books against the venue's: what differs is asked for again, told, and never adopted."""

from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.errors import LedgerMismatch, VenueError
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Balance, Holding, What
from alephtx.engine.truth import (
    AUDIT_AGAIN_NS,
    LOOK_AGAIN_NS,
    Books,
    agree,
    answer,
    keep_books,
    lift,
)
from alephtx.execution.gateway import AUDIT_NS
from alephtx.execution.orders import (
    CONTRADICTION,
    MISSING_FILLS,
    NOT_FOUND_KNOWN,
    OUTCOME,
    OVERFILLED,
    RESURRECTED,
)
from alephtx.execution.standing import DIFFERENT, FOREIGN
from alephtx.ledger.book import NOBODY, Ledger
from tests.engine.bench import instrument
from tests.execution.toy import SECOND, World, balances, oid, row, says


class Account(World):
    """A toy account with its ledger, which hears what the loop would journal."""

    def __init__(self, *, exclusive=True):
        super().__init__(exclusive=exclusive)
        self.ledger = Ledger(Instruments([instrument("toy")]))
        self.alarms, self.read = [], 0
        self.gateway.standing.on_alarm = self.alarms.append
        self.books = Books(self.gateway, self.ledger, self.clock, self._follow)
        self.gateway.on_audited = self.books.reconcile

    def _follow(self):
        for told in self.ring[self.read :]:
            self.ledger.apply_update(told)
        self.read = len(self.ring)

    async def open(self):
        """Open with 100 USDT and long 5 lots."""
        await self.up()
        self.gateway.opened(self.clock.now())
        self.ledger.open_balances(
            0, [Balance("USDT", Decimal(100), Decimal(100))], [Holding(0, 5, Decimal(1))]
        )
        self.holds(5)
        return self

    def holds(self, lots, total="100"):
        """Let the venue state so many lots and so much money."""
        self.wire.answers[What.BALANCES] = balances(total)
        self.wire.answers[What.POSITIONS] = says(controls=[["positions", [[0, lots, "1"]], ""]])

    def blocked(self):
        return DIFFERENT in self.gateway.standing.reasons


@pytest.fixture
async def account():
    made = await Account().open()
    yield made
    await made.gateway.close()


async def test_equal_books_are_looked_at_once_and_nothing_is_said(account):
    await account.books.reconcile()
    assert (account.books.looks, account.alarms, account.blocked()) == (1, [], False)


async def test_every_audit_compares(account):
    await account.passes(2 * AUDIT_NS + SECOND)
    assert account.books.looks >= 1


@pytest.mark.parametrize(
    ("lots", "total", "gap"), [
        (8, "100", "toy:BTC-USDT by 0.00003"),  # a long larger at the venue
        (3, "100", "toy:BTC-USDT by -0.00002"),  # smaller
        (-5, "100", "toy:BTC-USDT by -0.00010"),  # on the other side
        (0, "100", "toy:BTC-USDT by -0.00005"),  # flat at the venue
        (5, "99.5", "USDT by -0.5"),
    ],
)  # fmt: skip
async def test_difference_that_stays_closes_the_account_and_is_not_adopted(
    account, lots, total, gap
):
    account.holds(lots, total)
    await account.books.reconcile()
    assert account.gateway.standing.reasons == {DIFFERENT: gap}
    (alarm,) = account.alarms
    assert gap in alarm
    assert account.kinds()[-1] == w.RESYNC_BEGIN
    assert account.ledger.position(0, 0) == 5
    assert account.ledger.balance(0, "USDT") == 100


async def test_difference_that_goes_opens_the_account_again(account):
    account.holds(8)
    await account.books.reconcile()
    account.holds(5)
    await account.passes(AUDIT_AGAIN_NS + LOOK_AGAIN_NS + 2 * SECOND)
    assert not account.blocked()
    assert account.kinds()[-1] == w.RESYNC_END
    assert len(account.alarms) == 2


async def test_fill_that_no_channel_told_is_found_by_the_second_look(account):
    """The fills are asked for once more and further back, before anything is said."""
    late = row(w.FILL, 1, venue_order_id=70, trade_id=5, qty=3, price=100, side=1)
    account.wire.answers[What.FILLS_SINCE] = says({**late, "ts_event": account.clock.now()})
    account.holds(8)
    await account.books.reconcile()
    assert (account.books.looks, account.alarms) == (2, [])
    assert account.ledger.position(0, 0) == 8


async def test_difference_that_changes_between_two_looks_is_not_one(account):
    """A report on its way: what the second look shows is not what the first did."""
    account.holds(8)
    looked = account.books._look

    async def look():
        found = await looked()
        account.holds(9)
        return found

    account.books._look = look
    await account.books.reconcile()
    assert not account.blocked()


async def test_no_verdict_while_money_moves(account):
    account.holds(8)
    take, number = account.wire.take, iter(range(1, 100))

    async def fill_comes(request, *, urgent):
        fill = row(w.FILL, 1, venue_order_id=70, trade_id=next(number), qty=1, price=1, side=1)
        account.frame(says(fill))
        await take(request, urgent=urgent)

    account.wire.take = fill_comes
    await account.books.reconcile()
    assert (account.books.looks, account.blocked()) == (0, False)


async def test_foreign_fill_is_booked_to_nobody_and_the_books_stay_equal(account):
    fill = row(w.FILL, 0, venue_order_id=70, trade_id=5, qty=3, price=100, side=1)
    account.frame(says({**fill, "ts_event": account.clock.now()}))
    account.holds(8)
    await account.passes(6 * SECOND)
    await account.books.reconcile()
    assert list(account.gateway.standing.reasons) == [FOREIGN]
    assert account.ledger.strategies[0, NOBODY, 0].qty == 3
    account.ledger.check()
    lift([account.gateway, object()])
    assert not account.gateway.standing.blocked


async def test_wallet_of_a_shared_account_may_move_without_us_its_contracts_not():
    account = await Account(exclusive=False).open()
    account.holds(5, "500")
    await account.books.reconcile()
    await account.books.reconcile()
    assert (account.alarms, account.blocked()) == ([], False)
    account.holds(6, "500")
    await account.books.reconcile()
    assert account.blocked()
    await account.gateway.close()


async def test_books_are_kept_of_an_account_of_the_session(account):
    """As the session binds it: after an audit, with alarms on the session's list."""
    session = SimpleNamespace(alarms=[], ledger=account.ledger, clock=account.clock)
    keep_books(session, account.gateway, account._follow, exclusive=True)
    account.holds(4)
    await account.passes(AUDIT_NS + LOOK_AGAIN_NS + 2 * SECOND)
    assert account.blocked()
    assert len(session.alarms) == 1


async def test_accounts_are_compared_before_strategies_begin(account):
    account.holds(4)
    await agree([account.gateway, object()])
    assert account.blocked()


async def test_venue_that_is_silent_at_the_start_is_asked_again(account):
    good = account.wire.answers[What.BALANCES]
    account.wire.answers[What.BALANCES] = VenueError("busy")
    await agree([account.gateway])
    account.wire.answers[What.BALANCES] = good
    await account.passes(2 * SECOND)
    await account.until(lambda: account.books.looks)
    assert not account.blocked()


def odd(code):
    outcome = np.zeros(1, OUTCOME)
    outcome["code"], outcome["order_id"] = code, oid(1)
    return outcome[0]


async def test_missing_fills_are_asked_for_without_an_alarm(account):
    assert answer(account.gateway, odd(MISSING_FILLS)) == ""
    await account.until(lambda: account.wire.whats()[-1] == What.FILLS_SINCE)


@pytest.mark.parametrize("code", [CONTRADICTION, NOT_FOUND_KNOWN, RESURRECTED])
async def test_contradictions_are_asked_for_and_alarmed(account, code):
    assert str(oid(1)) in answer(account.gateway, odd(code))
    await account.until(lambda: account.wire.whats()[-1] == What.ORDER)


async def test_overfill_is_alarmed_only(account):
    assert answer(account.gateway, odd(OVERFILLED))
    assert account.gateway.live == {}


async def test_fill_told_again_with_other_numbers_is_not_adopted(account):
    """The first telling stands; what the venue's books make of it shows as a difference."""
    fill = row(w.FILL, 1, venue_order_id=70, trade_id=5, qty=3, price=100, side=1, realized=0)
    account.frame(says(fill))
    account.frame(says({**fill, "realized": 500_000_000}))
    account.holds(8, "105")
    await account.books.reconcile()
    assert account.ledger.position(0, 0) == 8
    assert account.gateway.standing.reasons == {DIFFERENT: "USDT by 5"}


async def test_fee_in_a_currency_that_nobody_knows_stops_the_books(account):
    """A fee of zero would be a lie; the process ends and says why."""
    fill = row(w.FILL, 1, venue_order_id=70, trade_id=5, qty=3, price=100, side=1, fee=7)
    account.frame(says({**fill, "fee_currency": 99}))
    with pytest.raises(LedgerMismatch, match="currency 99"):
        await account.books.reconcile()


async def test_books_are_not_compared_while_an_order_is_in_doubt(account):
    account.holds(8)
    account.place(1)
    await account.until(lambda: account.gateway.live)
    account.gateway.live[oid(1)].doubt = True
    await account.books.reconcile()
    assert (account.books.looks, account.blocked()) == (0, False)
