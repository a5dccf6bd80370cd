"""One record type per kind of fact: a Struct for the control plane, a row for the data plane.

Each record is declared once; `dtype_of` derives its aligned NumPy dtype, and the tests assert size
and every offset, because rows are on disk and in shared memory. Times are int64 ns since the epoch
UTC, prices int64 ticks of 10^-price_scale, quantities int64 lots of 10^-qty_scale, money int64 of
10^-money_scale of its currency. Order ids are 64-bit words that stay positive as int64 (an engine
number below 512), because a kernel that mixes unsigned and signed words computes in floats.
"""

import struct
from typing import Annotated, Any, get_type_hints

import msgspec
import numpy as np

I8 = Annotated[int, "i8"]
I4 = Annotated[int, "i4"]
U4 = Annotated[int, "u4"]
U2 = Annotated[int, "u2"]
U1 = Annotated[int, "u1"]
S1 = Annotated[int, "i1"]
F8 = Annotated[float, "f8"]
I8_7 = Annotated[tuple[int, ...], "(7,)i8"]


class Record(msgspec.Struct):
    """Base of all records."""


def dtype_of(record: type[Record]) -> np.dtype[Any]:
    """Derive the aligned row dtype of a record from its annotations."""
    hints = get_type_hints(record, include_extras=True)
    fields = [(name, hints[name].__metadata__[0]) for name in record.__struct_fields__]
    return np.dtype(fields, align=True)


class Event(Record):
    """A market event as strategies see it; 48 bytes. See `words` for kinds and field uses."""

    ts_event: I8 = 0
    ts_recv: I8 = 0
    seq: I8 = 0
    price: I8 = 0
    qty: I8 = 0
    instrument: U4 = 0
    kind: U1 = 0
    side: S1 = 0
    flags: U2 = 0


class Tick(Record):
    """A market event as replay reads it; 32 bytes, one instrument a file.

    ticks = price_base + price x price_unit and lots = qty x qty_unit of the file; what does not fit
    is kept as Event rows, whose fields have the same names and meaning. kind: DELTA (lots at a
    level, 0 removes), TRADE, CLEAR, TOP (two rows, BUY and SELL, 0 lots = none), GAP, STATUS, ...
    message counts from 0; rows of one message become visible together. Rows are in the venue's
    order: ts_event never falls, nor does ts_recv, except as TICK_EXCHANGE and TICK_LOCAL say.
    """

    ts_event: I8 = 0
    ts_recv: I8 = 0
    price: I4 = 0
    qty: I4 = 0
    message: U4 = 0
    kind: U1 = 0
    side: S1 = 0
    flags: U1 = 0
    instrument: U1 = 0


class Bar(Record):
    """What was traded in a stretch of time; 48 bytes, one instrument an array, rising ts_ns.

    ts_ns: the end, from which on the bar may be known. volume 0 where nobody tells it.
    """

    ts_ns: I8 = 0
    open: I8 = 0
    high: I8 = 0
    low: I8 = 0
    close: I8 = 0
    volume: I8 = 0


class Top(Record):
    """Best bid and ask of one instrument; 64 bytes, one cache line, one layout for matrix and ring.

    Matrix: word = seqlock, aux = flags | epoch << 32. Ring slot k: word = 2k when complete (2k - 1
    while written), aux = instrument | kind << 32 | flags << 40 | (side + 1) << 56. For TRADE slots
    bid = price and bid_qty = qty; other kinds use bid as Event.price and bid_qty as Event.qty.
    """

    word: I8 = 0
    ts_event: I8 = 0
    ts_recv: I8 = 0
    bid: I8 = 0
    bid_qty: I8 = 0
    ask: I8 = 0
    ask_qty: I8 = 0
    aux: I8 = 0


class Signal(Record):
    """A named number about an instrument; 64 bytes. word = seqlock."""

    word: I8 = 0
    value: F8 = 0.0
    ts: I8 = 0
    expires_ns: I8 = 0
    instrument: U4 = 0
    name: U4 = 0
    source: U4 = 0
    spare: U4 = 0
    reserved_a: I8 = 0
    reserved_b: I8 = 0


class Intent(Record):
    """What a strategy wants; 128 bytes. order_id 0 = new, filled in by the engine.

    op CANCEL and AMEND name their order in target_order_id. group_id joins the legs of one trade.
    price 0 with type MARKET. verdict and rule are the gate's. ts_sent: when the loop itself put it
    on the wire, with the number `nonce`; 0 = the gateway is to send it.
    """

    order_id: I8 = 0
    target_order_id: I8 = 0
    parent_id: I8 = 0
    group_id: I8 = 0
    price: I8 = 0
    trigger: I8 = 0
    qty: I8 = 0
    expires_ns: I8 = 0
    input_seq: I8 = 0
    ts_input: I8 = 0
    ts_intent: I8 = 0
    instrument: U4 = 0
    account: U2 = 0
    strategy: U2 = 0
    op: U1 = 0
    type: U1 = 0
    tif: U1 = 0
    flags: U1 = 0
    side: S1 = 0
    verdict: U1 = 0
    rule: U2 = 0
    tag: I8 = 0
    ts_sent: I8 = 0
    nonce: I8 = 0


class Update(Record):
    """The venue's words back about one order, or about money; 160 bytes.

    A fill is unique by (account, instrument, trade_id), whichever channel brings it first. fee and
    realized are money: ints of 10^-money_scale of fee_currency and of the settle currency. cum_qty
    is -1 where the message does not say. status is the venue's view as a FIX word, 0 unknown.
    order_status, tag, group_id, filled_qty and leaves_qty are the order's, written by
    `execution.orders_apply` when the update has been applied; codecs leave them zero.

    MONEY_MOVED: realized = signed amount of fee_currency, code = why, trade_id = the venue's id of
    the movement, unique by account and code; a transfer has target_order_id = 1 + the other account
    where that is ours (0: outside), group_id = what joins its two legs, and fee = what the way took
    of the amount; a settlement has instrument and price.
    """

    order_id: I8 = 0
    venue_order_id: I8 = 0
    trade_id: I8 = 0
    price: I8 = 0
    qty: I8 = 0
    cum_qty: I8 = -1
    fee: I8 = 0
    realized: I8 = 0
    ts_event: I8 = 0
    ts_recv: I8 = 0
    code: I8 = 0
    instrument: U4 = 0
    fee_currency: U4 = 0
    account: U2 = 0
    strategy: U2 = 0
    kind: U1 = 0
    status: U1 = 0
    side: S1 = 0
    liquidity: U1 = 0
    reason: U2 = 0
    flags: U2 = 0
    order_status: U4 = 0
    target_order_id: I8 = 0
    input_seq: I8 = 0
    tag: I8 = 0
    group_id: I8 = 0
    filled_qty: I8 = 0
    leaves_qty: I8 = 0


class Order(Record):
    """One order as the engine knows it; 160 bytes."""

    order_id: I8 = 0
    venue_order_id: I8 = 0
    parent_id: I8 = 0
    group_id: I8 = 0
    price: I8 = 0
    qty: I8 = 0
    filled_qty: I8 = 0
    leaves_qty: I8 = 0
    filled_value: I8 = 0
    ts_intent: I8 = 0
    ts_sent: I8 = 0
    ts_ack: I8 = 0
    ts_last: I8 = 0
    expires_ns: I8 = 0
    instrument: U4 = 0
    account: U2 = 0
    strategy: U2 = 0
    status: U1 = 0
    side: S1 = 0
    tif: U1 = 0
    flags: U1 = 0
    type: U1 = 0
    reason: U1 = 0
    fills: U2 = 0
    next: I8 = -1
    tag: I8 = 0
    spare: I8 = 0
    code: I8 = 0


class Position(Record):
    """What one strategy holds of one instrument on one account; 128 bytes.

    cost is the open cost, not an average: exact ticks x lots for linear contracts and spot, money
    of the settle currency for inverse ones. realized is money of the settle currency before fees;
    fees are kept by the ledger, in their own currencies; carry is what realized is short of, below
    the last unit, in 1 / money_div. open_* are the lots of live orders.
    """

    qty: I8 = 0
    cost: I8 = 0
    realized: I8 = 0
    open_bid: I8 = 0
    open_ask: I8 = 0
    bought: I8 = 0
    sold: I8 = 0
    fills: I8 = 0
    fees: I8 = 0
    ts_last: I8 = 0
    instrument: U4 = 0
    account: U2 = 0
    strategy: U2 = 0
    carry: I8 = 0
    reserved_b: I8 = 0
    reserved_c: I8 = 0
    reserved_d: I8 = 0
    reserved_e: I8 = 0


class InstrumentRow(Record):
    """What kernels must know of an instrument; 256 bytes, from `Instruments.rows`.

    Money of a fill: linear and spot price * qty * money_mul // money_div, inverse
    qty * money_mul // price; see `units.notional`. With a stepped tick, prices from tick_from[k] on
    move by tick_steps[k], below the first by tick_step; tick_from rises, 0 ends it.
    """

    index: U4 = 0
    venue: U2 = 0
    contract: U1 = 0
    status: U1 = 0
    price_scale: S1 = 0
    qty_scale: S1 = 0
    tick_rule: U1 = 0
    significant_figures: U1 = 0
    settle: U4 = 0
    base: U4 = 0
    quote: U4 = 0
    underlying: U4 = 0
    spare: U4 = 0
    tick_step: I8 = 0
    price_min: I8 = 0
    price_max: I8 = 0
    lot_step: I8 = 0
    qty_min: I8 = 0
    qty_max: I8 = 0
    notional_min: I8 = 0
    money_mul: I8 = 0
    money_div: I8 = 0
    contract_value: I8 = 0
    maker_fee_e8: I8 = 0
    taker_fee_e8: I8 = 0
    tick_from: I8_7 = (0,) * 7
    tick_steps: I8_7 = (0,) * 7
    reserved_a: I8 = 0
    reserved_b: I8 = 0


EVENT = dtype_of(Event)
TICK = dtype_of(Tick)
BAR = dtype_of(Bar)
TOP_ROW = dtype_of(Top)
SIGNAL_ROW = dtype_of(Signal)
INTENT = dtype_of(Intent)
UPDATE = dtype_of(Update)
ORDER = dtype_of(Order)
POSITION = dtype_of(Position)
INSTRUMENT = dtype_of(InstrumentRow)

_CODES = {"i8": "q", "u8": "Q", "u4": "I", "u2": "H", "u1": "B", "i1": "b"}


def unpacker(dtype: np.dtype[Any]) -> struct.Struct:
    """Return what takes rows' bytes apart into plain integers, 0.4 us a row; a NumPy row costs 2.

    Only for records of integers without gaps.
    """
    fields = [dtype[name] for name in dtype.names or ()]
    made = struct.Struct("<" + "".join(_CODES[field.str[1:]] for field in fields))
    assert made.size == dtype.itemsize, f"{dtype} has gaps"
    return made


def blank(dtype: np.dtype[Any], n: int = 1) -> np.ndarray[Any, Any]:
    """Return n rows of zeros; `np.zeros` goes through the fields, which takes 4 us."""
    return np.frombuffer(bytearray(n * dtype.itemsize), dtype)


def copied(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return rows of their own with the same bytes; NumPy's own copy of a record takes 17 us."""
    return np.frombuffer(bytearray(rows.tobytes()), rows.dtype)
