"""From Hyperliquid's typed messages to EVENT and UPDATE rows: the plain, complete way.

Market messages are read here when the compiled scanner declines them; private ones always. A
market message is taken whole or not at all; in a private one an item that cannot be read becomes an
`error` control, one of a coin that is not bound a `foreign` control, and the others are still
taken, because each is money.
"""

import re
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal

from alephtx.core import words
from alephtx.core.errors import ProtocolError, UnitError
from alephtx.core.identity import from_cloid
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.ports import Batch, Control
from alephtx.core.units import MAX_VALUE, MONEY_SCALE, parse_scaled
from alephtx.venues import hyperliquid_wire as wire
from alephtx.venues.hyperliquid_scan import TIME_MAX_MS
from alephtx.venues.level_texts import NO_ROW, Terms, put_book

MS = 1_000_000
HOUR_NS = 3_600_000_000_000
RATE_SCALE = 12
_PLAIN = re.compile(r"-?[0-9]{1,20}(\.[0-9]{0,30})?")
SIDES = {"B": words.BUY, "A": words.SELL}

_STREAM_KINDS = {
    words.NEW: words.ACK,
    words.FILLED: words.ACK,  # the fills come by userFills
    words.CANCELED: words.CANCEL_ACK,
    words.REJECTED: words.REJECT,
}


class NotBound(ProtocolError):
    """A coin that is not in the symbol table."""


def unsigned(text: str, scale: int) -> int:
    """Read a price or a size as an integer of 10^-scale; UnitError when it is negative or finer."""
    value = parse_scaled(text, scale)
    if value < 0:
        raise UnitError(f"{text[:40]!r} is negative")
    return value


def rounded(text: str, scale: int) -> int:
    """Read a number that the venue computed, rounded to 10^-scale, half to even.

    For fees, realized profit, marks and rates, whose digits the venue does not bound.
    """
    if not _PLAIN.fullmatch(text):
        raise UnitError(f"not a decimal number: {text[:40]!r}")
    scaled = int(Decimal(text).scaleb(scale).to_integral_value(ROUND_HALF_EVEN))
    if abs(scaled) >= MAX_VALUE:
        raise UnitError(f"{text[:40]!r} does not fit 62 bits at {scale} decimals")
    return scaled


def time_ns(time_ms: int) -> int:
    """Convert the venue's ms to ns; ProtocolError when they cannot be ms since 1970."""
    if not 0 <= time_ms <= TIME_MAX_MS:
        raise ProtocolError(f"time {time_ms} is not ms since 1970", venue=wire.NAME)
    return time_ms * MS


def word(value: int, what: str) -> int:
    """Return a non-negative id that fits an int64 row field, or raise ProtocolError."""
    if not 0 <= value < 1 << 63:
        raise ProtocolError(f"{what} {value} does not fit 63 bits", venue=wire.NAME)
    return value


def side_of(text: str) -> int:
    """Return BUY for B (bid) and SELL for A (ask)."""
    if text not in SIDES:
        raise ProtocolError(f"side {text[:20]!r} is neither B nor A", venue=wire.NAME)
    return SIDES[text]


class RowWriter:
    """Writes the rows of typed messages for one symbol table and account."""

    def __init__(self, instruments: Instruments, account: int) -> None:
        self.instruments = instruments
        self.account = account
        self._terms: dict[str, tuple[int, Terms, Terms]] = {}

    def _find(self, coin: str) -> tuple[int, Instrument]:
        index = self.instruments.find(wire.NAME, coin)
        if index < 0:
            raise NotBound(
                f"coin {coin[:40]!r} is not bound",
                venue=wire.NAME,
                remedy="list it under symbols in the config, or ignore it",
            )
        return index, self.instruments[index]

    # -- market ------------------------------------------------------------------------------

    def _event(self, out: Batch, *values: int) -> None:
        if out.event_count >= len(out.events):
            raise ProtocolError(
                f"more than {len(out.events)} rows in one batch", venue=wire.NAME,
                remedy="make a larger Batch",
            )  # fmt: skip
        out.events[out.event_count] = values
        out.event_count += 1

    def book(self, book: wire.Book, ts_recv: int, out: Batch, *, sequence: bool = True) -> None:
        """Write SEQ (unless it is a snapshot's answer), CLEAR and a DELTA row per level."""
        seq, (i, joined, asked) = book.time, self._terms_of(book.coin)
        ts, terms = time_ns(seq), joined if sequence else asked
        if put_book(out, terms, book.levels, ts, ts_recv, seq, seq, -1):
            return
        # One by one, so that a level which cannot be is named.
        if sequence:
            self._event(out, ts, ts_recv, seq, seq, -1, i, words.SEQ, 0, terms.seq_flags)
        self._event(out, ts, ts_recv, seq, 0, 0, i, words.CLEAR, 0, terms.clear_flags)
        for side, levels in zip((words.BUY, words.SELL), book.levels, strict=True):
            for level in levels:
                price = unsigned(level.px, terms.price_scale)
                qty = unsigned(level.sz, terms.qty_scale)
                self._event(out, ts, ts_recv, seq, price, qty, i, words.DELTA, side, terms.flags)
        out.events[out.event_count - 1]["flags"] |= words.LAST_IN_MESSAGE

    def _terms_of(self, coin: str) -> tuple[int, Terms, Terms]:
        """Return a coin's instrument and the terms of its books: pushed ones, and answers."""
        known = self._terms.get(coin)
        if known is None:
            i, instrument = self._find(coin)
            clock, scales = words.EXCHANGE_CLOCK, (instrument.price_scale, instrument.qty_scale)
            pushed = Terms(i, *scales, 0, clock, clock, clock | words.SNAPSHOT)
            known = self._terms[coin] = i, pushed, pushed._replace(seq_flags=NO_ROW)
        return known

    def bbo(self, bbo: wire.Bbo, ts_recv: int, out: Batch) -> None:
        """Write two TOP rows; an empty side is price 0, quantity 0."""
        i, instrument = self._find(bbo.coin)
        ts = time_ns(bbo.time)
        for side, level in zip((words.BUY, words.SELL), bbo.bbo, strict=True):
            price = unsigned(level.px, instrument.price_scale) if level else 0
            qty = unsigned(level.sz, instrument.qty_scale) if level else 0
            flags = words.EXCHANGE_CLOCK | (words.LAST_IN_MESSAGE if side == words.SELL else 0)
            self._event(out, ts, ts_recv, bbo.time, price, qty, i, words.TOP, side, flags)

    def trades(self, trades: Iterable[wire.Trade], ts_recv: int, out: Batch) -> None:
        """Write a TRADE row per print; seq is the trade id, side the aggressor's."""
        before = out.event_count
        for trade in trades:
            i, instrument = self._find(trade.coin)
            self._event(
                out,
                time_ns(trade.time),
                ts_recv,
                word(trade.tid, "trade id"),
                unsigned(trade.px, instrument.price_scale),
                unsigned(trade.sz, instrument.qty_scale),
                i,
                words.TRADE,
                side_of(trade.side),
                words.EXCHANGE_CLOCK,
            )
        if out.event_count > before:
            out.events[out.event_count - 1]["flags"] |= words.LAST_IN_MESSAGE

    def context(self, data: wire.AssetContext, ts_recv: int, out: Batch) -> None:
        """Write MARK, INDEX and FUNDING rows of what the context tells.

        The message has no time, so ts_event is 0. Funding is hourly: the next one falls on the next
        full hour after ts_recv.
        """
        i, instrument = self._find(data.coin)
        before, ctx = out.event_count, data.ctx
        for kind, text in ((words.MARK, ctx.mark_px), (words.INDEX, ctx.oracle_px)):
            if text is not None:
                price = rounded(text, instrument.price_scale)
                self._event(out, 0, ts_recv, 0, price, 0, i, kind, 0, 0)
        if ctx.funding is not None:
            following = (ts_recv // HOUR_NS + 1) * HOUR_NS
            rate = rounded(ctx.funding, RATE_SCALE)
            self._event(out, 0, ts_recv, 0, rate, following, i, words.FUNDING, 0, 0)
        if out.event_count > before:
            out.events[out.event_count - 1]["flags"] |= words.LAST_IN_MESSAGE

    # -- private -----------------------------------------------------------------------------

    def update(self, out: Batch, ts_recv: int, **fields: int) -> None:
        """Append an update row of this account; ProtocolError when the batch is full."""
        if out.update_count >= len(out.updates):
            raise ProtocolError(
                f"more than {len(out.updates)} updates in one batch", venue=wire.NAME,
                remedy="make a larger Batch",
            )  # fmt: skip
        out.add_update(account=self.account, ts_recv=ts_recv, **fields)

    def _refuse(self, out: Batch, error: Exception, item: object) -> None:
        if isinstance(error, NotBound):
            key = "" if isinstance(item, wire.Funding) else "order"
            out.controls.append(Control("foreign", str(item)[:200], key))
            return
        message = f"{error} (in {str(item)[:200]})"
        out.controls.append(Control("error", ProtocolError(message, venue=wire.NAME)))

    def order_updates(self, updates: Iterable[wire.OrderUpdate], ts_recv: int, out: Batch) -> None:
        """Write ACK, CANCEL_ACK or REJECT per status change; `filled` is an ACK, FILLED."""
        for update in updates:
            try:
                self._order_update(update, ts_recv, out)
            except (UnitError, ProtocolError) as error:
                self._refuse(out, error, update)

    def _order_update(self, update: wire.OrderUpdate, ts_recv: int, out: Batch) -> None:
        order = update.order
        i, instrument = self._find(order.coin)
        status = wire.order_status(update.status)
        if not status:
            raise ProtocolError(f"unknown order status {update.status[:40]!r}", venue=wire.NAME)
        order_id = from_cloid(order.cloid)
        if not order_id:
            said = f"order {order.oid} {order.coin} {update.status}"
            out.controls.append(Control("foreign", said, "order"))
        self.update(
            out,
            ts_recv,
            kind=_STREAM_KINDS[status],
            order_id=order_id,
            venue_order_id=word(order.oid, "order id"),
            price=unsigned(order.limit_px, instrument.price_scale),
            qty=unsigned(order.orig_sz or order.sz, instrument.qty_scale),
            ts_event=time_ns(update.status_timestamp),
            instrument=i,
            side=side_of(order.side),
            status=status,
            reason=wire.STATUS_REASON.get(update.status, _default_reason(status)),
        )

    def order_state(
        self, order: wire.Order, status: str, when: int, ts_recv: int, out: Batch
    ) -> None:
        """Write the ORDER_STATE row of a query's answer, with the quantity filled so far."""
        i, instrument = self._find(order.coin)
        left = unsigned(order.sz, instrument.qty_scale)
        asked = unsigned(order.orig_sz, instrument.qty_scale) if order.orig_sz else left
        said = wire.order_status(status)
        if not said:
            raise ProtocolError(f"unknown order status {status[:40]!r}", venue=wire.NAME)
        filled = asked if said == words.FILLED and left == asked else max(asked - left, 0)
        if said == words.NEW and filled:
            said = words.PARTIALLY_FILLED
        order_id = from_cloid(order.cloid)
        if not order_id:
            text = f"order {order.oid} {order.coin} {status}"
            out.controls.append(Control("foreign", text, "order"))
        self.update(
            out,
            ts_recv,
            kind=words.ORDER_STATE,
            order_id=order_id,
            venue_order_id=word(order.oid, "order id"),
            price=unsigned(order.limit_px, instrument.price_scale),
            qty=asked,
            cum_qty=filled,
            ts_event=time_ns(when),
            instrument=i,
            side=side_of(order.side),
            status=said,
            reason=wire.STATUS_REASON.get(status, 0),
        )

    def fills(
        self, fills: Iterable[wire.Fill], ts_recv: int, out: Batch, instrument: int = -1
    ) -> None:
        """Write a FILL row per execution, of one instrument only where one is given.

        A fill without a client id has order_id 0 and is told by its venue_order_id; only one with a
        client id that is not ours is surely foreign.
        """
        for fill in fills:
            try:
                self._fill(fill, ts_recv, out, instrument)
            except (UnitError, ProtocolError) as error:
                self._refuse(out, error, fill)

    def _fill(self, fill: wire.Fill, ts_recv: int, out: Batch, only: int) -> None:
        if only >= 0 and fill.coin != self.instruments[only].symbol:
            return
        i, instrument = self._find(fill.coin)
        order_id = from_cloid(fill.cloid)
        if fill.cloid and not order_id:
            text = f"fill {fill.tid} of order {fill.oid}"
            out.controls.append(Control("foreign", text, "order"))
        if fill.fee_token not in self.instruments.currencies:
            raise ProtocolError(f"fee in unknown token {fill.fee_token[:20]!r}", venue=wire.NAME)
        self.update(
            out,
            ts_recv,
            kind=words.FILL,
            order_id=order_id,
            venue_order_id=word(fill.oid, "order id"),
            trade_id=word(fill.tid, "trade id"),
            price=unsigned(fill.px, instrument.price_scale),
            qty=unsigned(fill.sz, instrument.qty_scale),
            fee=rounded(fill.fee, MONEY_SCALE),
            fee_currency=self.instruments.currency(fill.fee_token),
            realized=rounded(fill.closed_pnl, MONEY_SCALE),
            ts_event=time_ns(fill.time),
            instrument=i,
            side=side_of(fill.side),
            liquidity=words.TAKER if fill.crossed else words.MAKER,
        )

    def fundings(self, fundings: Iterable[wire.Funding], ts_recv: int, out: Batch) -> None:
        """Write a FUNDING_PAID row per payment; trade_id is its time in ms, once per instrument."""
        for funding in fundings:
            try:
                i, instrument = self._find(funding.coin)
                self.update(
                    out,
                    ts_recv,
                    kind=words.FUNDING_PAID,
                    trade_id=word(funding.time, "funding time"),
                    realized=rounded(funding.usdc, MONEY_SCALE),
                    fee_currency=self.instruments.currency(instrument.settle),
                    ts_event=time_ns(funding.time),
                    instrument=i,
                )
            except (UnitError, ProtocolError) as error:
                self._refuse(out, error, funding)

    def own_cancels(self, cancels: Iterable[wire.OwnCancel], ts_recv: int, out: Batch) -> None:
        """Write CANCEL_ACK rows for what the venue cancelled by itself, told by venue order id."""
        for cancel in cancels:
            try:
                self.update(
                    out,
                    ts_recv,
                    kind=words.CANCEL_ACK,
                    venue_order_id=word(cancel.oid, "order id"),
                    instrument=self._find(cancel.coin)[0],
                    status=words.CANCELED,
                )
            except ProtocolError as error:
                self._refuse(out, error, cancel)


def _default_reason(status: int) -> int:
    return words.REASON_OTHER if status == words.REJECTED else 0
