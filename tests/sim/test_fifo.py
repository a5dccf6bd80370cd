"""Queues order by order against a matching engine of plain lists, in which ours really stand."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.core.kernel import JIT, kernel
from alephtx.core.packed import field
from alephtx.sim import bottle as b
from alephtx.sim.fifo import fifo_row
from alephtx.sim.flight import flight_next, flight_take
from alephtx.sim.lane import enter_order, exchange_of, note_reach
from alephtx.sim.levels import levels_read
from alephtx.sim.matching import cancel
from alephtx.sim.queue import FIFO, Q_QUEUE
from alephtx.sim.resting import OWNER
from tests.engine.replaying import table_of


@kernel
def enter(z):
    enter_order(z, 0, exchange_of(z, 0), field(z, b.Z_ORDER, b.ONE_ORDER))
    note_reach(z, 0, 0)


@kernel
def leave(z, order_id):
    left = cancel(exchange_of(z, 0), 0, order_id)
    note_reach(z, 0, 0)
    return left


@kernel
def shown(z, out):
    x = exchange_of(z, 0)
    return levels_read(x.levels, 0, out)


@kernel
def next_report(z):
    place, ring = field(z, b.Z_DOWN_PLACE, b.I1), field(z, b.Z_DOWN_RING, b.I2)
    if flight_next(place, ring) == b.NEVER:
        return -1
    return flight_take(place, ring, field(z, b.Z_DOWN_FREE, b.I1))


class Engine:
    """The simulator's side: one instrument, one lane, reports at once."""

    def __init__(self, span=1024):
        self.bottle = b.make_bottle(table_of(), span=span, orders_max=32, taken_max=32)
        self.bottle.model[0, Q_QUEUE] = FIFO
        self.z = b.pack_bottle(self.bottle, [np.zeros(1, b.EVENT)])

    def reports(self):
        found = []
        while (slot := next_report(self.z)) >= 0:
            row = self.bottle.down_rows[slot]
            if row["kind"] == w.FILL:
                found.append(tuple(int(row[name]) for name in ("order_id", "price", "qty")))
        return found

    def row(self, kind, order_id, side=0, price=0, qty=0):
        fifo_row(self.z, 0, kind, order_id, side, price, qty)
        if self.bottle.clock[b.K_GROW] == b.K_GROW_RESTING:
            self.bottle = b.grow_bottle(self.bottle, b.K_GROW_RESTING)
            self.z[:] = b.pack_bottle(self.bottle, [np.zeros(1, b.EVENT)])
        return self.reports()

    def place(self, order_id, side, price, qty):
        order = self.bottle.order
        order[:] = 0
        order["order_id"], order["side"], order["price"] = order_id, side, price
        order["qty"] = order["whole"] = qty
        order["type"], order["tif"], order["flags"] = w.LIMIT, w.GTC, w.POST_ONLY
        enter(self.z)
        return self.reports()

    def cancel(self, order_id):
        return int(leave(self.z, order_id))

    def ours(self):
        rows = [row for s in range(2) for row in self.bottle.orders[0, 0, s, : self.live(s)]]
        return {int(r["order_id"]): (int(r["qty"]), int(r["ahead"])) for r in rows}

    def live(self, s):
        return int(self.bottle.live[0, 0, s])

    def levels(self):
        out = np.zeros((2, 64, 2), np.int64)
        shown(self.z, out)
        return {(s, int(p)): int(q) for s in range(2) for p, q in out[s] if q > 0}


class Lists:
    """Every queue a list of [ours, id, lots], first come first; ours stand where they came."""

    def __init__(self):
        self.queues, self.known, self.taken = {}, {}, {}

    def at(self, side, price):
        return self.queues.setdefault((side, price), [])

    def theirs(self, side, price):
        return sum(e[2] for e in self.at(side, price) if not e[0])

    def prices(self, side):
        """Where recorded orders stand, best first."""
        return sorted(
            (p for s, p in self.queues if s == side and self.theirs(s, p)), key=lambda p: -side * p
        )

    def our_prices(self, side):
        found = (p for (s, p), q in self.queues.items() if s == side and any(e[0] for e in q))
        return sorted(found, key=lambda p: -side * p)

    def fill(self, side, price, entry, lots, fills):
        entry[2] -= lots
        fills.append((entry[1], price, lots))
        if not entry[2]:
            self.at(side, price).remove(entry)

    def add(self, order_id, side, price, qty):
        if order_id in self.known or qty <= 0:
            return []
        self.taken.pop((side, price), None)
        self.known[order_id] = side, price
        self.at(side, price).append([False, order_id, qty])
        return self.crossed(-side, price)

    def crossed(self, side, reached):
        """Fill ours of a side that a displayed price of the other has reached."""
        if not any(side * (price - reached) >= 0 for price in self.our_prices(side)):
            return []
        fills = []
        for price in self.our_prices(side):
            for entry in [e for e in self.at(side, price) if e[0]]:
                for other in self.prices(-side):
                    if side * (price - other) < 0 or not entry[2]:
                        break
                    gone = self.taken.get((-side, other), 0)
                    lots = min(entry[2], max(self.theirs(-side, other) - gone, 0))
                    if lots:
                        self.taken[-side, other] = gone + lots
                        self.fill(side, price, entry, lots, fills)
        return fills

    def gone(self, order_id, lots, traded):
        side, price = self.known[order_id]
        self.taken.pop((side, price), None)
        queue, fills = self.at(side, price), []
        place = next(k for k, e in enumerate(queue) if not e[0] and e[1] == order_id)
        lots = min(lots, queue[place][2])
        entry, rest = queue[place], lots
        if traded:
            for better in [p for p in self.our_prices(side) if side * (p - price) > 0]:
                for mine in [e for e in self.at(side, better) if e[0]]:
                    self.fill(side, better, mine, mine[2], fills)
            for mine in [e for e in queue[:place] if e[0]]:
                met = min(mine[2], rest)
                rest -= met
                if met:
                    self.fill(side, price, mine, met, fills)
        entry[2] -= lots
        if not entry[2]:
            queue.remove(entry)
            del self.known[order_id]
        return fills

    def change(self, order_id, price, qty):
        if order_id not in self.known:
            return []
        side, old = self.known[order_id]
        now = next(e[2] for e in self.at(side, old) if not e[0] and e[1] == order_id)
        if price == old and 0 < qty <= now:
            return self.gone(order_id, now - qty, traded=False) if qty < now else []
        fills = self.gone(order_id, now, traded=False)
        return fills + (self.add(order_id, side, price, qty) if qty > 0 else [])

    def leaves(self, order_id, qty=None):
        if order_id not in self.known:
            return []
        return self.gone(order_id, 10**9 if qty is None else qty, traded=qty is not None)

    def place(self, order_id, side, price, qty):
        def left(other):
            return self.theirs(-side, other) - self.taken.get((-side, other), 0)

        facing = [p for p in self.prices(-side) if left(p) > 0] + self.our_prices(-side)
        if not any(side * (price - p) >= 0 for p in facing):
            eaten = self.taken.get((side, price), 0)  # by ours: those lots are not before us
            self.at(side, price).append([True, order_id, qty, eaten])
        return []

    def cancel(self, order_id):
        for queue in self.queues.values():
            for entry in queue:
                if entry[0] and entry[1] == order_id:
                    queue.remove(entry)
                    return entry[2]
        return -1

    def ours(self):
        found = {}
        for queue in self.queues.values():
            for k, entry in enumerate(queue):
                if entry[0]:
                    before = sum(e[2] for e in queue[:k] if not e[0])
                    found[entry[1]] = entry[2], max(before - entry[3], 0)
        return found

    def levels(self):
        found = {}
        for side, price in self.queues:
            if lots := self.theirs(side, price):
                found[0 if side > 0 else 1, price] = lots
        return found


ids, mine = st.integers(1, 12), st.integers(101, 108)
bids, asks, sizes = st.integers(96, 100), st.integers(100, 104), st.integers(1, 9)
spots = st.one_of(st.tuples(st.just(1), bids), st.tuples(st.just(-1), asks))
steps = st.one_of(
    st.tuples(st.just("add"), ids, spots, sizes),
    st.tuples(st.just("add"), ids, spots, sizes),
    st.tuples(st.just("change"), ids, st.integers(97, 103), st.integers(0, 9)),
    st.tuples(st.just("delete"), ids),
    st.tuples(st.just("fill"), ids, sizes),
    st.tuples(st.just("fill"), ids, sizes),
    st.tuples(st.just("place"), spots, sizes),
    st.tuples(st.just("place"), spots, sizes),
    st.tuples(st.just("cancel"), mine),
)


def apply(engine, lists, step, state):
    kind, *rest = step
    if kind == "add":
        order_id, (side, price), qty = rest
        ours = engine.row(w.ORDER_ADD, order_id, side, price, qty)
        return ours, lists.add(order_id, side, price, qty)
    if kind == "change":
        order_id, price, qty = rest
        side = lists.known.get(order_id, (1, 0))[0]
        ours = engine.row(w.ORDER_CHANGE, order_id, side, price, qty)
        return ours, lists.change(order_id, price, qty)
    if kind == "delete":
        return engine.row(w.ORDER_DELETE, rest[0]), lists.leaves(rest[0])
    if kind == "fill":
        return engine.row(w.ORDER_FILL, rest[0], qty=rest[1]), lists.leaves(*rest)
    if kind == "place":
        state["next"] += 1
        (side, price), qty = rest
        return (side_.place(state["next"], side, price, qty) for side_ in (engine, lists))
    return (side_.cancel(rest[0]) for side_ in (engine, lists))


@pytest.mark.kernel
@settings(
    max_examples=200 if JIT else 60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(steps, min_size=10, max_size=60))
def test_our_places_and_fills_are_those_of_lists_in_which_we_stand(history):
    engine, lists, state = Engine(), Lists(), {"next": 100}
    for step in history:
        ours, wanted = apply(engine, lists, step, state)
        assert ours == wanted
        assert engine.levels() == lists.levels()
        assert engine.ours() == lists.ours()


@pytest.mark.kernel
@pytest.mark.smoke
def test_who_leaves_behind_us_moves_us_not_and_who_trades_there_gives_us_his_fill():
    engine = Engine()
    engine.row(w.ORDER_ADD, 1, 1, 100, 5)
    engine.place(101, 1, 100, 4)
    engine.row(w.ORDER_ADD, 2, 1, 100, 7)
    engine.row(w.ORDER_CHANGE, 2, 1, 100, 6)
    assert engine.ours() == {101: (4, 5)}
    engine.row(w.ORDER_CHANGE, 1, 1, 100, 2)
    assert engine.ours() == {101: (4, 2)}
    assert engine.row(w.ORDER_FILL, 1, qty=2) == []
    assert engine.ours() == {101: (4, 0)}
    assert engine.row(w.ORDER_FILL, 2, qty=3) == [(101, 100, 3)]
    assert engine.levels() == {(0, 100): 3}


@pytest.mark.kernel
def test_the_table_of_orders_grows_and_forgets_images():
    engine = Engine()
    for k in range(1, 700):
        engine.row(w.ORDER_ADD, k, 1, 100, 1)
    assert engine.bottle.resting.shape[1] == 2048
    assert engine.levels() == {(0, 100): 699}
    for k in range(1, 700):
        engine.row(w.ORDER_DELETE, k)
    assert engine.levels() == {}
    assert engine.bottle.clock[b.K_RESTING] == 0
    assert not engine.bottle.resting[0, :, OWNER].any()
