"""Hyperliquid's rules of the book: price grid, sizes, refusals, statuses; the twin's defaults.

A refusal that the matching engine would pronounce leaves an order behind: it has a number, it is
found by orderStatus and its owner is told, as on the venue.
"""

from decimal import Decimal

from alephtx.core import words
from alephtx.twins.accounts import TWIN_SECRET, Account, Market
from alephtx.twins.exchange import Exchange, Refused, TwinOrder
from alephtx.twins.hyperliquid_signing import address_of_private_key

MAX_DECIMALS = 6  # of a perpetual's price and size together
FIGURES = 5
MAX_LEVERAGE = 40
REQUESTS_FREE = 10_000

Fees = tuple[Decimal, Decimal]

REFUSALS: dict[str, tuple[str, str]] = {
    "size": ("Order has invalid size.", ""),
    "zero_size": ("Order has zero size.", ""),
    "price": ("Order has invalid price.", ""),
    "duplicate_client_id": ("Duplicate cloid {detail}.", ""),
    "full": ("Too many open orders.", ""),
    "tick": ("Price must be divisible by tick size.", "tickRejected"),
    "notional": ("Order must have minimum value of $10.", "minTradeNtlRejected"),
    "percent_price": (
        "Order price cannot be more than 80% away from the reference price.",
        "oracleRejected",
    ),
    "insufficient": ("Insufficient margin to place order.", "perpMarginRejected"),
    "reduce_only": ("Reduce only order would increase position.", "reduceOnlyRejected"),
    "would_cross": (
        "Post only order would have immediately matched, bbo was {bbo}.",
        "badAloPxRejected",
    ),
    "ioc": (
        "Order could not immediately match against any resting orders.",
        "iocCancelRejected",
    ),
}
"""Reason -> (the venue's text, the status of the order that is left behind or none)."""

END_STATUSES = {
    "user": "canceled",
    "modified": "canceled",
    "scheduled": "scheduledCancel",
    "self_trade": "selfTradeCanceled",
    "reduce_only": "reduceOnlyCanceled",
}


def plain(value: Decimal) -> str:
    """Format as the venue does: no exponent, no needless zeros, but always one decimal."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if text in ("-0", ""):
        text = "0"
    return text if "." in text else text + ".0"


def perp(symbol: str, size_decimals: int) -> Market:
    """Return a perpetual settled in USDC; price and size share six decimals."""
    return Market(
        symbol=symbol,
        base=symbol,
        quote="USDC",
        settle="USDC",
        contract=words.LINEAR,
        price_scale=MAX_DECIMALS - size_decimals,
        qty_scale=size_decimals,
        price_max=1 << 50,
        qty_max=1 << 50,
        notional_min=Decimal(10),
        percent_up=Decimal("1.8"),
        percent_down=Decimal("0.2"),
    )


def default_markets() -> list[Market]:
    """Return the recorded perpetuals; the position in the list is the asset number."""
    return [perp("BTC", 5)]


def default_account(fees: Fees = (Decimal("0.00015"), Decimal("0.00045"))) -> Account:
    """Return the account whose private key both ends derive from the reference `twin`."""
    return Account(
        name="main",
        key=address_of_private_key(TWIN_SECRET),
        total={"USDC": Decimal(100_000)},
        maker_fee=fees[0],
        taker_fee=fees[1],
    )


def on_grid(price: int, price_scale: int) -> bool:
    """Say whether ticks of 10^-price_scale are an integer or have at most five figures."""
    if price % 10**price_scale == 0:
        return True
    return len(str(price).rstrip("0")) <= FIGURES


class HyperliquidExchange(Exchange):
    """An exchange with the venue's admission."""

    def check(self, order: TwinOrder) -> None:
        """Refuse sizes, prices and values the venue does not take."""
        market = order.market
        if order.qty == 0:
            raise Refused("zero_size")
        if order.price == 0:
            raise Refused("price")
        if not order.qty <= market.qty_max:
            raise Refused("size")
        if order.price > market.price_max or not on_grid(order.price, market.price_scale):
            raise Refused("tick")
        self._check_band(order)
        value = market.value(order.price, order.qty)
        if not order.reduce_only and value < market.notional_min:
            raise Refused("notional")

    def admit(self, order: TwinOrder) -> None:
        """Add the venue's rule that an Ioc order must meet something."""
        super().admit(order)
        if order.tif == words.IOC:
            bid, ask = self.touch(order.market)
            if not self._would_take(order, ask if order.side > 0 else bid):
                raise Refused("ioc")

    def wording(self, refused: Refused, market: Market) -> str:
        """Return the venue's text for a refusal."""
        text, status = REFUSALS.get(refused.reason, (f"Order refused: {refused}.", ""))
        bid, ask = self.touch(market)
        bbo = f"{_touch(market, bid)}@{_touch(market, ask)}"
        text = text.replace("{bbo}", bbo).replace("{detail}", refused.detail)
        return f"{text} asset={market.index}" if status else text

    def leave_refused(self, order: TwinOrder, refused: Refused) -> None:
        """Give a number to an order that the matching engine refused, and remember it."""
        status = REFUSALS.get(refused.reason, ("", ""))[1]
        if not status:
            return
        order.order_id, self._next_order = self._next_order, self._next_order + 1
        order.created_ms = order.updated_ms = self.now_ms()
        order.status, order.end_reason = words.REJECTED, refused.reason
        order.extra["status"] = status
        self.orders[order.order_id] = order
        key = (order.account.index, order.client_id)
        if key not in self._client_open:
            self._client_last[key] = order
        self._report("REJECTED", order, reason=refused.reason)


def _touch(market: Market, ticks: int) -> str:
    return format(market.price(ticks).normalize(), "f") if ticks else "none"


def end_status(order: TwinOrder, reason: str) -> str:
    """Return the venue's status of an order that ended without a full fill."""
    if reason == "unfilled":
        return "canceled" if order.filled else "iocCancelRejected"
    return END_STATUSES.get(reason, "canceled")
