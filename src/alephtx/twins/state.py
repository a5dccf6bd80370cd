"""What a simulated exchange knows, and the look-ups on it; `exchange` moves it."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.sim import matching
from alephtx.twins.accounts import Account, Market
from alephtx.twins.orders import Refused, Report, Trade, TwinOrder

LEVELS_MAX = 16_384
ORDERS_MAX = 1_024
HISTORY_MAX = 50_000
JOURNAL_MAX = 200_000


class ExchangeState:
    """Markets, accounts, the matching engine and questions about them; nothing moves here."""

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
        bid, ask = self.depth(market, words.BUY, 1), self.depth(market, words.SELL, 1)
        return bid[0][0] if bid else 0, ask[0][0] if ask else 0

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
        out = self._walk[: min(levels, len(self._walk))]
        n = matching.displayed(self._x, market.index, side, out)
        return [(int(price), int(size)) for price, size in out[:n]]

    def queue_ahead(self, order: TwinOrder) -> int:
        """Return the lots displayed ahead of a resting order, -1 when it does not rest."""
        return int(matching.queue_ahead(self._x, order.market.index, order.order_id))
