"""Binance on the direct path: frames to rows and rows to orders in compiled stages.

An order leaves as the very bytes that `binance_orders.signed_call` makes. They are some thirty
constant pieces, prepared once, between numbers and ids; the sorted payload is written first, and
the frame takes price, quantity, time and id from it. Whatever is rare, or would be refused with a
reason, is a negative code: the gateway does it. Cost: about 150 ns an order, without the signature.
"""

import msgspec
import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, kernel
from alephtx.core.nonce import next_nonce
from alephtx.core.packed import FIELD_WORDS, bytes_at, field, pack_fields, rows_at
from alephtx.core.ports import (
    MARKET_ROWS,
    MARKET_TS_RECV,
    MARKET_WORDS,
    ORDER_FRAME,
    ORDER_NONCE,
    ORDER_NOW,
    ORDER_PAYLOAD,
    ORDER_WORDS,
    OrderStages,
    Rows,
    Stage,
)
from alephtx.core.records import EVENT, INTENT
from alephtx.core.text import (
    BYTES,
    ORDER_TEXT,
    copy_bytes,
    copy_text,
    make_pieces,
    put_decimal,
    put_integer,
    put_order_text,
    put_piece,
)
from alephtx.core.words import (
    AMEND,
    BUY,
    CANCEL,
    FOK,
    GTC,
    GTD,
    IOC,
    LIMIT,
    MARKET,
    PLACE,
    POST_ONLY,
    REDUCE_ONLY,
    SELL,
)
from alephtx.venues.binance_orders import CANCEL_WEIGHTS, MS, RECV_WINDOW_MS
from alephtx.venues.binance_queries import Dialect
from alephtx.venues.binance_scan import make_scan_state, scan_market

EVENTS_MAX = 32_768
FRAME_MAX = 2_048
SIGNATURE_MAX = 512
TEXT_MAX = 256  # of an API key or a symbol

WRONG_COUNT, WRONG_PLACE, WRONG_ORDER, WRONG_NUMBER, WRONG_SIGNATURE = -1, -2, -3, -4, -5
"""Refusals: not one row, no instrument of ours, no words for it, a number out of range, no frame
that waits for such a signature."""

_DASH, _AND, _ZERO = 45, 38, 48

INT, EVENT_ROW, INTENT_ROW = np.zeros(1, np.int64), np.zeros(1, EVENT), np.zeros(1, INTENT)

# -- market --------------------------------------------------------------------------------------

SCAN = MARKET_ROWS + 1


def scan_frame(state: Rows, frame: int, size: int) -> int:
    """Scan a market frame; a market stage, see `ports`."""
    ts_recv = field(state, MARKET_WORDS, INT)[MARKET_TS_RECV]
    rows = field(state, MARKET_ROWS, EVENT_ROW)
    return scan_market(bytes_at(frame, size), size, field(state, SCAN, INT), ts_recv, rows, 0)


def market_stage(instruments: Instruments, venue: str) -> Stage:
    """Return a scanner of its own for one loop."""
    scan = make_scan_state(instruments, venue)
    owners = (np.zeros(8, np.int64), np.zeros(EVENTS_MAX, EVENT), scan)
    return Stage(scan_frame, pack_fields(list(owners)), owners)


# -- orders: what is prepared ----------------------------------------------------------------------

# Fields behind the words: payload, frame, pieces of text, where each of them is, instruments.
_PAYLOAD, _FRAME, _TEXT, _PIECES, _TABLE = 1, 2, 3, 4, 5

# Words: bytes of the frame that waits for its signature, and what the market knows.
_WAITS, _FUTURES, _AMENDS = 16, 17, 18

# The table of instruments: number of the first piece (0: not ours), scales.
_FIRST, _PRICE_SCALE, _QTY_SCALE, _COLUMNS = 0, 1, 2, 4

# Time in force and type in the order of their pieces; the last time in force is to say none.
_TIFS, _TYPES = ("GTC", "IOC", "FOK", "GTX", "GTD", ""), ("LIMIT", "LIMIT_MAKER", "MARKET")
_GTX, _DATED, _SILENT = 3, 4, 5
_PLAIN, _MAKER, _TAKER = 0, 1, 2

# Pieces that all instruments share: of the payload (P), of the frame (F).
_P_KEY, _P_TILL, _P_NEW, _P_ORIG, _P_ACK, _P_PRICE, _P_QTY, _P_WINDOW, _P_TIME = range(9)
_F_PLACE, _F_CANCEL, _F_AMEND, _F_ID, _F_ACK, _F_PRICE, _F_TILL, _F_SIGN, _F_END = range(9, 18)
_P_SIDE = 18  # and reduce-only: 2 * reduce_only + sell
_P_TIF = 22
_P_TYPE = 28
_F_TAIL = 31  # by time in force and reduce-only: 2 * tif + reduce_only
_F_TAIL_DATED = 43  # the same behind a date, which has no closing quote
_P_KEY_NEW, _P_ACK_PRICE, _F_ACK_PRICE = 45, 46, 47  # two that mostly follow one another
_SHARED = 48

# Pieces of one instrument.
_I_SYMBOL, _I_CANCEL, _I_AMEND, _I_SIDE, _I_PLACE = 0, 1, 2, 3, 5


def _shared_pieces(api_key: str) -> list[str]:
    """Return the texts between what an order itself says."""
    window = f"&recvWindow={RECV_WINDOW_MS}"
    stamp = f',"apiKey":"{api_key}","recvWindow":{RECV_WINDOW_MS},"timestamp":'
    reduced = (stamp, ',"reduceOnly":"true"' + stamp)
    tails = [f'","timeInForce":"{tif}"' if tif else '"' for tif in _TIFS]
    return [
        f"apiKey={api_key}&", "goodTillDate=", "newClientOrderId=", "origClientOrderId=",
        "&newOrderRespType=ACK", "&price=", "&quantity=", f"{window}&symbol=", "&timestamp=",
        '{"id":"p', '{"id":"c', '{"id":"m', '","newClientOrderId":"', '","newOrderRespType":"ACK',
        '","price":"', '","timeInForce":"GTD","goodTillDate":', ',"signature":"', '"}}',
        *(f"{window}{only}&side={side}&symbol="
          for only in ("", "&reduceOnly=true") for side in ("BUY", "SELL")),
        *(f"&timeInForce={tif}&timestamp=" if tif else "&timestamp=" for tif in _TIFS),
        *(f"&type={kind}" for kind in _TYPES),
        *(tail + rest for tail in tails for rest in reduced),
        *reduced,
        f"apiKey={api_key}&newClientOrderId=", "&newOrderRespType=ACK&price=",
        '","newOrderRespType":"ACK","price":"',
    ]  # fmt: skip


def _pieces_of(symbol: str) -> list[str]:
    """Return the texts that name one instrument."""
    head, orig = '","method":"order.{}","params":{{"symbol":"', '","origClientOrderId":"'
    sides = ("BUY", "SELL")
    return [
        symbol,
        head.format("cancel") + symbol + orig,
        head.format("modify") + symbol + orig,
        *(f'","side":"{side}","quantity":"' for side in sides),
        *(
            f'{head.format("place")}{symbol}","side":"{side}","type":"{kind}","quantity":"'
            for kind in _TYPES
            for side in sides
        ),
    ]


def _is_plain(text: str) -> bool:
    """Tell whether a text stands in JSON as it is."""
    return (
        text.isascii()
        and len(text) <= TEXT_MAX
        and msgspec.json.encode(text)[1:-1] == (text.encode())
    )


def order_stages(
    instruments: Instruments, venue: str, dialect: Dialect, api_key: str, *, amends: bool
) -> OrderStages | None:
    """Return the stages that write one account's orders; None for a key that JSON would escape.

    Instruments whose symbol it would escape are left to the gateway.
    """
    if not _is_plain(api_key):
        return None
    texts = [text.encode() for text in _shared_pieces(api_key)]
    assert len(texts) == _SHARED
    table = np.zeros((max(len(instruments), 1), _COLUMNS), np.int64)
    for index in instruments.of_venue(venue):
        one = instruments[index]
        if _is_plain(one.symbol):
            table[index] = len(texts), one.price_scale, one.qty_scale, 0
            texts += [text.encode() for text in _pieces_of(one.symbol)]
    text, pieces = make_pieces(texts)
    words = np.zeros(32, np.int64)
    payload, frame = np.zeros(FRAME_MAX, np.uint8), np.zeros(FRAME_MAX, np.uint8)
    words[ORDER_PAYLOAD], words[ORDER_FRAME] = payload.ctypes.data, frame.ctypes.data
    words[_FUTURES], words[_AMENDS] = dialect.futures, amends
    owners = (words, payload, frame, text, pieces, table.ravel())
    state = pack_fields(list(owners))
    costs = {PLACE: dialect.order_weights, CANCEL: CANCEL_WEIGHTS}
    if amends:
        costs[AMEND] = dialect.order_weights
    return OrderStages(
        Stage(write_order, state, owners), Stage(seal_order, state, owners), 1, costs
    )


# -- orders: kernels -------------------------------------------------------------------------------


@kernel
def _put(state: Rows, at: Int, piece: Int) -> int:
    """Write a piece at an address; return the address behind it."""
    return put_piece(at, state[_TEXT * FIELD_WORDS], field(state, _PIECES, INT), piece)


@kernel
def _words_of(rows: Rows, futures: Int) -> tuple[int, int]:
    """Return type and time in force of a new order; a negative type where there are no words."""
    post_only = rows[0]["flags"] & POST_ONLY
    tif: Int = np.int64(rows[0]["tif"])
    if rows[0]["type"] == MARKET:
        return (WRONG_ORDER if post_only else _TAKER), _SILENT
    if rows[0]["type"] != LIMIT:
        return WRONG_ORDER, _SILENT
    if tif == 0:
        tif = GTC
    if post_only:
        if tif != GTC:
            return WRONG_ORDER, _SILENT
        return (_PLAIN, _GTX) if futures else (_MAKER, _SILENT)
    if tif == GTD and futures:
        return _PLAIN, _DATED
    return (_PLAIN, tif - GTC) if tif in (GTC, IOC, FOK) else (WRONG_ORDER, _SILENT)


@kernel
def _write_place(state: Rows, rows: Rows, now_ms: Int, entry: Rows) -> int:
    """Write payload and frame of a new order; return the bytes of the payload, or a code."""
    words = field(state, ORDER_WORDS, INT)
    kind, tif = _words_of(rows, words[_FUTURES])
    reduce_only = 1 if rows[0]["flags"] & REDUCE_ONLY else 0
    if kind < 0 or (reduce_only and not words[_FUTURES]):
        return WRONG_ORDER
    sell = 1 if rows[0]["side"] == SELL else 0
    till_ms = rows[0]["expires_ns"] // 1_000_000_000 * 1000
    if rows[0]["qty"] <= 0 or (kind != _TAKER and rows[0]["price"] <= 0):
        return WRONG_NUMBER
    if tif == _DATED and till_ms <= 0:
        return WRONG_NUMBER
    first = entry[_FIRST]

    till, till_end = words[ORDER_PAYLOAD], words[ORDER_PAYLOAD]
    if tif == _DATED:
        till = _put(state, _put(state, till, _P_KEY), _P_TILL)
        till_end = put_integer(till, till_ms)
        rows_at(till_end, 1, BYTES)[0] = _AND
        order = _put(state, till_end + 1, _P_NEW)
    else:
        order = _put(state, till, _P_KEY_NEW)
    at = put_order_text(order, rows[0]["order_id"])
    at = _put(state, at, _P_ACK if kind == _TAKER else _P_ACK_PRICE)
    price, price_end = at, at
    if kind != _TAKER:
        price_end = put_decimal(price, rows[0]["price"], entry[_PRICE_SCALE])
    qty = _put(state, price_end, _P_QTY)
    qty_end = put_decimal(qty, rows[0]["qty"], entry[_QTY_SCALE])
    at = _put(state, qty_end, _P_SIDE + 2 * reduce_only + sell)
    now = _put(state, _put(state, at, first + _I_SYMBOL), _P_TIF + tif)
    now_end = put_integer(now, now_ms)
    payload = _put(state, now_end, _P_TYPE + kind) - words[ORDER_PAYLOAD]

    at = copy_text(_put(state, words[ORDER_FRAME], _F_PLACE), order, ORDER_TEXT)
    at = _put(state, at, first + _I_PLACE + 2 * kind + sell)
    at = _put(state, copy_text(at, qty, qty_end - qty), _F_ID)
    at = copy_text(at, order, ORDER_TEXT)
    at = _put(state, at, _F_ACK if kind == _TAKER else _F_ACK_PRICE)
    at = copy_text(at, price, price_end - price)
    if tif == _DATED:
        at = copy_text(_put(state, at, _F_TILL), till, till_end - till)
        at = _put(state, at, _F_TAIL_DATED + reduce_only)
    else:
        at = _put(state, at, _F_TAIL + 2 * tif + reduce_only)
    at = _put(state, copy_text(at, now, now_end - now), _F_SIGN)
    words[_WAITS] = at - words[ORDER_FRAME]
    return payload


@kernel
def _write_change(state: Rows, rows: Rows, now_ms: Int, entry: Rows, amends: Int) -> int:
    """Write payload and frame of a cancel or an amend; return the bytes of the payload."""
    words = field(state, ORDER_WORDS, INT)
    sell = 1 if rows[0]["side"] == SELL else 0
    first = entry[_FIRST]

    order = _put(state, _put(state, words[ORDER_PAYLOAD], _P_KEY), _P_ORIG)
    at = put_order_text(order, rows[0]["target_order_id"])
    price, price_end, qty, qty_end = at, at, at, at
    if amends:
        price = _put(state, at, _P_PRICE)
        price_end = put_decimal(price, rows[0]["price"], entry[_PRICE_SCALE])
        qty = _put(state, price_end, _P_QTY)
        qty_end = put_decimal(qty, rows[0]["qty"], entry[_QTY_SCALE])
    at = _put(state, qty_end, _P_SIDE + sell if amends else _P_WINDOW)
    now = _put(state, _put(state, at, first + _I_SYMBOL), _P_TIME)
    now_end = put_integer(now, now_ms)

    at = _put(state, words[ORDER_FRAME], _F_AMEND if amends else _F_CANCEL)
    at = copy_text(at, order, ORDER_TEXT)
    rows_at(at, 1, BYTES)[0] = _DASH
    at = put_integer(at + 1, rows[0]["nonce"])
    rows_at(at, 2, BYTES)[0] = _DASH
    rows_at(at, 2, BYTES)[1] = _ZERO
    at = _put(state, at + 2, first + (_I_AMEND if amends else _I_CANCEL))
    at = copy_text(at, order, ORDER_TEXT)
    if amends:
        at = copy_text(_put(state, at, first + _I_SIDE + sell), qty, qty_end - qty)
        at = copy_text(_put(state, at, _F_PRICE), price, price_end - price)
    at = _put(state, at, _F_TAIL + 2 * _SILENT)
    at = _put(state, copy_text(at, now, now_end - now), _F_SIGN)
    words[_WAITS] = at - words[ORDER_FRAME]
    return now_end - words[ORDER_PAYLOAD]


def write_order(state: Rows, address: int, n: int) -> int:
    """Write one order's request but for its signature; the write stage, see `ports.OrderStages`.

    A new order is known by its own id and takes no nonce.
    """
    words = field(state, ORDER_WORDS, INT)
    words[_WAITS] = 0
    if n != 1:
        return WRONG_COUNT
    rows = rows_at(address, 1, INTENT_ROW)
    table = field(state, _TABLE, INT)
    k, op = np.int64(rows[0]["instrument"]), np.int64(rows[0]["op"])
    now_ms = words[ORDER_NOW] // MS
    if k < 0 or (k + 1) * _COLUMNS > len(table) or table[k * _COLUMNS] == 0:
        return WRONG_PLACE
    entry = table[k * _COLUMNS : (k + 1) * _COLUMNS]
    if now_ms <= 0:
        return WRONG_NUMBER
    if op == PLACE:
        if rows[0]["order_id"] <= 0 or not (rows[0]["side"] == BUY or rows[0]["side"] == SELL):
            return WRONG_ORDER
        return _write_place(state, rows, now_ms, entry)
    amends = 1 if op == AMEND and words[_AMENDS] else 0
    if rows[0]["target_order_id"] <= 0 or not (amends or op == CANCEL):
        return WRONG_ORDER
    if amends:
        if not (rows[0]["side"] == BUY or rows[0]["side"] == SELL):
            return WRONG_ORDER
        if rows[0]["price"] <= 0 or rows[0]["qty"] <= 0:
            return WRONG_NUMBER
    nonce = state[ORDER_WORDS * FIELD_WORDS] + 8 * ORDER_NONCE
    rows[0]["nonce"] = next_nonce(nonce, now_ms)
    return _write_change(state, rows, now_ms, entry, amends)


def seal_order(state: Rows, signature: int, size: int) -> int:
    """Put the signature into the frame; the seal stage, see `ports.OrderStages`. Once an order."""
    words = field(state, ORDER_WORDS, INT)
    waits = words[_WAITS]
    words[_WAITS] = 0
    if waits <= 0 or size <= 0 or size > SIGNATURE_MAX:
        return WRONG_SIGNATURE
    at = copy_bytes(words[ORDER_FRAME] + waits, signature, size)
    return _put(state, at, _F_END) - words[ORDER_FRAME]
