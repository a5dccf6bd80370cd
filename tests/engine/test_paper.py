"""Paper accounts: fills come from the market in the matrix, money and positions add up."""

import asyncio
from decimal import Decimal

import msgspec
import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.clock import ManualClock
from alephtx.core.identity import first_order_id
from alephtx.core.instruments import Instruments
from alephtx.core.records import INTENT
from alephtx.engine.paper import PaperGateway
from alephtx.execution.gateway import LiveOrder
from alephtx.matrix.layout import Geometry
from alephtx.matrix.levels import levels_publish
from alephtx.matrix.ring import ring_publish, slot_aux
from alephtx.matrix.shm import Matrix
from tests.engine.bench import instrument

FIRST = first_order_id(1, 1)
BID, ASK, LOT = 6_000_000, 6_000_100, 100_000


class Paper:
    """A paper account at alpha, linear contracts, and the hand that moves its market."""

    def __init__(self, folder, *, ring_slots=64):
        self.table = Instruments(
            [msgspec.structs.replace(instrument("beta")),
             msgspec.structs.replace(instrument("alpha"), maker_fee=Decimal("0.0001"))]
        )  # fmt: skip
        geometry = Geometry(
            instruments_max=4, venues_max=2, depth=4, ring_slots=ring_slots, signals_max=4
        )
        self.matrix = Matrix.create(folder / "matrix", self.table, geometry)
        self.clock = ManualClock()
        self.rows, self.sent = [], []
        self.seq = 0
        self.gateway = PaperGateway(
            0, "alpha", {"USDT": Decimal(100_000)}, self.table, self.matrix, self.clock,
            lambda row: self.rows.append(row[0].copy()) or True,
            on_sent=lambda op, order_id, ns: self.sent.append((op, order_id - FIRST)),
        )  # fmt: skip

    def top(self, bid, ask, lots=LOT):
        """Publish a touch of the venue's stream of best prices; the ladder stays behind."""
        now = self.clock.now()
        aux = slot_aux(1, words.TOP, 0, 0)
        ring_publish(self.matrix.map, 1, now, now, bid, lots, ask, lots, aux)

    def market(self, bid=BID, ask=ASK, lots=LOT, kind=words.TOP):
        levels = np.zeros((2, 4, 2), np.int64)
        levels[0, 0], levels[1, 0] = (bid, lots), (ask, lots)
        self.seq += 1
        levels_publish(self.matrix.map, 1, levels, self.seq)
        now = self.clock.now()
        ring_publish(
            self.matrix.map, 1, now, now, bid, lots, ask, lots, slot_aux(1, kind, 0, 0)
        )  # fmt: skip

    def trade(self, price, lots, side):
        now = self.clock.now()
        aux = slot_aux(1, words.TRADE, 0, side)
        ring_publish(self.matrix.map, 1, now, now, price, lots, 1, 0, aux)

    def place(self, n=1, *, side=words.BUY, price=BID, qty=1_000, tif=words.GTC, flags=0):
        row = np.zeros(1, INTENT)
        row["op"], row["order_id"], row["instrument"] = words.PLACE, FIRST + n, 1
        row["side"], row["price"], row["qty"] = side, price, qty
        row["type"], row["tif"], row["flags"] = words.LIMIT, tif, flags
        self.gateway.arrive(row[0])

    def cancel(self, n=1):
        row = np.zeros(1, INTENT)
        row["op"], row["target_order_id"], row["instrument"] = words.CANCEL, FIRST + n, 1
        self.gateway.arrive(row[0])

    def told(self, *names):
        return [tuple(int(row[name]) for name in names) for row in self.rows]

    def kinds(self):
        return [int(row["kind"]) for row in self.rows]

    def money(self):
        return {balance.currency: balance.total for balance in self.gateway.balances}


@pytest.fixture
def paper(tmp_path):
    made = Paper(tmp_path)
    yield made
    made.matrix.unlink()
    made.matrix.close()


@pytest.fixture
async def linear(tmp_path):
    made = Paper(tmp_path)
    await made.gateway.start()
    made.rows.clear()
    made.market()
    made.gateway.catch_up()
    yield made
    await made.gateway.close()
    made.matrix.unlink()
    made.matrix.close()


async def test_taker_fills_at_the_touch_and_pays_its_fee(linear):
    linear.place(price=ASK)
    assert linear.kinds() == [words.ACK, words.FILL]
    fill = linear.rows[-1]
    assert (fill["price"], fill["qty"], fill["liquidity"]) == (ASK, 1_000, words.TAKER)
    assert fill["status"] == words.FILLED
    notional = Decimal(ASK) / 100 * 1_000 / 100_000
    assert Decimal(int(fill["fee"])) / 10**8 == notional * Decimal("0.0004")
    await linear.gateway.refresh()
    assert linear.money()["USDT"] == 100_000 - notional * Decimal("0.0004")
    assert [(h.instrument, h.qty) for h in linear.gateway.holdings] == [(1, 1_000)]
    assert linear.gateway.live == {}


async def test_taker_gets_no_more_than_there_is(linear):
    linear.place(price=ASK, qty=LOT + 1_000, tif=words.IOC)
    assert linear.kinds() == [words.ACK, words.FILL, words.EXPIRE]
    assert linear.rows[1]["qty"] == LOT
    assert linear.rows[2]["reason"] == words.REASON_NOT_FILLED


async def test_maker_waits_for_the_queue_ahead_of_it(linear):
    linear.place(price=BID)
    assert linear.kinds() == [words.ACK]
    linear.trade(BID, LOT, words.SELL)
    linear.gateway.catch_up()
    assert linear.kinds() == [words.ACK], "what traded was in front of us"
    linear.trade(BID, 400, words.SELL)
    linear.gateway.catch_up()
    assert linear.told("kind", "qty", "cum_qty", "liquidity")[1:] == [
        (words.FILL, 400, 400, words.MAKER)
    ]
    assert linear.gateway.counts["fills"] == 1


async def test_market_that_moves_through_a_resting_order_fills_it(linear):
    linear.place(price=BID)
    linear.market(BID - 300, BID - 200)
    linear.gateway.catch_up()
    assert words.FILL in linear.kinds()


async def test_touch_newer_than_the_ladder_is_what_a_taker_meets(linear):
    """The ladder still shows ASK, the stream of best prices has gone on."""
    linear.top(BID + 300, ASK + 300)
    linear.gateway.catch_up()
    linear.place(price=ASK, tif=words.IOC)
    assert linear.kinds() == [words.ACK, words.EXPIRE]
    linear.place(2, price=ASK + 300, tif=words.IOC)
    assert linear.told("kind", "price")[-1] == (words.FILL, ASK + 300)


async def test_ladder_that_lags_behind_the_touch_fills_no_maker(linear):
    """A bid above the old ask rests under the new one; the next old image must not fill it."""
    linear.top(BID + 300, ASK + 300)
    linear.gateway.catch_up()
    linear.place(price=ASK + 50)
    late = np.zeros((2, 4, 2), np.int64)
    late[0, 0], late[1, 0], late[1, 1] = (BID, LOT), (ASK, LOT), (ASK + 400, LOT)
    levels_publish(linear.matrix.map, 1, late, linear.seq + 1)
    linear.top(BID + 300, ASK + 300)
    linear.gateway.catch_up()
    assert linear.kinds() == [words.ACK]
    linear.place(2, price=ASK + 400, qty=LOT + 1_000, tif=words.IOC)
    fills = [pair for pair in linear.told("kind", "price") if pair[0] == words.FILL]
    assert fills == [(words.FILL, ASK + 300), (words.FILL, ASK + 400)]


async def test_side_without_a_price_has_nothing_to_take(linear):
    linear.market(BID - 100, ASK)
    now = linear.clock.now()
    aux = slot_aux(1, words.TOP, words.EMPTY_SIDE, 0)
    ring_publish(linear.matrix.map, 1, now, now, BID - 100, LOT, 0, 0, aux)
    linear.gateway.catch_up()
    linear.place(price=ASK, tif=words.IOC)
    assert linear.kinds() == [words.ACK, words.EXPIRE]


async def test_cancelled_order_is_off_and_cannot_be_cancelled_twice(linear):
    linear.place(price=BID)
    linear.cancel()
    linear.cancel()
    assert linear.kinds() == [words.ACK, words.CANCEL_ACK, words.CANCEL_REJECT]
    assert linear.rows[-1]["reason"] == words.REASON_UNKNOWN_ORDER


@pytest.mark.parametrize(
    ("order", "reason"),
    [({"price": ASK, "flags": words.POST_ONLY}, words.REASON_WOULD_CROSS),
     ({"price": BID, "flags": words.REDUCE_ONLY}, words.REASON_REDUCE_ONLY),
     ({"price": BID, "qty": 10_000_000}, words.REASON_INSUFFICIENT),
     ({"price": BID, "qty": 100_000_000}, words.REASON_FILTER)],
)  # fmt: skip
async def test_refused_order_says_why(linear, order, reason):
    linear.place(**order)
    assert linear.told("kind", "reason") == [(words.REJECT, reason)]
    assert linear.gateway.counts["rejected"] == 1


async def test_order_id_used_twice_is_refused(linear):
    linear.place(price=BID)
    linear.place(price=BID)
    assert linear.told("kind", "reason")[-1] == (words.REJECT, words.REASON_DUPLICATE)


async def test_submitted_orders_arrive_after_the_latency(linear):
    rows = np.zeros(2, INTENT)
    rows["op"] = words.PLACE, words.CANCEL
    rows["order_id"], rows["target_order_id"], rows["instrument"] = FIRST + 1, FIRST + 9, 1
    rows["side"], rows["price"], rows["qty"] = words.BUY, BID, 1_000
    rows["type"], rows["tif"] = words.LIMIT, words.GTC
    linear.gateway.submit(rows)
    assert linear.sent == [(words.PLACE, 1), (words.CANCEL, 9)]
    assert list(linear.gateway.live) == [FIRST + 1]
    assert linear.kinds() == []
    async with asyncio.timeout(20):
        while len(linear.rows) < 2:
            await asyncio.sleep(0.001)
    assert linear.kinds() == [words.ACK, words.CANCEL_REJECT]
    assert linear.gateway.counts["sent"] == 2


async def test_account_follows_the_market_by_itself(linear):
    linear.place(price=BID)
    linear.market(BID - 300, BID - 200)
    async with asyncio.timeout(20):
        while words.FILL not in linear.kinds():
            await asyncio.sleep(0)


async def test_overrun_reader_goes_on_from_the_ladder(linear):
    for k in range(200):
        linear.market(BID + k, ASK + k)
    linear.gateway.catch_up()
    linear.place(price=ASK + 199)
    assert linear.told("kind", "price")[-1] == (words.FILL, ASK + 199)


async def test_cleared_book_has_nothing_to_take(linear):
    linear.market(0, 0, 0, kind=words.GAP)
    linear.gateway.catch_up()
    linear.place(price=ASK, tif=words.IOC)
    assert words.FILL not in linear.kinds()


async def test_slots_of_instruments_of_others_are_left_alone(linear):
    now = linear.clock.now()
    ring_publish(linear.matrix.map, 1, now, now, 1, 1, 2, 1, slot_aux(0, words.TOP, 0, 0))
    linear.gateway.catch_up()
    linear.place(price=ASK)
    assert linear.rows[-1]["price"] == ASK


async def test_restarted_account_goes_on_from_the_ledger_without_its_orders(paper):
    live = [LiveOrder(FIRST + 1, 1, 5)]
    paper.gateway.resume({"USDT": Decimal(7)}, {1: (-300, Decimal(180))}, live)
    await paper.gateway.start()
    assert paper.told("kind", "order_id") == [
        (words.RESYNC_BEGIN, 0), (words.EXPIRE, FIRST + 1), (words.RESYNC_END, 0),
    ]  # fmt: skip
    assert paper.money() == {"USDT": 7}
    assert [(h.instrument, h.qty) for h in paper.gateway.holdings] == [(1, -300)]
    assert paper.gateway.live == {}
    await paper.gateway.synchronise()
    paper.gateway.fetch_fills_soon(1)
    await paper.gateway.close()


async def test_full_ring_is_an_error_not_a_silent_loss(linear):
    linear.gateway._push = lambda row: False
    with pytest.raises(AssertionError, match="ring is full"):
        linear.place(price=BID)
