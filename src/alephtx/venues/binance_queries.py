"""What can be asked of Binance: one table of endpoints per market, requests out, answers in.

Every market offers the same questions under its own prefix, so a `Dialect` names what differs and
the functions here are shared. Weights are those of the documents and only steer our own buckets;
the venue's counters come back as `limits` controls and correct them.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from alephtx.core import words
from alephtx.core.errors import ProtocolError
from alephtx.core.identity import to_text
from alephtx.core.ports import Batch, Control, Request, What
from alephtx.venues.binance_account import (
    Account,
    Income,
    OrderState,
    PositionRisk,
    Trade,
    futures_balances,
    spot_balances,
)
from alephtx.venues.binance_errors import (
    CANCEL_REJECTED,
    NO_SUCH_LISTEN_KEY,
    NO_SUCH_ORDER,
    error_of,
)
from alephtx.venues.binance_money import put_income
from alephtx.venues.binance_orders import (
    KEY_HEADER,
    MS,
    KeySigner,
    Params,
    signed_query,
)
from alephtx.venues.binance_wire import UNREADABLE, Millis, put_snapshot

DAY_NS = 86_400_000_000_000
PAGE = 1000
CANCELS_MAX = 10  # of one batch of cancels


class Dialect(Struct, frozen=True, kw_only=True):
    """What differs between the three markets."""

    api: str  # prefix of the REST paths
    futures: bool
    depth_speed: str
    public_path: str  # of book, ticker and trade streams
    mark_path: str = ""  # of mark price streams; none on spot
    private_path: str = ""  # {key} is the listen key
    trade_path: str = ""  # of the WS API; none where orders travel by REST
    trades: str = "userTrades"
    cancel_all: str = "allOpenOrders"
    balances: str = "balance"
    positions: str = "positionRisk"
    fill_window_ns: int = 7 * DAY_NS
    symbols_in_info: bool = False
    weights: dict[What, int] = msgspec.field(default_factory=dict)
    order_weights: tuple[tuple[str, int], ...] = ()


class Asker:
    """Builds the requests of one account and reads their answers."""

    def __init__(self, dialect: Dialect, account: Account, signer: KeySigner | None) -> None:
        self.dialect = dialect
        self.account = account
        self.venue = account.venue
        self.signer = signer

    def _public(self, what: What, path: str, query: str = "", instrument: int = -1) -> Request:
        weight = self.dialect.weights.get(what, 1)
        where = f"{self.dialect.api}/{path}" if not path.startswith("/") else path
        return Request(
            what=what,
            path=f"{where}?{query}" if query else where,
            weights=(("weight", weight),),
            instrument=instrument,
        )

    def signed(
        self,
        what: What,
        method: str,
        path: str,
        params: Params,
        now_ns: int,
        **fields: Any,
    ) -> Request:
        """Return a signed REST request; parameters travel in the query string."""
        signer = self._need()
        where = path if path.startswith("/") else f"{self.dialect.api}/{path}"
        fields.setdefault("weights", (("weight", self.dialect.weights.get(what, 1)),))
        return Request(
            what=what,
            method=method,
            path=f"{where}?{signed_query(signer, params, now_ns)}",
            headers=((KEY_HEADER, signer.api_key),),
            **fields,
        )

    def _need(self) -> KeySigner:
        assert self.signer is not None  # the codec checks it first and names the remedy
        return self.signer

    def snapshot(self, instrument: int, limit: int) -> Request:
        """Return the request for a book."""
        symbol = self.account.instruments[instrument].symbol
        return self._public(What.SNAPSHOT, "depth", f"symbol={symbol}&limit={limit}", instrument)

    def time(self) -> Request:
        """Return the request for the venue's clock."""
        return self._public(What.TIME, "time")

    def info(self) -> Request:
        """Return the request for the list of instruments."""
        quiet = "showPermissionSets=false" if not self.dialect.futures else ""
        return self._public(What.INSTRUMENTS, "exchangeInfo", quiet)

    def listen_key(self, what: What) -> list[Request]:
        """Return the request that makes or keeps a listen key; spot has none."""
        if not self.dialect.futures:
            return []
        return [
            Request(
                what=what,
                method="POST" if what is What.LOGIN else "PUT",
                path=f"{self.dialect.api}/listenKey",
                headers=((KEY_HEADER, self._need().api_key),),
                weights=(("weight", 1),),
            )
        ]

    def orders(self, now_ns: int, instrument: int = -1) -> list[Request]:
        """Ask for open orders, of one instrument or of all (dearer)."""
        if instrument < 0:
            return [self.signed(What.ORDERS, "GET", "openOrders", {}, now_ns)]
        params: Params = {"symbol": self.account.instruments[instrument].symbol}
        light = (("weight", 6 if not self.dialect.futures else 1),)
        return [
            self.signed(
                What.ORDERS,
                "GET",
                "openOrders",
                params,
                now_ns,
                weights=light,
                instrument=instrument,
            )
        ]

    def order(self, now_ns: int, instrument: int, order_id: int) -> list[Request]:
        """Ask for one order by our id."""
        params: Params = {
            "symbol": self.account.instruments[instrument].symbol,
            "origClientOrderId": to_text(order_id),
        }
        ours = (order_id,)
        return [
            self.signed(
                What.ORDER, "GET", "order", params, now_ns, instrument=instrument, order_ids=ours
            )
        ]

    def fills(
        self, now_ns: int, instrument: int, since_ns: int, from_id: int = -1
    ) -> list[Request]:
        """Ask for our trades since a time, one request per window allowed, or from an id on."""
        symbol = self.account.instruments[instrument].symbol
        if from_id >= 0:
            pages: list[Params] = [{"symbol": symbol, "fromId": from_id, "limit": PAGE}]
        else:
            pages = [
                {
                    "symbol": symbol,
                    "startTime": start // MS,
                    "endTime": min(start + self.dialect.fill_window_ns, now_ns + DAY_NS) // MS - 1,
                    "limit": PAGE,
                }
                for start in range(since_ns, now_ns, self.dialect.fill_window_ns)
            ]
        path = self.dialect.trades
        return [
            self.signed(What.FILLS_SINCE, "GET", path, page, now_ns, instrument=instrument)
            for page in pages
        ]

    def funding(self, now_ns: int, since_ns: int) -> list[Request]:
        """Ask for funding and whatever else moved the wallet since a time."""
        if not self.dialect.futures:
            return []
        params: Params = {"startTime": since_ns // MS, "limit": PAGE}
        return [self.signed(What.FUNDING_SINCE, "GET", "income", params, now_ns)]

    def positions(self, now_ns: int) -> list[Request]:
        """Ask for positions; spot has none."""
        if not self.dialect.futures:
            return []
        return [self.signed(What.POSITIONS, "GET", self.dialect.positions, {}, now_ns)]

    def balances(self, now_ns: int) -> list[Request]:
        """Ask for balances."""
        params: Params = {} if self.dialect.futures else {"omitZeroBalances": "true"}
        return [self.signed(What.BALANCES, "GET", self.dialect.balances, params, now_ns)]

    def cancel_all(
        self, now_ns: int, instrument: int = -1, venue_order_ids: Sequence[int] = ()
    ) -> list[Request]:
        """Cancel every order of an instrument, or of all our instruments: foreign ones go too.

        venue_order_ids: not needed here, whatever is open goes.
        """
        every = self.account.instruments.of_venue(self.venue)
        return [
            self.signed(
                What.CANCEL_ALL,
                "DELETE",
                self.dialect.cancel_all,
                {"symbol": self.account.instruments[index].symbol},
                now_ns,
                instrument=index,
                op=words.CANCEL_ALL,
            )
            for index in (every if instrument < 0 else [instrument])
        ]

    def cancel_ours(self, now_ns: int, instrument: int, order_ids: Sequence[int]) -> list[Request]:
        """Cancel orders of an instrument by our ids: ten a request on futures, one on spot."""
        futures = self.dialect.futures
        symbol = self.account.instruments[instrument].symbol
        size = CANCELS_MAX if futures else 1
        requests = []
        for first in range(0, len(order_ids), size):
            ids = tuple(order_ids[first : first + size])
            params: Params = {"symbol": symbol}
            if futures:
                names = msgspec.json.encode([to_text(order_id) for order_id in ids])
                params["origClientOrderIdList"] = names.decode()
            else:
                params["origClientOrderId"] = to_text(ids[0])
            requests.append(
                self.signed(
                    What.CANCEL_OURS,
                    "DELETE",
                    "batchOrders" if futures else "order",
                    params,
                    now_ns,
                    instrument=instrument,
                    order_ids=ids,
                    op=words.CANCEL,
                )
            )
        return requests

    def deadman(self, now_ns: int, timeout_ns: int, instrument: int = -1) -> list[Request]:
        """Arm the venue's timer that cancels everything, per instrument; 0 disarms it."""
        if not self.dialect.futures:
            return []
        every = self.account.instruments.of_venue(self.venue)
        return [
            self.signed(
                What.DEADMAN,
                "POST",
                "countdownCancelAll",
                {
                    "symbol": self.account.instruments[index].symbol,
                    "countdownTime": timeout_ns // MS,
                },
                now_ns,
                instrument=index,
            )
            for index in (every if instrument < 0 else [instrument])
        ]

    # -- answers ---------------------------------------------------------------------------

    def refuse(self, request: Request, status: int, body: bytes, out: Batch) -> None:
        """Raise what an answer without 2xx means; some refusals are answers to a question."""
        code, message = 0, body[:200].decode("utf-8", "replace")
        try:
            said = msgspec.json.decode(body, type=Refusal)
            code, message = said.code, said.msg or message
        except UNREADABLE:
            message = f"unreadable answer: {message}"
        if code == NO_SUCH_ORDER and request.what is What.ORDER:
            out.add_update(
                order_id=request.order_ids[0],
                instrument=request.instrument,
                account=self.account.account,
                kind=words.NOT_FOUND,
                code=code,
            )
            return
        if code == CANCEL_REJECTED and request.what in (What.CANCEL_ALL, What.CANCEL_OURS):
            return  # spot's way to say that there was nothing to cancel
        if code == NO_SUCH_LISTEN_KEY:
            out.controls.append(Control("login_expired", message))
            return
        raise error_of(self.venue, status, code, message)

    def read(self, request: Request, body: bytes, out: Batch) -> None:
        """Append what a 2xx answer says."""
        what = request.what
        if what is What.SNAPSHOT:
            symbol = self.account.instruments[request.instrument].symbol
            put_snapshot(body, self.account.symbols.need(symbol), out)
        elif what is What.TIME:
            stamp = msgspec.json.decode(body, type=Clock).server_time
            out.controls.append(Control("time", stamp))
        elif what is What.LOGIN:
            key = msgspec.json.decode(body, type=ListenKey).listen_key
            out.controls.append(Control("login", key))
        elif what is What.ORDERS or (what is What.CANCEL_ALL and not self.dialect.futures):
            kind = words.ORDER_STATE if what is What.ORDERS else words.CANCEL_ACK
            for state in msgspec.json.decode(body, type=list[OrderState]):
                self.account.put_answer(state, kind, out)
        elif what is What.ORDER:
            state = msgspec.json.decode(body, type=OrderState)
            self.account.put_answer(state, words.ORDER_STATE, out, request.order_ids[0])
        elif what is What.FILLS_SINCE:
            self._read_fills(request, body, out)
        elif what is What.FUNDING_SINCE:
            self._read_funding(body, out)
        elif what is What.POSITIONS:
            rows = msgspec.json.decode(body, type=list[PositionRisk])
            out.controls.append(Control("positions", self.account.holdings(rows, out)))
        elif what is What.BALANCES:
            read = futures_balances if self.dialect.futures else spot_balances
            out.controls.append(Control("balances", read(body)))

    def _read_fills(self, request: Request, body: bytes, out: Batch) -> None:
        """Append fills; a full page means that there may be more from the last id on."""
        trades = msgspec.json.decode(body, type=list[Trade])
        for trade in trades:
            self.account.put_trade(trade, out)
        if len(trades) >= PAGE:
            more = {"instrument": request.instrument, "since_ns": 0, "from_id": trades[-1].id + 1}
            out.controls.append(Control("more", more))

    def _read_funding(self, body: bytes, out: Batch) -> None:
        """Append what moved the wallet; a full page means that there may be more from its end."""
        rows = msgspec.json.decode(body, type=list[Income])
        for row in rows:
            put_income(self.account, row, out)
        if len(rows) >= PAGE:
            out.controls.append(Control("more", {"since_ns": rows[-1].time * MS}))


class Refusal(Struct):
    """`{"code":-2013,"msg":"Order does not exist."}`."""

    code: int = 0
    msg: str = ""


class Clock(Struct):
    """`{"serverTime":1}`."""

    server_time: Millis = msgspec.field(name="serverTime")


class ListenKey(Struct):
    """`{"listenKey":"..."}`."""

    listen_key: str = msgspec.field(name="listenKey")


class Usage(Struct):
    """One counter of a WS API answer."""

    kind: str = msgspec.field(name="rateLimitType")
    interval: str
    count: int
    number: int = msgspec.field(name="intervalNum", default=1)


_UNITS = {"SECOND": "s", "MINUTE": "m", "HOUR": "h", "DAY": "d"}


def usage_of_headers(headers: Any) -> dict[str, int]:
    """Return bucket -> used from X-MBX-USED-WEIGHT-1M and X-MBX-ORDER-COUNT-10S headers."""
    used = {}
    items = headers.items() if hasattr(headers, "items") else headers
    for name, value in items or ():
        low, text = str(name).lower(), str(value)
        if not low.startswith("x-mbx-") or not (text.isascii() and text.isdigit()):
            continue
        if low.startswith("x-mbx-used-weight-"):
            used["weight"] = int(text)
        elif low.startswith("x-mbx-order-count-"):
            used[f"orders_{low.removeprefix('x-mbx-order-count-')}"] = int(text)
    return used


def usage_of_answer(rows: list[Any]) -> dict[str, int]:
    """Return bucket -> used from the rateLimits of a WS API answer."""
    used = {}
    try:
        limits = msgspec.convert(rows, list[Usage])
    except msgspec.ValidationError as error:
        raise ProtocolError(f"rateLimits cannot be read: {error}") from error
    for row in limits:
        if row.kind == "REQUEST_WEIGHT":
            used["weight"] = row.count
        elif row.kind == "ORDERS":
            used[f"orders_{row.number}{_UNITS.get(row.interval, '?')}"] = row.count
    return used


def decode_raw(body: bytes | Raw, kind: type[Any]) -> Any:
    """Decode a part of a frame as one of the wire types."""
    return msgspec.json.decode(body, type=kind)
