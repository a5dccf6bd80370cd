"""Paper accounts: live events, simulated fills, through the twins' own exchange state and matching.

A paper gateway stands where `execution.gateway` stands and speaks the same rows, so the loop cannot
tell. It reads the matrix as any reader does: tops and trades from the hot ring, depth from the
ladder. Balances are those of the config; fees are the instrument's own. Our orders do not move the
market; what a taker takes is gone until the next image of the book.
"""

import asyncio
import contextlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np

from alephtx.core import identity, words
from alephtx.core.clock import Clock
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.log import logger
from alephtx.core.ports import Balance, Holding, Rows
from alephtx.core.records import TOP_ROW, UPDATE
from alephtx.core.units import MONEY_SCALE, from_decimal
from alephtx.execution.gateway import LiveOrder
from alephtx.matrix.levels import levels_read
from alephtx.matrix.ring import ring_head, ring_read
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_read
from alephtx.sim.matching import STP_EXPIRE_TAKER
from alephtx.twins.accounts import Account, Market
from alephtx.twins.exchange import Exchange, Refused, Report, TwinOrder

log = logger("paper")

LATENCY_NS = 3_000_000
"""How long an order or a cancel is under way before it is matched."""

POLL_NS = 500_000
PRICE_MAX = (1 << 63) - 1
REASONS = {
    "would_cross": words.REASON_WOULD_CROSS,
    "insufficient": words.REASON_INSUFFICIENT,
    "duplicate_client_id": words.REASON_DUPLICATE,
    "reduce_only": words.REASON_REDUCE_ONLY,
    "unknown_order": words.REASON_UNKNOWN_ORDER,
    "no_book": words.REASON_NOT_FILLED,
    "fok": words.REASON_NOT_FILLED,
}


def market_of(instrument: Instrument, row: Any) -> Market:
    """Return the exchange's view of an instrument; row: its INSTRUMENT row."""
    return Market(
        symbol=instrument.key,
        base=instrument.base,
        quote=instrument.quote,
        settle=instrument.settle,
        contract=instrument.contract,
        price_scale=instrument.price_scale,
        qty_scale=instrument.qty_scale,
        tick=int(row["tick_step"]),
        lot=int(row["lot_step"]),
        price_min=max(1, int(row["price_min"])),
        price_max=int(row["price_max"]) or 1 << 40,
        qty_min=max(1, int(row["qty_min"])),
        qty_max=int(row["qty_max"]) or 1 << 40,
        notional_min=instrument.notional_min,
        contract_value=instrument.contract_value,
    )


PAPER_BALANCES = {"USDT": Decimal(100_000), "USDC": Decimal(100_000), "BTC": Decimal(2),
                  "ETH": Decimal(40)}  # fmt: skip
"""What a paper account starts with when the config does not say."""


class PaperGateway:
    """One simulated account at one venue. Same surface as `execution.gateway.Gateway`."""

    def __init__(
        self,
        account: int,
        venue: str,
        opening: dict[str, Decimal],
        instruments: Instruments,
        matrix: Matrix,
        clock: Clock,
        push: Callable[[Rows], bool],
        *,
        on_sent: Callable[[int, int, int], None] = lambda op, order_id, ns: None,
    ) -> None:
        self.account = account
        self.clock = clock
        self.live: dict[int, LiveOrder] = {}
        self.ready = asyncio.Event()
        self.balances: list[Balance] = []
        self.holdings: list[Holding] = []
        self.foreign = 0
        self.counts = {"sent": 0, "rejected": 0, "ambiguous": 0, "resyncs": 0, "fills": 0}
        self._instruments = instruments
        self._matrix = matrix
        self._push = push
        self._on_sent = on_sent
        self._venue = instruments.venues.index(venue)
        self._indices = instruments.of_venue(venue)
        rows = instruments.rows()
        self._markets = {i: market_of(instruments[i], rows[i]) for i in self._indices}
        owner = Account(name="paper", total=dict(opening))
        self._owner = owner
        # From the clock, so that a later life of the account repeats no id of an earlier one.
        first = clock.now() // 1_000
        self.exchange = Exchange(
            list(self._markets.values()), [owner], first_order_id=first, first_trade_id=first
        )
        self.exchange.now_ms = lambda: clock.now() // 1_000_000
        self.exchange.listeners.append(self._report)
        self._of_market = {market.symbol: i for i, market in self._markets.items()}
        self._next = max(1, int(ring_head(matrix.map, self._venue)))
        self._slot = np.zeros(1, TOP_ROW)
        depth = matrix.geometry.depth
        self._levels = np.zeros((2, depth, 2), np.int64)
        self._shown_seq: dict[int, int] = {}
        self._ladder = np.zeros((2 * depth, 3), np.int64)
        self._ladder[:depth, 0], self._ladder[depth:, 0] = words.BUY, words.SELL
        self._tasks: set[asyncio.Task[None]] = set()
        self._seq = 0

    # -- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to follow the market; a paper account is in agreement at once."""
        self._emit(kind=words.RESYNC_BEGIN)
        for order in self.live.values():  # the exchange they rested at ended with its process
            self._emit(
                kind=words.EXPIRE, order_id=order.order_id, instrument=order.instrument,
                reason=words.REASON_OTHER,
            )  # fmt: skip
        self.live.clear()
        await self.refresh()
        self._spawn(self._follow())
        self._emit(kind=words.RESYNC_END)
        self.ready.set()

    async def close(self) -> None:
        """Stop following."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def synchronise(self) -> None:
        """State balances and positions anew; orders cannot be in doubt here."""
        await self.refresh()

    async def refresh(self) -> None:
        """Copy the account's truth to `balances` and `holdings`."""
        self.balances = [
            Balance(name, total, self._owner.free(name))
            for name, total in self._owner.total.items()
        ]
        self.holdings = [
            Holding(self._of_market[symbol], position.qty, Decimal(0))
            for symbol, position in self._owner.positions.items()
            if position.qty
        ]

    def fetch_fills_soon(self, instrument: int) -> None:
        """Do nothing: no fill can be missing, the exchange is in this process."""

    def resume(
        self,
        balances: dict[str, Decimal],
        positions: dict[int, tuple[int, Decimal]],
        live: list[LiveOrder],
    ) -> None:
        """Take up the account where the ledger left it after a restart; its orders are gone."""
        self.live = {order.order_id: order for order in live}
        self._owner.total.update(balances)
        for i, (qty, cost) in positions.items():
            position = self._owner.position(self._markets[i].symbol)
            position.qty, position.cost = qty, cost

    # -- orders ----------------------------------------------------------------------------

    def submit(self, intents: Rows) -> None:
        """Match INTENT rows after the latency."""
        for k in range(len(intents)):
            row = intents[k].copy()
            op = int(row["op"])
            order_id = int(row["order_id" if op == words.PLACE else "target_order_id"])
            if op == words.PLACE:
                self.live[order_id] = LiveOrder(order_id, int(row["instrument"]), self.clock.now())
            self._on_sent(op, order_id, self.clock.now())
            self.counts["sent"] += 1
            self.dispatch(row)

    def dispatch(self, row: Any) -> None:
        """Let an order or a cancel arrive after the latency."""
        asyncio.get_running_loop().call_later(LATENCY_NS / 1e9, self.arrive, row)

    def arrive(self, row: Any) -> None:
        """Match an order or take one off, now."""
        if row["op"] == words.PLACE:
            self._place(row)
        elif row["op"] == words.CANCEL:
            self._cancel(int(row["target_order_id"]))

    def _place(self, row: Any) -> None:
        order_id, i = int(row["order_id"]), int(row["instrument"])
        instrument = self._instruments[i]
        self._owner.maker_fee, self._owner.taker_fee = instrument.maker_fee, instrument.taker_fee
        order = TwinOrder(
            order_id=0,
            client_id=identity.to_text(order_id),
            account=self._owner,
            market=self._markets[i],
            side=int(row["side"]),
            type=int(row["type"]),
            tif=int(row["tif"]),
            price=int(row["price"]),
            qty=int(row["qty"]),
            post_only=bool(row["flags"] & words.POST_ONLY),
            reduce_only=bool(row["flags"] & words.REDUCE_ONLY),
            stp=STP_EXPIRE_TAKER,
        )
        try:
            self.exchange.place(order)
        except Refused as refusal:
            self.counts["rejected"] += 1
            self.live.pop(order_id, None)
            self._emit(
                kind=words.REJECT, order_id=order_id, instrument=i,
                reason=REASONS.get(refusal.reason, words.REASON_FILTER),
            )  # fmt: skip

    def _cancel(self, order_id: int) -> None:
        try:
            order = self.exchange.find(self._owner, None, client_id=identity.to_text(order_id))
            self.exchange.cancel(order)
        except Refused:
            self._emit(
                kind=words.CANCEL_REJECT, order_id=order_id, reason=words.REASON_UNKNOWN_ORDER
            )
            self.live.pop(order_id, None)

    def _report(self, report: Report) -> None:
        """Turn the exchange's report into an update row."""
        order = report.order
        if order is None:
            return
        order_id = identity.from_text(order.client_id)
        common = {
            "order_id": order_id,
            "venue_order_id": order.order_id,
            "instrument": self._of_market[order.market.symbol],
            "side": order.side,
            "cum_qty": order.filled,
            "status": order.status,
            "ts_event": report.time_ms * 1_000_000,
        }
        trade = report.trade
        if report.kind == "NEW":
            self._emit(kind=words.ACK, **common)
        elif report.kind == "TRADE" and trade is not None:
            self.counts["fills"] += 1
            self._emit(
                kind=words.FILL,
                price=trade.price,
                qty=trade.qty,
                trade_id=trade.trade_id,
                fee=from_decimal(trade.fee, MONEY_SCALE),
                fee_currency=self._instruments.currency(trade.fee_asset),
                realized=from_decimal(trade.realized, MONEY_SCALE),
                liquidity=words.MAKER if trade.maker else words.TAKER,
                **common,
            )
        elif report.kind in ("CANCELED", "EXPIRED"):
            kind = words.CANCEL_ACK if report.kind == "CANCELED" else words.EXPIRE
            self._emit(kind=kind, reason=words.REASON_NOT_FILLED, **common)
        if not order.open:
            self.live.pop(order_id, None)

    def _emit(self, **fields: int) -> None:
        row = np.zeros(1, UPDATE)
        row["cum_qty"], row["account"], row["ts_recv"] = -1, self.account, self.clock.now()
        for name, value in fields.items():
            row[name] = value
        if not self._push(row):
            raise AssertionError("the paper account's update ring is full")

    # -- the market ------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            self.catch_up()
            await self.clock.sleep(POLL_NS)

    def catch_up(self, most: int = 512) -> None:
        """Apply what the venue's ring brings, a bounded batch of slots."""
        for _ in range(most):
            got = ring_read(self._matrix.map, self._venue, self._next, self._slot)
            if got == 0:
                break
            if got < 0:
                self._next = int(ring_head(self._matrix.map, self._venue))
                self._refresh_all()
                continue
            self._next += 1
            self._apply()

    def _refresh_all(self) -> None:
        for i in self._indices:
            if top_read(self._matrix.map, i, self._slot) == 0:
                self._show(i, self._slot[0])

    def _apply(self) -> None:
        slot = self._slot[0]
        aux = int(slot["aux"])
        i, kind, side = aux & 0xFFFFFFFF, (aux >> 32) & 0xFF, ((aux >> 56) & 0xFF) - 1
        market = self._markets.get(i)
        if market is None:
            return
        if kind == words.TRADE:
            self.exchange.trade(market, int(slot["bid"]), int(slot["bid_qty"]), side)
        elif kind in (words.TOP, words.DELTA):
            self._show(i, slot)
        else:
            self._shown_seq.pop(i, None)
            self.exchange.book(market, [], seq=self._seq, snapshot=True)

    def _show(self, i: int, top: Any) -> None:
        """Show the exchange a touch, and the ladder behind it where that is a new one.

        The touch may come from the venue's stream of best prices and be newer than the ladder, by
        up to 100 ms: levels that it has passed are not there any more.
        """
        bid, ask = int(top["bid"]), int(top["ask"])
        sizes = int(top["bid_qty"]), int(top["ask_qty"])
        seq = int(levels_read(self._matrix.map, i, self._levels))
        self._seq += 1
        if seq < 0 or seq == self._shown_seq.get(i):
            self.exchange.top(self._markets[i], bid, sizes[0], ask, sizes[1], self._seq)
            return
        self._shown_seq[i] = seq
        depth = len(self._ladder) // 2
        bids, asks = self._ladder[:depth], self._ladder[depth:]
        bids[:, 1:], asks[:, 1:] = self._levels
        bids[:, 2] *= bids[:, 1] < (bid if sizes[0] else 0)
        asks[:, 2] *= asks[:, 1] > (ask if sizes[1] else PRICE_MAX)
        touch = [(words.BUY, bid, sizes[0]), (words.SELL, ask, sizes[1])]
        levels: Any = np.concatenate((np.array(touch), self._ladder))
        levels = levels[levels[:, 2] > 0]
        self.exchange.book(self._markets[i], levels, seq=self._seq, snapshot=True)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        with contextlib.suppress(asyncio.CancelledError):
            if (error := task.exception()) is not None:
                log.error("paper_market_failed", account=self.account, error=repr(error))
