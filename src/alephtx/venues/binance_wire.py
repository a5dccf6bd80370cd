"""The patient half of the Binance dialect: typed JSON of market frames to EVENT rows.

Takes what `binance_scan` declines (other shapes, unknown fields, rare frames) and is its oracle in
the tests: where both read a frame, their rows are equal. Unknown fields are ignored, wrong types
are a ProtocolError. Numbers go from text to integers without a float. Plain levels are read by one
call of a kernel (`level_texts`), others one by one, 1 us each.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from alephtx.core import words
from alephtx.core.errors import AlephError, ProtocolError
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Batch
from alephtx.core.units import parse_scaled
from alephtx.venues.binance_scan import TIME_MAX_MS
from alephtx.venues.level_texts import NO_ROW, Terms, put_book

FUNDING_SCALE = 12
MS = 1_000_000

UNREADABLE = (msgspec.MsgspecError, AlephError, ArithmeticError, ValueError, RecursionError)
"""What hostile bytes can raise below us: ValueError is bad UTF-8, RecursionError deep nesting."""

Millis = Annotated[int, Meta(ge=0, le=TIME_MAX_MS)]
Count = Annotated[int, Meta(ge=0, lt=1 << 60)]
Level = tuple[str, str]


class Head(Struct):
    """What tells frames apart; every frame is read as this first."""

    e: str = ""
    stream: str | UnsetType = UNSET
    data: Raw = Raw()
    event: Raw = Raw()
    id: str | int | None | UnsetType = UNSET
    status: int = 0
    result: Raw = Raw()
    error: Any = None
    code: int = 0
    msg: str = ""
    rate_limits: list[Any] = msgspec.field(default_factory=list, name="rateLimits")


class Depth(Struct):
    """`{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT","U":1,"u":2,"pu":0,"b":[["1","2"]],"a":[]}`."""

    s: str
    U: Count
    u: Count
    b: list[Level]
    a: list[Level]
    pu: Count | UnsetType = UNSET
    E: Millis | UnsetType = UNSET
    T: Millis | UnsetType = UNSET


class Ticker(Struct):
    """`{"e":"bookTicker","u":1,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4","T":1,"E":1}`.

    Spot sends neither `e` nor times.
    """

    s: str
    u: Count
    b: str
    B: str
    a: str
    A: str
    E: Millis | UnsetType = UNSET
    T: Millis | UnsetType = UNSET


class Print(Struct):
    """`{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":1,"p":"1","q":"2","X":"MARKET","m":false}`."""

    s: str
    t: Count
    p: str
    q: str
    m: bool
    X: str = "MARKET"
    E: Millis | UnsetType = UNSET
    T: Millis | UnsetType = UNSET


class MarkPrice(Struct):
    """`{"e":"markPriceUpdate","E":1,"s":"BTCUSDT","p":"1","i":"2","P":"3","r":"0.0001","T":4}`."""

    s: str
    p: str
    E: Millis
    i: str = ""
    r: str = ""
    T: Millis = 0


class Snapshot(Struct):
    """`{"lastUpdateId":1,"E":1,"T":1,"bids":[["1","2"]],"asks":[]}`."""

    last_update_id: Count = msgspec.field(name="lastUpdateId")
    bids: list[Level]
    asks: list[Level]
    E: Millis | UnsetType = UNSET
    T: Millis | UnsetType = UNSET


class Symbols:
    """From a venue's own symbol to (instrument index, price scale, quantity scale)."""

    def __init__(self, instruments: Instruments, venue: str) -> None:
        self.venue = venue
        self._known = {
            instruments[i].symbol: (i, instruments[i].price_scale, instruments[i].qty_scale)
            for i in instruments.of_venue(venue)
        }

    def find(self, symbol: str) -> tuple[int, int, int] | None:
        """Return (index, price scale, quantity scale), or None for a symbol that is not ours."""
        return self._known.get(symbol)

    def need(self, symbol: str) -> tuple[int, int, int]:
        """Return the same, or raise ProtocolError."""
        found = self._known.get(symbol)
        if found is None:
            raise ProtocolError(f"unknown symbol {symbol[:40]!r}", venue=self.venue)
        return found


_head = msgspec.json.Decoder(Head)
_depth = msgspec.json.Decoder(Depth)
_ticker = msgspec.json.Decoder(Ticker)
_print = msgspec.json.Decoder(Print)
_mark = msgspec.json.Decoder(MarkPrice)
_snapshot = msgspec.json.Decoder(Snapshot)


def read_head(frame: bytes) -> tuple[Head, bytes | Raw]:
    """Return the head of a frame and the body that carries its fields, envelopes taken off."""
    head = _head.decode(frame)
    inner = head.data or head.event
    if not inner:
        return head, frame
    body = _head.decode(inner)
    head.e = body.e
    return head, inner


def positive(text: str, scale: int) -> int:
    """Return a decimal text as an integer of 10^-scale; UnitError when negative or inexact."""
    value = parse_scaled(text, scale)
    if value < 0:
        raise ProtocolError(f"a negative price or quantity: {text[:40]!r}")
    return value


def truncated(text: str, scale: int) -> int:
    """Return a decimal text as an integer of 10^-scale, rounded down; for public quantities.

    Spot books hold orders with digits below the lot step (recorded: 25.42618900 BTC at a step of
    0.00001). `binance` gives such instruments a finer scale; what is finer still is dust.
    """
    point = text.find(".")
    cut = len(text) if point < 0 else point + 1 + scale
    rest = text[cut:]
    if rest and not (rest.isascii() and rest.isdigit()):
        raise ProtocolError(f"not a decimal number: {text[:40]!r}")
    return positive(text[:cut], scale)


def nearest(text: str, scale: int) -> int:
    """Return a decimal text rounded half up to an integer of 10^-scale; for marks, never orders."""
    whole, _, fraction = text.partition(".")
    if fraction and not (fraction.isascii() and fraction.isdigit()):
        raise ProtocolError(f"not a decimal number: {text[:40]!r}")
    value = positive(f"{whole}.{fraction[: scale + 1]}", scale + 1)
    return (value + 5) // 10


class EventWriter:
    """Appends EVENT rows that share symbol, times and sequence to a batch, or raises when full."""

    def __init__(self, out: Batch, instrument: int, stamp: int | UnsetType, ts_recv: int) -> None:
        self._out = out
        self._base = (
            0 if stamp is UNSET else stamp * MS,
            ts_recv,
            instrument,
            0 if stamp is UNSET else words.EXCHANGE_CLOCK,
        )

    def put(
        self,
        kind: int,
        *,
        price: int = 0,
        qty: int = 0,
        side: int = 0,
        seq: int = 0,
        flags: int = 0,
    ) -> None:
        """Append one row."""
        out = self._out
        k = out.event_count
        if k >= len(out.events):
            raise ProtocolError(f"a message of more than {len(out.events)} rows")
        ts_event, ts_recv, instrument, clock = self._base
        out.events[k] = (ts_event, ts_recv, seq, price, qty, instrument, kind, side, flags | clock)
        out.event_count = k + 1

    def last(self) -> None:
        """Mark the newest row as the end of its message."""
        self._out.events[self._out.event_count - 1]["flags"] |= words.LAST_IN_MESSAGE


def _stamp(event: int | UnsetType, transaction: int | UnsetType) -> int | UnsetType:
    """Return the transaction time where there is one, else the event time."""
    return transaction if transaction is not UNSET else event


def _put_levels(
    writer: EventWriter, sides: tuple[list[Level], list[Level]], scales: tuple[int, int],
    seq: int, flags: int,
) -> None:  # fmt: skip
    """Write levels one by one, so that one which cannot be raises; the last ends its message."""
    for side, levels in zip((words.BUY, words.SELL), sides, strict=True):
        for price, qty in levels:
            writer.put(
                words.DELTA,
                price=positive(price, scales[0]),
                qty=truncated(qty, scales[1]),
                side=side,
                seq=seq,
                flags=flags,
            )
    writer.last()


def _put_depth(body: bytes | Raw, symbols: Symbols, ts_recv: int, out: Batch) -> None:
    depth = _depth.decode(body)
    index, price_scale, qty_scale = symbols.need(depth.s)
    stamp, sides = _stamp(depth.E, depth.T), (depth.b, depth.a)
    clock, ts = (0, 0) if stamp is UNSET else (words.EXCHANGE_CLOCK, stamp * MS)
    previous = -1 if depth.pu is UNSET else depth.pu
    terms = Terms(index, price_scale, qty_scale, 1, clock, NO_ROW, clock)
    if put_book(out, terms, sides, ts, ts_recv, depth.u, depth.U, previous):
        return
    writer = EventWriter(out, index, stamp, ts_recv)
    writer.put(words.SEQ, price=depth.U, qty=previous, seq=depth.u)
    _put_levels(writer, sides, (price_scale, qty_scale), depth.u, 0)


def _put_ticker(body: bytes | Raw, symbols: Symbols, ts_recv: int, out: Batch) -> None:
    ticker = _ticker.decode(body)
    index, price_scale, qty_scale = symbols.need(ticker.s)
    writer = EventWriter(out, index, _stamp(ticker.E, ticker.T), ts_recv)
    for side, price, qty in ((words.BUY, ticker.b, ticker.B), (words.SELL, ticker.a, ticker.A)):
        writer.put(
            words.TOP,
            price=positive(price, price_scale),
            qty=truncated(qty, qty_scale),
            side=side,
            seq=ticker.u,
        )
    writer.last()


def _put_print(body: bytes | Raw, symbols: Symbols, ts_recv: int, out: Batch) -> None:
    trade = _print.decode(body)
    index, price_scale, qty_scale = symbols.need(trade.s)
    price, qty = positive(trade.p, price_scale), truncated(trade.q, qty_scale)
    if trade.X != "MARKET":
        return  # insurance fund and auto-deleveraging do not meet the book
    writer = EventWriter(out, index, _stamp(trade.E, trade.T), ts_recv)
    side = words.SELL if trade.m else words.BUY
    writer.put(words.TRADE, price=price, qty=qty, side=side, seq=trade.t)
    writer.last()


def _put_mark(body: bytes | Raw, symbols: Symbols, ts_recv: int, out: Batch) -> None:
    mark = _mark.decode(body)
    index, price_scale, _ = symbols.need(mark.s)
    writer = EventWriter(out, index, mark.E, ts_recv)
    writer.put(words.MARK, price=nearest(mark.p, price_scale))
    if mark.i:
        writer.put(words.INDEX, price=nearest(mark.i, price_scale))
    if mark.r and mark.T:  # delivery contracts pay no funding and send an empty rate
        writer.put(words.FUNDING, price=parse_scaled(mark.r, FUNDING_SCALE), qty=mark.T * MS)
    writer.last()


_MARKET = {
    "": _put_ticker,
    "bookTicker": _put_ticker,
    "depthUpdate": _put_depth,
    "trade": _put_print,
    "markPriceUpdate": _put_mark,
}


def put_market(kind: str, body: bytes | Raw, symbols: Symbols, ts_recv: int, out: Batch) -> int:
    """Append the rows of one market event; return their number, or -1 for a kind we do not read.

    Raises msgspec.ValidationError, UnitError or ProtocolError, with the batch as it was.
    """
    before = out.event_count
    put = _MARKET.get(kind)
    if put is None:
        return -1
    try:
        put(body, symbols, ts_recv, out)
    except Exception:
        out.event_count = before
        raise
    return out.event_count - before


def put_snapshot(body: bytes, instrument: tuple[int, int, int], out: Batch) -> None:
    """Append CLEAR and the levels of a REST depth answer; ts_recv is the caller's to fill in."""
    book = _snapshot.decode(body)
    index, price_scale, qty_scale = instrument
    stamp, sides = _stamp(book.E, book.T), (book.bids, book.asks)
    clock, ts = (0, 0) if stamp is UNSET else (words.EXCHANGE_CLOCK, stamp * MS)
    flags = clock | words.SNAPSHOT
    before, seq = out.event_count, book.last_update_id
    if put_book(
        out, Terms(index, price_scale, qty_scale, 1, NO_ROW, flags, flags), sides, ts, 0, seq
    ):
        return
    writer = EventWriter(out, index, stamp, 0)
    try:
        writer.put(words.CLEAR, seq=seq, flags=words.SNAPSHOT)
        _put_levels(writer, sides, (price_scale, qty_scale), seq, words.SNAPSHOT)
    except Exception:
        out.event_count = before
        raise
