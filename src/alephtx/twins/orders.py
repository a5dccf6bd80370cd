"""What an exchange deals in: orders, trades, reports and refusals."""

from decimal import Decimal
from typing import Any

import msgspec

from alephtx.core import words
from alephtx.sim import matching
from alephtx.twins.accounts import Account, Market


class Refused(Exception):
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
    """One order; status, side, type and tif are `core.words`; ticks and lots."""

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
