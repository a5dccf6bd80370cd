"""The state of a simulated exchange: orders, trades, money, journal; it knows no wire.

A venue twin feeds it the recorded market (`book`, `top`, `trade`) and its clients' orders (`place`,
`cancel`); it matches through `sim.matching`, moves the money and calls `listeners` with a `Report`
for every NEW, TRADE, CANCELED, EXPIRED and with kind "ACCOUNT" after money moved otherwise. What it
refuses it raises as `Refused(reason)`; the venue words that as its own code and text. Venue-specific
order rules go into an override of `check`.
"""

from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.sim import matching
from alephtx.twins.accounts import Account, Market, Position, money

LEVELS_MAX = 16_384
ORDERS_MAX = 1_024
HISTORY_MAX = 50_000
JOURNAL_MAX = 200_000


class Refused(Exception):  # noqa: N818 - a verdict, as the venue's answer is
    """An order or request the exchange does not accept.

    reasons: symbol, price_filter, price_range, lot_size, quantity, notional, percent_price,
    duplicate_client_id, insufficient, would_cross, fok, reduce_only, unknown_order, full, no_book,
    market_closed, parameter.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Trade(msgspec.Struct, kw_only=True):
    """One execution of one of our orders, exact."""

    trade_id: int
    order_id: int
    client_id: str
    account: str
    symbol: str
    side: int
    price: int
    qty: int
    maker: bool
    fee: Decimal
    fee_asset: str
    realized: Decimal
    value: Decimal
    time_ms: int
    position_before: int = 0
    match: int = 0


class TwinOrder(msgspec.Struct, kw_only=True):
    """One order; status, side, type and tif are `core.words`; price in ticks, quantities in lots."""

    order_id: int
    client_id: str
    account: Account
    market: Market
    side: int
    type: int
    tif: int
    price: int
    qty: int
    post_only: bool = False
    reduce_only: bool = False
    stp: int = matching.STP_NONE
    status: int = words.NEW
    filled: int = 0
    value: Decimal = Decimal(0)
    created_ms: int = 0
    updated_ms: int = 0
    locked: Decimal = Decimal(0)
    quote_qty: Decimal = Decimal(0)
    end_reason: str = ""
    trades: list[Trade] = []
    extra: dict[str, Any] = {}

    @property
    def left(self) -> int:
        """Lots not filled."""
        return self.qty - self.filled

    @property
    def open(self) -> bool:
        """True while it can still trade."""
        return self.status in (words.NEW, words.PARTIALLY_FILLED)

    @property
    def average(self) -> Decimal:
        """Average fill price; 0 before the first fill."""
        if not self.filled:
            return Decimal(0)
        qty = self.market.qty(self.filled) * self.market.contract_value
        return qty / self.value if self.market.contract == words.INVERSE else self.value / qty


class Report(msgspec.Struct):
    """What listeners are told. kind: NEW, TRADE, CANCELED, EXPIRED, AMENDED, ACCOUNT.

    order and trade are set where they apply; for ACCOUNT, account and reason (FUNDING_FEE, ...).
    `assets` are the currencies whose balance changed.
    """

    kind: str
    time_ms: int
    account: Account
    order: TwinOrder | None = None
    trade: Trade | None = None
    reason: str = ""
    assets: tuple[str, ...] = ()
    symbol: str = ""


class Exchange:
    """See the module. One instance per venue; single-threaded and synchronous."""

    def __init__(
        self,
        markets: Iterable[Market],
        accounts: Iterable[Account],
        *,
        first_order_id: int = 1_000_001,
        first_trade_id: int = 9_000_000_001,
    ) -> None:
        self.markets: list[Market] = []
        self.by_symbol: dict[str, Market] = {}
        for index, market in enumerate(markets):
            market.index = index
            self.markets.append(market)
            self.by_symbol[market.symbol] = market
        self.accounts: list[Account] = []
        self.by_key: dict[str, Account] = {}
        for account in accounts:
            self.add_account(account)
        self.listeners: list[Callable[[Report], None]] = []
        self.now_ms: Callable[[], int] = lambda: 0
        self.journal: deque[dict[str, Any]] = deque(maxlen=JOURNAL_MAX)
        self.orders: dict[int, TwinOrder] = {}
        self.open_orders: dict[int, TwinOrder] = {}
        self.trades: deque[Trade] = deque(maxlen=HISTORY_MAX)
        self.last_price: list[int] = [0] * len(self.markets)
        self.last_time_ms: list[int] = [0] * len(self.markets)
        self._client_open: dict[tuple[int, str], TwinOrder] = {}
        self._client_last: dict[tuple[int, str], TwinOrder] = {}
        self._next_order, self._next_trade = first_order_id, first_trade_id
        self._x = matching.make_exchange(len(self.markets), ORDERS_MAX, LEVELS_MAX)
        self._fills = matching.make_fills(LEVELS_MAX)
        self._row = np.zeros(1, matching.SIM_ORDER)
        self._levels = np.zeros((LEVELS_MAX, 3), np.int64)
        self._walk = np.zeros((LEVELS_MAX, 2), np.int64)

    def warm(self) -> None:
        """Load or compile every kernel, so that the first order is not the one that waits."""
        matching.warm(self._x)

    # -- accounts and look-ups -----------------------------------------------------------------

    def add_account(self, account: Account) -> Account:
        """Open an account; venues without registration call this at the first deposit."""
        account.index = len(self.accounts)
        self.accounts.append(account)
        self.by_key[account.key] = account
        return account

    def market(self, symbol: str) -> Market:
        """Return a market; Refused("symbol") when it is not listed."""
        found = self.by_symbol.get(symbol)
        if found is None:
            raise Refused("symbol", symbol)
        return found

    def find(
        self, account: Account, symbol: str | None, *, order_id: int = 0, client_id: str = ""
    ) -> TwinOrder:
        """Return an order of an account by either id, open ones first; else Refused."""
        if order_id:
            order = self.orders.get(order_id)
        else:
            key = (account.index, client_id)
            order = self._client_open.get(key) or self._client_last.get(key)
        wrong = order is None or order.account is not account
        if wrong or (symbol is not None and order is not None and order.market.symbol != symbol):
            raise Refused("unknown_order", str(order_id or client_id))
        assert order is not None
        return order

    def open_of(self, account: Account, symbol: str | None = None) -> list[TwinOrder]:
        """Return an account's open orders, oldest first."""
        return [
            order
            for order in self.open_orders.values()
            if order.account is account and symbol in (None, order.market.symbol)
        ]

    def touch(self, market: Market) -> tuple[int, int]:
        """Return (best bid, best ask) in ticks of the matching book; 0 for an empty side."""
        ladder, i = self._x.ladder, market.index
        bids, asks = int(ladder.count[i, 0]), int(ladder.count[i, 1])
        bid = int(ladder.keys[i, 0, bids - 1]) if bids else 0
        return bid, -int(ladder.keys[i, 1, asks - 1]) if asks else 0

    def mark(self, market: Market) -> int:
        """Return the mark: the middle of the touch in ticks, else the last print; 0 if unknown."""
        bid, ask = self.touch(market)
        return (bid + ask) // 2 if bid and ask else self.last_price[market.index]

    def walk(self, market: Market, side: int, qty: int, limit: int = 0) -> list[tuple[int, int]]:
        """Return the displayed (price, qty) a taker of qty lots would meet; limit 0 for none."""
        n = matching.preview(self._x, market.index, side, limit, qty, self._walk)
        return [(int(price), int(size)) for price, size in self._walk[:n]]

    def depth(self, market: Market, side: int, levels: int) -> list[tuple[int, int]]:
        """Return the best levels of one side of the matching book, best first."""
        s = 0 if side > 0 else 1
        n = int(self._x.ladder.count[market.index, s])
        keys = self._x.ladder.keys[market.index, s, max(0, n - levels) : n][::-1]
        qtys = self._x.ladder.qtys[market.index, s, max(0, n - levels) : n][::-1]
        return [(side * int(key), int(qty)) for key, qty in zip(keys, qtys, strict=True)]

    def queue_ahead(self, order: TwinOrder) -> int:
        """Return the lots displayed ahead of a resting order, -1 when it does not rest."""
        return int(matching.queue_ahead(self._x, order.market.index, order.order_id))

    # -- the recorded market -------------------------------------------------------------------

    def book(
        self, market: Market, levels: list[tuple[int, int, int]], *, seq: int, snapshot: bool
    ) -> None:
        """Apply (side, price, absolute qty) changes of one message, or a whole book."""
        count = min(len(levels), LEVELS_MAX)
        if count:
            self._levels[:count] = levels[:count]
        n = matching.on_levels(
            self._x, market.index, self._levels, count, seq, int(snapshot), self._fills
        )
        if n:
            self._settle(n)

    def top(self, market: Market, bid: int, bid_qty: int, ask: int, ask_qty: int, seq: int) -> None:
        """Apply best prices, unless they are older than the book."""
        n = matching.on_top(self._x, market.index, bid, bid_qty, ask, ask_qty, seq, self._fills)
        if n:
            self._settle(n)

    def trade(self, market: Market, price: int, qty: int, aggressor: int) -> None:
        """Apply a public print."""
        self.last_price[market.index] = price
        n = matching.on_trade(self._x, market.index, price, qty, aggressor, self._fills)
        if n:
            self._settle(n)

    def clear_books(self) -> None:
        """Forget what is displayed; our resting orders stay."""
        for market in self.markets:
            matching.on_levels(self._x, market.index, self._levels, 0, 0, 1, self._fills)

    # -- orders --------------------------------------------------------------------------------

    def check(self, order: TwinOrder) -> None:
        """Refuse an order that breaks a filter of its market; venues override or extend."""
        market = order.market
        if order.qty <= 0:
            raise Refused("quantity", "not positive")
        if not market.qty_min <= order.qty <= market.qty_max or order.qty % market.lot:
            raise Refused("lot_size")
        price = order.price
        if order.type != words.MARKET:
            if not market.price_min <= price <= market.price_max or price % market.tick:
                raise Refused("price_filter")
            self._check_band(order)
        reference = price if order.type != words.MARKET else self.mark(market)
        if not order.reduce_only and market.notional_min:
            quote = market.price(reference) * market.qty(order.qty) * market.contract_value
            if quote < market.notional_min:
                raise Refused("notional")

    def _check_band(self, order: TwinOrder) -> None:
        market = order.market
        reference = self.last_price[market.index] or self.mark(market)
        if not reference:
            return
        ratio = Decimal(order.price) / Decimal(reference)
        if market.percent_up and ratio > market.percent_up:
            raise Refused("percent_price", "above")
        if market.percent_down and ratio < market.percent_down:
            raise Refused("percent_price", "below")

    def admit(self, order: TwinOrder) -> None:
        """Run every check that comes before acceptance; raises Refused and changes nothing."""
        self.check(order)
        if order.client_id and (order.account.index, order.client_id) in self._client_open:
            raise Refused("duplicate_client_id", order.client_id)
        if order.reduce_only:
            held = order.account.position(order.market.symbol).qty
            if held * order.side >= 0:
                raise Refused("reduce_only")
            order.qty = min(order.qty, abs(held))
        bid, ask = self.touch(order.market)
        best = ask if order.side > 0 else bid
        if order.type == words.MARKET and not best:
            raise Refused("no_book")
        if order.post_only and self._would_take(order, best):
            raise Refused("would_cross", str(best))
        self.check_funds(order)

    def _would_take(self, order: TwinOrder, best: int) -> bool:
        if best and order.side * (order.price - best) >= 0:
            return True
        return any(
            other.market is order.market
            and other.side == -order.side
            and order.side * (order.price - other.price) >= 0
            for other in self.open_orders.values()
        )

    def check_funds(self, order: TwinOrder) -> None:
        """Refuse what the account cannot pay for or carry."""
        market, account = order.market, order.account
        if market.spot:
            asset, need = self._spot_need(order)
            if account.free(asset) < need:
                raise Refused("insufficient", asset)
        elif not order.reduce_only:
            held = account.position(market.symbol).qty
            growing = max(0, abs(held + order.side * order.qty) - abs(held))
            price = order.price or self.mark(market)
            need = market.value(price, growing) / self.leverage(account, market)
            if growing and need > self.available(account, market.settle):
                raise Refused("insufficient", market.settle)

    def _spot_need(self, order: TwinOrder) -> tuple[str, Decimal]:
        market = order.market
        if order.side < 0:
            return market.base, market.qty(order.qty)
        if order.type != words.MARKET:
            return market.quote, market.value(order.price, order.qty)
        walk = self.walk(market, order.side, order.qty)
        return market.quote, sum((market.value(p, q) for p, q in walk), Decimal(0))

    def leverage(self, account: Account, market: Market) -> int:
        """Return the leverage set for a symbol, the market's default otherwise."""
        return account.leverage.get(market.symbol, market.leverage)

    def unrealized(self, account: Account, settle: str) -> Decimal:
        """Return the open P&L of all positions settled in one currency."""
        total = Decimal(0)
        for symbol, position in account.positions.items():
            market = self.by_symbol[symbol]
            if market.settle == settle:
                total += position.unrealized(market, self.mark(market))
        return total

    def margin(self, account: Account, settle: str) -> tuple[Decimal, Decimal]:
        """Return initial margin of (positions, open orders) at the account's leverages."""
        held, ordered = Decimal(0), Decimal(0)
        buys: dict[str, Decimal] = {}
        sells: dict[str, Decimal] = {}
        for order in self.open_of(account):
            if order.market.settle == settle and not order.reduce_only:
                side = buys if order.side > 0 else sells
                value = order.market.value(order.price, order.left)
                side[order.market.symbol] = side.get(order.market.symbol, Decimal(0)) + value
        for market in self.markets:
            if market.settle != settle or market.spot:
                continue
            qty = account.positions.get(market.symbol, Position()).qty
            mark = self.mark(market)
            value = market.value(mark, abs(qty)) if qty and mark else Decimal(0)
            signed = value if qty > 0 else -value
            long = abs(signed + buys.get(market.symbol, Decimal(0)))
            short = abs(signed - sells.get(market.symbol, Decimal(0)))
            leverage = self.leverage(account, market)
            held += value / leverage
            ordered += (max(long, short, value) - value) / leverage
        return held, ordered

    def available(self, account: Account, settle: str) -> Decimal:
        """Return what may still be used as margin: wallet + open P&L - margin in use."""
        held, ordered = self.margin(account, settle)
        wallet = account.total.get(settle, Decimal(0))
        return wallet + self.unrealized(account, settle) - held - ordered

    def place(self, order: TwinOrder) -> TwinOrder:
        """Accept an order: admit, NEW, match, rest or expire. Raises Refused before acceptance.

        The caller leaves order_id 0; an id, times and status are filled in here.
        """
        self.admit(order)
        order.order_id, self._next_order = self._next_order, self._next_order + 1
        order.created_ms = order.updated_ms = self.now_ms()
        row = self._row
        row["order_id"], row["price"], row["qty"] = order.order_id, order.price, order.qty
        row["instrument"], row["account"] = order.market.index, order.account.index
        row["side"], row["type"], row["tif"] = order.side, order.type, order.tif
        row["flags"] = words.POST_ONLY if order.post_only else 0
        row["stp"] = order.stp
        n = matching.place(self._x, row, self._fills)
        if n in (matching.FULL, matching.BAD_ORDER):
            raise Refused("full" if n == matching.FULL else "parameter")
        self._register(order)
        self._report("NEW", order)
        if n > 0:
            self._settle(n)
        if order.open and not row["resting"][0]:
            self._end(order, words.EXPIRED, "EXPIRED", "fok" if n < 0 else "unfilled")
        return order

    def _register(self, order: TwinOrder) -> None:
        self.orders[order.order_id] = order
        self.open_orders[order.order_id] = order
        key = (order.account.index, order.client_id)
        self._client_open[key] = self._client_last[key] = order
        self._lock(order)
        self._journal("ACCEPTED", order, price=order.price, qty=order.qty)
        if len(self.orders) > HISTORY_MAX:
            oldest = next(iter(self.orders))
            if not self.orders[oldest].open:
                gone = self.orders.pop(oldest)
                if self._client_last.get((gone.account.index, gone.client_id)) is gone:
                    del self._client_last[gone.account.index, gone.client_id]

    def cancel(self, order: TwinOrder, reason: str = "user") -> TwinOrder:
        """Take an order off the book; Refused("unknown_order") when it is not open."""
        if not order.open:
            raise Refused("unknown_order", str(order.order_id))
        matching.cancel(self._x, order.market.index, order.order_id)
        self._end(order, words.CANCELED, "CANCELED", reason)
        return order

    def cancel_all(
        self, account: Account, symbol: str | None = None, reason: str = "user"
    ) -> list[TwinOrder]:
        """Cancel an account's open orders, of one symbol or all."""
        return [self.cancel(order, reason) for order in self.open_of(account, symbol)]

    def reduce(self, order: TwinOrder, qty: int) -> TwinOrder:
        """Shrink an open order to a total of qty lots and keep its place in the queue."""
        left = qty - order.filled
        if not order.open or left <= 0:
            raise Refused("unknown_order" if not order.open else "quantity")
        if matching.reduce(self._x, order.market.index, order.order_id, left) < 0:
            raise Refused("quantity", "may only be reduced")
        order.qty, order.updated_ms = qty, self.now_ms()
        self._lock(order)
        self._report("AMENDED", order)
        return order

    # -- money ---------------------------------------------------------------------------------

    def _lock(self, order: TwinOrder) -> None:
        """Lock exactly what the rest of an open spot order may cost."""
        market = order.market
        if not market.spot:
            return
        asset = market.quote if order.side > 0 else market.base
        need = Decimal(0)
        if order.open and order.type != words.MARKET:
            left = order.left
            need = market.value(order.price, left) if order.side > 0 else market.qty(left)
        order.account.lock(asset, need - order.locked)
        order.locked = need

    def _settle(self, n: int) -> None:
        """Turn n fill rows into trades, money and reports."""
        rows = self._fills[:n].copy()  # a listener may place orders, which writes new fills
        for row in rows:
            order = self.orders[int(row["order_id"])]
            if row["event"] == matching.EXPIRED_SELF:
                self._end(order, words.EXPIRED, "EXPIRED", "self_trade")
            else:
                self._fill(order, row)

    def _fill(self, order: TwinOrder, row: Any) -> None:
        market, account = order.market, order.account
        price, qty = int(row["price"]), int(row["qty"])
        maker = int(row["liquidity"]) == words.MAKER
        value = market.value(price, qty)
        rate = account.maker_fee if maker else account.taker_fee
        before = 0 if market.spot else account.position(market.symbol).qty
        realized = Decimal(0)
        if market.spot:
            fee, asset = self._spot_fill(order, price, qty, rate)
        else:
            realized = account.position(market.symbol).fill(market, order.side, price, qty)
            fee, asset = money(value * rate), market.settle
            account.add(asset, realized - fee)
        trade = Trade(
            trade_id=self._next_trade,
            order_id=order.order_id,
            client_id=order.client_id,
            account=account.name,
            symbol=market.symbol,
            side=order.side,
            price=price,
            qty=qty,
            maker=maker,
            fee=fee,
            fee_asset=asset,
            realized=realized,
            value=value,
            time_ms=self.now_ms(),
            position_before=before,
            match=int(row["match"]),
        )
        self._next_trade += 1
        order.filled += qty
        order.value += value
        order.updated_ms = trade.time_ms
        order.status = words.FILLED if order.left == 0 else words.PARTIALLY_FILLED
        order.trades.append(trade)
        self._lock(order)
        if not order.open:
            self._forget_open(order)
        self.trades.append(trade)
        self._journal(
            "FILL", order, price=price, qty=qty, trade_id=trade.trade_id, fee=fee, fee_asset=asset
        )
        self._report("TRADE", order, trade)
        if not market.spot:
            self._trim_reduce_only(account, market)

    def _spot_fill(
        self, order: TwinOrder, price: int, qty: int, rate: Decimal
    ) -> tuple[Decimal, str]:
        """Swap the balances; the fee is taken from what is received."""
        market, account = order.market, order.account
        value, size = market.value(price, qty), market.qty(qty)
        if order.side > 0:
            fee = money(size * rate)
            account.add(market.quote, -value)
            account.add(market.base, size - fee)
            return fee, market.base
        fee = money(value * rate)
        account.add(market.base, -size)
        account.add(market.quote, value - fee)
        return fee, market.quote

    def _trim_reduce_only(self, account: Account, market: Market) -> None:
        """Shrink or expire reduce-only orders that would now do more than close the position."""
        held = account.position(market.symbol).qty
        for order in self.open_of(account, market.symbol):
            if not order.reduce_only:
                continue
            if held * order.side >= 0:
                matching.cancel(self._x, market.index, order.order_id)
                self._end(order, words.EXPIRED, "EXPIRED", "reduce_only")
            elif order.left > abs(held):
                self.reduce(order, order.filled + abs(held))

    def fund(self, symbol: str, rate: str | Decimal) -> int:
        """Settle funding at a rate: longs pay rate x value at the mark, shorts receive."""
        market = self.market(symbol)
        try:
            factor = Decimal(rate)
        except InvalidOperation:
            raise Refused("parameter", f"rate {rate!r} is not a number") from None
        mark = self.mark(market)
        if market.spot or not factor.is_finite() or not mark:
            raise Refused("parameter", f"no funding for {symbol} at rate {rate}")
        paid = 0
        for account in self.accounts:
            position = account.positions.get(symbol)
            if position is None or position.qty == 0:
                continue
            amount = -money(market.value(mark, position.qty) * factor)
            account.add(market.settle, amount)
            position.funding += amount
            now = self.now_ms()
            account.income.append(
                {
                    "symbol": symbol,
                    "type": "FUNDING_FEE",
                    "income": format(amount, "f"),
                    "asset": market.settle,
                    "time": str(now),
                    "rate": format(factor, "f"),
                    "qty": format(market.qty(position.qty), "f"),
                }
            )
            self.journal.append(
                {"kind": "FUNDING", "time": now, "account": account.name, "symbol": symbol}
                | {"amount": amount, "rate": factor}
            )
            self._tell(
                Report("ACCOUNT", now, account, None, None, "FUNDING_FEE", (market.settle,), symbol)
            )
            paid += 1
        return paid

    # -- ends and reports ----------------------------------------------------------------------

    def _forget_open(self, order: TwinOrder) -> None:
        self.open_orders.pop(order.order_id, None)
        key = (order.account.index, order.client_id)
        if self._client_open.get(key) is order:
            del self._client_open[key]

    def _end(self, order: TwinOrder, status: int, kind: str, reason: str) -> None:
        order.status, order.updated_ms, order.end_reason = status, self.now_ms(), reason
        self._forget_open(order)
        self._lock(order)
        self._journal(kind, order, reason=reason, filled=order.filled)
        self._report(kind, order, reason=reason)

    def _report(
        self, kind: str, order: TwinOrder, trade: Trade | None = None, reason: str = ""
    ) -> None:
        market = order.market
        assets = (market.base, market.quote) if market.spot else (market.settle,)
        if kind == "NEW" and market.spot:
            assets = (market.quote,) if order.side > 0 else (market.base,)
        self._tell(
            Report(
                kind, order.updated_ms, order.account, order, trade, reason, assets, market.symbol
            )
        )

    def _tell(self, report: Report) -> None:
        for listener in self.listeners:
            listener(report)

    def _journal(self, kind: str, order: TwinOrder, **facts: Any) -> None:
        self.journal.append(
            {
                "kind": kind,
                "time": order.updated_ms,
                "account": order.account.name,
                "symbol": order.market.symbol,
                "order_id": order.order_id,
                "client_id": order.client_id,
                "side": order.side,
                **facts,
            }
        )

    def truth(self) -> dict[str, Any]:
        """Return balances, positions and open orders of every account, exact, for checks."""
        return {account.name: self._truth_of(account) for account in self.accounts}

    def _truth_of(self, account: Account) -> dict[str, Any]:
        return {
            "balances": {
                asset: {"total": total, "locked": account.locked.get(asset, Decimal(0))}
                for asset, total in account.total.items()
            },
            "positions": {
                symbol: {"qty": held.qty, "cost": held.cost, "realized": held.realized}
                | {"funding": held.funding, "entry": held.entry_price(self.by_symbol[symbol])}
                for symbol, held in account.positions.items()
            },
            "open_orders": [
                {"order_id": order.order_id, "client_id": order.client_id, "side": order.side}
                | {"symbol": order.market.symbol, "price": order.price, "left": order.left}
                for order in self.open_of(account)
            ],
        }
