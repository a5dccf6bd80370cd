"""Start-up is recovery: whatever moved while we were down, we end where the venue is."""

import json

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.ports import What
from alephtx.core.records import ORDER
from alephtx.execution import orders as o
from alephtx.execution.inbox import ORPHAN_NS, LiveOrder
from alephtx.execution.resync import HORIZON_NS
from alephtx.execution.standing import FOREIGN
from tests.execution.audit import audit_orders
from tests.execution.rows import intent
from tests.execution.toy import FIRST, SECOND, World, missing, oid, row, says

QTY = 10


class Restarted(World):
    """A gateway that takes up what a journal knew, over an order table folded from it."""

    def __init__(self):
        super().__init__(exclusive=True)
        self.table = o.make_order_table(1, 16, 16, instruments=1, accounts=1)
        self.out = np.zeros(1, o.OUTCOME)
        self.position = 0
        self.open, self.states, self.fills = [], {}, []
        self.left_off = self.clock.now()
        self.clock.advance(3_600 * SECOND)
        self.took = []

    def _push(self, pushed):
        if pushed[0]["order_id"]:
            o.orders_apply(self.table, pushed.copy(), self.out)
            self.position += int(self.out[0]["fill_qty"] * self.out[0]["side"])
        return super()._push(pushed)

    def knew(self, n, *, confirmed, filled=0):
        """The journal knows our n-th order, and how far it had come."""
        sent = self.left_off - SECOND
        assert o.orders_place(self.table, intent(oid(n), QTY), sent) == 0
        venue_id = 70 + n if confirmed else 0
        self.took.append(LiveOrder(oid(n), 0, sent, venue_id))
        if confirmed:
            self._known(row(w.ACK, n, venue_order_id=venue_id))
        if filled:
            self._known(self._fill(n, 100 + n, filled))

    def _known(self, fields):
        update = np.zeros(1, self.gateway.inbox.blank(w.ACK).dtype)
        update["cum_qty"] = -1
        for name, value in fields.items():
            update[name] = value
        o.orders_apply(self.table, update, self.out)
        self.position += int(self.out[0]["fill_qty"] * self.out[0]["side"])

    def _fill(self, n, trade_id, qty):
        return row(w.FILL, n, venue_order_id=70 + n, trade_id=trade_id, qty=qty, price=100,
                   side=w.BUY, ts_event=self.left_off + SECOND)  # fmt: skip

    def meanwhile(self, n, status, cum=0, *fills):
        """What the venue made of our n-th order; fills: lots that we did not hear of."""
        state = row(w.ORDER_STATE, n, venue_order_id=70 + n, status=status, cum_qty=cum)
        self.states[oid(n)] = says(state)
        if status in (w.NEW, w.PARTIALLY_FILLED):
            self.open.append(state)
        for k, qty in enumerate(fills):
            # Answers name the venue's id only, as those of venues do.
            self.fills.append({**self._fill(n, 1_000 * n + k, qty), "order_id": 0})

    async def up(self):
        answers = self.wire.answers
        answers[What.ORDERS], answers[What.FILLS_SINCE] = says(*self.open), says(*self.fills)
        answers[What.ORDER] = self._asked
        self.gateway.resume(
            self.took, {order.venue_order_id: order.order_id for order in self.took
                        if order.venue_order_id}, self.left_off,
        )  # fmt: skip
        self.gateway.opened(self.left_off - 10 * SECOND)
        await super().up()
        assert audit_orders(self.table) == []

    def _asked(self, request):
        return self.states.get(json.loads(request.body)["order_id"], missing())

    def ends(self):
        """Every order as the table has it now: (status, filled)."""
        found, read = {}, np.zeros(1, ORDER)
        for order in self.took:
            assert o.orders_read(self.table, order.order_id, read) >= 0
            found[order.order_id - FIRST] = (int(read[0]["status"]), int(read[0]["filled_qty"]))
        return found


@pytest.fixture
async def world():
    made = Restarted()
    yield made
    await made.gateway.close()


ENDS = {
    "rests untouched": ((True, 0), (w.NEW, 0), (w.NEW, 0), True),
    "arrived and was never acknowledged": ((False, 0), (w.NEW, 0), (w.NEW, 0), True),
    "filled": ((True, 0), (w.FILLED, 10, 4, 6), (w.FILLED, 10), False),
    "filled before its ack was heard": ((False, 0), (w.FILLED, 10, 10), (w.FILLED, 10), False),
    "filled in part and rests": (
        (True, 2), (w.PARTIALLY_FILLED, 5, 3), (w.PARTIALLY_FILLED, 5), True,
    ),
    "filled in part, then cancelled by hand": (
        (True, 0), (w.CANCELED, 3, 3), (w.CANCELED, 3), False,
    ),
    "cancelled": ((True, 4), (w.CANCELED, 4), (w.CANCELED, 4), False),
    "expired": ((True, 0), (w.EXPIRED, 0), (w.EXPIRED, 0), False),
    "refused": ((False, 0), (w.REJECTED, 0), (w.REJECTED, 0), False),
    "never arrived": ((False, 0), None, (w.REJECTED, 0), False),
    "so long over that the venue forgot it": ((True, 2), None, (w.CANCELED, 2), False),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS)
async def test_order_ends_where_the_venue_has_it(world, case):
    (confirmed, filled), venue, expected, live = ENDS[case]
    world.knew(1, confirmed=confirmed, filled=filled)
    if venue is not None:
        world.meanwhile(1, *venue)
    await world.up()
    assert world.ends() == {1: expected}
    assert world.position == expected[1]
    assert list(world.gateway.live) == ([oid(1)] if live else [])
    assert not [sent for sent in world.wire.sent if sent.startswith("place")]


async def test_everything_moved_at_once(world):
    """All of the above on one account, asked for side by side."""
    for n, ((confirmed, filled), venue, _, _) in enumerate(ENDS.values(), 1):
        world.knew(n, confirmed=confirmed, filled=filled)
        if venue is not None:
            world.meanwhile(n, *venue)
    started = world.clock.now()
    await world.up()
    assert world.ends() == {n: expected for n, (_, _, expected, _) in enumerate(ENDS.values(), 1)}
    assert world.position == sum(expected[1] for _, _, expected, _ in ENDS.values())
    assert world.clock.now() - started < 20 * SECOND


async def test_order_journaled_just_now_is_waited_for(world):
    """A crash after the bytes left: it may still arrive, so NOT_FOUND is not believed at once."""
    world.left_off = world.clock.now()
    world.knew(1, confirmed=False)
    started = world.clock.now()
    await world.up()
    assert world.clock.now() - started >= HORIZON_NS - 2 * SECOND
    assert world.ends() == {1: (w.REJECTED, 0)}


async def test_foreign_order_that_was_placed_meanwhile_is_left_alone_and_closes_the_account(world):
    foreign = says(
        {"kind": w.ORDER_STATE, "status": w.NEW}, controls=[["foreign", "order 9", "order"]]
    )
    await world.gateway.start()
    world.wire.answers[What.ORDERS] = foreign
    await world.connect()
    assert world.wire.sent == []
    assert FOREIGN in world.gateway.standing.reasons
    assert int(world.ring[-1]["flags"]) == w.STILL_BLOCKED


async def test_foreign_fill_of_meanwhile_is_booked(world):
    world.fills.append({**world._fill(9, 9, 3), "order_id": 0})
    await world.up()
    await world.passes(ORPHAN_NS + SECOND)
    (fill,) = [told for told in world.ring if told["kind"] == w.FILL]
    assert (fill["order_id"], fill["flags"], fill["qty"]) == (0, w.FOREIGN, 3)
    assert FOREIGN in world.gateway.standing.reasons


async def test_funding_paid_meanwhile_is_booked(world):
    world.wire.answers[What.FUNDING_SINCE] = says(
        row(w.FUNDING_PAID, 0, realized=-5, ts_event=world.left_off + SECOND)
    )
    await world.up()
    assert w.FUNDING_PAID in world.kinds()
