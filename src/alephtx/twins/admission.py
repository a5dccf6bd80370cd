"""What an exchange asks before it accepts an order: filters, ids, funds, margin."""

from decimal import Decimal

from alephtx.core import words
from alephtx.twins.accounts import Account, Market, Position
from alephtx.twins.orders import Refused, TwinOrder
from alephtx.twins.state import ExchangeState


class Admission(ExchangeState):
    """The checks; all raise Refused and change nothing."""

    def check(self, order: TwinOrder) -> None:
        """Refuse an order that breaks a filter of its market; venues override or extend."""
        market = order.market
        if not market.trading:
            raise Refused("not_trading")
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
