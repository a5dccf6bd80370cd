"""A venue of which nobody hears in time: orders arrive, or not, or late, and every answer is lost.

It is the dedicated world of ambiguous time-outs: the real gateway and order table against a venue
whose truth is kept here, in virtual time. Every order's answer times out. One seed, one story.
"""

import asyncio
import json
import random
from bisect import bisect_left
from collections import Counter

import numpy as np

from alephtx.core import words as w
from alephtx.core.errors import OrderRejected, TransportError, VenueError
from alephtx.core.ports import What
from alephtx.execution import orders as o
from alephtx.execution.gateway import Gateway
from tests.execution.rows import intent
from tests.execution.toy import ENGINE, FIRST, ToyCodec, balances, oid, says
from tests.execution.virtual import VirtualClock

WINDOW = 5.0  # the venue refuses what it gets later than this after it was signed
PAGE = 500
QTY = 12
GONE = (w.FILLED, w.CANCELED, w.EXPIRED)


class Held:
    """One order as the venue has it."""

    def __init__(self, n, side, arrived):
        self.n, self.side, self.arrived = n, side, arrived
        self.status, self.filled = w.NEW, 0


class Venue:
    """The truth. window: seconds after which a late order is refused, None where it is not."""

    def __init__(self, luck, hear, window):
        self.luck, self.hear, self.window = luck, hear, window
        self.orders, self.open, self.fills, self.under_way = {}, {}, [], 0

    def later(self, delay, act, *args):
        """Do something after a delay; `under_way` counts what is still to come."""
        self.under_way += 1

        def run():
            self.under_way -= 1
            act(*args)

        asyncio.get_running_loop().call_later(delay, run)

    def now(self):
        return asyncio.get_running_loop().time()

    def place(self, n, side, signed):
        """An order comes in; what becomes of it is drawn."""
        late = self.window is not None and self.now() - signed > self.window
        fate = self.luck.random()
        if late or fate < 0.15:
            return  # refused
        order = self.orders[n] = self.open[n] = Held(n, side, self.now())
        self.tell(order, w.ACK)
        if fate < 0.40:
            self.fill(order, QTY)
        elif fate < 0.60:
            self.fill(order, self.luck.randint(1, QTY - 1))
        elif fate < 0.70:
            self.fill(order, self.luck.randint(1, QTY - 1))
            self.end(order, w.EXPIRED)
        if order.status not in GONE and self.luck.random() < 0.4:
            act = self.luck.choice([self.fill, self.fill, self.end])
            what = w.EXPIRED if act == self.end else self.luck.randint(1, QTY)
            self.later(self.luck.uniform(0, 20), act, order, what)

    def fill(self, order, qty):
        if order.status in GONE:
            return
        qty = min(qty, QTY - order.filled)
        order.filled += qty
        order.status = w.FILLED if order.filled == QTY else w.PARTIALLY_FILLED
        if order.status == w.FILLED:
            del self.open[order.n]
        trade = {"trade_id": len(self.fills) + 1, "qty": qty, "price": 100, "side": order.side}
        row = {**self.row(order, w.FILL), **trade}
        self.fills.append(row)
        self.say(row)

    def end(self, order, status):
        if order.status not in GONE:
            order.status = status
            del self.open[order.n]
            self.tell(order, w.EXPIRE if status == w.EXPIRED else w.CANCEL_ACK)

    def cancel(self, n):
        if n in self.orders:
            self.end(self.orders[n], w.CANCELED)

    def row(self, order, kind):
        return {
            "kind": kind, "order_id": oid(order.n), "venue_order_id": 1_000 + order.n,
            "status": order.status, "cum_qty": order.filled, "side": order.side,
            "ts_event": VirtualClock().now(),
        }  # fmt: skip

    def tell(self, order, kind):
        self.say(self.row(order, kind))

    def say(self, row):
        """Report on the private stream: late, twice, out of order, or never."""
        for chance in (0.8, 0.2):
            if self.luck.random() < chance:
                self.later(self.luck.expovariate(4), self.hear, says(row))


class DoubtfulWire:
    """The way there: every intent times out, queries fail or are stale now and then."""

    def __init__(self, luck, venue, sides):
        self.luck, self.venue, self.sides = luck, venue, sides
        self.sends, self.timeouts, self.on_link = Counter(), 0, None

    async def take(self, request, *, urgent):
        pass

    async def fetch(self, request):
        luck = self.luck
        if request.what == What.INTENT:
            self._send(request.body)
            await asyncio.sleep(luck.uniform(0.02, 1))
            raise TransportError("no answer in time", sent=True)
        await asyncio.sleep(luck.uniform(0.001, 0.05))
        if luck.random() < 0.1:
            await asyncio.sleep(0.3)
            raise luck.choice([
                TransportError("the question timed out", sent=True), VenueError("busy"),
                OrderRejected("duplicate client order id"),
            ])  # fmt: skip
        answer = self._answer(request.what, request)
        await asyncio.sleep(luck.uniform(0.001, 0.3))  # true when it was given
        return 200, {}, answer

    def send(self, role, frame):
        """The other transport: frames on a link that never answers."""
        self._send(frame)
        return True

    def _send(self, body):
        op, number = body.decode().split()
        n, venue, luck = int(number), self.venue, self.luck
        self.timeouts += 1
        self.sends[op, n] += 1
        fate = luck.random()
        if fate < 0.2:
            return  # lost
        slow = luck.uniform(0, 1) if fate < 0.85 else luck.uniform(1, 20)
        delay = 0.0 if fate < 0.6 else slow
        if op == "place":
            venue.later(delay, venue.place, n, self.sides[n], venue.now())
        else:
            venue.later(delay, venue.cancel, n)

    def _answer(self, what, request):
        venue = self.venue
        args = json.loads(request.body)
        if what == What.ORDER:
            order = venue.orders.get(args["order_id"] - FIRST)
            fresh = order is not None and venue.now() - order.arrived < 0.5
            if order is None or (fresh and self.luck.random() < 0.3):
                return says({"kind": w.NOT_FOUND})
            return says(venue.row(order, w.ORDER_STATE))
        if what == What.ORDERS:
            return says(*(venue.row(held, w.ORDER_STATE) for held in venue.open.values()))
        if what == What.FILLS_SINCE:
            since = bisect_left(venue.fills, args["since_ns"], key=lambda row: row["ts_event"])
            first = args.get("first", since)
            page, rest = venue.fills[first : first + PAGE], len(venue.fills) > first + PAGE
            # As the older queries of venues do: fills name the venue's id only.
            named = [{**row, "order_id": 0, "cum_qty": -1, "status": 0} for row in page]
            more = [["more", {"first": first + PAGE}, ""]] if rest else []
            return says(*named, controls=more)
        return balances() if what == What.BALANCES else says()

    def learn(self, used):
        pass

    def hold(self, duration_ns):
        pass

    def open(self, role, links):
        self.on_link(role, links)

    def drop(self, role, reason):
        raise AssertionError(f"{role} dropped: {reason}")

    async def close(self):
        pass


class DoubtfulWorld:
    """Gateway, order table and venue; `play` runs rounds of orders until the count is reached."""

    def __init__(self, seed, *, window=WINDOW, crowd=400):
        self.luck = random.Random(seed)
        self.clock, self.crowd = VirtualClock(), crowd
        self.sides = {}
        self.venue = Venue(self.luck, self._hear, window)
        self.wire = DoubtfulWire(self.luck, self.venue, self.sides)
        self.wire.on_link = self._linked
        self.table = o.make_order_table(
            1, 2 * crowd, 4 * crowd, instruments=1, accounts=1, trades=1 << 17
        )
        self.out = np.zeros(1, o.OUTCOME)
        self.alarms, self.failures, self.told, self.counted = Counter(), [], {}, Counter()
        self.position = self.placed = self.quiet_ns = 0

    def _hear(self, frame):
        self.gateway.on_frame("private", frame, self.clock.now())

    def _linked(self, role, links):
        for link in links:
            if callable(link):
                task = asyncio.ensure_future(link())
                task.add_done_callback(lambda _: self._up(role))
                return
        asyncio.get_running_loop().call_soon(self._up, role)

    def _up(self, role):
        self.gateway.on_up(role)
        if role == "private":
            self._hear(says(controls=[["subscribed", None, ""]]))

    def _push(self, row):
        """What the engine's loop makes of the ring: apply, book, ask."""
        update = row.copy()
        if not update[0]["order_id"]:
            return True
        o.orders_apply(self.table, update, self.out)
        out = self.out[0]
        n = int(update[0]["order_id"]) - FIRST
        code = int(out["code"])
        self.told[n] = int(out["new_status"])
        self.counted[n] += int(out["fill_qty"])
        self.position += int(out["fill_qty"]) * int(out["side"])
        if code == o.MISSING_FILLS:
            self.gateway.fetch_fills_soon(0)
        elif code:
            self.alarms[code] += 1
        return True

    async def play(self, count, transport="http"):
        """Go through so many ambiguous time-outs; returns the rounds played."""
        self.gateway = Gateway(
            0, ToyCodec(transport), self.wire, self.clock, self._push, traded=[0],
            engine=ENGINE, on_failed=self.failures.append,
        )  # fmt: skip
        await self.gateway.start()
        await self.gateway.ready.wait()
        rounds = 0
        while self.wire.timeouts < count:
            await self._round()
            rounds += 1
        await self.gateway.close()
        return rounds

    async def _round(self):
        first = self.placed + 1
        for n in range(first, first + self.crowd):
            side = self.luck.choice([w.BUY, w.SELL])
            row = intent(oid(n), QTY, side)
            assert o.orders_place(self.table, row, self.clock.now()) == 0
            self.sides[n], self.told[n], self.placed = side, w.PENDING_NEW, n
            self.gateway.submit(row)
            await asyncio.sleep(self.luck.uniform(0, 0.01))
        end = self.clock.monotonic() + 900 * 1_000_000_000
        while not self._settled():
            assert self.clock.monotonic() < end, self._unsettled()
            assert not self.failures, self.failures
            await asyncio.sleep(2)
            self._cancel_some()
        self._check(range(first, self.placed + 1))

    def _cancel_some(self):
        """The strategy takes back what it has; cancels get lost as orders do."""
        count = int(self.table.open_count[0, 0])
        for row in self.table.orders[0, :count].copy():
            if row["status"] in (w.NEW, w.PARTIALLY_FILLED) and self.luck.random() < 0.5:
                cancel = intent(0, 0, op=w.CANCEL, target_order_id=row["order_id"])
                o.orders_cancelling(self.table, int(row["order_id"]), self.clock.now())
                self.gateway.submit(cancel)

    def _unsettled(self):
        count = int(self.table.open_count[0, 0])
        rows = [
            (int(row["order_id"]) - FIRST, w.STATUS_NAMES[int(row["status"])])
            for row in self.table.orders[0, :count]
        ]
        live = [order_id - FIRST for order_id in self.gateway.live]
        return f"no end of it: {rows[:5]}, {live[:5]}, {self.venue.under_way} under way"

    def _settled(self):
        """Tell whether nothing is under way, and everything was asked for since."""
        if self.table.open_count[0, 0] or self.gateway.live or self.venue.under_way:
            self.quiet_ns = 0
            return False
        self.quiet_ns = self.quiet_ns or self.clock.now()
        return self.gateway.truth.since_ns > self.quiet_ns

    def _check(self, numbers):
        """The claims: one PLACE for an order, none that nobody placed, both sides tell the same."""
        for n in numbers:
            assert self.wire.sends["place", n] == 1, f"order {n} was sent again"
            held = self.venue.orders.get(n)
            filled = held.filled if held else 0
            assert self.counted[n] == filled, f"order {n}: filled {filled}, we count otherwise"
            if held is None:
                assert self.told[n] == w.REJECTED, f"order {n} never was, we say {self.told[n]}"
            elif self.told[n] != w.REJECTED or filled:
                assert self.told[n] == held.status, f"order {n} is {held.status}"
            else:
                # It came after we had given it up, was found, and taken back unfilled.
                assert held.status in (w.CANCELED, w.EXPIRED)
                assert self.venue.window is None, f"order {n} was given up too early"
        assert set(self.venue.orders) <= set(numbers), "an order that nobody placed"
        assert self.position == sum(row["qty"] * row["side"] for row in self.venue.fills)
        for known in (self.venue.orders, self.sides, self.told, self.counted):
            known.clear()  # all of it is over on both sides
