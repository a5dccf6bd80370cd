"""POST /info of the Hyperliquid twin: public queries, users' state by address, no login.

A query is a method `(fields) -> JSON value`, found by the `type` of the request.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from alephtx.twins import hyperliquid_body as body
from alephtx.twins.accounts import Account
from alephtx.twins.exchange import TwinOrder
from alephtx.twins.hyperliquid_actions import BadRequest, decode_body
from alephtx.twins.hyperliquid_feed import CANDLE_MS, HyperliquidFeed
from alephtx.twins.hyperliquid_ledger import Users
from alephtx.twins.orders import Refused

Fields = dict[str, Any]

ROWS_MAX = 2_000
FUNDING_ROWS_MAX = 500
ALL_TIME = 1 << 60
LIGHT = frozenset(
    ("l2Book", "allMids", "clearinghouseState", "orderStatus", "spotClearinghouseState",
     "exchangeStatus")
)  # fmt: skip

_fields = msgspec.json.Decoder(dict[str, Any])
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_CLOID = re.compile(r"0x[0-9a-fA-F]{32}")


def _wrong(field: str) -> BadRequest:
    text = "Failed to deserialize the JSON body into the target type"
    return BadRequest(422, f"{text}: invalid or missing field `{field}`")


def address_in(fields: Fields, name: str = "user") -> str:
    """Return an address in lower case."""
    value = fields.get(name)
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise _wrong(name)
    return value.lower()


def time_in(fields: Fields, name: str, default: int | None = None) -> int:
    """Return a time in ms."""
    value = fields.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise _wrong(name)
    return value


class InfoDesk:
    """Answers queries from the exchange's state, the feed and the users' records."""

    def __init__(self, users: Users, feed: HyperliquidFeed) -> None:
        self.users, self.feed, self.exchange = users, feed, users.exchange
        self.now_ms = users.exchange.now_ms
        self.queries: dict[str, Callable[[Fields], Any]] = {
            "meta": lambda _: self.meta(),
            "spotMeta": lambda _: self.spot_meta(),
            "metaAndAssetCtxs": lambda _: [self.meta(), self.contexts()],
            "spotMetaAndAssetCtxs": lambda _: [self.spot_meta(), []],
            "perpDexs": lambda _: [None],
            "allMids": lambda _: self.feed.mids(),
            "exchangeStatus": lambda _: {"specialStatuses": None, "time": self.now_ms()},
            "l2Book": self.book,
            "recentTrades": lambda fields: list(self.feed.coins[self.coin(fields)].recent)[::-1],
            "candleSnapshot": self.candles,
            "fundingHistory": self.funding_history,
            "clearinghouseState": self.clearinghouse,
            "spotClearinghouseState": self.spot_state,
            "openOrders": lambda fields: self.open_orders(fields, body.basic_order),
            "frontendOpenOrders": lambda fields: self.open_orders(fields, body.full_order),
            "orderStatus": self.order_status,
            "historicalOrders": self.historical_orders,
            "userFills": lambda fields: self.fills(fields, 0, ALL_TIME)[: -ROWS_MAX - 1 : -1],
            "userFillsByTime": self.fills_by_time,
            "userFunding": self.user_funding,
            "userNonFundingLedgerUpdates": lambda fields: self.nothing(fields, []),
            "userFees": lambda fields: body.fees_body(self.account(fields)),
            "userRole": self.role,
            "userRateLimit": lambda fields: self.users.rate_limit(self.account(fields)),
            "userAbstraction": lambda fields: self.nothing(fields, "default"),
            "userDexAbstraction": lambda fields: self.nothing(fields, None),
            "subAccounts": lambda fields: self.nothing(fields, None),
            "extraAgents": self.agents,
            "maxBuilderFee": lambda fields: self.nothing(fields, 0),
            "userVaultEquities": lambda fields: self.nothing(fields, []),
            "userTwapSliceFills": lambda fields: self.nothing(fields, []),
        }

    def read(self, data: bytes) -> Fields:
        """Read the body of a query and check its type; BadRequest for anything else."""
        fields: Fields = decode_body(_fields, data)
        kind = fields.get("type")
        if not isinstance(kind, str) or kind not in self.queries:
            raise _wrong("type")
        if fields.get("dex") not in (None, ""):
            raise _wrong("dex")
        return fields

    def answer(self, fields: Fields) -> Any:
        """Answer a query that `read` has let through."""
        return self.queries[fields["type"]](fields)

    @staticmethod
    def weight(fields: Fields) -> int:
        """Return what a query costs of the address's minute."""
        kind = fields["type"]
        if kind in LIGHT:
            return 2
        return 60 if kind == "userRole" else 20

    # -- fields --------------------------------------------------------------------------------

    def coin(self, fields: Fields) -> str:
        """Return a listed coin."""
        value = fields.get("coin")
        if not isinstance(value, str) or value not in self.exchange.by_symbol:
            raise _wrong("coin")
        return value

    def account(self, fields: Fields) -> Account | None:
        """Return the account of the asked address; None for a stranger."""
        return self.exchange.by_key.get(address_in(fields))

    def nothing(self, fields: Fields, value: Any) -> Any:
        """Answer what is the same for every user of the twin."""
        address_in(fields)
        return value

    # -- markets -------------------------------------------------------------------------------

    def meta(self) -> Fields:
        """Return the perpetuals; the position in the list is the asset number."""
        universe = [body.market_body(market) for market in self.exchange.markets]
        return {"universe": universe, "marginTables": [], "collateralToken": 0}

    @staticmethod
    def spot_meta() -> Fields:
        """Return the tokens; the twin lists no spot pair."""
        token = {
            "name": "USDC", "szDecimals": 8, "weiDecimals": 8, "index": 0,
            "tokenId": "0x6d1e7cde53ba9467b783cb7c530ce054", "isCanonical": True,
            "evmContract": None, "fullName": None,
        }  # fmt: skip
        return {"tokens": [token], "universe": []}

    def contexts(self) -> list[Fields]:
        """Return mark, funding and the like of every perpetual."""
        return [body.asset_context(self.exchange, market) for market in self.exchange.markets]

    def book(self, fields: Fields) -> Fields:
        """Return the last published book."""
        if fields.get("nSigFigs") is not None or fields.get("mantissa") is not None:
            raise BadRequest(422, "Aggregated books (nSigFigs) are not simulated by this twin")
        return self.feed.book_body(self.coin(fields))

    def candles(self, fields: Fields) -> list[Fields]:
        """Return candles of the trades replayed so far."""
        request = fields.get("req")
        if not isinstance(request, dict):
            raise _wrong("req")
        interval = request.get("interval")
        if not isinstance(interval, str) or interval not in CANDLE_MS:
            raise _wrong("interval")
        start, end = time_in(request, "startTime"), time_in(request, "endTime", ALL_TIME)
        return self.feed.candles(self.coin(request), interval, start, end)

    def funding_history(self, fields: Fields) -> list[Fields]:
        """Return the settled funding rates of a coin, oldest first."""
        coin = self.coin(fields)
        start, end = time_in(fields, "startTime"), time_in(fields, "endTime", ALL_TIME)
        rates = self.users.funding_rates
        return [r for r in rates if r["coin"] == coin and start <= r["time"] <= end][
            :FUNDING_ROWS_MAX
        ]

    # -- users ---------------------------------------------------------------------------------

    def clearinghouse(self, fields: Fields) -> Fields:
        """Return a user's perpetuals account."""
        return body.clearinghouse_body(self.exchange, self.account(fields), self.now_ms())

    def spot_state(self, fields: Fields) -> Fields:
        """Return a user's spot balances: none, the twin keeps all USDC with the perpetuals."""
        return self.nothing(fields, {"balances": []})

    def open_orders(
        self, fields: Fields, shape: Callable[[TwinOrder, int], Fields]
    ) -> list[Fields]:
        """Return the resting orders with what is left of them, newest first."""
        account = self.account(fields)
        orders = self.exchange.open_of(account) if account else []
        return [shape(order, order.left) for order in reversed(orders)]

    def order_status(self, fields: Fields) -> Fields:
        """Return an order by number or client order id, as of its last change of status."""
        account, wanted = self.account(fields), fields.get("oid")
        by_cloid = isinstance(wanted, str) and _CLOID.fullmatch(wanted)
        if not by_cloid and (not isinstance(wanted, int) or isinstance(wanted, bool)):
            raise _wrong("oid")
        if account is None:
            return {"status": "unknownOid"}
        try:
            order = self.users.find(account, wanted)  # type: ignore[arg-type]
        except Refused:
            return {"status": "unknownOid"}
        return {"status": "order", "order": body.status_body(order)}

    def historical_orders(self, fields: Fields) -> list[Fields]:
        """Return the last orders with their statuses, newest first."""
        account = self.account(fields)
        found: Iterable[TwinOrder] = reversed(list(self.exchange.orders.values()))
        return [body.status_body(o) for o in found if o.account is account][:ROWS_MAX]

    def fills(self, fields: Fields, start: int, end: int) -> list[Fields]:
        """Return a user's fills between two times, oldest first."""
        if fields.get("aggregateByTime"):
            raise BadRequest(422, "aggregateByTime is not simulated by this twin")
        return self.users.fills(self.account(fields), start, end)

    def fills_by_time(self, fields: Fields) -> list[Fields]:
        """Return the first fills since a time."""
        start, end = time_in(fields, "startTime"), time_in(fields, "endTime", ALL_TIME)
        return self.fills(fields, start, end)[:ROWS_MAX]

    def user_funding(self, fields: Fields) -> list[Fields]:
        """Return a user's funding payments, oldest first."""
        account = self.account(fields)
        start, end = time_in(fields, "startTime", 0), time_in(fields, "endTime", ALL_TIME)
        rows = account.income if account else []
        paid = [row for row in rows if row["type"] == "FUNDING_FEE"]
        wanted = (row for row in paid if start <= int(row["time"]) <= end)
        return [body.user_funding_body(row) for row in wanted][:FUNDING_ROWS_MAX]

    def role(self, fields: Fields) -> Fields:
        """Return what an address is: user, agent or missing."""
        address = address_in(fields)
        if address in self.users.agents:
            return {"role": "agent", "data": {"user": self.users.agents[address].key}}
        return {"role": "user" if address in self.exchange.by_key else "missing"}

    def agents(self, fields: Fields) -> list[Fields]:
        """Return the API wallets of a user."""
        account = self.account(fields)
        return [
            {"name": "", "address": address, "validUntil": ALL_TIME}
            for address, owner in self.users.agents.items()
            if owner is account
        ]
