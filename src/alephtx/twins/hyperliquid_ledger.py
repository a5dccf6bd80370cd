"""What the Hyperliquid twin remembers of its users beside the exchange's state.

API wallets, nonces by signer, request budgets by account, dead-man switches, funding rates.
"""

from collections import Counter
from decimal import Decimal
from typing import Any

from alephtx.twins import hyperliquid_body as body
from alephtx.twins.accounts import Account
from alephtx.twins.exchange import TwinOrder
from alephtx.twins.hyperliquid_exchange import REQUESTS_FREE, HyperliquidExchange, plain
from alephtx.twins.hyperliquid_signing import Nonces

DAY_MS = 86_400_000
TRIGGERS_PER_DAY = 10
SCHEDULE_LEAD_MS = 5_000
CANCEL_EXTRA = 100_000


class Users:
    """Records by account; all synchronous, kept for the life of the twin."""

    def __init__(
        self,
        exchange: HyperliquidExchange,
        agents: dict[str, Account],
        *,
        requests_free: int = REQUESTS_FREE,
    ) -> None:
        self.exchange = exchange
        self.agents = {address.lower(): account for address, account in agents.items()}
        self.requests_free = requests_free
        self.funding_rates: list[dict[str, Any]] = []
        self.nonces: dict[str, Nonces] = {}
        self._used: Counter[str] = Counter()
        self._volume: dict[str, Decimal] = {}
        self._scheduled: dict[str, int] = {}
        self._triggered: Counter[tuple[str, int]] = Counter()

    def account_of(self, signer: str) -> Account | None:
        """Return the account an address signs for: its own, or its owner's for an API wallet."""
        return self.exchange.by_key.get(signer) or self.agents.get(signer)

    def nonce_refusal(self, signer: str, nonce: int) -> str:
        """Use up a nonce of a signer; return why not, in the venue's words."""
        nonces = self.nonces.setdefault(signer, Nonces())
        refusal = nonces.refusal(nonce, self.exchange.now_ms())
        if not refusal:
            nonces.keep(nonce)
        return refusal

    # -- the budget of requests by traded volume -------------------------------------------------

    def charge(self, account: Account, requests: int, *, cancels: bool) -> str:
        """Count requests; return the venue's refusal when the budget is used up."""
        volume = self._volume.get(account.key, Decimal(0))
        cap = self.requests_free + int(volume)
        used = self._used[account.key] + requests
        most = min(cap + CANCEL_EXTRA, cap * 2) if cancels else cap
        if used > most:
            return (
                f"Too many cumulative requests sent ({used} > {cap}) for cumulative volume traded "
                f"${plain(volume)}. Place taker orders to free up 1 request per USDC traded."
            )
        self._used[account.key] = used
        return ""

    def add_volume(self, account: Account, value: Decimal) -> None:
        """Count what an account traded."""
        self._volume[account.key] = self._volume.get(account.key, Decimal(0)) + value

    def rate_limit(self, account: Account | None) -> dict[str, Any]:
        """Return userRateLimit."""
        key = account.key if account else ""
        volume = self._volume.get(key, Decimal(0))
        return {
            "cumVlm": plain(volume),
            "nRequestsUsed": self._used[key],
            "nRequestsCap": self.requests_free + int(volume),
            "nRequestsSurplus": 0,
        }

    # -- dead-man switch -------------------------------------------------------------------------

    def schedule(self, account: Account, time_ms: int | None) -> str:
        """Set or unset the time at which everything is canceled; return a refusal or nothing."""
        now = self.exchange.now_ms()
        if time_ms is None:
            self._scheduled.pop(account.key, None)
            return ""
        if time_ms < now + SCHEDULE_LEAD_MS:
            return "Scheduled cancel time too early, must be at least 5 seconds from now."
        if self._triggered[account.key, now // DAY_MS] >= TRIGGERS_PER_DAY:
            return "Too many scheduled cancel triggers today."
        self._scheduled[account.key] = time_ms
        return ""

    def trigger_scheduled(self) -> None:
        """Cancel the orders of every account whose time has come."""
        now = self.exchange.now_ms()
        for key, time_ms in list(self._scheduled.items()):
            if time_ms <= now:
                del self._scheduled[key]
                self._triggered[key, now // DAY_MS] += 1
                self.exchange.cancel_all(self.exchange.by_key[key], reason="scheduled")

    # -- look-ups --------------------------------------------------------------------------------

    def find(self, account: Account, wanted: int | str) -> TwinOrder:
        """Return an order by number or client order id; Refused when there is none."""
        if isinstance(wanted, str):
            return self.exchange.find(account, None, client_id=wanted.lower())
        # Number 0 would mean "by client id" to the exchange; the venue has no order 0.
        return self.exchange.find(account, None, order_id=wanted or -1)

    def fills(self, account: Account | None, start: int, end: int) -> list[dict[str, Any]]:
        """Return an account's fills between two times, oldest first."""
        if account is None:
            return []
        return [
            body.fill_body(self.exchange.by_symbol[trade.symbol], trade)
            for trade in self.exchange.trades
            if trade.account == account.name and start <= trade.time_ms <= end
        ]
