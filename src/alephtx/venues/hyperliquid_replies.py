"""Hyperliquid's answers to rows and controls: POST /info, POST /exchange, posts over the socket.

An answer says what became of the first, second, third order of an action, and not of which; over
HTTP the request is at hand, over the socket `Posted` remembers it by its id.
"""

from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from alephtx.core import words
from alephtx.core.errors import (
    ProtocolError,
    Throttled,
    TransportError,
    UnitError,
    VenueError,
)
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Balance, Batch, Control, Holding, Request, What
from alephtx.core.units import parse_scaled
from alephtx.venues import hyperliquid_wire as wire
from alephtx.venues.hyperliquid_rows import MS, RowWriter, rounded, time_ns

FILLS_PAGE, FUNDING_PAGE = 2000, 500

_BAD = (*wire.BAD_JSON, UnitError, ProtocolError)


REMEMBERED_MAX = 2_048
"""Requests whose answers may still come; the venue lets a hundred be under way."""


class Asked(NamedTuple):
    """What an action asked for. takes: lots of an order that must take at once, -1 of others."""

    op: int
    instrument: int
    order_ids: tuple[int, ...]
    takes: tuple[int, ...]


class Posted:
    """The orders and cancels that went over the socket, by the ids of their requests."""

    def __init__(self) -> None:
        self._asked: dict[str, Asked] = {}

    def add(self, key: str, asked: Asked) -> None:
        """Remember a request; the oldest is forgotten when they are too many."""
        self._asked[key] = asked
        if len(self._asked) > REMEMBERED_MAX:
            del self._asked[next(iter(self._asked))]

    def take(self, key: str) -> Asked | None:
        """Return what a request asked for, and forget it."""
        return self._asked.pop(key, None)


class ReplyReader:
    """Reads the answers to one codec's requests."""

    def __init__(self, instruments: Instruments, rows: RowWriter) -> None:
        self.instruments = instruments
        self.rows = rows
        self.posted = Posted()

    def read(self, request: Request, status: int, body: bytes, out: Batch) -> None:
        """Append what an answer says; raise VenueError for a refusal.

        A malformed answer is a ProtocolError to a question, and to a write a TransportError: what
        became of it is unproven.
        """
        before = out.event_count, out.update_count, len(out.controls)
        writes = request.path == "/exchange"
        if status != 200:
            said = body[:200].decode(errors="replace")
            raise _status_error(status, f"HTTP {status} to {request.what.value}: {said}")
        try:
            if writes:
                self._exchange(request, body, out)
            else:
                self._info(request, body, out)
        except _BAD as error:
            out.event_count, out.update_count = before[:2]
            del out.controls[before[2] :]
            kind = TransportError if writes else ProtocolError
            raise kind(
                f"the answer to {request.what.value} cannot be read: {error}", venue=wire.NAME
            ) from None
        if request.key:
            out.controls.append(Control("answer", key=request.key))

    # -- questions ---------------------------------------------------------------------------

    def _info(self, request: Request, body: bytes, out: Batch) -> None:
        what, decode = request.what, msgspec.json.decode
        if what is What.SNAPSHOT:
            self.rows.book(decode(body, type=wire.Book), 0, out, sequence=False)
        elif what is What.TIME:
            stamp = time_ns(decode(body, type=wire.ExchangeStatus).time)
            out.controls.append(Control("time", stamp // MS))
        elif what is What.ORDERS:
            for order in decode(body, type=list[wire.Order]):
                if self.instruments.find(wire.NAME, order.coin) < 0:
                    said = f"order {order.oid} {order.coin}"
                    out.controls.append(Control("foreign", said, "order"))
                else:
                    self.rows.order_state(order, "open", order.timestamp, 0, out)
        elif what is What.ORDER:
            self._order(request, decode(body, type=wire.OrderFound), out)
        elif what is What.FILLS_SINCE:
            fills = decode(body, type=list[wire.Fill])
            self.rows.fills(fills, 0, out, request.instrument)
            self._page(request, [fill.time for fill in fills], FILLS_PAGE, out)
        elif what is What.FUNDING_SINCE:
            entries = decode(body, type=list[wire.FundingEntry])
            paid = [
                msgspec.convert({**entry.delta, "time": entry.time}, wire.Funding)
                for entry in entries
                if entry.delta.get("type") == "funding"
            ]
            self.rows.fundings(paid, 0, out)
            self._page(request, [entry.time for entry in entries], FUNDING_PAGE, out)
        elif what is What.BALANCES:
            self._balances(decode(body, type=wire.State), out)
        elif what is What.POSITIONS:
            self._positions(decode(body, type=wire.State), out)

    def _page(self, request: Request, times_ms: list[int], page: int, out: Batch) -> None:
        """Ask for more after a full page: from its newest entry on, which comes twice."""
        if len(times_ms) < page:
            return
        asked_ms = int(msgspec.json.decode(request.body)["startTime"])
        since_ms = max(*times_ms, asked_ms + 1)
        more = {"instrument": request.instrument, "since_ns": since_ms * MS}
        if request.what is What.FUNDING_SINCE:
            del more["instrument"]
        out.controls.append(Control("more", more))

    def _order(self, request: Request, found: wire.OrderFound, out: Batch) -> None:
        if found.order is not None:
            update = found.order
            when = update.status_timestamp or update.order.timestamp
            self.rows.order_state(update.order, update.status, when, 0, out)
        elif found.status == "unknownOid":
            self.rows.update(
                out,
                0,
                kind=words.NOT_FOUND,
                order_id=request.order_ids[0] if request.order_ids else 0,
                instrument=max(request.instrument, 0),
            )
        else:
            raise ProtocolError(f"unknown status {found.status[:40]!r}", venue=wire.NAME)

    def _balances(self, state: wire.State, out: Batch) -> None:
        """Give the wallet balance: accountValue includes open profit and loss, total does not."""
        pnl = sum((_money(e.position.unrealized_pnl) for e in state.asset_positions), Decimal(0))
        total = _money(state.margin_summary.account_value) - pnl
        balance = Balance(wire.SETTLE, total, _money(state.withdrawable))
        out.controls.append(Control("balances", [balance]))

    def _positions(self, state: wire.State, out: Batch) -> None:
        holdings = []
        for entry in state.asset_positions:
            held = entry.position
            i = self.instruments.find(wire.NAME, held.coin)
            if i < 0:
                out.controls.append(Control("foreign", f"position {held.szi} {held.coin}"))
                continue
            qty = parse_scaled(held.szi, self.instruments[i].qty_scale)
            if qty:
                price = _money(held.entry_px) if held.entry_px else Decimal(0)
                holdings.append(Holding(i, qty, price))
        out.controls.append(Control("positions", holdings))

    # -- writes ------------------------------------------------------------------------------

    def post(self, post: wire.Post, out: Batch) -> None:
        """Append what the answer to a request over the socket says; errors are controls.

        An answer that cannot be read, or to what nobody here remembers, leaves a write unproven.
        """
        key, response = str(post.id), post.response
        if response.type == "error":
            self.posted.take(key)
            text = bytes(response.payload).decode(errors="replace").strip('"')
            out.controls.append(Control("error", _post_error(text), key))
            return
        if response.type != "action":
            out.controls.append(Control("answer", bytes(response.payload), key))
            return
        before, asked = out.update_count, self.posted.take(key)
        try:
            if asked is None:
                raise ProtocolError("it answers no request of ours", venue=wire.NAME)
            answer = msgspec.json.decode(response.payload, type=wire.Answer)
            self._statuses(asked, _good(answer), out)
        except _BAD as error:
            out.update_count = before
            said = f"the answer {key} cannot be read: {error}"
            out.controls.append(Control("error", TransportError(said, venue=wire.NAME), key))
        except VenueError as error:
            out.controls.append(Control("error", error, key))
        else:
            out.controls.append(Control("answer", key=key))

    def _exchange(self, request: Request, body: bytes, out: Batch) -> None:
        answer = _good(msgspec.json.decode(body, type=wire.Answer))
        if request.what is not What.INTENT:
            return
        action = msgspec.json.decode(request.body)["action"]
        takes: tuple[int, ...] = ()
        if request.op == words.PLACE:
            scale = self.instruments[request.instrument].qty_scale
            takes = tuple(
                parse_scaled(order["s"], scale) if order["t"]["limit"]["tif"] == "Ioc" else -1
                for order in action["orders"]
            )
        asked = Asked(request.op, request.instrument, request.order_ids, takes)
        self._statuses(asked, answer, out)

    def _statuses(self, asked: Asked, answer: wire.Answer, out: Batch) -> None:
        """Write what became of each order of an action."""
        data = answer.response.get("data") if isinstance(answer.response, dict) else None
        said = data.get("statuses") if isinstance(data, dict) else None
        if not isinstance(said, list) or not said:
            raise ProtocolError("it has no statuses", venue=wire.NAME)
        count = len(asked.order_ids)
        if len(said) == 1 < count and isinstance(said[0], dict) and "error" in said[0]:
            said = said * count  # a payload refused before its orders were looked at
        if len(said) != count:
            raise ProtocolError(f"{len(said)} statuses for {count} orders", venue=wire.NAME)
        for k, status in enumerate(said):
            common = {"order_id": asked.order_ids[k], "instrument": asked.instrument}
            if asked.op == words.PLACE:
                self._placed(common, asked.takes[k], status, out)
            else:
                self._cancelled(common, status, out)

    def _placed(self, common: dict[str, int], takes: int, status: Any, out: Batch) -> None:
        """Write what one status says of one order; the fills themselves come by userFills."""
        if status in ("waitingForFill", "waitingForTrigger"):
            self.rows.update(out, 0, kind=words.ACK, status=words.NEW, **common)
            return
        said = msgspec.convert(status, wire.Status)
        placed = said.filled or said.resting
        if said.error is not None:
            reason = wire.refusal_reason(said.error)
            self.rows.update(
                out, 0, kind=words.REJECT, status=words.REJECTED, reason=reason, **common
            )
            return
        if placed is None:
            raise ProtocolError(f"unknown status {str(status)[:60]}", venue=wire.NAME)
        common["venue_order_id"] = placed.oid
        self.rows.update(out, 0, kind=words.ACK, status=words.NEW, **common)
        if takes >= 0:
            filled = parse_scaled(placed.total_sz, self.instruments[common["instrument"]].qty_scale)
            if filled < takes:  # what an IOC did not take is gone, and nothing else says so
                self.rows.update(
                    out, 0, kind=words.EXPIRE, status=words.EXPIRED, cum_qty=filled, **common
                )

    def _cancelled(self, common: dict[str, int], status: Any, out: Batch) -> None:
        if status == "success":
            self.rows.update(out, 0, kind=words.CANCEL_ACK, status=words.CANCELED, **common)
            return
        said = msgspec.convert(status, wire.Status)
        if said.error is None:
            raise ProtocolError(f"unknown status {str(status)[:60]}", venue=wire.NAME)
        reason = wire.refusal_reason(said.error)
        self.rows.update(out, 0, kind=words.CANCEL_REJECT, reason=reason, **common)


def _good(answer: wire.Answer) -> wire.Answer:
    """Return an answer that is no refusal; raise what it is otherwise."""
    if answer.status == "err":
        raise wire.refusal(str(answer.response))
    if answer.status != "ok":
        raise ProtocolError(f"unknown status {answer.status[:40]!r}", venue=wire.NAME)
    return answer


def _post_error(text: str) -> VenueError:
    """Return the error of a post: an HTTP status and a text, or a text alone."""
    status = text[:3]
    if status.isascii() and status.isdigit() and int(status) >= 400:
        return _status_error(int(status), f"a post was refused: {text[:200]}")
    return wire.refusal(text)


def _money(text: str) -> Decimal:
    """Read a number of the account exactly; UnitError when it is none."""
    rounded(text, 8)
    return Decimal(text)


def _status_error(status: int, said: str) -> VenueError:
    """Return what an HTTP status other than 200 means; 5xx leaves a write unproven."""
    if status == 429:
        error: VenueError = Throttled(said, venue=wire.NAME, code=status, retryable=True)
        error.reason = words.REASON_THROTTLED
        return error
    if status >= 500:
        return TransportError(said, venue=wire.NAME, code=status, retryable=True)
    return VenueError(said, venue=wire.NAME, code=status)
