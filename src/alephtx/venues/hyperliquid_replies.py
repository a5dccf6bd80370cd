"""Hyperliquid's answers over HTTP: POST /info and POST /exchange to rows and controls."""

from decimal import Decimal
from typing import Any

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


class ReplyReader:
    """Reads the answers to one codec's requests."""

    def __init__(self, instruments: Instruments, rows: RowWriter) -> None:
        self.instruments = instruments
        self.rows = rows
        self._by_asset = {instruments[i].venue_index: i for i in instruments.of_venue(wire.NAME)}

    def read(self, request: Request, status: int, body: bytes, out: Batch) -> None:
        """Append what an answer says; raise VenueError for a refusal.

        A malformed answer is a ProtocolError to a question, and to a write a TransportError: what
        became of it is unproven.
        """
        before = out.event_count, out.update_count, len(out.controls)
        writes = request.path == "/exchange"
        _check_status(request, status, body)
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

    def _exchange(self, request: Request, body: bytes, out: Batch) -> None:
        answer = msgspec.json.decode(body, type=wire.Answer)
        if answer.status == "err":
            raise wire.refusal(str(answer.response))
        if answer.status != "ok":
            raise ProtocolError(f"unknown status {answer.status[:40]!r}", venue=wire.NAME)
        if request.what is not What.INTENT:
            return
        sent = msgspec.json.decode(request.body)["action"]
        asked = sent["orders"] if request.op == words.PLACE else sent["cancels"]
        data = answer.response.get("data") if isinstance(answer.response, dict) else None
        said = data.get("statuses") if isinstance(data, dict) else None
        if not isinstance(said, list) or not said:
            raise ProtocolError("it has no statuses", venue=wire.NAME)
        if len(said) == 1 < len(asked) and isinstance(said[0], dict) and "error" in said[0]:
            said = said * len(asked)  # a payload refused before its orders were looked at
        if len(said) != len(asked):
            raise ProtocolError(f"{len(said)} statuses for {len(asked)} orders", venue=wire.NAME)
        for order_id, order, status in zip(request.order_ids, asked, said, strict=True):
            if request.op == words.PLACE:
                self._placed(order_id, order, status, out)
            else:
                self._cancelled(order_id, order, status, out)

    def _placed(self, order_id: int, order: dict[str, Any], status: Any, out: Batch) -> None:
        """Write what one status says of one order; the fills themselves come by userFills."""
        i = self._by_asset[order["a"]]
        common = {"order_id": order_id, "instrument": i}
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
        if order["t"]["limit"]["tif"] == "Ioc":
            scale = self.instruments[i].qty_scale
            filled, asked = parse_scaled(placed.total_sz, scale), parse_scaled(order["s"], scale)
            if filled < asked:  # what an IOC did not take is gone, and nothing else says so
                self.rows.update(
                    out, 0, kind=words.EXPIRE, status=words.EXPIRED, cum_qty=filled, **common
                )

    def _cancelled(self, order_id: int, cancel: dict[str, Any], status: Any, out: Batch) -> None:
        common = {"order_id": order_id, "instrument": self._by_asset[cancel["asset"]]}
        if status == "success":
            self.rows.update(out, 0, kind=words.CANCEL_ACK, status=words.CANCELED, **common)
            return
        said = msgspec.convert(status, wire.Status)
        if said.error is None:
            raise ProtocolError(f"unknown status {str(status)[:60]}", venue=wire.NAME)
        reason = wire.refusal_reason(said.error)
        self.rows.update(out, 0, kind=words.CANCEL_REJECT, reason=reason, **common)


def _money(text: str) -> Decimal:
    """Read a number of the account exactly; UnitError when it is none."""
    rounded(text, 8)
    return Decimal(text)


def _check_status(request: Request, status: int, body: bytes) -> None:
    """Raise what an HTTP status other than 200 means; 5xx leaves a write unproven."""
    if status == 200:
        return
    said = f"HTTP {status} to {request.what.value}: {body[:200].decode(errors='replace')}"
    if status == 429:
        error = Throttled(said, venue=wire.NAME, code=status, retryable=True)
        error.reason = words.REASON_THROTTLED
        raise error
    if status >= 500:
        raise TransportError(said, venue=wire.NAME, code=status, retryable=True)
    raise VenueError(said, venue=wire.NAME, code=status)
