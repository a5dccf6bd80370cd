"""Hyperliquid on the direct path: frames to rows and rows to posts in compiled stages.

What is signed is msgpack(action) | nonce, eight bytes | 00; what leaves is JSON of the same action.
Both are written side by side, from constant pieces and the numbers of up to ROWS_MAX orders of one
op and instrument, as `hyperliquid_orders` makes them, byte for byte. What that refuses is refused
here with a negative code, so that the gateway says why. Cost: about 200 ns an order.
"""

import msgpack
import msgspec
import numpy as np

from alephtx.core.identity import CLOID_PREFIX
from alephtx.core.instruments import Instrument, Instruments
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
    copy_text,
    make_pieces,
    put_decimal,
    put_hex,
    put_hex_word,
    put_integer,
    put_piece,
    put_word,
)
from alephtx.core.words import (
    BUY,
    CANCEL,
    GTC,
    IOC,
    LIMIT,
    MARKET,
    PLACE,
    POST_ONLY,
    REDUCE_ONLY,
    SELL,
)
from alephtx.venues.hyperliquid_orders import MS, costs
from alephtx.venues.hyperliquid_scan import make_scan_state, scan_market
from alephtx.venues.hyperliquid_wire import NAME

EVENTS_MAX = 32_768
ROWS_MAX = 16
ROW_BYTES = 256  # more than an order takes, in either form
BUFFER = 512 + ROWS_MAX * ROW_BYTES
SIGNATURE = 65  # r, s and v

WRONG_COUNT, WRONG_PLACE, WRONG_ORDER, WRONG_NUMBER, WRONG_SIGNATURE = -1, -2, -3, -4, -5
"""Refusals: too few or too many rows, or not of one op and instrument; no instrument of ours; no
words for it; a number out of range; no frame that waits for such a signature."""

INT, EVENT_ROW, INTENT_ROW = np.zeros(1, np.int64), np.zeros(1, EVENT), np.zeros(1, INTENT)

# -- market --------------------------------------------------------------------------------------

SCAN = MARKET_ROWS + 1


def scan_frame(state: Rows, frame: int, size: int) -> int:
    """Scan a market frame; a market stage, see `ports`."""
    ts_recv = field(state, MARKET_WORDS, INT)[MARKET_TS_RECV]
    rows = field(state, MARKET_ROWS, EVENT_ROW)
    return scan_market(bytes_at(frame, size), field(state, SCAN, INT), rows, 0, ts_recv)


def market_stage(instruments: Instruments) -> Stage:
    """Return a scanner of its own for one loop."""
    scan = make_scan_state(instruments, NAME)
    owners = (np.zeros(8, np.int64), np.zeros(EVENTS_MAX, EVENT), scan)
    return Stage(scan_frame, pack_fields(list(owners)), owners)


# -- orders: what is prepared ----------------------------------------------------------------------

# Fields behind the words: payload, frame, pieces of text, where each of them is, instruments.
_PAYLOAD, _FRAME, _TEXT, _PIECES, _TABLE = 1, 2, 3, 4, 5

_WAITS = 16  # a word: bytes of the frame that waits for its signature

# The table of instruments: number of the first piece (0: not ours), scales.
_FIRST, _PRICE_SCALE, _QTY_SCALE, _COLUMNS = 0, 1, 2, 4

# Pieces that all instruments share, of the payload (P) and of the frame (F); orders then cancels.
_P_HEAD, _P_TAIL, _P_SIZE, _F_POST, _F_HEAD, _F_TAIL, _F_SIZE = 0, 2, 4, 5, 6, 8, 10
_F_END, _F_R, _F_S, _F_V, _F_DONE = 11, 12, 13, 14, 15
_P_RULE, _F_RULE = 16, 22  # reduce-only and time in force: 3 * reduce_only + tif
_SHARED = 28
_TIFS = ("Gtc", "Ioc", "Alo")
_REST, _TAKE, _ADD = 0, 1, 2

# Pieces of one instrument: of a buy, of a sell, of a cancel; payload, then frame.
_I_PAYLOAD, _I_FRAME, _I_CANCEL = 0, 3, 2

_TEXT_MARK, _LIST_MARK, _LONG_LIST = 0xA0, 0x90, 0xDC  # of msgpack: up to 31 bytes, up to 15 items
_COMMA = 44

_CLOID = f"0x{CLOID_PREFIX:016x}"


def _packed(*values: object) -> bytes:
    return b"".join(map(msgpack.packb, values))


def _shared_pieces() -> list[bytes]:
    """Return the texts between what an order itself says."""
    # Each list is packed empty and its mark cut off: how long it is, is written with the order.
    order, cancel = {"type": "order", "orders": []}, {"type": "cancelByCloid", "cancels": []}
    heads = [msgpack.packb({**order, "grouping": "na"}), msgpack.packb(cancel)]
    tail = _packed("grouping", "na")
    rules, packed = [], []
    for reduce_only in (False, True):
        for tif in _TIFS:
            limit = {"limit": {"tif": tif}}
            # A text of 34 bytes is marked d9 22.
            packed.append(_packed("r", reduce_only, "t", limit, "c") + b"\xd9\x22")
            said = msgspec.json.encode({"r": reduce_only, "t": limit, "c": _CLOID})
            rules.append(b'",' + said[1:-2])
    return [
        heads[0][: -len(tail) - 1], heads[1][:-1], tail, b"", _packed("s"),
        b'{"method":"post","id":',
        b',"request":{"type":"action","payload":{"action":{"type":"order","orders":[',
        b',"request":{"type":"action","payload":{"action":{"type":"cancelByCloid","cancels":[',
        b'],"grouping":"na"},"nonce":', b']},"nonce":', b'","s":"', b'"}',
        b',"signature":{"r":"0x', b'","s":"0x', b'","v":', b'},"vaultAddress":null}}}',
        *(one + _CLOID.encode() for one in packed), *rules,
    ]  # fmt: skip


def _pieces_of(instrument: Instrument) -> list[bytes]:
    """Return the texts that name one instrument."""
    asset = instrument.venue_index
    packed = [b"\x87" + _packed("a", asset, "b", buys, "p") for buys in (True, False)]
    packed.append(b"\x82" + _packed("asset", asset, "cloid") + b"\xd9\x22" + _CLOID.encode())
    said = [f'{{"a":{asset},"b":{buys},"p":"' for buys in ("true", "false")]
    said.append(f'{{"asset":{asset},"cloid":"{_CLOID}')
    return packed + [one.encode() for one in said]


def order_stages(instruments: Instruments, last_nonce: int) -> OrderStages:
    """Return the stages that write one account's orders; nonces go on from the last one taken."""
    texts = _shared_pieces()
    assert len(texts) == _SHARED
    table = np.zeros((max(len(instruments), 1), _COLUMNS), np.int64)
    for index in instruments.of_venue(NAME):
        one = instruments[index]
        table[index] = len(texts), one.price_scale, one.qty_scale, 0
        texts += _pieces_of(one)
    text, pieces = make_pieces(texts)
    words = np.zeros(32, np.int64)
    payload, frame = np.zeros(BUFFER, np.uint8), np.zeros(BUFFER, np.uint8)
    words[ORDER_PAYLOAD], words[ORDER_FRAME] = payload.ctypes.data, frame.ctypes.data
    words[ORDER_NONCE] = last_nonce
    owners = (words, payload, frame, text, pieces, table.ravel())
    state = pack_fields(list(owners))
    price = dict.fromkeys((PLACE, CANCEL), costs(ROWS_MAX))
    return OrderStages(
        Stage(write_orders, state, owners), Stage(seal_orders, state, owners), ROWS_MAX, price
    )


# -- orders: kernels -------------------------------------------------------------------------------


@kernel
def _put(state: Rows, at: Int, piece: Int) -> int:
    """Write a piece at an address; return the address behind it."""
    return put_piece(at, state[_TEXT * FIELD_WORDS], field(state, _PIECES, INT), piece)


@kernel
def _tif_of(rows: Rows, k: Int) -> int:
    """Return the time in force of a new order, or a code for what `unsayable` refuses."""
    post_only, kind = rows[k]["flags"] & POST_ONLY, rows[k]["type"]
    takes = rows[k]["tif"] == IOC or kind == MARKET
    if kind == LIMIT:
        if not (rows[k]["tif"] == GTC or rows[k]["tif"] == IOC):
            return WRONG_ORDER
    elif kind != MARKET:
        return WRONG_ORDER
    if not (rows[k]["side"] == BUY or rows[k]["side"] == SELL):
        return WRONG_ORDER
    if rows[k]["price"] <= 0 or rows[k]["qty"] <= 0:
        return WRONG_NUMBER
    if post_only:
        return WRONG_ORDER if takes else _ADD
    return _TAKE if takes else _REST


@kernel
def _refusal(rows: Rows, op: Int, instrument: Int) -> int:
    """Return 0 where all rows can be said in one action, else a code."""
    for k in range(len(rows)):
        if rows[k]["op"] != op or rows[k]["instrument"] != instrument:
            return WRONG_COUNT
        if op == PLACE:
            tif = _tif_of(rows, k)
            if tif < 0:
                return tif
            if rows[k]["order_id"] <= 0:
                return WRONG_ORDER
        elif rows[k]["target_order_id"] <= 0:
            return WRONG_ORDER
    return 0


@kernel
def _put_number(at: Int, value: Int, scale: Int) -> int:
    """Write a decimal as a msgpack text."""
    end = put_decimal(at + 1, value, scale)
    rows_at(at, 1, BYTES)[0] = _TEXT_MARK + (end - at - 1)
    return end


@kernel
def _put_order(
    state: Rows, rows: Rows, k: Int, entry: Rows, at: Int, frame: Int
) -> tuple[int, int]:
    """Write an order at the ends of payload and frame; return the new ends."""
    sell = 0 if rows[k]["side"] == BUY else 1
    rule = _tif_of(rows, k) + (3 if rows[k]["flags"] & REDUCE_ONLY else 0)
    price = _put(state, at, entry[_FIRST] + _I_PAYLOAD + sell)
    price_end = _put_number(price, rows[k]["price"], entry[_PRICE_SCALE])
    size = _put(state, price_end, _P_SIZE)
    size_end = _put_number(size, rows[k]["qty"], entry[_QTY_SCALE])
    at = put_hex_word(_put(state, size_end, _P_RULE + rule), rows[k]["order_id"])

    frame = _put(state, frame, entry[_FIRST] + _I_FRAME + sell)
    frame = copy_text(frame, price + 1, price_end - price - 1)
    frame = copy_text(_put(state, frame, _F_SIZE), size + 1, size_end - size - 1)
    frame = put_hex_word(_put(state, frame, _F_RULE + rule), rows[k]["order_id"])
    return at, _put(state, frame, _F_END)


@kernel
def _put_cancel(
    state: Rows, rows: Rows, k: Int, entry: Rows, at: Int, frame: Int
) -> tuple[int, int]:
    """Write a cancel at the ends of payload and frame; return the new ends."""
    at = _put(state, at, entry[_FIRST] + _I_PAYLOAD + _I_CANCEL)
    at = put_hex_word(at, rows[k]["target_order_id"])
    frame = _put(state, frame, entry[_FIRST] + _I_FRAME + _I_CANCEL)
    frame = put_hex_word(frame, rows[k]["target_order_id"])
    return at, _put(state, frame, _F_END)


def write_orders(state: Rows, address: int, n: int) -> int:
    """Write a request but for its signature; the write stage, see `ports.OrderStages`."""
    words = field(state, ORDER_WORDS, INT)
    words[_WAITS] = 0
    if n < 1 or n > ROWS_MAX:
        return WRONG_COUNT
    rows = rows_at(address, n, INTENT_ROW)
    table = field(state, _TABLE, INT)
    i, op, now_ms = np.int64(rows[0]["instrument"]), rows[0]["op"], words[ORDER_NOW] // MS
    if i < 0 or (i + 1) * _COLUMNS > len(table) or table[i * _COLUMNS] == 0:
        return WRONG_PLACE
    if now_ms <= 0 or not (op == PLACE or op == CANCEL):
        return WRONG_NUMBER if now_ms <= 0 else WRONG_ORDER
    refused = _refusal(rows, op, i)
    if refused < 0:
        return refused
    entry = table[i * _COLUMNS : (i + 1) * _COLUMNS]
    nonce = next_nonce(state[ORDER_WORDS * FIELD_WORDS] + 8 * ORDER_NONCE, now_ms)
    cancels = 1 if op == CANCEL else 0

    at = _put(state, words[ORDER_PAYLOAD], _P_HEAD + cancels)
    mark = rows_at(at, 3, BYTES)
    if n < 16:
        mark[0] = _LIST_MARK + n
        at += 1
    else:
        mark[0] = _LONG_LIST
        mark[1] = 0
        mark[2] = n
        at += 3
    digits = _put(state, words[ORDER_FRAME], _F_POST)
    frame = put_integer(digits, nonce)
    digits_size = frame - digits
    frame = _put(state, frame, _F_HEAD + cancels)
    for k in range(n):
        rows[k]["nonce"] = nonce
        if k > 0:
            rows_at(frame, 1, BYTES)[0] = _COMMA
            frame += 1
        if cancels:
            at, frame = _put_cancel(state, rows, k, entry, at, frame)
        else:
            at, frame = _put_order(state, rows, k, entry, at, frame)
    at = put_word(_put(state, at, _P_TAIL + cancels), nonce)
    rows_at(at, 1, BYTES)[0] = 0  # no vault
    frame = copy_text(_put(state, frame, _F_TAIL + cancels), digits, digits_size)
    words[_WAITS] = _put(state, frame, _F_R) - words[ORDER_FRAME]
    return at + 1 - words[ORDER_PAYLOAD]


def seal_orders(state: Rows, signature: int, size: int) -> int:
    """Put r, s and v into the frame; the seal stage, see `ports.OrderStages`. Once a request."""
    words = field(state, ORDER_WORDS, INT)
    waits = words[_WAITS]
    words[_WAITS] = 0
    if waits <= 0 or size != SIGNATURE:
        return WRONG_SIGNATURE
    at = put_hex(words[ORDER_FRAME] + waits, signature, 32)
    at = put_hex(_put(state, at, _F_S), signature + 32, 32)
    v = np.int64(rows_at(signature + 64, 1, BYTES)[0])
    at = put_integer(_put(state, at, _F_V), v)
    return _put(state, at, _F_DONE) - words[ORDER_FRAME]
