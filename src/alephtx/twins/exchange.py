"""The state of a simulated exchange: orders, trades, money, journal; it knows no wire.

A venue twin feeds it the recorded market (`book`, `top`, `trade`) and its clients' orders (`place`,
`amend`, `cancel`); it matches through `sim.matching`, moves the money and calls `listeners` with a
`Report` for every NEW, AMENDED, TRADE, CANCELED, EXPIRED and with kind "ACCOUNT" after money moved
otherwise. What it refuses it raises as `Refused(reason)`; the venue words that as its own code and
text. Venue-specific order rules go into an override of `check`.
"""

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from alephtx.core import words
from alephtx.sim import matching
from alephtx.twins.accounts import Account, Market, money
from alephtx.twins.admission import Admission
from alephtx.twins.orders import Refused, Report, Trade, TwinOrder
from alephtx.twins.state import HISTORY_MAX, LEVELS_MAX

__all__ = ["Exchange", "Refused", "Report", "Trade", "TwinOrder"]


class Exchange(Admission):
    """See the module. One instance per venue; single-threaded and synchronous."""

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

    def place(self, order: TwinOrder) -> TwinOrder:
        """Accept an order: admit, NEW, match, rest or expire. Raises Refused before acceptance.

        The caller leaves order_id 0; an id, times and status are filled in here.
        """
        self.admit(order)
        order.order_id, self._next_order = self._next_order, self._next_order + 1
        order.created_ms = order.updated_ms = self.now_ms()
        n, rests = self._match(order)
        self._register(order)
        self._report("NEW", order)
        self._after_match(order, n, rests)
        return order

    def _match(self, order: TwinOrder) -> tuple[int, bool]:
        """Let what is left of an order meet the book; the matching's word, and whether it rests."""
        row = self._row
        row["order_id"], row["price"], row["qty"] = order.order_id, order.price, order.left
        row["instrument"], row["account"] = order.market.index, order.account.index
        row["side"], row["type"], row["tif"] = order.side, order.type, order.tif
        row["flags"] = words.POST_ONLY if order.post_only else 0
        row["stp"] = order.stp
        n = matching.place(self._x, row, self._fills)
        if n in (matching.FULL, matching.BAD_ORDER):
            raise Refused("full" if n == matching.FULL else "parameter")
        return int(n), bool(row["resting"][0])

    def _after_match(self, order: TwinOrder, n: int, rests: bool) -> None:
        """Settle what it met; end it where nothing of it rests."""
        if n > 0:
            self._settle(n)
        if order.open and not rests:
            self._end(order, words.EXPIRED, "EXPIRED", "fok" if n < 0 else "unfilled")

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

    def amend(self, order: TwinOrder, price: int, qty: int) -> TwinOrder:
        """Give an open contract order another price and total; it loses its place in the queue.

        Refused where what would be left of it would not be accepted: it stays as it was then.
        """
        if not order.open or order.market.spot:
            raise Refused("unknown_order", str(order.order_id))
        wanted = msgspec.structs.replace(order, price=price, qty=qty - order.filled, client_id="")
        self.open_orders.pop(order.order_id)  # its own margin is free for what it becomes
        try:
            self.admit(wanted)
        finally:
            self.open_orders[order.order_id] = order
        matching.cancel(self._x, order.market.index, order.order_id)
        order.price, order.qty = price, wanted.qty + order.filled
        order.updated_ms = self.now_ms()
        n, rests = self._match(order)
        self._report("AMENDED", order)
        self._after_match(order, n, rests)
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

    def move(
        self, account: Account, asset: str, amount: str | Decimal, kind: str, *, told: bool = True
    ) -> None:
        """Let money come or go without a fill. told: on the streams; a query lists it always."""
        try:
            change = Decimal(amount)
        except InvalidOperation:
            raise Refused("parameter", f"amount {amount!r} is not a number") from None
        if not change.is_finite() or not asset or not kind:
            raise Refused("parameter", f"no movement of {amount} {asset!r} for {kind!r}")
        now = self.now_ms()
        account.add(asset, change)
        account.income.append(
            {"symbol": "", "type": kind, "income": format(change, "f"), "asset": asset}
            | {"time": str(now)}
        )
        if told:
            self._tell(Report("ACCOUNT", now, account, None, None, kind, (asset,), ""))

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
